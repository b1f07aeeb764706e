"""ELMUR: slots of memory in each layer, read by its tokens and written, least recently used first,
after each segment.

From arXiv 2510.07151 (baselines, section 11), post-norm with LayerNorm. Feed-forward blocks are
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

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rate.models.backbone import Backbone, Memory, ModelConfig, Stream, place, xavier
from rate.models.nn.attention import Positions, RelativeAttention
from rate.models.nn.cross_attention import CrossAttention, DistanceBias
from rate.models.nn.dropout import Dropout
from rate.models.rate import QUERY_BLOCK

SPREAD = 0.02
"""Standard deviation that attention biases and the slots' first vectors are drawn with."""


@dataclass(frozen=True)
class Config(ModelConfig):
    """External Layer Memory with Update/Rewrite."""

    layers: int = 2
    """Layers, L."""
    heads: int = 2
    """Heads of self-attention, of reading and of writing."""
    head_width: int = 32
    """Width of one head; heads x head width need not equal the model's width."""
    feed_forward: int = 64
    """Inner width of the feed-forward blocks of tokens and of memory."""
    attention_dropout: float = 0.1
    """Dropout rate on attention weights."""
    memory_slots: int = 8
    """Slots of memory in each layer, M."""
    blend: float = 0.5
    """Share of the new content when a slot that holds something is written, lambda; an empty slot
    takes all of it."""
    memory_dropout: float = 0.05
    """Dropout rate on what is written."""
    distance_limit: int = 256
    """Distances between tokens and slots are told apart below this many tokens, D_max."""
    observation_only: bool = False
    """Whether a step is its observation alone (the published settings), without return-to-go and
    action."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(
            1, "layers", "heads", "head_width", "feed_forward", "memory_slots", "distance_limit"
        )
        self.require_rates("attention_dropout", "memory_dropout")
        if not 0 < self.blend <= 1:
            raise ValueError(f"blend must lie in (0, 1], but {self.blend} was given")

    @property
    def tokens(self) -> tuple[str, ...]:
        return ("observation",) if self.observation_only else super().tokens

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
        width, heads, head_width, rate = (
            config.width,
            config.heads,
            config.head_width,
            config.attention_dropout,
        )
        self.attention = RelativeAttention(width, heads, head_width, rate)
        self.read = CrossAttention(width, heads, head_width, rate)
        self.write = CrossAttention(width, heads, head_width, rate)
        self.bias = DistanceBias(heads, config.distance_limit)
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

        attended: what self-attention gave [B, n, d]; keys, values: of the memory slots [B, h, M,
        head width]; bias: of reading [B, h, n, M].
        """
        hidden = self.norms["attention"](hidden + self.dropout(attended))
        hidden = self.norms["read"](hidden + self.dropout(self.read(hidden, keys, values, bias)))
        return self.norms["feed_forward"](hidden + self.feed_forward(hidden))

    def propose(self, slot: Tensor, states: Tensor, distance: Tensor) -> Tensor:
        """What a slot [B, d] should hold after a segment with hidden states [B, n, d], at
        `distance` [B, n] from it."""
        asking = slot[:, None]
        read = self.write(asking, *self.write.keys_values(states), self.bias(distance[:, None]))
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
        self.empty_slot = nn.Parameter(SPREAD * torch.randn(config.layers, config.width))
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
        old = slots[torch.arange(len(slots), device=slots.device), :, slot]
        new = torch.stack(
            [
                layer.propose(old[:, level], states[:, level], distance)
                for level, layer in enumerate(self._layers)
            ],
            1,
        )
        blend = self.config.blend
        written = torch.where(empty[..., None], new, blend * new + (1 - blend) * old)
        chosen = torch.arange(slots.shape[2], device=slots.device) == slot[:, None]
        slots = torch.where(chosen[:, None, :, None], written[:, :, None], slots)
        seen = seen + length
        return slots, torch.where(chosen, seen[:, None] - 1, positions), seen

    @property
    def _layers(self) -> list[Layer]:
        return [layer for layer in self.layers if isinstance(layer, Layer)]

    # Whole segments
    # --------------------------------------------------------------------------------

    def forward(self, tokens: Tensor, memory: Memory, commit: bool = True) -> tuple[Tensor, Memory]:
        length = tokens.shape[1]
        index = torch.arange(length, device=tokens.device)
        distance, hidden_slots = self._reach(memory)
        distance = distance[:, None] + index[:, None]
        mask = torch.zeros(length, length, device=tokens.device).masked_fill(
            index > index[:, None], -torch.inf
        )
        table, blocks = (
            self.positions,
            tuple(range(QUERY_BLOCK, length - QUERY_BLOCK // 2, QUERY_BLOCK)),
        )
        hidden = self.dropout(tokens)
        states = []
        for level, layer in enumerate(self._layers):
            query, keys, values = layer.attention.project(hidden)
            rotated = layer.attention.rotate(
                query + self.position_bias[:, None], table.sin[:length], table.cos[:length]
            )
            content = query + self.content_bias[:, None]
            attended = layer.attention.attend(
                content, rotated, keys, values, table.table[:length], mask, blocks
            )
            slots = layer.read.keys_values(memory[0][:, level])
            bias = layer.bias(distance) + hidden_slots
            hidden = layer.finish(hidden, layer.attention.merge(attended), *slots, bias)
            states.append(hidden)
        return hidden, self._write(memory, torch.stack(states, 1)) if commit else memory

    # Token by token
    # --------------------------------------------------------------------------------

    def start(self, memory: Memory) -> Stream:
        config, (slots, positions, seen) = self.config, memory
        distance, hidden_slots = self._reach(memory)
        tensors = {
            "slots": slots.clone(),
            "slot_positions": positions.clone(),
            "seen": seen.clone(),
        }
        tensors |= {"distance": distance, "hidden_slots": hidden_slots}
        tensors["states"] = slots.new_zeros(len(seen), self.capacity, config.layers, config.width)
        for level, layer in enumerate(self._layers):
            for name in ("keys", "values"):
                tensors[f"{name}{level}"] = slots.new_zeros(
                    len(seen), config.heads, self.capacity, config.head_width
                )
            read = layer.read.keys_values(slots[:, level])
            tensors[f"slot_keys{level}"], tensors[f"slot_values{level}"] = read
        return Stream(tensors, np.zeros(len(seen), dtype=np.int64))

    def append(self, stream: Stream, tokens: Tensor) -> Tensor:
        length, table = tokens.shape[1], self.positions
        here, stop = stream.here(length), int(stream.positions.max()) + length
        columns = torch.arange(stop, device=tokens.device)
        index = columns[None, here] if isinstance(here, slice) else here
        mask = torch.zeros(len(index), length, stop, device=tokens.device)
        mask = mask.masked_fill(columns > index[..., None], -torch.inf)[:, None]
        sin, cos = table.sin[index][:, None], table.cos[index][:, None]
        distance = stream["distance"][:, None] + index[..., None]
        hidden = tokens
        for level, layer in enumerate(self._layers):
            query, *new = layer.attention.project(hidden)
            keys, values = stream[f"keys{level}"], stream[f"values{level}"]
            for cache, projected in zip((keys, values), new, strict=True):
                place(cache.transpose(1, 2), here, projected.transpose(1, 2))
            rotated = layer.attention.rotate(query + self.position_bias[:, None], sin, cos)
            content = query + self.content_bias[:, None]
            attended = layer.attention.attend_few(
                content, rotated, keys[:, :, :stop], values[:, :, :stop], table.table[:stop], mask
            )
            slots = stream[f"slot_keys{level}"], stream[f"slot_values{level}"]
            bias = layer.bias(distance) + stream["hidden_slots"]
            hidden = layer.finish(hidden, layer.attention.merge(attended), *slots, bias)
            place(stream["states"][:, :, level], here, hidden)
        stream.positions = stream.positions + length
        return hidden

    def commit(self, stream: Stream) -> Memory:
        memory = (stream["slots"], stream["slot_positions"], stream["seen"])
        return self._write(memory, stream["states"][:, : int(stream.positions[0])].transpose(1, 2))
