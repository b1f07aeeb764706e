"""Long-Short Decision Transformer: half of the channels attend, the other half are convolved
(baselines, section 10).

Like DT it sees the last N x K steps: (N - 1) x K of them stay as embedded tokens and are encoded
anew with each segment. Differences from the released class: the convolution's kernel reaches back
over all of its taps (half of them were masked), time steps are the true ones while acting (they
were 0, then 1), and steps past the table share its last row (they failed).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rate.models.backbone import Backbone, Memory, ModelConfig, Stream, named_parts, place, xavier
from rate.models.nn.dropout import Dropout
from rate.models.nn.dynamic_convolution import GROUP, DynamicConvolution


@dataclass(frozen=True)
class Config(ModelConfig):
    """Long-Short Decision Transformer: attention for what is far, dynamic convolution for what is
    near."""

    layers: int = 2
    """Blocks, L."""
    heads: int = 2
    """Attention heads, h; they share the channels that attend."""
    convolution_channels: int = -1
    """Channels that are convolved, c, in groups of four; -1 stands for half of the width."""
    kernel: int = 6
    """Tokens that the convolution sees, the newest included."""
    feed_forward: int = -1
    """Inner width of the feed-forward block; -1 stands for four times the width."""
    attention_dropout: float = 0.1
    """Dropout rate on attended values."""
    kernel_dropout: float = 0.2
    """Dropout rate on predicted kernels, before their softmax."""
    timesteps: int = 1000
    """Rows of the learned table of time steps; later steps share the last one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(1, "layers", "heads", "kernel", "timesteps")
        self.require_rates("attention_dropout", "kernel_dropout")
        if self.feed_forward < 1 and self.feed_forward != -1:
            raise ValueError(
                "feed_forward must be at least 1, or -1 for four times the width, but "
                f"{self.feed_forward} was given"
            )
        if self.convolved < GROUP or self.convolved % GROUP or self.convolved >= self.width:
            raise ValueError(
                f"convolution_channels must be a multiple of {GROUP} below the width "
                f"{self.width}, or -1 for half of a "
                f"width of at least {2 * GROUP}, but {self.convolution_channels} was given"
            )
        if self.attending % self.heads:
            raise ValueError(
                f"heads must divide the {self.attending} channels that attend (width "
                f"{self.width} less {self.convolved} "
                f"convolved), but {self.heads} was given"
            )

    @property
    def convolved(self) -> int:
        """Channels that are convolved: half of the width in whole groups, unless said otherwise."""
        return (
            self.width // (2 * GROUP) * GROUP
            if self.convolution_channels == -1
            else self.convolution_channels
        )

    @property
    def attending(self) -> int:
        """Channels that attend."""
        return self.width - self.convolved

    @property
    def training_segment_length(self) -> int:
        return self.window

    @property
    def retained(self) -> int:
        """Tokens kept from earlier segments."""
        return (self.segments - 1) * self.segment_length * len(self.tokens)

    def build(self) -> "LongShortTransformer":
        return LongShortTransformer(self)

    def initialise(self, policy: nn.Module) -> None:
        xavier(policy)


class View(NamedTuple):
    """What may be seen: keys by queries, [b, 1, n, t] boolean (none: a causal mask), and taps by
    positions, [b, n, k]."""

    keys: Tensor | None
    taps: Tensor


class Projected(NamedTuple):
    """Queries, keys and values, each [B, h, n, head width], and gated inputs of the convolution [B,
    n, c]."""

    queries: Tensor
    keys: Tensor
    values: Tensor
    gated: Tensor


