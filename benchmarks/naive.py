"""RATE as a textbook has it: what the library is measured against.

Time-major tensors, Transformer-XL attention with a relative shift, every score of a segment in
memory, full padding, all rows in all segments, memory detached and one optimiser step after each
segment. Nothing is slowed down on purpose, and for the same weights it computes what the library
computes.
"""

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rate.models.nn.valve import CrossAttentionValve
from rate.models.policy import Policy
from rate.models.rate import Config
from rate.recipe import OptimiserConfig
from rate.segment import Segment


def sinusoids(distances: Tensor, width: int) -> Tensor:
    """R_p = [sin(p omega), cos(p omega)] of distances p [n], [n, d]."""
    omega = 10000.0 ** (-torch.arange(0, width, 2) / width)
    angles = distances[:, None] * omega
    return torch.cat([angles.sin(), angles.cos()], -1)


def relative_shift(scores: Tensor) -> Tensor:
    """Move row i of scores [i, p, b, n] so that column j holds what stood for the distance i - j.

    Distances fall from i's count - 1 at the first column. One column of padding in front, and a
    reshape shifts each row by one more than the row before.
    """
    rows, columns, batch, heads = scores.shape
    padded = torch.cat([scores.new_zeros(rows, 1, batch, heads), scores], 1)
    return padded.reshape(columns + 1, rows, batch, heads)[1:].view_as(scores)


class Attention(nn.Module):
    """a_ij = [(q_i + u) . k_j + (q_i + v) . W_r R_(i-j)] / sqrt(head width) (Dai et al. 2019)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.heads, self.head_width = config.heads, config.head_width
        inner = config.heads * config.head_width
        self.query_key_value = nn.Linear(config.width, 3 * inner, bias=False)
        self.position = nn.Linear(config.width, inner, bias=False)
        self.output = nn.Linear(inner, config.width, bias=False)
        self.dropout = nn.Dropout(config.attention_dropout)

    def forward(
        self, hidden: Tensor, distances: Tensor, u: Tensor, v: Tensor, hidden_from: Tensor
    ) -> Tensor:
        """Attention output [i, b, d]; distances: R [p, d]; hidden_from: True where i must not see
        j, [i, j]."""
        length, batch, _ = hidden.shape
        q, k, v_ = (
            part.view(length, batch, self.heads, self.head_width)
            for part in self.query_key_value(hidden).chunk(3, -1)
        )
        r = self.position(distances).view(-1, self.heads, self.head_width)
        content = torch.einsum("ibnd,jbnd->ijbn", q + u, k)
        position = relative_shift(torch.einsum("ibnd,pnd->ipbn", q + v, r))[:, :length]
        scores = (content + position).mul_(self.head_width**-0.5)
        scores.masked_fill_(hidden_from[:, :, None, None], -torch.inf)
        weights = self.dropout(scores.softmax(1))
        attended = torch.einsum("ijbn,jbnd->ibnd", weights, v_)
        return self.output(attended.reshape(length, batch, -1))


class Layer(nn.Module):
    """Post-norm layer without feed-forward block: LN(x + A(x))."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.attention_norm = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden: Tensor, *view: Tensor) -> Tensor:
        return self.attention_norm(hidden + self.dropout(self.attention(hidden, *view)))


class Backbone(nn.Module):
    """[read memory | tokens | write memory] through all layers, then the valve; parameters are
    named as in the library."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        if (
            config.feed_forward
            or config.retained
            or config.layer != "trxl"
            or not config.memory_tokens
        ):
            raise ValueError(
                "the baseline has post-norm layers with memory tokens, without feed-forward "
                "block or cached states: "
                f"choose such a configuration, not {config}"
            )
        self.config = config
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.content_bias = nn.Parameter(torch.empty(config.heads, config.head_width))
        self.position_bias = nn.Parameter(torch.empty(config.heads, config.head_width))
        self.memory_tokens = nn.Parameter(torch.empty(config.memory_tokens, config.width))
        self.dropout = nn.Dropout(config.dropout)
        self.valve: CrossAttentionValve | None = None
        if config.valve != "none":
            self.valve = CrossAttentionValve(
                config.width, config.valve_heads, config.valve_activation, config.attention_dropout
            )

    def forward(self, tokens: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states [n, b, d] of tokens [n, b, d], and the next memory, from memory [m, b,
        d]."""
        m, length = len(memory), len(tokens) + 2 * len(memory)
        hidden_from = torch.ones(length, length, dtype=torch.bool).triu(1)
        hidden_from[:m, :m] = hidden_from[-m:, -m:] = False
        # Memory tokens see m - 1 positions ahead of themselves.
        distances = sinusoids(torch.arange(length - 1, -m, -1), self.config.width)
        hidden = self.dropout(torch.cat([memory, tokens, memory]))
        for layer in self.layers:
            hidden = layer(hidden, distances, self.content_bias, self.position_bias, hidden_from)
        hidden = self.dropout(hidden)
        written = hidden[-m:]
        if self.valve is not None:
            written = self.valve(memory.transpose(0, 1), written.transpose(0, 1))[0].transpose(0, 1)
        return hidden[m:-m], written


class NaivePolicy(nn.Module):
    """The textbook backbone between the encoders and the head of a policy, all with that policy's
    weights."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        assert isinstance(policy.config, Config)
        self.encoders, self.head = deepcopy(policy.encoders), deepcopy(policy.head)
        self.backbone = Backbone(policy.config)
        self.backbone.load_state_dict(policy.backbone.state_dict())

    def initial_memory(self, batch: int) -> Tensor:
        """Learned memory [m, b, d]."""
        return self.backbone.memory_tokens[:, None].expand(-1, batch, -1)

    def forward(self, segment: Segment, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Action outputs [b, k, outputs] of a segment, and the next memory [m, b, d]."""
        tokens = [
            self.encoders["return_to_go"](segment.returns_to_go),
            self.encoders["observation"](segment.observations),
            self.encoders["action"](segment.actions),
        ]
        hidden, memory = self.backbone(torch.stack(tokens, 2).flatten(1, 2).transpose(0, 1), memory)
        return self.head(hidden[1::3].transpose(0, 1)), memory


def update(
    policy: NaivePolicy, optimiser: torch.optim.Optimizer, window: Segment, clip: float
) -> None:
    """One batch of padded windows: an optimiser step after each segment, memory detached in
    between."""
    memory = policy.initial_memory(len(window))
    for segment in window.split(policy.backbone.config.segment_length):
        logits, memory = policy(segment, memory)
        memory = memory.detach()
        losses = F.cross_entropy(logits.flatten(0, 1), segment.actions.flatten(), reduction="none")
        loss = (losses * segment.mask.flatten()).sum() / segment.mask.sum().clamp(min=1)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(policy.parameters(), clip)
        optimiser.step()


def padded(window: Segment, steps: int) -> Segment:
    """The window with zeros behind it up to `steps` steps."""

    def pad(tensor: Tensor) -> Tensor:
        return F.pad(tensor, (0, 0) * (tensor.dim() - 2) + (0, steps - window.steps))

    return window.map(pad)


def adamw(policy: NaivePolicy, config: OptimiserConfig) -> torch.optim.AdamW:
    """AdamW as PyTorch has it by default."""
    return torch.optim.AdamW(
        policy.parameters(),
        lr=config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
    )
