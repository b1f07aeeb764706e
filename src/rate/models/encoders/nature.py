"""Three convolutions and a linear map for images (Mnih et al. 2015)."""

from typing import ClassVar

import gymnasium
from torch import nn

from rate.models.encoders._images import ImageEncoder, Statistics, planes


class Encoder(ImageEncoder):
    """See `ImageEncoder`.

    Attributes:
        widths: Channels of the three convolutions.

    Args:
        space: An image space.
        width: Width of the tokens.
        statistics: Statistics of the images, if they are known.
        padding: Padding of each convolution; by default as much as a small image needs.
        axis: Axis of the channels, if it is given.
    """

    widths: ClassVar[tuple[int, int, int]] = (32, 64, 64)

    def __init__(
        self,
        space: gymnasium.Space,
        width: int,
        statistics: Statistics | None = None,
        padding: int | None = None,
        axis: int | None = None,
    ) -> None:
        channels, *sides = planes(space, self.__module__.rpartition(".")[2], axis)
        if padding is None:
            side = min(sides)
            # 36 is the smallest side that the convolutions cover unpadded, 4 padded by 2.
            padding = 0 if side >= 36 else 2 if side >= 4 else 4
        layers: list[nn.Module] = []
        first, second, third = self.widths
        for before, after, size, stride in (
            (channels, first, 8, 4),
            (first, second, 4, 2),
            (second, third, 3, 1),
        ):
            layers += [nn.Conv2d(before, after, size, stride, padding), nn.ReLU()]
        super().__init__(space, width, statistics, layers, axis)