class Block(nn.Module):
    """A post-norm block: x <- LN(x + Mix(x)), then x <- LN(x + MLP(x)).

    Mix gates what attention and convolution give, u = [attended ; convolved], by a softmax over all
    channels: W_o (softmax(W_2 ReLU(W_1 u)) * u).
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, feed_forward = (
            config.width,
            config.feed_forward if config.feed_forward > 0 else 4 * config.width,
        )
        self.heads, self.split = config.heads, [config.attending, config.convolved]
        self.query_key_value = nn.Linear(config.attending, 3 * config.attending)
        self.convolution = DynamicConvolution(
            config.convolved, config.kernel, config.kernel_dropout
        )
        self.attention_dropout = Dropout(config.attention_dropout)
        self.gate = nn.Sequential(
            nn.Linear(width, width // 2), nn.ReLU(), nn.Linear(width // 2, width), nn.Softmax(-1)
        )
        self.output = nn.Sequential(nn.Linear(width, width), Dropout(config.dropout))
        self.mix_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, feed_forward),
            nn.GELU(),
            nn.Linear(feed_forward, width),
            Dropout(config.dropout),
        )
        self.feed_forward_norm = nn.LayerNorm(width)

    def project(self, hidden: Tensor) -> Projected:
        """What hidden states [B, n, d] ask, offer and pass on to the convolution."""
        attending, convolved = hidden.split(self.split, -1)
        projected = (
            self.query_key_value(attending)
            .unflatten(-1, (3, self.heads, -1))
            .permute(2, 0, 3, 1, 4)
        )
        queries, keys, values = projected.unbind(0)
        return Projected(queries, keys, values, self.convolution.gate(convolved))

    def finish(
        self,
        hidden: Tensor,
        new: Projected,
        keys: Tensor,
        values: Tensor,
        windows: Tensor,
        view: View,
    ) -> Tensor:
        """The block's output [B, n, d], given all keys and values [B, h, t, head width] and the
        windows [B, n, k, c]."""
        attended = F.scaled_dot_product_attention(
            new.queries, keys, values, view.keys, is_causal=view.keys is None
        )
        attended = self.attention_dropout(attended).transpose(1, 2).flatten(2)
        mixed = torch.cat([attended, self.convolution(new.gated, windows, view.taps)], -1)
        hidden = self.mix_norm(hidden + self.output(self.gate(mixed) * mixed))
        return self.feed_forward_norm(hidden + self.feed_forward(hidden))


class LongShortTransformer(Backbone):
    """Positions, from left to right: [retained tokens | segment's tokens].

    Memory is the tuple (embedded tokens of earlier segments [B, P, d] right-aligned, their number
    [B]).
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.dropout = Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.capacity = config.retained + config.segment_length * len(config.tokens)

    def initial_memory(self, batch: int) -> Memory:
        like = self.norm.weight
        retained = like.new_zeros(batch, self.config.retained, self.config.width)
        return retained, torch.zeros(batch, dtype=torch.int64, device=like.device)

    def forward(self, tokens: Tensor, memory: Memory, commit: bool = True) -> tuple[Tensor, Memory]:
        retained, count = memory
        limit = self.config.retained
        past = int(count.max()) if limit else 0
        inputs = torch.cat([retained[:, limit - past :], tokens], 1) if past else tokens
        hidden = self.norm(self.dropout(inputs))
        index = torch.arange(inputs.shape[1], device=tokens.device)[None]
        first = past - count if past and int(count.min()) < past else count.new_zeros(1)
        view = self._view(index, index[0] if past else None, first)
        for block in self.blocks:
            assert isinstance(block, Block)
            new = block.project(hidden)
            windows = block.convolution.windows(F.pad(new.gated, (0, 0, self.config.kernel - 1, 0)))
            hidden = block.finish(hidden, new, new.keys, new.values, windows, view)
        if commit and limit:
            memory = (
                torch.cat([retained, tokens], 1)[:, -limit:],
                (count + tokens.shape[1]).clamp(max=limit),
            )
        return hidden[:, past:], memory

    def _view(self, index: Tensor, columns: Tensor | None, first: Tensor) -> View:
        """What positions `index` [b, n] may see of positions `columns` [t]; those before `first`
        [b] are empty."""
        taps = index[..., None] + torch.arange(1 - self.config.kernel, 1, device=index.device)
        keys = None if columns is None else _visible(index, columns, first)[:, None]
        return View(keys, _visible(index, taps, first))

    def start(self, memory: Memory) -> Stream:
        config = self.config
        retained, count = memory
        tokens = retained.new_zeros(len(count), self.capacity, config.width)
        tokens[:, : config.retained] = retained
        tensors = {"tokens": tokens, "count": count.clone()}
        for level in range(config.layers):
            for name in ("keys", "values"):
                shape = (len(count), config.heads, self.capacity, config.attending // config.heads)
                tensors[f"{name}{level}"] = retained.new_zeros(shape)
            # Position p lies at p + k - 1, so that no window begins before the buffer does.
            length = config.kernel - 1 + self.capacity
            tensors[f"gated{level}"] = retained.new_zeros(len(count), length, config.convolved)
        past = int(count.max()) if config.retained else 0
        stream = Stream(tensors, np.full(len(count), config.retained - past))
        if past:
            self._extend(stream, retained[:, -past:], outputs=False)
        return stream

    def append(self, stream: Stream, tokens: Tensor) -> Tensor:
        return self._extend(stream, tokens)

    def commit(self, stream: Stream) -> Memory:
        limit, stop = self.config.retained, int(stream.positions[0])
        return stream["tokens"][:, stop - limit : stop], (stream["count"] + stop - limit).clamp(
            max=limit
        )

    def memory_parts(self, memory: Memory) -> dict[str, tuple[int, ...]]:
        return named_parts(memory, {"cache": (0,)})

    def _extend(self, stream: Stream, tokens: Tensor, outputs: bool = True) -> Tensor:
        """Run new positions [B, n, d] through the blocks, against what is kept of all earlier ones.

        Without `outputs` only what they leave for later positions is wanted, and the last block is
        not finished.
        """
        config, count = self.config, stream["count"]
        here = stream.here(tokens.shape[1])
        index = (
            torch.arange(here.start, here.stop, device=tokens.device)[None]
            if isinstance(here, slice)
            else here
        )
        begin = config.retained - (int(count.max()) if config.retained else 0)
        columns = slice(begin, int(stream.positions.max()) + tokens.shape[1])
        view = self._view(
            index, torch.arange(begin, columns.stop, device=tokens.device), config.retained - count
        )
        place(stream["tokens"], here, tokens)
        hidden = self.norm(tokens)
        for level, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            new = block.project(hidden)
            keys, values, gated = (stream[f"{name}{level}"] for name in ("keys", "values", "gated"))
            place(keys.transpose(1, 2), here, new.keys.transpose(1, 2))
            place(values.transpose(1, 2), here, new.values.transpose(1, 2))
            place(gated[:, config.kernel - 1 :], here, new.gated)
            if not outputs and level + 1 == config.layers:
                break
            if isinstance(here, slice):
                windows = block.convolution.windows(
                    gated[:, here.start : here.stop + config.kernel - 1]
                )
            else:
                rows = torch.arange(len(here), device=here.device)[:, None, None]
                windows = gated[
                    rows, here[..., None] + torch.arange(config.kernel, device=here.device)
                ]
            hidden = block.finish(
                hidden, new, keys[:, :, columns], values[:, :, columns], windows, view
            )
        stream.positions = stream.positions + tokens.shape[1]
        return hidden


def _visible(index: Tensor, columns: Tensor, first: Tensor) -> Tensor:
    """Whether positions `index` [b, n] see `columns` ([t] or [b, n, t]): up to themselves, from
    `first` [b] on."""
    here = index[..., None]
    # Empty positions must see something: themselves.
    return (columns <= here) & (columns >= first[:, None, None]) | (columns == here)
