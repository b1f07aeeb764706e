"""Residual convolutions and a linear map for images (Espeholt et al. 2018), in a size for a CPU."""

import gymnasium
from torch import Tensor, nn

from rate.models.encoders._images import ImageEncoder, Statistics, planes

CHANNELS = (16, 32, 32)


class ResidualBlock(nn.Module):
    """Adds two convolutions of an image to the image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        return images + self.layers(images)


class Encoder(ImageEncoder):
    """See `ImageEncoder`.

    Each of three stages is a convolution that halves the image, and one residual block. The paper's
    network halves by pooling and has two blocks in a stage, at three times the cost.

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
        before, *_ = planes(space, "impala", axis)
        layers: list[nn.Module] = []
        for after in CHANNELS:
            layers += [nn.Conv2d(before, after, 3, 2, 1), ResidualBlock(after)]
            before = after
        super().__init__(space, width, statistics, [*layers, nn.ReLU()], axis)
