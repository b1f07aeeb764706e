"""A segment: the same few consecutive steps of several episodes, as tensors with a mask."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Segment:
    """K consecutive steps of B episodes; real steps form a prefix of every row and padding is zero.

    Shapes: observations (per leaf) [B, K, ...], actions [B, K, ...], rewards and returns_to_go [B, K] float32,
    terminations [B, K] bool, timesteps [B, K] int64 (index of the step in its episode), mask [B, K] bool. following: the
    observation after the last real step of each row, per leaf [B, ...]; empty unless it was asked for, or in a part of the steps.
    frames: where images repeat, the different ones of a leaf [n, ...], whose observations are then their numbers, [B, K] int64.
    """

    observations: dict[str, Tensor]
    actions: Tensor
    rewards: Tensor
    returns_to_go: Tensor
    terminations: Tensor
    timesteps: Tensor
    mask: Tensor
    following: dict[str, Tensor] = field(default_factory=dict)
    frames: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.mask.shape[0]

    @property
    def steps(self) -> int:
        """Number of time steps K, padding included."""
        return self.mask.shape[1]

    @property
    def lengths(self) -> Tensor:
        """Real steps of each row, [B] int64."""
        return self.mask.sum(1)

    def map(self, function: Callable[[Tensor], Tensor]) -> "Segment":
        """The segment with `function` applied to each of its tensors but the frames, which belong to no row."""
        found: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name == "frames":
                found[item.name] = value
                continue
            leaves = isinstance(value, dict)
            found[item.name] = (
                {path: function(leaf) for path, leaf in value.items()}
                if leaves
                else function(value)
            )
        return Segment(**found)

    def rows(self, index: Tensor | slice) -> "Segment":
        """The episodes selected by `index` (boolean, integer or slice)."""
        return self.map(lambda tensor: tensor[index])

    def window(self, start: int, stop: int) -> "Segment":
        """The steps start ... stop - 1 of every row."""
        if start <= 0 and stop >= self.steps:
            return self
        return replace(self, following={}).map(lambda tensor: tensor[:, start:stop])

    def split(self, length: int) -> list["Segment"]:
        """Consecutive segments of at most `length` steps; the last one may be shorter."""
        return [self.window(start, start + length) for start in range(0, self.steps, length)]

    def to(self, device: torch.device | str) -> "Segment":
        """The segment on another device."""
        frames = {path: leaf.to(device, non_blocking=True) for path, leaf in self.frames.items()}
        return replace(self.map(lambda tensor: tensor.to(device, non_blocking=True)), frames=frames)
