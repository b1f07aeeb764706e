"""RATE: a transformer over segments with memory tokens at both ends, cached hidden states and a
Memory Retention Valve.

One class serves a family: DT, DT-XL, RMT and TrXL are the same parts switched off (method, section
10).
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from rate.models.backbone import Backbone, Memory, ModelConfig, Stream, named_parts, place
from rate.models.nn.attention import Positions
from rate.models.nn.dropout import Dropout
from rate.models.nn.transformer_layer import Layer, LayerKind
from rate.models.nn.valve import Activation, Valve, ValveKind, build_valve

QUERY_BLOCK = 64
"""Query rows scored at once on a CPU: later keys of a causal block are never computed, and scores
stay in the cache."""


@dataclass(frozen=True)
class Config(ModelConfig):
    """Recurrent Action Transformer with Memory."""

    dropout: float = 0.4
    """Dropout rate on token embeddings and layer outputs; noise teaches memory to correct itself
    (docs/log.md)."""
    layers: int = 2
    """Transformer layers, L."""
    heads: int = 2
    """Attention heads, h."""
    head_width: int = 32
    """Width of one attention head; heads x head width need not equal the model's width."""
    feed_forward: int = 0
    """Inner width of the feed-forward block; 0 leaves the block out."""
    layer: LayerKind = "trxl"
    """Layer variant: post-norm Transformer-XL, identity-map reordered TrXL-I, or gated GTrXL."""
    attention_dropout: float = 0.2
    """Dropout rate on attention weights, those of the valve included."""
    memory_tokens: int = 4
    """Memory tokens at each end of a segment, m."""
    valve: ValveKind = "ca-2"
    """Memory Retention Valve: cross-attention asked by incoming (ca-2) or written (ca-1) memory, a
    gate, a cell, or none."""
    valve_heads: int = 2
    """Heads of a cross-attention valve, H."""
    valve_activation: Activation = "relu"
    """Activation on the written memory in front of a cross-attention valve."""
    cached_states: int = 0
    """Cached hidden states that tokens may attend to, P, in tokens; 0 for sparse tasks."""
    memory_reads_cache: bool = False
    """Whether memory tokens see cached hidden states, too."""
    context_segments: int = 0
    """Earlier segments kept as plain tokens and encoded anew with each segment (the sliding window
    of DT)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(1, "layers", "heads", "head_width")
        self.require_at_least(
            0, "memory_tokens", "cached_states", "context_segments", "feed_forward"
        )
        self.require_rates("attention_dropout")
        if self.context_segments and (self.cached_states or self.memory_tokens):
            raise ValueError(
                "context_segments goes with neither memory_tokens nor cached_states: set these to 0"
            )

    @property
    def training_segment_length(self) -> int:
        # Over N segments of plain context, causal attention gives the same hidden states in one
        # pass.
        return self.segment_length * (1 + self.context_segments)

    @property
    def retained(self) -> int:
        """Token positions kept from earlier segments, as hidden states or as plain tokens."""
        return self.cached_states or self.context_segments * self.segment_length * len(self.tokens)

    def build(self) -> "MemoryTransformer":
        return MemoryTransformer(self)


class View(NamedTuple):
    """Where a forward pass stands: table of its keys, positions of its queries, what may see what,
    how to cut queries."""

    table: Tensor
    queries: slice
    mask: Tensor
    blocks: tuple[int, ...]


class MemoryTransformer(Backbone):
    """Positions, from left to right: [retained states | read memory | segment's tokens | write
    memory].

    Memory is the tuple (memory tokens [B, m, d], retained states [B, levels, P, d] right-aligned,
    their number [B]), and behind these the valve's own state, if it has one. Levels are the inputs
    of the layers (cached hidden states), or the embeddings alone (plain context).
    """

    layer_type: type[Layer] = Layer

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        memory_tokens, width = config.memory_tokens, config.width
        self.levels = config.layers if config.cached_states else 1
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(
            self.layer_type(
                config.layer,
                width,
                config.heads,
                config.head_width,
                config.feed_forward,
                config.dropout,
                config.attention_dropout,
            )
            for _ in range(config.layers)
        )
        # One pair of attention biases for all layers, u for content and v for position.
        self.content_bias = nn.Parameter(
            nn.init.xavier_uniform_(torch.empty(config.heads, config.head_width))
        )
        self.position_bias = nn.Parameter(
            nn.init.xavier_uniform_(torch.empty(config.heads, config.head_width))
        )
        if memory_tokens:
            self.memory_tokens = nn.Parameter(torch.randn(memory_tokens, width))
        self.valve: Valve | None = None
        if memory_tokens:
            self.valve = build_valve(
                config.valve,
                memory_tokens,
                width,
                config.valve_heads,
                config.valve_activation,
                config.attention_dropout,
            )
        segment = max(config.training_segment_length, config.window) * len(
            config.tokens
        )  # in training also one segment
        self.read_start = config.retained
        self.token_start = self.read_start + memory_tokens
        self.capacity = (
            self.token_start + config.segment_length * len(config.tokens) + memory_tokens
        )
        self.positions = Positions(self.token_start + segment + memory_tokens, width)

    # Memory
    # --------------------------------------------------------------------------------

    def initial_memory(self, batch: int) -> Memory:
        config = self.config
        like = self.content_bias
        tokens = (
            self.memory_tokens.expand(batch, -1, -1)
            if config.memory_tokens
            else like.new_zeros(batch, 0, config.width)
        )
        retained = like.new_zeros(batch, self.levels, config.retained, config.width)
        state = self.valve.initial_state(batch) if self.valve is not None else ()
        return tokens, retained, torch.zeros(batch, dtype=torch.int64, device=like.device), *state

    def _write(self, memory: Memory, written: Tensor, states: Tensor) -> Memory:
        """The next memory from the write tokens' outputs [B, m, d] and the segment's states [B,
        levels, n, d]."""
        incoming, retained, count, *state = memory
        tokens, *state = (
            self.valve(incoming, written, *state) if self.valve is not None else (written,)
        )
        if self.config.retained:
            retained = torch.cat([retained, states], 2)[:, :, -self.config.retained :]
            count = (count + states.shape[2]).clamp(max=self.config.retained)
        return tokens, retained, count, *state

    def memory_parts(self, memory: Memory) -> dict[str, tuple[int, ...]]:
        # What a valve carries besides the tokens is memory, too.
        return named_parts(memory, {"memory": (0, *range(3, len(memory))), "cache": (1,)})

    # Whole segments
    # --------------------------------------------------------------------------------

    def forward(self, tokens: Tensor, memory: Memory, commit: bool = True) -> tuple[Tensor, Memory]:
        config = self.config
        incoming, retained, count = memory[:3]
        length = tokens.shape[1]
        write = config.memory_tokens if commit else 0
        parts = [incoming, tokens, incoming] if write else [incoming, tokens]
        hidden = self.dropout(torch.cat(parts, 1) if config.memory_tokens else tokens)
        past = int(count.max()) if config.retained else 0
        if config.context_segments and past:
            hidden = torch.cat([self.dropout(retained[:, 0, -past:]), hidden], 1)
        view = self._view(past, length, write, count)
        inputs = []
        for level, layer in enumerate(self.layers):
            inputs.append(hidden)
            cached = retained[:, level, -past:] if config.cached_states and past else None
            hidden = self._layer(layer, hidden, cached, view)
        hidden = self.dropout(hidden)
        first = config.memory_tokens + (past if config.context_segments else 0)
        if not commit:
            return hidden[:, first:], memory
        if config.cached_states:
            states = self._states(inputs, hidden)
        else:
            states = tokens[:, None] if config.retained else retained
        return hidden[:, first : first + length], self._write(
            memory, hidden[:, first + length :], states
        )

    def _states(self, inputs: list[Tensor], outputs: Tensor) -> Tensor:
        """What the cache keeps of a segment, [B, levels, n, d]: the layers' inputs, memory
        positions included."""
        return torch.stack(inputs, 1)

    def _view(self, past: int, length: int, write: int, count: Tensor) -> View:
        config = self.config
        read = config.memory_tokens
        start, stop = self.read_start - past, self.token_start + length + write
        mask = segment_mask(
            past, read, length, write, config.memory_reads_cache, bool(config.context_segments)
        )
        mask = mask.to(count.device)
        if past and int(count.min()) < past:
            empty = torch.arange(past, device=count.device) < past - count[:, None]
            hide = torch.zeros(len(count), 1, 1, mask.shape[1], device=count.device)
            hide[:, 0, 0, :past] = torch.where(empty, -torch.inf, 0.0)
            mask = mask + hide
            if config.context_segments:  # rows of empty context must see something: themselves
                mask.diagonal(dim1=-2, dim2=-1)[..., :past] = 0.0
        queries = slice(start if config.context_segments else self.read_start, stop)
        rows = queries.stop - queries.start
        blocks = tuple(range(max(QUERY_BLOCK, read), rows - write - QUERY_BLOCK // 2, QUERY_BLOCK))
        return View(self._table(slice(start, stop), count), queries, mask, blocks)

    def _table(self, keys: slice, count: Tensor) -> Tensor:
        """What keys hold at the positions `keys`, [t, d], or [B, 1, t, d] if it differs with the
        rows' `count` [B]."""
        return self.positions.table[keys]

    def _layer(self, layer: nn.Module, hidden: Tensor, cached: Tensor | None, view: View) -> Tensor:
        assert isinstance(layer, Layer)
        attention, positions = layer.attention, self.positions
        inputs = layer.attention_input(hidden)
        query, keys, values = attention.project(inputs)
        if cached is not None:
            old = attention.keys_values(layer.cache_input(cached))
            keys, values = (torch.cat(pair, 2) for pair in zip(old, (keys, values), strict=True))
        rotated = attention.rotate(
            query + self.position_bias[:, None],
            positions.sin[view.queries],
            positions.cos[view.queries],
        )
        attended = attention.attend(
            query + self.content_bias[:, None],
            rotated,
            keys,
            values,
            view.table,
            view.mask,
            view.blocks,
        )
        return layer.finish(hidden, inputs, attention.merge(attended))

    # Token by token
    # --------------------------------------------------------------------------------

    def start(self, memory: Memory) -> Stream:
        config = self.config
        incoming, retained, count = memory[:3]
        batch = len(count)
        tensors = {
            "memory_tokens": incoming.clone(),
            "retained": retained.clone(),
            "count": count.clone(),
        }
        tensors |= {f"valve{number}": state.clone() for number, state in enumerate(memory[3:])}
        for level in range(config.layers):
            for name in ("keys", "values"):
                tensors[f"{name}{level}"] = incoming.new_zeros(
                    batch, config.heads, self.capacity, config.head_width
                )
        if config.retained:
            tensors["states"] = incoming.new_zeros(batch, self.capacity, self.levels, config.width)
        stream = Stream(tensors, np.full(batch, self.read_start))
        past = int(count.max()) if config.retained else 0
        if past:
            tensors["states"][:, : self.read_start] = retained.transpose(1, 2)
        if config.cached_states and past:
            for level, layer in enumerate(self.layers):
                assert isinstance(layer, Layer)
                old = layer.attention.keys_values(layer.cache_input(retained[:, level]))
                for name, new in zip(("keys", "values"), old, strict=True):
                    tensors[f"{name}{level}"][:, :, : self.read_start] = new
        if config.context_segments and past:
            stream.positions = stream.positions - past
            self._extend(stream, retained[:, 0, -past:], "tokens", outputs=False)
        if config.memory_tokens:
            self._read(stream, incoming)
        return stream

    def _read(self, stream: Stream, incoming: Tensor) -> None:
        """Place the read memory [B, m, d] in front of a segment under way."""
        self._extend(stream, incoming, "memory", outputs=False)

    def append(self, stream: Stream, tokens: Tensor) -> Tensor:
        return self._extend(stream, tokens, "tokens")

    def commit(self, stream: Stream) -> Memory:
        config = self.config
        state = (tensor for name, tensor in stream.tensors.items() if name.startswith("valve"))
        memory = (stream["memory_tokens"], stream["retained"], stream["count"], *state)
        written = self._extend(stream, memory[0], "memory") if config.memory_tokens else memory[0]
        states = memory[1]
        if config.retained:
            start = self.read_start if config.cached_states else self.token_start
            states = stream["states"][:, start : int(stream.positions[0])].transpose(1, 2)
        return self._write(memory, written, states)

    def _extend(
        self,
        stream: Stream,
        tokens: Tensor,
        role: Literal["memory", "tokens"],
        outputs: bool = True,
    ) -> Tensor:
        """Run new positions [B, n, d] through the layers, against the keys and values of all
        earlier ones.

        Without `outputs` only their own keys and values are wanted, and the last layer's attention
        is left out.
        """
        config, positions = self.config, self.positions
        length = tokens.shape[1]
        aligned = stream.aligned
        start = int(stream.positions[0] if aligned else stream.positions.min())
        stop = length + (start if aligned else int(stream.positions.max()))
        keys = slice(self.read_start - (int(stream["count"].max()) if config.retained else 0), stop)
        mask = self._stream_mask(stream, keys, length, role)
        here: slice | Tensor
        if aligned:
            here = slice(start, stop)
            sin, cos = positions.sin[here], positions.cos[here]
        else:
            here = torch.from_numpy(stream.positions).to(tokens.device)[:, None] + torch.arange(
                length, device=tokens.device
            )
            sin, cos = positions.sin[here][:, None], positions.cos[here][:, None]
        hidden = tokens
        for level, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            if config.retained and level < self.levels:
                place(stream["states"][:, :, level], here, hidden)
            inputs = layer.attention_input(hidden)
            query, new_keys, new_values = layer.attention.project(inputs)
            for name, new in ((f"keys{level}", new_keys), (f"values{level}", new_values)):
                place(stream[name].transpose(1, 2), here, new.transpose(1, 2))
            if not outputs and level + 1 == config.layers:
                break
            rotated = layer.attention.rotate(query + self.position_bias[:, None], sin, cos)
            blocks = range(QUERY_BLOCK, length, QUERY_BLOCK) if aligned and role == "tokens" else ()
            attend = layer.attention.attend if blocks else layer.attention.attend_few
            attended = attend(
                query + self.content_bias[:, None],
                rotated,
                stream[f"keys{level}"][:, :, keys],
                stream[f"values{level}"][:, :, keys],
                self._table(keys, stream["count"]),
                mask,
                blocks,
            )
            hidden = layer.finish(hidden, inputs, layer.attention.merge(attended))
        stream.positions = stream.positions + length
        return hidden

    def _stream_mask(
        self, stream: Stream, keys: slice, length: int, role: Literal["memory", "tokens"]
    ) -> Tensor:
        """Additive mask of `length` new positions over the key positions in `keys`: [n, t], or [B,
        1, n, t]."""
        config, count = self.config, stream["count"]
        hidden_past = (
            self.read_start - keys.start
            if role == "memory" and not config.memory_reads_cache
            else 0
        )
        same_past = (
            not config.retained or hidden_past or int(count.min()) == self.read_start - keys.start
        )
        if stream.aligned and same_past:
            return stream_mask(length, keys.stop - keys.start, hidden_past, role == "memory").to(
                count.device
            )
        index = torch.from_numpy(stream.positions).to(count.device)[:, None] + torch.arange(
            length, device=count.device
        )
        columns = torch.arange(keys.start, keys.stop, device=count.device)
        last = index if role == "tokens" else index[:, -1:].expand_as(index)
        first = self.read_start - (torch.zeros_like(count) if hidden_past else count)
        allowed = (columns <= last[..., None]) & (columns >= first[:, None, None])
        # Rows of empty context must see something: themselves.
        allowed = allowed | (columns == index[..., None])
        return torch.zeros(allowed.shape, device=count.device).masked_fill(~allowed, -torch.inf)[
            :, None
        ]


