"""Long-Short Decision Transformer: half of the channels attend, the other half are convolved.

Like DT it sees the last N x K steps, in a window that slides by `stride` steps at a time while
acting; the embedded tokens that stay are encoded anew. Differences from the released class: the
convolution's kernel reaches back over all of its taps (half of them were masked), time steps are
the true ones while acting (they were 0, then 1), and steps past the table share its last row (they
failed).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rate.models.backbone import Backbone, Memory, ModelConfig, Stream, empty_keys_values, xavier
from rate.models.nn.cpu import Dropout
from rate.models.nn.dynamic_convolution import GROUP, DynamicConvolution
from rate.segment import first_rows
from rate.values import Positive, Range, Rate


@dataclass(frozen=True)
class Config(ModelConfig):
    """Long-Short Decision Transformer: attention for what is far, dynamic convolution for what is
    near."""

    layers: Positive = 2
    """Blocks, L."""
    heads: Positive = 2
    """Attention heads, h; they share the channels that attend."""
    convolution_channels: Annotated[int, Range(-1)] = -1
    """Channels that are convolved, c, in groups of four; -1 stands for half of the width."""
    kernel: Positive = 6
    """Tokens that the convolution sees, the newest included."""
    feed_forward: Annotated[int, Range(-1)] = -1
    """Inner width of the feed-forward block; -1 stands for four times the width."""
    attention_dropout: Rate = 0.1
    """Dropout rate on attended values."""
    kernel_dropout: Rate = 0.2
    """Dropout rate on predicted kernels, before their softmax."""
    timesteps: Positive = 1000
    """Rows of the learned table of time steps; later steps share the last one."""
    stride: Positive = 1
    """Steps by which the window slides while acting."""

    whole_windows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stride > self.window:
            raise ValueError(
                f"stride is {self.stride}, but the window has {self.window} steps: let it slide "
                "by at most as many"
            )
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
        half = self.width // (2 * GROUP) * GROUP
        return half if self.convolution_channels == -1 else self.convolution_channels

    @property
    def attending(self) -> int:
        """Channels that attend."""
        return self.width - self.convolved

    @property
    def context(self) -> str:
        return f"the last {self.window} steps, in a window that slides by {self.stride}"

    @property
    def first_segment(self) -> int:
        return self.window

    @property
    def retained(self) -> int:
        """Tokens kept from earlier segments."""
        return (self.window - self.stride) * len(self.tokens)

    def build(self) -> "LongShortTransformer":
        return LongShortTransformer(self)

    def initialise(self, policy: nn.Module) -> None:
        xavier(policy)


class View(NamedTuple):
    """What positions may see."""

    keys: Tensor
    """Keys by queries, [b, 1, n, t] boolean."""
    taps: Tensor
    """Taps of the convolution by positions, [b, n, k] boolean."""


class Projected(NamedTuple):
    """What a block makes of hidden states."""

    queries: Tensor
    """[B, h, n, w]."""
    keys_values: tuple[Tensor, Tensor]
    """Keys and values, [B, h, n, w] each."""
    gated: Tensor
    """Gated inputs of the convolution, [B, n, c]."""


Extended = tuple[tuple[Tensor, Tensor], Tensor]
"""Keys and values [B, h, t, w] and windows of the convolution [B, n, k, c] that a block sees."""


class Block(nn.Module):
    """A post-norm block: x <- LN(x + Mix(x)), then x <- LN(x + MLP(x)).

    Mix gates what attention and convolution give, u = [attended ; convolved], by a softmax over all
    channels: W_o (softmax(W_2 ReLU(W_1 u)) * u).
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.width
        feed_forward = config.feed_forward if config.feed_forward > 0 else 4 * width
        self.heads, self.split = config.heads, [config.attending, config.convolved]
        self.query_key_value = nn.Linear(config.attending, 3 * config.attending)
        channels = config.convolved
        self.convolution = DynamicConvolution(channels, config.kernel, config.kernel_dropout)
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
        projected = self.query_key_value(attending).unflatten(-1, (3, self.heads, -1))
        queries, keys, values = projected.permute(2, 0, 3, 1, 4).unbind(0)
        return Projected(queries, (keys, values), self.convolution.gate(convolved))

    def finish(
        self,
        hidden: Tensor,
        new: Projected,
        keys_values: tuple[Tensor, Tensor],
        windows: Tensor,
        view: View,
    ) -> Tensor:
        """The block's output [B, n, d].

        Args:
            hidden: The block's input, [B, n, d].
            new: What it was projected to.
            keys_values: All keys and values, [B, h, t, w] each.
            windows: Inputs of the convolution at its taps, [B, n, k, c].
            view: What may be seen.
        """
        keys, values = keys_values
        attended = F.scaled_dot_product_attention(new.queries, keys, values, view.keys)
        attended = self.attention_dropout(attended).transpose(1, 2).flatten(2)
        mixed = torch.cat([attended, self.convolution(new.gated, windows, view.taps)], -1)
        hidden = self.mix_norm(hidden + self.output(self.gate(mixed) * mixed))
        return self.feed_forward_norm(hidden + self.feed_forward(hidden))


