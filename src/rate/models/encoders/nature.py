"""Three convolutions and a linear map for images (method, section 2.1; Mnih et al. 2015)."""

import gymnasium
from torch import nn

from rate.models.encoders._images import ImageEncoder, Statistics, planes


class Encoder(ImageEncoder):
    """See `ImageEncoder`.

    Args:
        space: An image space.
        width: Width of the tokens.
        statistics: Statistics of the images, if they are known.
        padding: Padding of each convolution; by default as much as a small image needs.
        axis: Axis of the channels, if it is given.
    """

    def __init__(
        self,
        space: gymnasium.Space,
        width: int,
        statistics: Statistics | None = None,
        padding: int | None = None,
        axis: int | None = None,
    ) -> None:
        channels, *sides = planes(space, "nature", axis)
        if padding is None:
            side = min(sides)
            # 36 is the smallest side that the convolutions cover unpadded, 4 padded by 2.
            padding = 0 if side >= 36 else 2 if side >= 4 else 4
        layers: list[nn.Module] = []
        for before, after, size, stride in (channels, 32, 8, 4), (32, 64, 4, 2), (64, 64, 3, 1):
            layers += [nn.Conv2d(before, after, size, stride, padding), nn.ReLU()]
        super().__init__(space, width, statistics, layers, axis)
