"""One layer of the transformer in three variants (method: Transformer-XL, TrXL-I and GTrXL).

With A the attention output without residual and FF the feed-forward block:

    post-norm (TrXL)   y = LN(x + A(x)),                     out = LN(y + FF(y))
    identity (TrXL-I)  n = LN(x), z = x + ReLU(n + A(n)),    out = z + ReLU(FF(LN(z)))
    gated (GTrXL)      n = LN(x), z = G(x, ReLU(n + A(n))),  out = G(z, ReLU(FF(LN(z))))

The feed-forward block may be left out; then out = y, or z.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from rate.models.nn.attention import RelativeAttention
from rate.models.nn.dropout import Dropout

LayerKind = Literal["trxl", "trxl-i", "gtrxl"]


class Gate(nn.Module):
    """GRU-type gate of GTrXL: G(x, y) = (1 - z) x + z h with a bias that starts it near the
    identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inputs = nn.Linear(width, 3 * width, bias=False)
        self.state = nn.Linear(width, 2 * width, bias=False)
        self.candidate = nn.Linear(width, width, bias=False)
        self.bias = nn.Parameter(torch.full((width,), 2.0))

    def forward(self, state: Tensor, update: Tensor) -> Tensor:
        reset, gate, candidate = self.inputs(update).chunk(3, -1)
        state_reset, state_gate = self.state(state).chunk(2, -1)
        reset = torch.sigmoid(reset + state_reset)
        gate = torch.sigmoid(gate + state_gate - self.bias)
        candidate = torch.tanh(candidate + self.candidate(reset * state))
        return (1 - gate) * state + gate * candidate


class Layer(nn.Module):
    """Attention and optional feed-forward block around a residual stream [B, n, d]."""

    attention_type: type[RelativeAttention] = RelativeAttention

    def __init__(
        self,
        kind: LayerKind,
        width: int,
        heads: int,
        head_width: int,
        feed_forward: int,
        dropout: float,
        attention_dropout: float,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.attention = self.attention_type(width, heads, head_width, attention_dropout)
        self.dropout = Dropout(dropout)
        self.attention_norm = nn.LayerNorm(width)
        self.feed_forward: nn.Sequential | None = None
        if feed_forward:
            self.feed_forward = nn.Sequential(
                nn.Linear(width, feed_forward),
                nn.ReLU(),
                Dropout(dropout),
                nn.Linear(feed_forward, width),
                Dropout(dropout),
            )
            self.feed_forward_norm = nn.LayerNorm(width)
        if kind == "gtrxl":
            self.attention_gate = Gate(width)
            if feed_forward:
                self.feed_forward_gate = Gate(width)

    def attention_input(self, inputs: Tensor) -> Tensor:
        """What queries, keys and values of the running segment are made of."""
        return inputs if self.kind == "trxl" else self.attention_norm(inputs)

    def cache_input(self, cached: Tensor) -> Tensor:
        """What keys and values of cached hidden states are made of."""
        return self.attention_input(cached)

    def finish(self, inputs: Tensor, attention_input: Tensor, attended: Tensor) -> Tensor:
        """The layer's output, given the attention output [B, n, d] before dropout and residual."""
        attended = self.dropout(attended)
        if self.kind == "trxl":
            hidden = self.attention_norm(inputs + attended)
            if self.feed_forward is None:
                return hidden
            return self.feed_forward_norm(hidden + self.feed_forward(hidden))
        update = torch.relu(attention_input + attended)
        hidden = self.attention_gate(inputs, update) if self.kind == "gtrxl" else inputs + update
        if self.feed_forward is None:
            return hidden
        update = torch.relu(self.feed_forward(self.feed_forward_norm(hidden)))
        return self.feed_forward_gate(hidden, update) if self.kind == "gtrxl" else hidden + update