@lru_cache(maxsize=2048)
def stream_mask(length: int, times: int, hidden_past: int, bidirectional: bool) -> Tensor:
    """Additive mask [n, t] of the last n of t positions; memory rows see one another, and not the
    past."""
    allowed = torch.ones(length, times, dtype=torch.bool)
    if not bidirectional:
        allowed = allowed.tril(times - length)
    allowed[:, :hidden_past] = False
    return torch.zeros(length, times).masked_fill(~allowed, -torch.inf)


@lru_cache(maxsize=256)
def segment_mask(
    past: int, read: int, length: int, write: int, memory_reads_cache: bool, plain_context: bool
) -> Tensor:
    """Additive attention mask of a whole segment (method, section 5).

    Columns are [past | read | tokens | write]; rows are [read | tokens | write], and the past as
    well if it is plain context that is encoded anew. Read memory sees itself; tokens see the past,
    read memory and tokens up to themselves; write memory sees read memory, all tokens and itself.
    """
    total = past + read + length + write
    allowed = torch.ones(total, total, dtype=torch.bool).tril()
    edges = [0, past, past + read, past + read + length, total]
    memory_rows = [slice(a, b) for a, b in list(pairwise(edges))[1::2]]
    for rows in memory_rows:
        allowed[rows, rows] = True
        if not memory_reads_cache:
            allowed[rows, :past] = False
    mask = torch.zeros(total, total).masked_fill(~allowed, -torch.inf)
    return mask if plain_context else mask[past:]
