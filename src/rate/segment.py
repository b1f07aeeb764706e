"""A segment: the same few consecutive steps of several episodes, as tensors with a mask."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Segment:
    """K consecutive steps of B episodes; real steps form a prefix of every row and padding is zero.

    Shapes: observations (per leaf) [B, K, ...], actions [B, K, ...], rewards and returns_to_go [B, K] float32,
    terminations [B, K] bool, timesteps [B, K] int64 (index of the step in its episode), mask [B, K] bool.
    """

    observations: dict[str, Tensor]
    actions: Tensor
    rewards: Tensor
    returns_to_go: Tensor
    terminations: Tensor
    timesteps: Tensor
    mask: Tensor

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
        """The segment with `function` applied to each of its tensors."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        observations = {path: function(leaf) for path, leaf in values.pop("observations").items()}
        return Segment(observations=observations, **{name: function(value) for name, value in values.items()})

    def rows(self, index: Tensor | slice) -> "Segment":
        """The episodes selected by `index` (boolean, integer or slice)."""
        return self.map(lambda tensor: tensor[index])

    def window(self, start: int, stop: int) -> "Segment":
        """The steps start ... stop - 1 of every row."""
        return self.map(lambda tensor: tensor[:, start:stop])

    def split(self, length: int) -> list["Segment"]:
        """Consecutive segments of at most `length` steps; the last one may be shorter."""
        return [self.window(start, start + length) for start in range(0, self.steps, length)]

    def to(self, device: torch.device | str) -> "Segment":
        """The segment on another device."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))
