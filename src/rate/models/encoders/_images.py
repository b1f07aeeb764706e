"""How values of a leaf are scaled before they are encoded, decided by statistics of the data."""

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from rate.images import channel_axis
from rate.spaces import is_image

Statistics = tuple[np.ndarray, ...]
"""Of a leaf of numbers: mean and standard deviation of each component. Of an image leaf: mean,
standard deviation, minimum and maximum of each component, if it is small, or of each channel."""

PICTURE_SPAN = 128
"""An image is a picture if the bytes of one channel span at least this much."""
SMALLEST_SPAN = 32
"""Channels beside a picture that span less hold small numbers."""


def of_stack(statistics: Statistics, shape: tuple[int, ...]) -> Statistics:
    """Statistics of images of a shape: those of one frame repeat where frames are stacked."""
    axis = channel_axis(shape)
    if statistics[0].ndim == 1:
        return tuple(np.tile(part, shape[axis] // len(part)) for part in statistics)
    count = shape[axis] // statistics[0].shape[axis]
    return tuple(np.concatenate([part] * count, axis) for part in statistics)


def by_channel(statistics: Statistics, shape: tuple[int, ...], axis: int) -> Statistics:
    """Statistics of each channel of images of a shape, whose channels lie along an axis."""
    mean, std, least, greatest = of_stack(statistics, shape)
    if mean.ndim == 1 and axis == channel_axis(shape):
        return mean, std, least, greatest
    if mean.ndim == 1:  # of what was taken for channels: one scale for all of them
        spread = np.sqrt((std**2 + (mean - mean.mean()) ** 2).mean())
        whole = (mean.mean(), spread, least.min(), greatest.max())
        return tuple(np.full(shape[axis], number, np.float32) for number in whole)
    pixels = (0, 1) if axis else (1, 2)
    middle = mean.mean(pixels, keepdims=True)
    spread = np.sqrt((std**2 + (mean - middle) ** 2).mean(pixels))
    return middle.squeeze(pixels), spread, least.min(pixels), greatest.max(pixels)


def picture_scale(
    shape: tuple[int, ...], statistics: Statistics | None, axis: int
) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift of each channel of an image leaf: its bytes are encoded as x / scale - shift.

    Pictures become x / 255 - 0.5. Channels that hold small numbers, such as the kinds of objects in
    a grid, are standardised by the data's mean and standard deviation, as leaves of numbers are.
    Constant channels, and images without statistics, are taken for pictures.
    """
    channels = shape[axis]
    scale, shift = np.full(channels, 255.0, np.float32), np.full(channels, 0.5, np.float32)
    if statistics is not None:
        mean, std, least, greatest = by_channel(statistics, shape, axis)
        span = greatest - least
        small = (span > 0) & (span < (SMALLEST_SPAN if span.max() >= PICTURE_SPAN else 256))
        scale[small], shift[small] = std[small], mean[small] / std[small]
    return scale, shift


def planes(space: gymnasium.Space, kind: str, axis: int | None = None) -> tuple[int, int, int]:
    """Channels, height and width of an image space, whose channels lie along an axis if it is
    given.

    Raises:
        ValueError: the space is none; the message says that `kind` encodes images.
    """
    if not is_image(space):
        raise ValueError(
            f"the encoder {kind!r} is for images (uint8, three axes), not for {space}: leave it "
            "at auto"
        )
    first, middle, last = space.shape or ()
    axis = channel_axis((first, middle, last)) if axis is None else axis
    return (last, first, middle) if axis else (first, middle, last)


class PictureScaling(nn.Module):
    """Images [n, H, W, C] or [n, C, H, W] of bytes to floats [n, C, H, W], scaled by channel.

    Where images are stacked frames, it takes single frames, too: all have the same scale.
    """

    def __init__(
        self, shape: tuple[int, ...], statistics: Statistics | None, axis: int | None = None
    ) -> None:
        super().__init__()
        axis = channel_axis(shape) if axis is None else axis
        self.channels_last = axis == 2
        scale, shift = picture_scale(shape, statistics, axis)
        self.register_buffer("scale", torch.from_numpy(scale))
        self.register_buffer("shift", torch.from_numpy(shift))
        self.scale: Tensor
        self.shift: Tensor

    def forward(self, images: Tensor) -> Tensor:
        images = images.to(self.scale.dtype)
        if not self.channels_last:
            # In place: a batch of pictures is larger than any cache.
            channels = images.shape[1]
            scale, shift = self.scale[:channels], self.shift[:channels]
            return images.div(scale[:, None, None]).sub_(shift[:, None, None])
        # Whole rows of pixels side by side are faster than one pixel's few channels.
        breadth, channels = images.shape[-2:]
        scale, shift = self.scale[:channels], self.shift[:channels]
        rows = images.flatten(-2) / scale.repeat(breadth) - shift.repeat(breadth)
        return rows.unflatten(-1, (breadth, channels)).permute(0, 3, 1, 2)


class ImageEncoder(nn.Module):
    """Images [..., H, W, C] or [..., C, H, W], scaled, through convolutions and a linear map to
    tokens of unit variance, as those of actions are.

    First weights are drawn as He et al. (2015) do: with PyTorch's own, two images would begin all
    but alike.

    Args:
        space: An image space.
        width: Width of the tokens.
        statistics: Statistics of the images, if they are known.
        layers: Layers from images [n, C, H, W] on.
        axis: Axis of the channels, 0 or 2; by default `channel_axis` finds it.
        pooling: Side of the squares of pixels whose means the layers see.
    """

    def __init__(
        self,
        space: gymnasium.Space,
        width: int,
        statistics: Statistics | None,
        layers: list[nn.Module],
        axis: int | None = None,
        pooling: int = 1,
    ) -> None:
        super().__init__()
        self.scaling = PictureScaling(space.shape or (), statistics, axis)
        self.pool = nn.Identity() if pooling == 1 else nn.AvgPool2d(pooling, ceil_mode=True)
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        blank = torch.zeros(1, *planes(space, "image", axis))
        features = self.convolutions(self.pool(blank)).shape[1]
        self.linear = nn.Linear(features, width)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(
                    layer.weight, nonlinearity="linear" if layer is self.linear else "relu"
                )
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        pictures = self.prepare(images.reshape(-1, *images.shape[-3:]))
        return self._tokens(pictures).view(*images.shape[:-3], -1)

    def prepare(self, images: Tensor) -> Tensor:
        """Images [n, H, W, C] or [n, C, H, W], or single frames of stacks, scaled and pooled:
        what is the same in each stack that a frame is in. Floats [n, C, h, w]."""
        pictures: Tensor = self.pool(self.scaling(images))
        return pictures

    def stacked(self, pictures: Tensor, numbers: Tensor) -> Tensor:
        """Tokens [B, K, width] of stacks.

        Args:
            pictures: Frames as `prepare` returns them, [n, c, h, w].
            numbers: Those of each stack, oldest first, [B, K, k].
        """
        stacks = pictures[numbers.flatten(0, 1)].flatten(1, 2)
        return self._tokens(stacks).view(*numbers.shape[:2], -1)

    def _tokens(self, pictures: Tensor) -> Tensor:
        tokens = self.linear(self.convolutions(pictures))
        return nn.functional.layer_norm(tokens, tokens.shape[-1:])
