"""A linear map of standardised numbers of any shape; flags and small images are numbers, too."""

import gymnasium
import numpy as np
import torch
from gymnasium import spaces as gym
from torch import Tensor, nn

from rate.images import channel_axis
from rate.models.encoders._images import Statistics, of_channels
from rate.spaces import is_image


class Encoder(nn.Module):
    """Numbers [..., *shape], standardised, flattened and mapped linearly to [..., width].

    Args:
        space: A Box or MultiBinary space.
        width: Width of the tokens.
        statistics: Statistics of the numbers, if they are known.
    """

    def __init__(
        self, space: gymnasium.Space, width: int, statistics: Statistics | None = None
    ) -> None:
        super().__init__()
        if not isinstance(space, gym.Box | gym.MultiBinary):
            raise ValueError(
                f"the encoder 'vector' is for Box and MultiBinary spaces, not for {space}: leave "
                "it at auto"
            )
        shape = space.shape
        self.dimensions = len(shape)
        self.linear = nn.Linear(int(np.prod(shape)), width)
        mean, std = _moments(space, statistics)
        self.register_buffer("mean", torch.from_numpy(np.broadcast_to(mean, shape).copy()))
        self.register_buffer("std", torch.from_numpy(np.broadcast_to(std, shape).copy()))
        self.mean: Tensor
        self.std: Tensor

    def forward(self, values: Tensor) -> Tensor:
        values = (values.to(self.mean.dtype) - self.mean) / self.std
        return self.linear(
            values.flatten(-self.dimensions) if self.dimensions else values[..., None]
        )


def _moments(
    space: gym.Box | gym.MultiBinary, statistics: Statistics | None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation that values of the space are standardised by, float32."""
    if statistics is None:
        default = (127.5, 255.0) if is_image(space) else (0.0, 1.0)
        return np.array(default[0], np.float32), np.array(default[1], np.float32)
    if is_image(space):
        axis = channel_axis(space.shape)
        statistics = of_channels(statistics, space.shape[axis])
        if axis == 0:
            statistics = tuple(part[:, None, None] for part in statistics)
    mean, std = (np.asarray(part, np.float32) for part in statistics[:2])
    return mean, std
