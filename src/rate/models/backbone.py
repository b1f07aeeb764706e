"""What every backbone offers: whole segments for training, an incremental form for acting, one kind
of memory."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from rate.models.heads import ActionHead
from rate.values import Checked, Positive, Rate

ALL_TOKENS = ("return_to_go", "observation", "action")
"""Tokens of a step, in order."""

Memory = tuple[Tensor, ...]
"""What a model carries from segment to segment: batch-first tensors of bounded size, never
changed in place."""


@dataclass(frozen=True)
class ModelConfig(Checked):
    """Fields that every model has."""

    segment_length: Positive = 30
    """Environment steps in one segment, K: memory is written once per segment."""
    segments: Positive = 3
    """Segments in a training window, N: the model is trained on windows of N x K steps."""
    width: Positive = 64
    """Width of tokens and hidden states, d."""
    dropout: Rate = 0.1
    """Dropout rate on token embeddings and layer outputs."""
    encoder: str = "auto"
    """Encoder of the observations: auto (the space of each leaf decides), compact, nature, impala,
    identity, categories, or an address such as my_module:Encoder; by leaf:
    camera=impala,grid=identity.
    nature-first and nature-last say where the channels lie, where the shape does not."""
    action_head: ActionHead = "auto"
    """What actions are made from: auto, logits of categories, and of a Box the action itself
    (squared error); tanh-gaussian, a distribution over a Box (log-likelihood), which can be
    sampled."""
    observation_only: bool = False
    """Whether a step is its observation alone, without return-to-go and action: for behaviour
    cloning as with mlp and lstm, and for Q-learning."""

    whole_windows: ClassVar[bool] = False
    """Whether the model is trained on whole windows at once, not segment by segment."""

    @property
    def window(self) -> int:
        """Environment steps in a training window, N x K."""
        return self.segment_length * self.segments

    @property
    def training_segment_length(self) -> int:
        """Steps that one training forward takes."""
        return self.window if self.whole_windows else self.segment_length

    @property
    def context(self) -> str:
        """What an action may depend on, in words."""
        return f"its segment of at most {self.segment_length} steps, and memory"

    @property
    def first_segment(self) -> int:
        """Steps of an episode before memory is written for the first time while acting."""
        return self.segment_length

    @property
    def stride(self) -> int:
        """Steps from one writing of memory to the next while acting."""
        return self.segment_length

    def progress(self, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where steps of an episode lie in their segments while acting.

        Args:
            steps: Numbers of steps, [n], from 0.

        Returns:
            Steps of the same segment before each of them, and from each of them on, [n] each.
        """
        first, stride = self.first_segment, self.stride
        begun = steps < first
        within = np.where(begun, steps, (steps - first) % stride)
        return within, np.where(begun, first, stride) - within

    @property
    def tokens(self) -> tuple[str, ...]:
        """Tokens of one step in order; what follows the observation is appended once the action is
        known."""
        return ("observation",) if self.observation_only else ALL_TOKENS

    @property
    def timesteps(self) -> int:
        """Rows of a learned table of time steps that is added to all tokens of a step; 0: order is
        left to the backbone."""
        return 0

    def build(self) -> "Backbone":
        """The backbone with freshly initialised weights."""
        raise NotImplementedError

    def initialise(self, policy: nn.Module) -> None:
        """Set the first weights of a whole policy, encoders and head included; here every part
        keeps its own."""


