"""Three convolutions and a linear map for images (method, section 2.1; Mnih et al. 2015)."""

import gymnasium
import torch
from torch import Tensor, nn

from rate.models.encoders._images import PictureScaling, Statistics, he_weights, image_shape


class Encoder(nn.Module):
    """Images [..., H, W, C] or [..., C, H, W] to tokens of unit variance, as those of actions are.

    Args:
        space: An image space.
        width: Width of the tokens.
        statistics: Statistics of the images' channels, if they are known.
        padding: Padding of each convolution; by default as much as a small image needs.
    """

    def __init__(
        self,
        space: gymnasium.Space,
        width: int,
        statistics: Statistics | None = None,
        padding: int | None = None,
    ) -> None:
        super().__init__()
        self.scaling = PictureScaling(image_shape(space, "nature"), statistics)
        channels, height, breadth = self.scaling.shape
        if padding is None:
            side = min(height, breadth)
            # 36 is the smallest side that the convolutions cover unpadded, 4 padded by 2.
            padding = 0 if side >= 36 else 2 if side >= 4 else 4
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels, 32, 8, 4, padding),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, 2, padding),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, 1, padding),
            nn.ReLU(),
            nn.Flatten(),
        )
        features = self.convolutions(torch.zeros(1, channels, height, breadth)).shape[1]
        self.linear = nn.Linear(features, width)
        he_weights(*self.convolutions, self.linear)

    def forward(self, images: Tensor) -> Tensor:
        pictures = self.scaling(images.reshape(-1, *images.shape[-3:]))
        tokens = self.linear(self.convolutions(pictures))
        tokens = nn.functional.layer_norm(tokens, tokens.shape[-1:])
        return tokens.view(*images.shape[:-3], -1)
