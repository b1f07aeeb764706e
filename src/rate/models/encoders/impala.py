"""Residual convolutions and a linear map for images (Espeholt et al. 2018), in a size for a CPU."""

import gymnasium
import torch
from torch import Tensor, nn

from rate.models.encoders._images import PictureScaling, Statistics, he_weights, image_shape

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


class Encoder(nn.Module):
    """Images [..., H, W, C] or [..., C, H, W] to tokens of unit variance, as those of actions are.

    Each of three stages is a convolution that halves the image, and one residual block. The paper's
    network halves by pooling and has two blocks in a stage, at three times the cost.

    Args:
        space: An image space.
        width: Width of the tokens.
        statistics: Statistics of the images' channels, if they are known.
    """

    def __init__(
        self, space: gymnasium.Space, width: int, statistics: Statistics | None = None
    ) -> None:
        super().__init__()
        self.scaling = PictureScaling(image_shape(space, "impala"), statistics)
        channels, height, breadth = self.scaling.shape
        layers: list[nn.Module] = []
        for before, after in zip((channels, *CHANNELS), CHANNELS, strict=False):
            layers += [
                nn.Conv2d(before, after, 3, 2, 1),
                ResidualBlock(after),
            ]
        self.convolutions = nn.Sequential(*layers, nn.ReLU(), nn.Flatten())
        features = self.convolutions(torch.zeros(1, channels, height, breadth)).shape[1]
        self.linear = nn.Linear(features, width)
        he_weights(*self.convolutions.modules(), self.linear)

    def forward(self, images: Tensor) -> Tensor:
        pictures = self.scaling(images.reshape(-1, *images.shape[-3:]))
        tokens = self.linear(self.convolutions(pictures))
        tokens = nn.functional.layer_norm(tokens, tokens.shape[-1:])
        return tokens.view(*images.shape[:-3], -1)
