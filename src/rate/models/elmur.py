"""ELMUR: slots of memory in each layer, read by its tokens and written, least recently used first,
after each segment.

From arXiv 2510.07151, post-norm with LayerNorm. Feed-forward blocks are
plain SwiGLU: its mixtures of experts are left out. Where the released code departs from the paper
or trips over itself, this model

(a) replaces an empty slot entirely, as the paper says, and blends only slots that hold something;
(b) starts all slots of a layer from one learned vector in place of noise, so evaluation is
deterministic; (c) pairs every token with its own distance to a slot (there the distances ran newest
first, the tokens oldest first); (d) counts positions in self-attention from the segment's
beginning, so that it is the same in every segment; (e) lets the gradient cross segments, which
trains the write path (bptt_segments 1 detaches memory as they do); (f) writes a segment's memory
once, from all of its tokens, the last action included.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rate.models.backbone import Backbone, Memory, ModelConfig, Stream, empty_keys_values, xavier
from rate.models.nn.cpu import QUERY_BLOCK, Dropout
from rate.models.nn.transformer import (
    CrossAttention,
    DistanceBias,
    KeysValues,
    Positions,
    RelativeAttention,
    View,
    visible,
)
from rate.segment import first_rows
from rate.values import Fraction, NotNegativeFloat, Positive, Rate

SPREAD = 0.02
"""Standard deviation that attention biases and, by default, first slots are drawn with."""


@dataclass(frozen=True)
class Config(ModelConfig):
    """External Layer Memory with Update/Rewrite."""

    layers: Positive = 2
    """Layers, L."""
    heads: Positive = 2
    """Heads of self-attention, of reading and of writing."""
    head_width: Positive = 32
    """Width of one head; heads x head width need not equal the model's width."""
    feed_forward: Positive = 64
    """Inner width of the feed-forward blocks of tokens and of memory."""
    attention_dropout: Rate = 0.1
    """Dropout rate on attention weights."""
    memory_slots: Positive = 8
    """Slots of memory in each layer, M."""
    blend: Fraction = 0.5
    """Share of the new content when a slot that holds something is written, lambda; an empty slot
    takes all of it."""
    memory_dropout: Rate = 0.05
    """Dropout rate on what is written."""
    distance_limit: Positive = 256
    """Distances between tokens and slots are distinguished below this many tokens, D_max."""
    start_deviation: NotNegativeFloat = SPREAD
    """Standard deviation that a layer's first slots are drawn with."""

    @property
    def context(self) -> str:
        slots = f"{self.memory_slots} memory slots in each layer"
        return f"its segment of at most {self.segment_length} steps, {slots}"

    def build(self) -> "ExternalMemoryTransformer":
        return ExternalMemoryTransformer(self)

    def initialise(self, policy: nn.Module) -> None:
        xavier(policy)


