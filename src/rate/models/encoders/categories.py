"""One embedding per component of Discrete and MultiDiscrete values."""

import gymnasium
import numpy as np
import torch
from gymnasium import spaces as gym
from torch import Tensor, nn

from rate.models.encoders._images import Statistics


class Encoder(nn.Module):
    """Categories [..., *shape] to the sum of one embedding per component, [..., width].

    Args:
        space: A Discrete or MultiDiscrete space.
        width: Width of the tokens.
        statistics: Not used.
    """

    def __init__(
        self, space: gymnasium.Space, width: int, statistics: Statistics | None = None
    ) -> None:
        super().__init__()
        match space:
            case gym.Discrete():
                counts = np.asarray(space.n)
            case gym.MultiDiscrete():
                counts = np.asarray(space.nvec)
            case _:
                raise ValueError(
                    "the encoder 'categories' is for Discrete and MultiDiscrete spaces, not for "
                    f"{space}: leave it at auto"
                )
        start = np.asarray(space.start)
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
