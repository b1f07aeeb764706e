"""A linear map of standardised numbers of any shape; flags and small images are numbers, too."""

import gymnasium
import numpy as np
import torch
from gymnasium import spaces as gym
from torch import Tensor, nn

from rate.images import channel_axis
from rate.models.encoders._images import Statistics, of_stack
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
    if not is_image(space):
        mean, std = (np.asarray(part, np.float32) for part in statistics)
        return mean, std
    mean, std, least, greatest = of_stack(statistics, space.shape)
    std = np.where(greatest > least, std, np.float32(1))
    if mean.ndim == 1 and channel_axis(space.shape) == 0:
        mean, std = mean[:, None, None], std[:, None, None]
    return mean.astype(np.float32), std.astype(np.float32)
