"""A segment: the same few consecutive steps of several episodes, as tensors with a mask."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

_ROWLESS = ("lengths", "frames")
"""Fields that hold no row for each episode."""


@dataclass(frozen=True)
class Segment:
    """K consecutive steps of B episodes; real steps form a prefix of every row and padding is zero.

    Rows of a training batch are sorted by length, longest first. The rows whose episode goes on are
    then a prefix (`active` of them), and so are those whose segment is complete (`complete` of
    them); both numbers are known on the host, so nothing has to be read back from a device.
    """

    observations: dict[str, Tensor]
    """Observations of each leaf, [B, K, ...]; of a leaf in `frames` the number of its image, [B, K]
    int64, or those of the k frames that are to be stacked, oldest first, [B, K, k] int64."""
    actions: Tensor
    """Actions, [B, K, ...]."""
    rewards: Tensor
    """Rewards, [B, K] float32."""
    returns_to_go: Tensor
    """Returns-to-go, [B, K] float32."""
    terminations: Tensor
    """Whether the step terminated the episode, [B, K] bool."""
    timesteps: Tensor
    """Index of the step in its episode, [B, K] int64."""
    mask: Tensor
    """Whether the step is real, [B, K] bool."""
    lengths: tuple[int, ...] = ()
    """Real steps of each row, on the host; counted from the mask where they are not given."""
    next_observation: dict[str, Tensor] = field(default_factory=dict)
    """Observation after the last real step of each row, per leaf [B, ...]; empty unless it was
    asked for, or in a part of the steps."""
    frames: dict[str, Tensor] = field(default_factory=dict)
    """Distinct images of a leaf whose images repeat, [n, ...], or their tokens [n, d]."""

    def __post_init__(self) -> None:
        if not self.lengths:
            object.__setattr__(self, "lengths", tuple(self.mask.sum(1).tolist()))

    def __len__(self) -> int:
        return self.mask.shape[0]

    @property
    def steps(self) -> int:
        """Number of time steps K, padding included."""
        return self.mask.shape[1]

    @property
    def active(self) -> int:
        """Rows with at least one real step; they come first."""
        return self._prefix(1)

    @property
    def complete(self) -> int:
        """Rows whose every step is real; they come first."""
        return self._prefix(self.steps)

    def _prefix(self, least: int) -> int:
        """Number of rows with at least so many real steps, which must be the first ones."""
        count = sum(length >= least for length in self.lengths)
        if any(length < least for length in self.lengths[:count]):
            raise ValueError(
                f"rows of {self.lengths} steps are not sorted by length: put the longest first"
            )
        return count

    def map(self, function: Callable[[Tensor], Tensor]) -> "Segment":
        """The segment with `function` applied to every tensor that holds a row for each episode."""
        changed: dict[str, Any] = {}
        for item in fields(self):
            if item.name in _ROWLESS:
                continue
            value = getattr(self, item.name)
            if isinstance(value, dict):
                changed[item.name] = {path: function(leaf) for path, leaf in value.items()}
            else:
                changed[item.name] = function(value)
        return replace(self, **changed)

    def rows(self, index: slice) -> "Segment":
        """Consecutive episodes of the segment."""
        if index == slice(len(self)):
            return self
        lengths = self.lengths[index]
        return replace(self.map(lambda tensor: tensor[index]), lengths=lengths)

    def window(self, start: int, stop: int) -> "Segment":
        """The steps start ... stop - 1 of every row."""
        if start <= 0 and stop >= self.steps:
            return self
        width = min(stop, self.steps) - start
        lengths = tuple(min(max(length - start, 0), width) for length in self.lengths)
        cut = replace(self, next_observation={}).map(lambda tensor: tensor[:, start:stop])
        return replace(cut, lengths=lengths)

    def split(self, length: int, first: int = 0) -> list["Segment"]:
        """Consecutive segments of `length` steps; the last one may be shorter.

        Args:
            length: Steps of a segment.
            first: Steps of the first segment; 0: as many as the others have.
        """
        first = first or length
        borders = [0, *range(first, self.steps, length)]
        return [self.window(start, start + (length if start else first)) for start in borders]

    def to(self, device: torch.device | str) -> "Segment":
        """The segment on another device."""
        return self.everywhere(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Segment":
        """The segment in page-locked memory, from which copies to a GPU need not be waited for;
        tensors on a GPU stay there."""
        return self.everywhere(lambda tensor: tensor if tensor.is_cuda else tensor.pin_memory())

    def everywhere(self, function: Callable[[Tensor], Tensor]) -> "Segment":
        """The segment with `function` applied to every tensor."""
        frames = {path: function(leaf) for path, leaf in self.frames.items()}
        return replace(self.map(function), frames=frames)


Tensors = tuple[Tensor, ...]


def first_rows(after: Tensors, before: Tensors, complete: int) -> Tensors:
    """Row by row, the tensors `after` in the first `complete` rows and `before` in the others."""
    if not complete or complete == after[0].shape[0]:
        return after if complete else before
    return tuple(
        torch.cat([new[:complete], old[complete:]]) for new, old in zip(after, before, strict=True)
    )


torch.export.register_dataclass(Segment, serialized_type_name="rate.Segment")