class LongShortTransformer(Backbone):
    """Positions, from left to right: [retained tokens | segment's tokens].

    Memory is the tuple (embedded tokens of earlier segments [B, p, d] right-aligned, their number
    in each row [B]); p, the largest of these numbers, grows with the segments up to the capacity.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.dropout = Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.capacity = config.window * len(config.tokens)

    def initial_memory(self, batch: int) -> Memory:
        like = self.norm.weight
        retained = like.new_zeros(batch, 0, self.config.width)
        return retained, torch.zeros(batch, dtype=torch.int64, device=like.device)

    def memory_parts(self) -> dict[str, tuple[int, ...]]:
        return {"cache": (0,)} if self.config.retained else {}

    def full_size(self, memory: Memory) -> Memory:
        retained, count = memory
        size = self.config.retained - retained.shape[1]
        return F.pad(retained, (0, 0, size, 0)), count

    def forward(self, tokens: Tensor, memory: Memory, complete: int) -> tuple[Tensor, Memory]:
        retained, count = memory
        past = retained.shape[1]
        inputs = torch.cat([retained, tokens], 1) if past else tokens
        index = torch.arange(inputs.shape[1], device=tokens.device)
        view = self._view(index[None], index, past - count)

        def extend(level: int, block: Block, new: Projected) -> Extended:
            padded = F.pad(new.gated, (0, 0, self.config.kernel - 1, 0))
            return new.keys_values, block.convolution.windows(padded)

        hidden = self._pass(self.norm(self.dropout(inputs)), extend, view)
        if complete and self.config.retained:
            memory = self._retain(retained, tokens, count, complete)
        return hidden[:, past:], memory

    def _retain(self, retained: Tensor, tokens: Tensor, count: Tensor, complete: int) -> Memory:
        """The memory after a segment of the first `complete` rows."""
        after, kept, longer = self.retain(retained, tokens, count, self.config.retained)
        return first_rows((after, longer), (kept, count), complete)

    def _view(self, index: Tensor, columns: Tensor, first: Tensor) -> View:
        """What positions `index` [b, n] may see of positions `columns` [t].

        Positions before `first` [B] are empty.
        """
        taps = index[..., None] + torch.arange(1 - self.config.kernel, 1, device=index.device)
        return View(_visible(index, columns, first)[:, None], _visible(index, taps, first))

    def _pass(
        self,
        hidden: Tensor,
        extend: Callable[[int, Block, Projected], Extended],
        view: View,
        outputs: bool = True,
    ) -> Tensor:
        """Run positions through the blocks.

        Args:
            hidden: [B, n, d].
            extend: Takes what a block makes of them, and gives what it sees.
            view: What may be seen.
            outputs: Without outputs the last block is not finished.
        """
        for level, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            new = block.project(hidden)
            keys_values, windows = extend(level, block, new)
            if not outputs and level + 1 == len(self.blocks):
                break
            hidden = block.finish(hidden, new, keys_values, windows, view)
        return hidden

    def start(self, memory: Memory) -> Stream:
        config = self.config
        retained, count = memory
        past = retained.shape[1]
        # An episode fills its first window before anything leaves it.
        batch, begin = count.shape[0], config.retained - past if past else 0
        tokens = retained.new_zeros(batch, self.capacity, config.width)
        full = torch.full_like(count, config.retained)
        tensors = {"tokens": tokens, "count": count.clone() if past else full}
        shape = (batch, config.heads, self.capacity, config.attending // config.heads)
        tensors |= empty_keys_values(config.layers, shape, retained)
        # Position p of the convolution's inputs lies at p + k - 1, so that no window begins before
        # the buffer does.
        length = config.kernel - 1 + self.capacity
        for level in range(config.layers):
            tensors[f"gated{level}"] = retained.new_zeros(batch, length, config.convolved)
        stream = Stream(tensors, count.new_full((1,), begin), begin, begin)
        if past:
            self._extend(stream, retained, outputs=False)
        return stream

    def start_fixed(self, batch: int) -> Stream:
        return self.start(self.initial_memory(batch))

    def append(self, stream: Stream, tokens: Tensor) -> Tensor:
        return self._extend(stream, tokens)

    def write_memory(self, stream: Stream) -> Memory:
        limit, count = self.config.retained, stream["count"]
        if not limit:
            return stream["tokens"][:, :0], count
        retained = stream["tokens"][:, stream.first : limit]
        return self._retain(retained, stream["tokens"][:, limit:], count, count.shape[0])

    def _extend(self, stream: Stream, tokens: Tensor, outputs: bool = True) -> Tensor:
        """Run the next positions [B, n, d] through the blocks."""
        length = tokens.shape[1]
        index = stream.next_positions(length)
        keys = slice(stream.first, min(stream.stop + length, self.capacity))
        columns = torch.arange(keys.start, keys.stop, device=tokens.device)
        view = self._view(index, columns, self.config.retained - stream["count"])
        stream.write(stream["tokens"], index, tokens)
        taps = index[..., None] + torch.arange(self.config.kernel, device=tokens.device)

        def extend(level: int, block: Block, new: Projected) -> Extended:
            gated = stream[f"gated{level}"]
            stream.write(gated[:, self.config.kernel - 1 :], index, new.gated)
            keys_values = stream.extend(level, index, keys, new.keys_values)
            return keys_values, gated[stream.row_numbers[..., None], taps]

        hidden = self._pass(self.norm(tokens), extend, view, outputs)
        stream.advance(length, self.capacity)
        return hidden


def _visible(index: Tensor, columns: Tensor, first: Tensor) -> Tensor:
    """Whether positions `index` [b, n] see `columns` ([t] or [b, n, t]): up to themselves, from
    `first` [b] on."""
    here = index[..., None]
    # Empty positions must see something: themselves.
    return (columns <= here) & (columns >= first[:, None, None]) | (columns == here)
