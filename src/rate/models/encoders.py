"""From a Gymnasium space to a module that turns one step's values into tokens (method, section
2.1)."""

from typing import cast

import gymnasium
import numpy as np
import torch
from gymnasium import spaces as gym
from torch import Tensor, nn

from rate.images import stack
from rate.spaces import is_image, leaves

Normalisation = dict[str, tuple[np.ndarray, np.ndarray]]
"""Mean and standard deviation of observation leaves, by path."""


class VectorEncoder(nn.Module):
    """Numbers of any shape [..., *shape], standardised, flattened and mapped linearly to [...,
    d]."""

    def __init__(
        self, shape: tuple[int, ...], width: int, mean: np.ndarray | float, std: np.ndarray | float
    ) -> None:
        super().__init__()
        self.dimensions = len(shape)
        self.linear = nn.Linear(int(np.prod(shape)), width)
        self.register_buffer(
            "mean", torch.as_tensor(np.broadcast_to(mean, shape).copy(), dtype=torch.float32)
        )
        self.register_buffer(
            "std", torch.as_tensor(np.broadcast_to(std, shape).copy(), dtype=torch.float32)
        )
        self.mean: Tensor
        self.std: Tensor

    def forward(self, values: Tensor) -> Tensor:
        values = (values.to(self.mean.dtype) - self.mean) / self.std
        return self.linear(
            values.flatten(-self.dimensions) if self.dimensions else values[..., None]
        )


class ImageEncoder(nn.Module):
    """Three convolutions and a linear map for uint8 images [..., H, W, C] or [..., C, H, W]
    (method, section 2.1).

    Images that repeat within a batch, as in grid worlds, are encoded once. Weights begin as He et
    al. (2015) draw them, and tokens have unit variance, as those of actions do: with PyTorch's own
    weights, two images begin all but alike.
    """

    def __init__(self, shape: tuple[int, ...], width: int, padding: int | None = None) -> None:
        super().__init__()
        self.channels_last = shape[-1] < shape[0]
        channels, height, breadth = (shape[-1], *shape[:2]) if self.channels_last else shape
        if padding is None:
            side = min(
                height, breadth
            )  # 36 is the smallest that the three convolutions cover unpadded, 4 padded by 2
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
        for module in (*self.convolutions, self.linear):
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(
                    module.weight, nonlinearity="linear" if module is self.linear else "relu"
                )
                nn.init.constant_(cast(Tensor, module.bias), 0.0)

    def forward(self, images: Tensor) -> Tensor:
        batch = images.shape[:-3]
        images, index = distinct(images.reshape(-1, *images.shape[-3:]))
        if self.channels_last:
            images = images.permute(0, 3, 1, 2)
        features = self.linear(self.convolutions(images.to(self.linear.weight.dtype) / 255 - 0.5))
        features = nn.functional.layer_norm(features, features.shape[-1:])
        return (features if index is None else features[index]).view(*batch, -1)


def distinct(images: Tensor) -> tuple[Tensor, Tensor | None]:
    """The images [u, ...] that differ from one another among uint8 images [n, ...], and of each of
    the n which it is.

    None where all differ. Images are told apart by a sum of their bytes with random weights, and
    then compared.
    """
    if len(images) < 2:
        return images, None
    flat = images.reshape(len(images), -1)
    if flat.shape[1] % 8:
        flat = nn.functional.pad(flat, (0, 8 - flat.shape[1] % 8))
    words = flat.contiguous().view(torch.int64)
    weights = torch.randint(2**62, words.shape[1:], generator=torch.Generator().manual_seed(0)).to(
        words.device
    )
    sums, index = (words * weights).sum(1).unique(return_inverse=True)
    if len(sums) == len(images):
        return images, None
    rows = torch.zeros_like(sums).scatter_(0, index, torch.arange(len(images), device=index.device))
    found = images[rows]
    return (found, index) if torch.equal(found[index], images) else (images, None)


class CategoryEncoder(nn.Module):
    """The sum of one embedding per component, for integers [...] or [..., *shape] counted from
    `start`."""

    def __init__(self, counts: np.ndarray, start: np.ndarray, width: int) -> None:
        super().__init__()
        self.components = counts.ndim
        self.embedding = nn.Embedding(int(counts.sum()), width)
        offsets = np.cumsum(counts.ravel()) - counts.ravel() - start.ravel()
        self.register_buffer("offsets", torch.from_numpy(offsets.astype(np.int64)))
        self.offsets: Tensor
        self.from_zero = not start.any()

    def forward(self, values: Tensor) -> Tensor:
        if not self.components:
            return self.embedding(self._indices(values.long() + self.offsets[0]))
        return self.embedding(
            self._indices(values.long().flatten(-self.components) + self.offsets)
        ).sum(-2)

    def _indices(self, indices: Tensor) -> Tensor:
        """Padding is zeros, which are no category where counting begins elsewhere; masked steps
        take any embedding."""
        return indices if self.from_zero else indices.clamp(0, self.embedding.num_embeddings - 1)


def encoder(
    space: gymnasium.Space,
    width: int,
    mean: np.ndarray | float = 0.0,
    std: np.ndarray | float = 1.0,
) -> nn.Module:
    """The encoder of one leaf space; values come with any leading batch dimensions."""
    if is_image(space):
        assert space.shape is not None
        return ImageEncoder(space.shape, width)
    match space:
        case gym.Box() | gym.MultiBinary():
            return VectorEncoder(space.shape, width, mean, std)
        case gym.Discrete():
            return CategoryEncoder(np.asarray(space.n), np.asarray(space.start), width)
        case gym.MultiDiscrete():
            return CategoryEncoder(np.asarray(space.nvec), np.asarray(space.start), width)
    raise ValueError(
        f"no encoder for {type(space).__name__} spaces: use Box, Discrete, MultiDiscrete, "
        "MultiBinary, or Dict and Tuple of these"
    )


class ObservationEncoder(nn.Module):
    """The sum of the encodings of all leaves of an observation space."""

    def __init__(self, space: gymnasium.Space, width: int, normalisation: Normalisation) -> None:
        super().__init__()
        found = leaves(space)
        self.paths = list(found)
        self.encoders = nn.ModuleList(
            encoder(leaf, width, *normalisation.get(path, (0.0, 1.0)))
            for path, leaf in found.items()
        )

    def forward(
        self, observations: dict[str, Tensor], frames: dict[str, Tensor] | None = None
    ) -> Tensor:
        frames = frames or {}
        tokens = []
        for path, encode in zip(self.paths, self.encoders, strict=True):
            values, images = observations[path], frames.get(path)
            if images is None:
                tokens.append(encode(values))
            elif values.dim() == 3:  # the numbers of each step's stacked frames
                tokens.append(encode(stack(images[values], images.shape[1:])))
            else:
                tokens.append(encode(images)[values])
        return tokens[0] if len(tokens) == 1 else torch.stack(tokens).sum(0)


class ReturnEncoder(nn.Module):
    """A linear map of the return-to-go, divided by the return scale of the data."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.linear = nn.Linear(1, width)
        self.register_buffer("scale", torch.tensor(float(scale)))
        self.scale: Tensor

    def forward(self, returns_to_go: Tensor) -> Tensor:
        return self.linear((returns_to_go / self.scale)[..., None])