class SwiGLU(nn.Module):
    """Feed-forward block W_o (SiLU(W_g x) * W_i x) with dropout."""

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.inputs = nn.Linear(width, 2 * inner)
        self.output = nn.Linear(inner, width)
        self.dropout = Dropout(dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        gate, values = self.inputs(inputs).chunk(2, -1)
        return self.dropout(self.output(F.silu(gate) * values))


class Layer(nn.Module):
    """Self-attention, reading and feed-forward of tokens; writing and feed-forward of one memory
    slot. All post-norm."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.width
        shape = (width, config.heads, config.head_width, config.attention_dropout)
        self.attention = RelativeAttention(*shape)
        self.read, self.write = CrossAttention(*shape), CrossAttention(*shape)
        self.bias = DistanceBias(config.heads, config.distance_limit)
        self.feed_forward = SwiGLU(width, config.feed_forward, config.dropout)
        self.memory_feed_forward = SwiGLU(width, config.feed_forward, config.dropout)
        names = ("attention", "read", "feed_forward", "write", "memory_feed_forward")
        self.norms = nn.ModuleDict({name: nn.LayerNorm(width) for name in names})
        self.dropout = Dropout(config.dropout)
        self.memory_dropout = Dropout(config.memory_dropout)

    def finish(
        self, hidden: Tensor, attended: Tensor, keys: Tensor, values: Tensor, bias: Tensor
    ) -> Tensor:
        """Hidden states [B, n, d] after the layer.

        Args:
            hidden: Hidden states before it, [B, n, d].
            attended: Output of self-attention, [B, n, d].
            keys: Keys of the memory slots, [B, h, M, w].
            values: Values of the memory slots, [B, h, M, w].
            bias: Added to the scores of reading, [B, h, n, M].
        """
        hidden = self.norms["attention"](hidden + self.dropout(attended))
        hidden = self.norms["read"](
            hidden + self.dropout(self.read.attend(hidden, keys, values, bias))
        )
        return self.norms["feed_forward"](hidden + self.feed_forward(hidden))

    def propose(self, slot: Tensor, states: Tensor, distance: Tensor) -> Tensor:
        """What a slot [B, d] should hold after a segment with hidden states [B, n, d], at
        `distance` [B, n] from it."""
        asking = slot[:, None]
        bias = self.bias(distance[:, None])
        read = self.write.attend(asking, *self.write.keys_values(states), bias)
        proposal = self.norms["write"](asking + self.dropout(read))
        proposal = self.norms["memory_feed_forward"](proposal + self.memory_feed_forward(proposal))
        return self.memory_dropout(proposal)[:, 0]


class ExternalMemoryTransformer(Backbone):
    """Tokens of a segment attend to one another and, in each layer, to that layer's memory slots.

    Memory is the tuple (slots [B, L, M, d], their positions [B, M], tokens seen so far [B]), the
    latter two int64. A slot's position is that of the newest token when it was written, -1 while it
    is empty; every layer writes one slot after each segment, so layers share positions. Empty slots
    are read by nobody, unless all of them are empty.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        # One pair of self-attention biases for all layers, u for content and v for position.
        self.content_bias = nn.Parameter(SPREAD * torch.randn(config.heads, config.head_width))
        self.position_bias = nn.Parameter(SPREAD * torch.randn(config.heads, config.head_width))
        slots = torch.randn(config.layers, config.width)
        self.empty_slot = nn.Parameter(config.start_deviation * slots)
        self.capacity = config.segment_length * len(config.tokens)
        # Training may cut its windows into fewer and longer segments.
        self.positions = Positions(config.window * len(config.tokens), config.width)

    # Memory
    # --------------------------------------------------------------------------------

    def initial_memory(self, batch: int) -> Memory:
        size, device = self.config.memory_slots, self.empty_slot.device
        slots = self.empty_slot[None, :, None].expand(batch, -1, size, -1)
        positions = torch.full((batch, size), -1, dtype=torch.int64, device=device)
        return slots, positions, torch.zeros(batch, dtype=torch.int64, device=device)

    def _reach(self, memory: Memory) -> tuple[Tensor, Tensor]:
        """Distance [B, M] of a segment's first token from each slot, and a mask [B, 1, 1, M] that
        hides empty slots."""
        slots, positions, seen = memory
        empty = positions < 0
        # An empty slot counts as just before the segment, so that it looks the same in every
        # segment.
        distance = torch.where(empty, 1, seen[:, None] - positions)
        hidden = empty & ~empty.all(1, keepdim=True)
        mask = torch.zeros(hidden.shape, device=slots.device).masked_fill(hidden, -torch.inf)
        return distance, mask[:, None, None]

    def _write(self, memory: Memory, states: Tensor) -> Memory:
        """The next memory, from the layers' hidden states over a segment, [B, L, n, d].

        Only the slot that is written is proposed for: the first empty one, else the least recently
        written.
        """
        slots, positions, seen = memory
        length = states.shape[2]
        slot = positions.argmin(1)
        empty = positions.gather(1, slot[:, None]) < 0
        # The mirror image of reading: negative, since the slot is older than the tokens.
        distance = -self._reach(memory)[0].gather(1, slot[:, None]) - torch.arange(
            length, device=slots.device
        )
        old = slots[torch.arange(slots.shape[0], device=slots.device), :, slot]
        parts = zip(self._layers, old.unbind(1), states.unbind(1), strict=True)
        new = torch.stack([layer.propose(slot, kept, distance) for layer, slot, kept in parts], 1)
        blend = self.config.blend
        written = torch.where(empty[..., None], new, blend * new + (1 - blend) * old)
        chosen = torch.arange(slots.shape[2], device=slots.device) == slot[:, None]
        slots = torch.where(chosen[:, None, :, None], written[:, :, None], slots)
        seen = seen + length
        return slots, torch.where(chosen, seen[:, None] - 1, positions), seen

    @property
    def _layers(self) -> list[Layer]:
        return [layer for layer in self.layers if isinstance(layer, Layer)]

    # Whole segments and single tokens ----------------------------------------------------------

    def forward(self, tokens: Tensor, memory: Memory, complete: int) -> tuple[Tensor, Memory]:
        length = tokens.shape[1]
        index = torch.arange(length, device=tokens.device)[None]
        cut = range(QUERY_BLOCK, length - QUERY_BLOCK // 2, QUERY_BLOCK)
        view = self._view(index, length)._replace(cuts=tuple(cut))
        slots = self._slots(memory)
        states = self._pass(self.dropout(tokens), index, view, self._reach(memory), slots)
        if complete:
            after = self._write(memory, torch.stack(states, 1))
            memory = first_rows(after, memory, complete)
        return states[-1], memory

    def start(self, memory: Memory) -> Stream:
        config, (slots, positions, seen) = self.config, memory
        distance, hidden_slots = self._reach(memory)
        batch = seen.shape[0]
        tensors = {"slots": slots.clone(), "slot_positions": positions.clone()}
        tensors |= {"seen": seen.clone(), "distance": distance, "hidden_slots": hidden_slots}
        tensors["states"] = slots.new_zeros(batch, self.capacity, config.layers, config.width)
        shape = (batch, config.heads, self.capacity, config.head_width)
        tensors |= empty_keys_values(config.layers, shape, slots)
        for level, read in enumerate(self._slots(memory)):
            tensors[f"slot_keys{level}"], tensors[f"slot_values{level}"] = read
        return Stream(tensors, seen.new_zeros(1))

    def append(self, stream: Stream, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        index = stream.next_positions(length)
        stop = min(stream.stop + length, self.capacity)
        reach = stream["distance"], stream["hidden_slots"]
        slots = [
            (stream[f"slot_keys{level}"], stream[f"slot_values{level}"])
            for level in range(len(self.layers))
        ]
        states = self._pass(tokens, index, self._view(index, stop), reach, slots, stream)
        stream.advance(length, self.capacity)
        return states[-1]

    def write_memory(self, stream: Stream) -> Memory:
        memory = (stream["slots"], stream["slot_positions"], stream["seen"])
        return self._write(memory, stream["states"].transpose(1, 2))

    def _view(self, index: Tensor, stop: int) -> View:
        """The view of queries at positions `index` [b, n], which see keys up to themselves."""
        columns = self.positions.index[:stop]
        table = self.positions.table[:stop]
        return View(*self.positions.at(index), table, visible(columns <= index[..., None]))

    def _pass(
        self,
        hidden: Tensor,
        index: Tensor,
        view: View,
        reach: tuple[Tensor, Tensor],
        slots: Sequence[KeysValues],
        stream: Stream | None = None,
    ) -> list[Tensor]:
        """Hidden states [B, n, d] after each layer, of positions `index` [b, n].

        Args:
            hidden: [B, n, d].
            index: Positions in the segment, [b, n] with b = 1 or B.
            view: What self-attention sees.
            reach: Distance of the segment's first token from the slots, and the mask of the slots.
            slots: Keys and values of each layer's memory slots, [B, h, M, w] each.
            stream: A segment under way: holds keys and values of earlier positions, and takes what
                the layers leave.
        """
        distance, hidden_slots = reach
        distance = distance[:, None] + index[..., None]
        biases = self.content_bias.unsqueeze(1), self.position_bias.unsqueeze(1)
        states = []
        for level, layer in enumerate(self._layers):
            query, keys_values = layer.attention.project(hidden)
            if stream is not None:
                seen = slice(view.mask.shape[-1])
                keys_values = stream.extend(level, index, seen, keys_values)
            attended = layer.attention(query, keys_values, biases, view)
            bias = layer.bias(distance) + hidden_slots
            hidden = layer.finish(hidden, attended, *slots[level], bias)
            if stream is not None:
                stream.write(stream["states"][:, :, level], index, hidden)
            states.append(hidden)
        return states

    def _slots(self, memory: Memory) -> list[KeysValues]:
        """Keys and values of the memory slots of each layer."""
        layers = enumerate(self._layers)
        return [layer.read.keys_values(memory[0][:, level]) for level, layer in layers]
