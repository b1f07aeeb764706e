"""How actions are drawn from the logits of choices."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from rate.values import Checked, NotNegative, Range

Temperature = Annotated[float, Range(0, open="(")]


@dataclass(frozen=True)
class Sampling(Checked):
    """Draws from the softmax of logits, as it is or narrowed."""

    temperature: Temperature = 1.0
    """What logits are divided by: below 1 the likely actions become likelier."""
    top_k: NotNegative = 0
    """Draw among so many of the likeliest categories of each component; 0: among all."""

    @property
    def plain(self) -> bool:
        """Whether the softmax is taken as it is."""
        return self == Sampling()

    def narrowed(self, logits: np.ndarray, counts: Sequence[int]) -> np.ndarray:
        """The logits [n, sum of counts] to draw from; -inf for what is not drawn.

        Args:
            logits: Logits of all components in a row.
            counts: Categories of each component.
        """
        if self.plain:
            return logits
        scaled = logits / np.float32(self.temperature)
        if not self.top_k:
            return scaled
        parts = np.split(scaled, np.cumsum(counts)[:-1], -1)
        return np.concatenate([self._likeliest(part) for part in parts], -1)

    def _likeliest(self, logits: np.ndarray) -> np.ndarray:
        if self.top_k >= logits.shape[-1]:
            return logits
        # Of equal logits those that come first, so that exactly so many are left.
        order = np.argsort(-logits, -1, kind="stable")[:, self.top_k :]
        narrowed = logits.copy()
        np.put_along_axis(narrowed, order, -np.inf, -1)
        return narrowed

    def __str__(self) -> str:
        text = "sampled"
        if self.temperature != 1:
            text += f" at temperature {self.temperature:g}"
        return text + (f" from the {self.top_k} likeliest" if self.top_k else "")
