"""What every backbone offers: whole segments for training, an incremental form for acting, one kind
of memory."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

Memory = tuple[Tensor, ...]
"""What a model carries from segment to segment: batch-first tensors of constant size, never changed
in place."""


@dataclass(frozen=True)
class ModelConfig:
    """Fields that every model has."""

    segment_length: int = 30
    """Environment steps in one segment, K: memory is written once per segment."""
    segments: int = 3
    """Segments in a training window, N: the model is trained on windows of N x K steps."""
    width: int = 64
    """Width of tokens and hidden states, d."""
    dropout: float = 0.1
    """Dropout rate on token embeddings and layer outputs."""

    def __post_init__(self) -> None:
        self.require_at_least(1, "segment_length", "segments", "width")
        self.require_rates("dropout")

    def require_at_least(self, least: int, *fields: str) -> None:
        """Raise a ValueError that names the first of the fields below `least`."""
        for field in fields:
            if getattr(self, field) < least:
                raise ValueError(
                    f"{field} must be at least {least}, but {getattr(self, field)} was given"
                )

    def require_rates(self, *fields: str) -> None:
        """Raise a ValueError that names the first of the fields outside [0, 1)."""
        for field in fields:
            if not 0 <= getattr(self, field) < 1:
                raise ValueError(
                    f"{field} must lie in [0, 1), but {getattr(self, field)} was given"
                )

    @property
    def window(self) -> int:
        """Environment steps in a training window, N x K."""
        return self.segment_length * self.segments

    @property
    def training_segment_length(self) -> int:
        """Steps that one training forward takes; models without recurrence take the whole window at
        once."""
        return self.segment_length

    @property
    def tokens(self) -> tuple[str, ...]:
        """Tokens of one step in order; what follows the observation is appended once the action is
        known."""
        return ("return_to_go", "observation", "action")

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


class Stream:
    """A segment under way: batch-first tensors that grow in place, and the position of each row.

    Rows may stand at different positions, because an environment may reset one row alone.
    """

    def __init__(self, tensors: dict[str, Tensor], positions: np.ndarray) -> None:
        self.tensors = tensors
        self.positions = positions

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    @property
    def aligned(self) -> bool:
        """Whether all rows stand at the same position."""
        return bool((self.positions == self.positions[0]).all())

    def here(self, length: int) -> slice | Tensor:
        """Where the next `length` tokens stand: a slice if all rows are at the same position, else
        indices [B, length]."""
        if self.aligned:
            return slice(int(self.positions[0]), int(self.positions[0]) + length)
        device = next(iter(self.tensors.values())).device
        return torch.from_numpy(self.positions).to(device)[:, None] + torch.arange(
            length, device=device
        )

    def rows(self, index: np.ndarray) -> "Stream":
        """A copy of the rows in `index` (integers)."""
        selected = torch.from_numpy(index)
        return Stream(
            {name: tensor[selected] for name, tensor in self.tensors.items()}, self.positions[index]
        )

    def put(self, index: np.ndarray, stream: "Stream") -> None:
        """Replace the rows in `index` by the rows of `stream`."""
        selected = torch.from_numpy(index)
        for name, tensor in self.tensors.items():
            tensor[selected] = stream[name]
        self.positions[index] = stream.positions


class Backbone(nn.Module, ABC):
    """A sequence model over tokens [B, N, d] with memory between segments and an incremental form
    within one."""

    @abstractmethod
    def initial_memory(self, batch: int) -> Memory:
        """Memory before the first segment of `batch` episodes."""

    @abstractmethod
    def forward(self, tokens: Tensor, memory: Memory, commit: bool = True) -> tuple[Tensor, Memory]:
        """Hidden states [B, N, d] of a segment's tokens [B, N, d], and the memory after it.

        With `commit` off the memory comes back unchanged and the work of writing it is saved.
        """

    @abstractmethod
    def start(self, memory: Memory) -> Stream:
        """Begin a segment that will be appended to token by token."""

    @abstractmethod
    def append(self, stream: Stream, tokens: Tensor) -> Tensor:
        """Hidden states [B, n, d] of the next few tokens [B, n, d]; the cost does not depend on the
        position."""

    @abstractmethod
    def commit(self, stream: Stream) -> Memory:
        """Memory after the segment, which must be complete."""

    def memory_parts(self, memory: Memory) -> dict[str, tuple[int, ...]]:
        """Entries of `memory` by what they hold: "memory" that is written, "cache" of earlier
        states; none is empty."""
        return named_parts(memory, {"memory": tuple(range(len(memory)))})


def named_parts(memory: Memory, parts: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The parts without entries of whole numbers or of no numbers at all; parts that are left with
    none are left out."""
    held = {
        index
        for index, tensor in enumerate(memory)
        if tensor.is_floating_point() and tensor[:1].numel()
    }
    found = {
        name: tuple(index for index in entries if index in held) for name, entries in parts.items()
    }
    return {name: entries for name, entries in found.items() if entries}


def place(target: Tensor, here: slice | Tensor, values: Tensor) -> None:
    """Write values [B, n, ...] into target [B, t, ...] at the positions that `Stream.here` gave."""
    if isinstance(here, slice):
        target[:, here] = values
    else:
        target[torch.arange(len(here), device=here.device)[:, None], here] = values


def xavier(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases in every linear map and embedding of a module."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.xavier_uniform_(part.weight)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)


def select_rows(memory: Memory, index: Tensor) -> Memory:
    """The rows of a memory selected by `index` [B] (boolean or integers)."""
    return tuple(tensor[index] for tensor in memory)


def detach(memory: Memory) -> Memory:
    """The same memory, through which no gradient passes."""
    return tuple(tensor.detach() for tensor in memory)


def where_rows(condition: Tensor, yes: Memory, no: Memory) -> Memory:
    """Row by row, the memory `yes` where `condition` [B] holds and the memory `no` elsewhere."""
    return tuple(
        torch.where(condition.view(-1, *[1] * (a.dim() - 1)), a, b)
        for a, b in zip(yes, no, strict=True)
    )
