"""A transformer layer with Transformer-XL relative attention, without a time x time bias (method of
Dai et al. 2019, in factored form).

The score of query i and key j is [(q_i + u) . k_j + (q_i + v) . W_r R_(i-j)] / sqrt(head width),
where R_p holds the sines and cosines of p * omega. With w_i = W_r^T (q_i + v) split into its sine
half a and cosine half b, angle addition gives

    w_i . R_(i-j) = (a sin_i + b cos_i) . cos_j + (b sin_i - a cos_i) . sin_j ,

so the positional term is a plain product of rotated queries with a constant table over key
positions: nothing is shifted, keys do not depend on the query's offset, negative distances are
exact, and cached decoding is plain attention.

A layer comes in three variants (method: Transformer-XL, TrXL-I and GTrXL). With A the attention
output without residual and FF the feed-forward block:

    post-norm (TrXL)   y = LN(x + A(x)),                     out = LN(y + FF(y))
    identity (TrXL-I)  n = LN(x), z = x + ReLU(n + A(n)),    out = z + ReLU(FF(LN(z)))
    gated (GTrXL)      n = LN(x), z = G(x, ReLU(n + A(n))),  out = G(z, ReLU(FF(LN(z))))

The feed-forward block may be left out; then out = y, or z.

Cross-attention, with a bias by which it knows how far apart in time tokens and memory slots are, is
that of ELMUR and of valves.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rate.models.nn.cpu import QUERY_BLOCK, BlockwiseAttention, Dropout
from rate.models.nn.cuda import ALIGNMENT, RecomputedAttention

LayerKind = Literal["trxl", "trxl-i", "gtrxl"]


class Positions(nn.Module):
    """Sines and cosines of absolute positions, for all layers of a model."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        if width % 2:
            raise ValueError(f"width must be even for sinusoidal positions, but {width} was given")
        frequencies = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
        angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies
        table = torch.cat([angles.cos(), angles.sin()], -1).float()
        self.register_buffer("table", table, persistent=False)
        self.register_buffer("index", torch.arange(length), persistent=False)
        self.index: Tensor
        """All positions, [length]."""
        self.table: Tensor
        """What keys hold at each position, [length, width]: cosines, then sines."""

    def at(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Sines and cosines of queries at positions `index` [b, n], [b, 1, n, width / 2] each."""
        cos, sin = F.embedding(index, self.table).unsqueeze(1).chunk(2, -1)
        return sin, cos


KeysValues = tuple[Tensor, Tensor]
"""Keys and values, [B, h, t, w] each."""


class View(NamedTuple):
    """Where the queries of one pass stand, and what they see."""

    sin: Tensor
    """Sines of the queries' positions, [b, 1, n, d / 2] with b = 1 or B."""
    cos: Tensor
    """Their cosines, of the same shape."""
    table: Tensor
    """What keys hold at their positions, [t, d], or [B, 1, t, d] if rows differ."""
    mask: Tensor
    """0 where a query sees a key and -inf elsewhere, [b, 1, n, t]."""
    cuts: Sequence[int] = ()
    """Where to cut the queries for speed. Given, the last n keys are the queries' own, and no query
    sees a key behind the end of its block."""
    ahead: Tensor | None = None
    """How many positions keys lie ahead of queries, [b, 1, n, t], where a layer asks for it."""


def visible(allowed: Tensor) -> Tensor:
    """The additive mask [b, 1, n, t] of what queries are allowed to see, [b, n, t] boolean."""
    return torch.where(allowed.unsqueeze(1), 0.0, -torch.inf)


class RelativeAttention(nn.Module):
    """Multi-head relative attention; heads x head width need not equal the model's width."""

    def __init__(self, width: int, heads: int, head_width: int, attention_dropout: float) -> None:
        super().__init__()
        self.heads, self.head_width = heads, head_width
        self.query_key_value = nn.Linear(width, 3 * heads * head_width, bias=False)
        self.position = nn.Linear(width, heads * head_width, bias=False)
        self.output = nn.Linear(heads * head_width, width, bias=False)
        self.attention_dropout = attention_dropout

    def project(self, inputs: Tensor) -> tuple[Tensor, KeysValues]:
        """Queries, and keys and values, each [B, h, n, w], of inputs [B, n, d]."""
        batch, length, _ = inputs.shape
        projected = self.query_key_value(inputs).view(batch, length, 3, self.heads, self.head_width)
        query, keys, values = projected.permute(2, 0, 3, 1, 4).unbind(0)
        return query, (keys, values)

    def keys_values(self, inputs: Tensor) -> KeysValues:
        """Keys and values alone, for cached hidden states [B, n, d]."""
        weight = self.query_key_value.weight[self.heads * self.head_width :]
        projected = F.linear(inputs, weight).unflatten(-1, (2, self.heads, self.head_width))
        keys, values = projected.permute(2, 0, 3, 1, 4).unbind(0)
        return keys, values

    def forward(
        self,
        query: Tensor,
        keys_values: KeysValues,
        biases: tuple[Tensor, Tensor],
        view: View,
        record: list[Tensor] | None = None,
    ) -> Tensor:
        """Attended values after the output projection.

        Args:
            query: [B, h, n, w].
            keys_values: Keys and values, [B, h, t, w] each.
            biases: u for content and v for position, [h, 1, w] each.
            view: Where queries and keys stand, and what queries see.
            record: Takes the attention weights [B, h, n, t], if it is given.

        Returns:
            [B, n, d].
        """
        keys, values = keys_values
        if record is None and self._recomputes(query):
            attended = self._attend_on_cuda(query, keys, values, biases, view)
            return self.output(attended.transpose(1, 2).flatten(2))
        content, rotated = query + biases[0], self.rotate(query + biases[1], view)
        if record is not None:
            record.append(self.weights(content, rotated, keys, view).view(*query.shape[:3], -1))
        attended = self.attend(content, rotated, keys, values, view)
        return self.output(attended.transpose(1, 2).flatten(2))

    def rotate(self, queries: Tensor, view: View) -> Tensor:
        """Positional side of queries [B, h, n, w] that already hold v, [B, h, n, d]."""
        weight = self.position.weight.view(self.heads, self.head_width, -1)
        a, b = torch.matmul(queries, weight).chunk(2, -1)
        return torch.cat([a * view.sin + b * view.cos, b * view.sin - a * view.cos], -1)

    def weights(self, content: Tensor, rotated: Tensor, keys: Tensor, view: View) -> Tensor:
        """Attention weights [B x h, n, t] of queries q + u, `content`, and rotated queries."""
        bias, scale = self._bias(rotated, view).flatten(0, 1), self.head_width**-0.5
        columns = keys.flatten(0, 1).transpose(1, 2)
        scores = torch.baddbmm(bias, content.flatten(0, 1), columns, alpha=scale)
        return scores.softmax(-1)

    def attend(
        self, content: Tensor, rotated: Tensor, keys: Tensor, values: Tensor, view: View
    ) -> Tensor:
        """Attended values [B, h, n, w]."""
        dropout = self.attention_dropout if self.training else 0.0
        scale = self.head_width**-0.5
        if content.device.type != "cpu" or torch.compiler.is_compiling():
            bias = self._bias(rotated, view)
            return F.scaled_dot_product_attention(content, keys, values, bias, dropout, scale=scale)
        if not torch.is_grad_enabled() and content.shape[2] < QUERY_BLOCK:
            # Few queries against many keys: nothing of the size of the keys is copied.
            weights = self.weights(content, rotated, keys, view)
            return torch.bmm(weights, values.flatten(0, 1)).view(content.shape)
        return BlockwiseAttention.attend(
            content, rotated, keys, values, view.table, view.mask, view.cuts, scale, dropout
        )

    def _recomputes(self, query: Tensor) -> bool:
        """Whether no scores are kept. With gradients in float32 plain operations are faster."""
        fits = query.is_cuda and self.head_width % ALIGNMENT == 0
        gains = query.dtype != torch.float32 or not torch.is_grad_enabled()
        return fits and gains and not torch.compiler.is_compiling()

    def _attend_on_cuda(
        self,
        query: Tensor,
        keys: Tensor,
        values: Tensor,
        biases: tuple[Tensor, Tensor],
        view: View,
    ) -> Tensor:
        """Attended values [B, h, n, w], all in the dtype of the query."""
        u, v = (bias.to(query.dtype) for bias in biases)
        sin, cos, table = (part.to(query.dtype) for part in (view.sin, view.cos, view.table))
        weight = self.position.weight.to(query.dtype).view(self.heads, self.head_width, -1)
        dropout = self.attention_dropout if self.training else 0.0
        constants = sin, cos, table, view.mask, self.head_width**-0.5, dropout
        return RecomputedAttention.apply(query + u, query + v, keys, values, weight, *constants)

    def _bias(self, rotated: Tensor, view: View) -> Tensor:
        """Positional scores with the mask, [B, h, n, t]."""
        table = view.table.transpose(-1, -2)
        return torch.matmul(rotated * self.head_width**-0.5, table) + view.mask


class CrossAttention(nn.Module):
    """Multi-head attention of one sequence to another; heads x head width need not equal the
    width."""

    def __init__(
        self, width: int, heads: int, head_width: int, dropout: float, bias: bool = False
    ) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, heads * head_width, bias)
        self.key = nn.Linear(width, heads * head_width, bias)
        self.value = nn.Linear(width, heads * head_width, bias)
        self.output = nn.Linear(heads * head_width, width)
        self.dropout = dropout

    def keys_values(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, h, t, head width] of what is attended to, [B, t, d]."""
        return self._heads(self.key(inputs)), self._heads(self.value(inputs))

    def attend(
        self, inputs: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        """Outputs [B, n, d].

        Args:
            inputs: What asks, [B, n, d].
            keys: [B, h, t, w].
            values: [B, h, t, w].
            bias: Added to scores, [B, h, n, t]; -inf where nothing is seen.
        """
        query = self._heads(self.query(inputs))
        attended = F.scaled_dot_product_attention(
            query, keys, values, bias, self.dropout if self.training else 0.0
        )
        return self.output(attended.transpose(1, 2).flatten(2))

    def _heads(self, projected: Tensor) -> Tensor:
        return projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class DistanceBias(nn.Module):
    """A learned bias per head and signed distance; distances of D_max and more count as D_max - 1
    (2 D_max - 1 rows)."""

    def __init__(self, heads: int, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.table = nn.Parameter(torch.zeros(2 * limit - 1, heads))

    def forward(self, distance: Tensor) -> Tensor:
        """Biases [B, h, n, t] of distances [B, n, t] in tokens (integers)."""
        row = distance.clamp(1 - self.limit, self.limit - 1) + self.limit - 1
        return F.embedding(row, self.table).permute(0, 3, 1, 2)


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
