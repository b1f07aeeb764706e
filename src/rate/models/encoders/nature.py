"""Three convolutions and a linear map for images (Mnih et al. 2015)."""

from typing import ClassVar

import gymnasium
from torch import nn

from rate.models.encoders._images import ImageEncoder, Statistics, planes


class Encoder(ImageEncoder):
    """See `ImageEncoder`.

    Attributes:
        pooling: Side of the squares of pixels whose means the first convolution sees.
        kernels: Channels, size and stride of each convolution.

    Args:
        space: An image space.
        width: Width of the tokens.
        statistics: Statistics of the images, if they are known.
        padding: Padding of each convolution; by default as much as a small image needs.
        axis: Axis of the channels, if it is given.
    """

    pooling: ClassVar[int] = 1
    kernels: ClassVar[tuple[tuple[int, int, int], ...]] = ((32, 8, 4), (64, 4, 2), (64, 3, 1))

    def __init__(
        self,
        space: gymnasium.Space,
        width: int,
        statistics: Statistics | None = None,
        padding: int | None = None,
        axis: int | None = None,
    ) -> None:
        before, *sides = planes(space, self.__module__.rpartition(".")[2], axis)
        if padding is None:
            side = min(sides)
            # 36 is the smallest side that the convolutions cover unpadded, 4 padded by 2.
            padding = 0 if side >= 36 else 2 if side >= 4 else 4
        layers: list[nn.Module] = []
        if self.pooling > 1:
            layers.append(nn.Identity())  # where older checkpoints number the pooling
        for channels, size, stride in self.kernels:
            layers += [nn.Conv2d(before, channels, size, stride, padding), nn.ReLU()]
            before = channels
        super().__init__(space, width, statistics, layers, axis, self.pooling)
