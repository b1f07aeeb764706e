"""Statistics of images, collected while they are written."""

import math
from typing import Any

import numpy as np

from rate.images import channel_axis

FEW_NUMBERS = 2**11
"""Images of at most so many numbers have statistics of each component, larger ones by channel."""
EXACT_ROWS = 256
"""Images summed at once: the sum of so many squared bytes is exact in float32."""
CHUNK_NUMBERS = 2**22
"""Bytes of images that are held as float32 at once."""


def statistics_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the statistics of images of a shape: by component if they are small."""
    return shape if math.prod(shape) <= FEW_NUMBERS else (shape[channel_axis(shape)],)


class ImageStatistics:
    """Minimum, maximum, mean and standard deviation over all images that arrive.

    Images that repeat count as often as they are observed, as numbers do. Sums are exact, so the
    result does not depend on how the images arrive.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.merged: tuple[int, ...] = ()
        if statistics_shape(shape) != shape:
            self.merged = (0, 1) if channel_axis(shape) else (1, 2)
        self.count = 0
        self.sums, self.squares = np.zeros(shape), np.zeros(shape)
        self.minimum = np.full(shape, 255, np.uint8)
        self.maximum = np.zeros(shape, np.uint8)

    def add(self, images: np.ndarray) -> None:
        """Count images [n, *shape]."""
        rows = min(max(CHUNK_NUMBERS // self.sums.size, 1), EXACT_ROWS)
        for start in range(0, len(images), rows):
            chunk = images[start : start + rows]
            numbers = chunk.astype(np.float32)
            self.count += len(chunk)
            self.sums += numbers.sum(0)
            self.squares += np.einsum("n...,n...->...", numbers, numbers)
            np.minimum(self.minimum, chunk.min(0), out=self.minimum)
            np.maximum(self.maximum, chunk.max(0), out=self.maximum)

    def result(self) -> dict[str, Any]:
        """The statistics as JSON data, of the shape `statistics_shape`."""
        total = self.count * math.prod(self.sums.shape[axis] for axis in self.merged)
        mean = self.sums.sum(self.merged) / total
        variance = self.squares.sum(self.merged) / total - mean**2
        return {
            "mean": mean.tolist(),
            "std": np.sqrt(np.maximum(variance, 0)).tolist(),
            "min": self.minimum.min(self.merged).tolist(),
            "max": self.maximum.max(self.merged).tolist(),
        }
