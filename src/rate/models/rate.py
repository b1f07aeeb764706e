"""RATE: a transformer over segments with memory tokens at both ends, cached hidden states and a
Memory Retention Valve.

One class serves a family: DT, DT-XL, RMT and TrXL are the same parts switched off.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rate.models.backbone import Backbone, Memory, ModelConfig, Stream, empty_keys_values
from rate.models.nn.cpu import QUERY_BLOCK, Dropout
from rate.models.nn.transformer import KeysValues, Layer, LayerKind, Positions, View, visible
from rate.models.nn.valve import Activation, Valve, ValveKind, ValveStart, build_valve
from rate.segment import first_rows
from rate.values import NotNegative, Positive, Rate


@dataclass(frozen=True)
class Config(ModelConfig):
    """Recurrent Action Transformer with Memory."""

    dropout: Rate = 0.4
    """Dropout rate on token embeddings and layer outputs; noise teaches memory to correct itself
    (docs/log.md)."""
    layers: Positive = 2
    """Transformer layers, L."""
    heads: Positive = 2
    """Attention heads, h."""
    head_width: Positive = 32
    """Width of one attention head; heads x head width need not equal the model's width."""
    feed_forward: NotNegative = 0
    """Inner width of the feed-forward block; 0 leaves the block out."""
    layer: LayerKind = "trxl"
    """Layer variant: post-norm Transformer-XL, identity-map reordered TrXL-I, or gated GTrXL."""
    attention_dropout: Rate = 0.2
    """Dropout rate on attention weights, those of the valve included."""
    memory_tokens: NotNegative = 4
    """Memory tokens at each end of a segment, m."""
    valve: ValveKind = "ca-2"
    """Memory Retention Valve: cross-attention asked by incoming (ca-2) or written (ca-1) memory, a
    gate, a cell, or none."""
    valve_heads: Positive = 2
    """Heads of a cross-attention valve, H."""
    valve_activation: Activation = "relu"
    """Activation on the written memory in front of a cross-attention valve."""
    valve_start: ValveStart = "small"
    """Weights that a cross-attention valve starts with: those by which memory keeps unit deviation
    (unit), or those of any linear map, by which it shrinks to a fifth at every transition
    (small)."""
    cached_states: NotNegative = 0
    """Cached hidden states that tokens may attend to, P, in tokens; 0 for sparse tasks."""
    memory_reads_cache: bool = False
    """Whether memory tokens see cached hidden states, too."""
    context_segments: NotNegative = 0
    """Earlier segments kept as plain tokens and encoded anew with each segment (the sliding window
    of DT)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.context_segments and self.memorises:
            raise ValueError(
                "context_segments goes with neither memory_tokens nor cached_states: set these to 0"
            )

    @property
    def memorises(self) -> bool:
        """Whether anything but plain tokens is handed from segment to segment."""
        return bool(self.cached_states or self.memory_tokens)

    @property
    def training_segment_length(self) -> int:
        # Over N segments of plain context, causal attention gives the same hidden states in one
        # pass.
        return self.segment_length * (1 + self.context_segments)

    @property
    def context(self) -> str:
        parts = [f"its segment of at most {self.segment_length} steps"]
        if self.memory_tokens:
            parts.append(f"{self.memory_tokens} memory tokens")
        if self.cached_states:
            parts.append(f"{self.cached_states} cached states per layer")
        return ", ".join(parts)

    @property
    def context_steps(self) -> int:
        """Steps of earlier segments that are kept as plain tokens."""
        return self.context_segments * self.segment_length

    @property
    def retained(self) -> int:
        """Token positions kept from earlier segments, as hidden states or as plain tokens."""
        return self.cached_states or self.context_steps * len(self.tokens)

    def build(self) -> "MemoryTransformer":
        return MemoryTransformer(self)


@dataclass(frozen=True)
class PlainConfig(Config):
    """Defaults of models without memory tokens, which need no noise to learn to correct them."""

    dropout: Rate = 0.1
    attention_dropout: Rate = 0.0
    feed_forward: NotNegative = 64
    memory_tokens: NotNegative = 0


class MemoryTransformer(Backbone):
    """Positions, from left to right: [retained states | read memory | tokens | write memory].

    Memory is the tuple (memory tokens [B, m, d], retained states [B, levels, p, d], number of them
    in each row [B]), and behind these the valve's own state, if it has one. Retained states are
    right-aligned; p, the largest of the numbers, grows with the segments up to the capacity P, so a
    pass attends to nothing that no row has. Levels are the inputs of the layers (cached hidden
    states), or the embeddings alone (plain context).
    """

    layer_type: type[Layer] = Layer

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        memory_tokens, width = config.memory_tokens, config.width
        sizes = (width, config.heads, config.head_width, config.feed_forward)
        self.levels = config.layers if config.cached_states else 1
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(
            self.layer_type(config.layer, *sizes, config.dropout, config.attention_dropout)
            for _ in range(config.layers)
        )
        # One pair of attention biases for all layers, u for content and v for position.
        shape = config.heads, config.head_width
        self.content_bias = nn.Parameter(nn.init.xavier_uniform_(torch.empty(shape)))
        self.position_bias = nn.Parameter(nn.init.xavier_uniform_(torch.empty(shape)))
        if memory_tokens:
            self.memory_tokens = nn.Parameter(torch.randn(memory_tokens, width))
        self.valve: Valve | None = None
        if memory_tokens:
            rest = (config.valve_activation, config.attention_dropout, config.valve_start)
            self.valve = build_valve(config.valve, memory_tokens, width, config.valve_heads, *rest)
        # In training a segment may be as long as the window.
        longest = max(config.training_segment_length, config.window) * len(config.tokens)
        self.read_start = config.retained
        self.token_start = self.read_start + memory_tokens
        self.token_stop = self.token_start + config.stride * len(config.tokens)
        self.capacity = self.token_stop + memory_tokens
        self.positions = Positions(self.token_start + longest + memory_tokens, width)

    # Memory ------------------------------------------------------------------------------------

    def initial_memory(self, batch: int) -> Memory:
        config, like = self.config, self.content_bias
        if config.memory_tokens:
            tokens = self.memory_tokens.expand(batch, -1, -1)
        else:
            tokens = like.new_zeros(batch, 0, config.width)
        retained = like.new_zeros(batch, self.levels, 0, config.width)
        state = self.valve.initial_state(batch) if self.valve is not None else ()
        return tokens, retained, torch.zeros(batch, dtype=torch.int64, device=like.device), *state

    def memory_parts(self) -> dict[str, tuple[int, ...]]:
        # What a valve carries besides the tokens is memory, too.
        states = len(self.valve.initial_state(1)) if self.valve is not None else 0
        parts = {"memory": (0, *range(3, 3 + states))} if self.config.memory_tokens else {}
        return parts | ({"cache": (1,)} if self.read_start else {})

    def full_size(self, memory: Memory) -> Memory:
        tokens, retained, *rest = memory
        size = self.read_start - retained.shape[2]
        return tokens, nn.functional.pad(retained, (0, 0, size, 0)), *rest

    def _write(self, memory: Memory, written: Tensor, states: Tensor, complete: int) -> Memory:
        """The next memory of the first `complete` rows.

        Args:
            memory: Memory before the segment.
            written: Outputs of the write tokens, [B, m, d].
            states: What the segment leaves to retain, [B, levels, n, d].
            complete: Rows that write; the others keep what they came with.
        """
        incoming, retained, count, *state = memory
        tokens, *state = (
            self.valve(incoming, written, *state) if self.valve is not None else (written,)
        )
        kept, longer = retained, count
        if self.read_start:
            retained, kept, longer = self.retain(retained, states, count, self.read_start)
        after = (tokens, retained, longer, *state)
        return first_rows(after, (incoming, kept, count, *memory[3:]), complete)

    # Whole segments ----------------------------------------------------------------------------

    def forward(
        self,
        tokens: Tensor,
        memory: Memory,
        complete: int,
        record: list[Tensor] | None = None,
    ) -> tuple[Tensor, Memory]:
        """See `Backbone.forward`; `record` takes the attention weights of each layer."""
        config = self.config
        incoming, retained, count = memory[:3]
        length, past, read = tokens.shape[1], retained.shape[2], config.memory_tokens
        parts = [incoming, tokens, incoming] if complete else [incoming, tokens]
        hidden = self.dropout(torch.cat(parts, 1) if read else tokens)
        first = read
        if config.context_steps and past:
            hidden = torch.cat([self.dropout(retained[:, 0]), hidden], 1)
            first += past
        inputs: list[Tensor] = []

        def extend(level: int, layer: Layer, hidden: Tensor, new: KeysValues) -> KeysValues:
            inputs.append(hidden)
            if not (config.cached_states and past):
                return new
            old = layer.attention.keys_values(layer.cache_input(retained[:, level]))
            return torch.cat([old[0], new[0]], 2), torch.cat([old[1], new[1]], 2)

        view = self._segment_view(past, length, read if complete else 0, count)
        hidden = self.dropout(self._pass(hidden, extend, view, record=record))
        outputs = hidden[:, first : first + length]
        if not complete:
            return outputs, memory
        states = tokens[:, None]
        if config.cached_states:
            states = self._states(inputs, hidden)
        return outputs, self._write(memory, hidden[:, first + length :], states, complete)

    def _states(self, inputs: list[Tensor], outputs: Tensor) -> Tensor:
        """What the cache keeps of a segment, [B, levels, n, d]: the inputs of the layers, those at
        memory positions included."""
        return torch.stack(inputs, 1)

    def _segment_view(self, past: int, length: int, writing: int, count: Tensor) -> View:
        """The view of a whole segment: rows are [read | tokens | write], and the past as well if it
        is plain context that is encoded anew."""
        config, read = self.config, self.config.memory_tokens
        start, stop = self.read_start - past, self.token_start + length + writing
        begin = start if config.context_steps else self.read_start
        index = self.positions.index[begin:stop]
        # Tokens see up to themselves, memory tokens to the end of their block.
        last = index.clone()
        if read:
            last[:read] = self.token_start - 1
        if writing:
            last[-writing:] = stop - 1
        earliest = None
        if past and read and not config.memory_reads_cache:
            earliest = torch.zeros_like(index)
            earliest[:read] = self.read_start
            if writing:
                earliest[-writing:] = self.read_start
        shown = None if earliest is None else earliest[None]
        view = self._view(index[None], last[None], slice(start, stop), count, shown)
        cut = range(max(QUERY_BLOCK, read), len(index) - writing - QUERY_BLOCK // 2, QUERY_BLOCK)
        return view._replace(cuts=tuple(cut))

    # Both --------------------------------------------------------------------------------------

    def _view(
        self,
        index: Tensor,
        last: Tensor,
        keys: slice,
        count: Tensor,
        earliest: Tensor | None = None,
    ) -> View:
        """The view of queries at positions `index` [b, n], which see keys from `earliest` up to
        `last`, [b, n] each, but no retained states that their row [B] does not have."""
        columns = self.positions.index[keys]
        allowed = columns <= last.unsqueeze(-1)
        if keys.start < self.read_start:
            empty = columns < self.read_start - count[:, None]
            allowed = allowed & ~empty[:, None]
            if earliest is not None:
                allowed = allowed & (columns >= earliest[..., None])
            # Rows of empty context must see something: themselves.
            allowed = allowed | (columns == index[..., None])
        return View(*self.positions.at(index), self._table(keys, count), visible(allowed))

    def _table(self, keys: slice, count: Tensor) -> Tensor:
        """What keys hold at the positions `keys`, [t, d], or [B, 1, t, d] if it differs with the
        rows' `count` [B]."""
        return self.positions.table[keys]

    def _pass(
        self,
        hidden: Tensor,
        extend: Callable[[int, Layer, Tensor, KeysValues], KeysValues],
        view: View,
        outputs: bool = True,
        record: list[Tensor] | None = None,
    ) -> Tensor:
        """Run positions through the layers.

        Args:
            hidden: [B, n, d].
            extend: Takes the number of a layer, the layer, its inputs and their keys and values;
                gives the keys and values that are seen.
            view: Where queries and keys stand, and what queries see.
            outputs: Without outputs the last layer's attention is left out.
            record: Takes the attention weights of each layer.
        """
        biases = self.content_bias.unsqueeze(1), self.position_bias.unsqueeze(1)
        for level, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            inputs = layer.attention_input(hidden)
            query, new = layer.attention.project(inputs)
            keys_values = extend(level, layer, hidden, new)
            if not outputs and level + 1 == len(self.layers):
                break
            attended = layer.attention(query, keys_values, biases, view, record)
            hidden = layer.finish(hidden, inputs, attended)
        return hidden

    # Token by token ----------------------------------------------------------------------------

    def start(self, memory: Memory) -> Stream:
        config = self.config
        incoming, retained, count = memory[:3]
        batch, past = count.shape[0], retained.shape[2]
        tensors = {"memory_tokens": incoming.clone(), "count": count.clone()}
        tensors |= {f"valve{number}": state.clone() for number, state in enumerate(memory[3:])}
        shape = (batch, config.heads, self.capacity, config.head_width)
        tensors |= empty_keys_values(config.layers, shape, incoming)
        if self.read_start:
            states = incoming.new_zeros(batch, self.capacity, self.levels, config.width)
            tensors["states"] = states
        begin = self.read_start - past
        if config.context_steps and not past:
            # An episode fills its first window before anything leaves it.
            begin = 0
            tensors["count"] = torch.full_like(count, self.read_start)
        position = begin if config.context_steps else self.read_start
        stream = Stream(tensors, count.new_full((1,), position), begin, position)
        if past:
            here = slice(begin, self.read_start)
            tensors["states"][:, here] = retained.transpose(1, 2)
            for level, layer in enumerate(self.layers if config.cached_states else ()):
                assert isinstance(layer, Layer)
                old = layer.attention.keys_values(layer.cache_input(retained[:, level]))
                for name, kept in zip(("keys", "values"), old, strict=True):
                    tensors[f"{name}{level}"][:, :, here] = kept
        if config.context_steps and past:
            self._extend(stream, retained[:, 0], outputs=False)
        self._read(stream, incoming)
        return stream

    def start_fixed(self, batch: int) -> Stream:
        plain = self.config.context_steps
        return self.start(self.initial_memory(batch)) if plain else super().start_fixed(batch)

    def _read(self, stream: Stream, incoming: Tensor) -> None:
        """Place the read memory [B, m, d] in front of a segment under way."""
        if self.config.memory_tokens:
            self._extend(stream, incoming, memory=True, outputs=False)

    def append(self, stream: Stream, tokens: Tensor) -> Tensor:
        return self._extend(stream, tokens)

    def write_memory(self, stream: Stream) -> Memory:
        config = self.config
        tokens, count = stream["memory_tokens"], stream["count"]
        state = (tensor for name, tensor in stream.tensors.items() if name.startswith("valve"))
        written = self._extend(stream, tokens, memory=True) if config.memory_tokens else tokens
        retained = states = tokens.new_zeros(tokens.shape[0], self.levels, 0, config.width)
        if self.read_start:
            start = self.read_start if config.cached_states else self.token_start
            kept = stream["states"].transpose(1, 2)
            retained = kept[:, :, stream.first : self.read_start]
            states = kept[:, :, start : self.capacity]
        return self._write((tokens, retained, count, *state), written, states, tokens.shape[0])

    def _extend(
        self, stream: Stream, tokens: Tensor, memory: bool = False, outputs: bool = True
    ) -> Tensor:
        """Run the next positions [B, n, d], of tokens or of memory tokens, through the layers."""
        config, length = self.config, tokens.shape[1]
        index = stream.next_positions(length)
        last = index[:, -1:].expand_as(index) if memory else index
        hides = memory and not config.memory_reads_cache
        stop = min(stream.stop + length, self.capacity)
        keys = slice(self.read_start if hides else stream.first, stop)
        view = self._view(index, last, keys, stream["count"])
        if length > QUERY_BLOCK:
            view = view._replace(cuts=tuple(range(QUERY_BLOCK, length, QUERY_BLOCK)))

        def extend(level: int, layer: Layer, inputs: Tensor, new: KeysValues) -> KeysValues:
            if self.read_start and level < self.levels:
                stream.write(stream["states"][:, :, level], index, inputs)
            return stream.extend(level, index, keys, new)

        hidden = self._pass(tokens, extend, view, outputs)
        stream.advance(length, self.capacity)
        return hidden