@dataclass(eq=False)
class Stream:
    """A segment under way: batch-first tensors that are written in place, row by row.

    Rows may stand at different positions, because an environment may reset one row alone.
    """

    tensors: dict[str, Tensor]
    """What the backbone keeps, each [B, ...]."""
    positions: Tensor
    """Position of each row's next token, [B] int64, or [1] if `aligned`; for models that have
    positions."""
    first: int = 0
    """No row looks at a position before this one; a whole number on the host."""
    stop: int = 0
    """No row has written a position from this one on; a whole number on the host."""
    aligned: bool = True
    """Whether all rows are at the same position, which is then `stop`."""

    @cached_property
    def row_numbers(self) -> Tensor:
        """Numbers of the rows, [B, 1]."""
        batch = next(iter(self.tensors.values())).shape[0]
        return torch.arange(batch, device=self.positions.device)[:, None]

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def next_positions(self, length: int) -> Tensor:
        """Positions [b, length] of the next `length` tokens of each row, b = 1 or B."""
        return self.positions.unsqueeze(1) + torch.arange(length, device=self.positions.device)

    def write(self, target: Tensor, index: Tensor, values: Tensor, axis: int = 1) -> None:
        """Write values [B, ..., n, ...] into target [B, ..., t, ...] at the next positions,
        `index`, along `axis`."""
        if self.aligned:
            target.narrow(axis, self.stop, values.shape[axis]).copy_(values)
        else:
            shape = [index.shape[0], *[1] * (values.dim() - 1)]
            shape[axis] = index.shape[1]
            # Products may be in bfloat16.
            target.scatter_(axis, index.view(shape).expand_as(values), values.to(target.dtype))

    def extend(
        self, level: int, index: Tensor, keys: slice, new: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Write keys and values of a layer, and return those of all positions in `keys`.

        Args:
            level: Which layer.
            index: Positions of the new ones, [b, n]: the next positions.
            keys: Positions that are returned.
            new: Keys and values, [B, h, n, w] each.
        """
        kept = self.tensors[f"keys{level}"], self.tensors[f"values{level}"]
        for cache, values in zip(kept, new, strict=True):
            self.write(cache, index, values, axis=2)
        return kept[0][:, :, keys], kept[1][:, :, keys]

    def advance(self, length: int, capacity: int) -> None:
        """Count `length` more tokens in every row; no position reaches `capacity`."""
        self.positions = self.positions + length
        self.stop = min(self.stop + length, capacity)

    def rows(self, index: Tensor) -> "Stream":
        """A copy of the rows in `index` (integers)."""
        tensors = {name: tensor[index] for name, tensor in self.tensors.items()}
        positions = self.positions if self.aligned else self.positions[index]
        return Stream(tensors, positions, self.first, self.stop, self.aligned)

    def put(self, index: Tensor, stream: "Stream") -> None:
        """Replace the rows in `index` (integers) by the rows of `stream`."""
        for name, tensor in self.tensors.items():
            tensor[index] = stream[name]
        positions = self.positions.expand(len(self.row_numbers)).clone()
        positions[index] = stream.positions
        self.positions, self.aligned = positions, False
        self.first, self.stop = min(self.first, stream.first), max(self.stop, stream.stop)


torch.export.register_dataclass(Stream, serialized_type_name="rate.Stream")


class Backbone(nn.Module, ABC):
    """A sequence model over tokens [B, n, d] with memory between segments.

    It takes a segment whole (`forward`) or token by token (`start`, `append`, `write_memory`); both
    give the same hidden states and the same memory. As defined here, the latter call the former
    with the memory that the tokens before have left, which suits models without positions.
    """

    @abstractmethod
    def initial_memory(self, batch: int) -> Memory:
        """Memory before the first segment of `batch` episodes."""

    @abstractmethod
    def forward(self, tokens: Tensor, memory: Memory, complete: int) -> tuple[Tensor, Memory]:
        """Hidden states of a segment's tokens, and the memory after it.

        Args:
            tokens: [B, n, d].
            memory: Memory before the segment.
            complete: The first so many rows write memory, the others keep what they came with; at 0
                the work of writing is saved.

        Returns:
            Hidden states [B, n, d] and memory.
        """

    def start(self, memory: Memory) -> Stream:
        """Begin a segment that will be appended to token by token."""
        tensors = {str(number): part.clone() for number, part in enumerate(memory)}
        return Stream(tensors, torch.zeros(1, dtype=torch.int64, device=memory[0].device))

    def append(self, stream: Stream, tokens: Tensor) -> Tensor:
        """Hidden states [B, n, d] of the next tokens [B, n, d]; what it costs does not depend on
        how many segments came before."""
        hidden, memory = self(tokens, self.write_memory(stream), tokens.shape[0])
        stream.tensors = dict(zip(stream.tensors, memory, strict=True))
        return hidden

    def write_memory(self, stream: Stream) -> Memory:
        """Memory after the segment, which must be complete in every row."""
        return tuple(stream.tensors.values())

    def memory_parts(self) -> dict[str, tuple[int, ...]]:
        """Entries of the memory by what they hold: "memory" that is written, "cache" of earlier
        states; no part is empty."""
        entries = tuple(
            index
            for index, tensor in enumerate(self.initial_memory(1))
            if tensor.is_floating_point() and tensor.numel()
        )
        return {"memory": entries} if entries else {}

    def full_size(self, memory: Memory) -> Memory:
        """The memory in its largest size, with empty positions where it has not grown yet."""
        return memory

    def start_fixed(self, batch: int) -> Stream:
        """Begin the first segment of `batch` episodes in tensors whose shapes never change."""
        return self.start(self.full_size(self.initial_memory(batch)))

    @staticmethod
    def retain(
        retained: Tensor, new: Tensor, count: Tensor, limit: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Add new states to retained ones, of which the last are kept.

        Args:
            retained: Right-aligned states, [B, ..., p, d].
            new: States that come behind them, [B, ..., n, d].
            count: Number of retained states in each row, [B].
            limit: Most states that are retained.

        Returns:
            The states with the new ones and without them, right-aligned in as many positions, and
            the number of the former in each row.
        """
        size = min(limit, retained.shape[-2] + new.shape[-2])
        longer = torch.cat([retained, new], -2)[..., -size:, :]
        as_before = torch.cat([torch.zeros_like(new), retained], -2)[..., -size:, :]
        return longer, as_before, (count + new.shape[-2]).clamp(max=limit)


def empty_keys_values(
    layers: int, shape: tuple[int, int, int, int], like: Tensor
) -> dict[str, Tensor]:
    """Keys and values of all layers in front of a segment, of shape [B, h, capacity, w] each."""
    names = [f"{name}{level}" for level in range(layers) for name in ("keys", "values")]
    return {name: like.new_zeros(shape) for name in names}


def xavier(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases in every linear map and embedding of a module."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.xavier_uniform_(part.weight)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
