"""The convolutions of `compact` on what distinguishes an image from the mean of the data."""

import gymnasium
import torch
from torch import Tensor

from rate.models.encoders import compact
from rate.models.encoders._images import Statistics, planes

LEAST = 1e-3
"""Least standard deviation that images are divided by."""


class Encoder(compact.Encoder):
    """See `compact.Encoder`. The mean image of the data is subtracted, and the rest has unit
    variance: for cameras that do not move, whose images differ in few pixels. Training shows images
    of the data before its first update; without them, nothing is subtracted.

    Args:
        space: An image space.
        width: Width of the tokens.
        statistics: Statistics of the images, if they are known.
        axis: Axis of the channels, if it is given.
    """

    def __init__(
        self,
        space: gymnasium.Space,
        width: int,
        statistics: Statistics | None = None,
        axis: int | None = None,
    ) -> None:
        super().__init__(space, width, statistics, axis=axis)
        blank = torch.zeros(1, *planes(space, "centred", axis))
        self.register_buffer("mean", self.pool(blank)[0])
        self.register_buffer("std", torch.ones(()))
        self.mean: Tensor
        self.std: Tensor

    def prepare(self, images: Tensor) -> Tensor:
        """Images, scaled, pooled and standardised; see `ImageEncoder.prepare`."""
        pictures = super().prepare(images)
        return (pictures - self.mean[: pictures.shape[1]]) / self.std

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Standardise by images of the data, single frames [n, H, W, C] or [n, C, H, W]."""
        pictures = super().prepare(images)
        mean = pictures.mean(0)
        self.mean.copy_(mean.repeat(len(self.mean) // len(mean), 1, 1))
        self.std.copy_((pictures - mean).square().mean().sqrt().clamp(min=LEAST))
