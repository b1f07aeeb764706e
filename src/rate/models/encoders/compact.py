"""The convolutions of `nature` on means of 2 x 2 pixels, with half of the channels: half of the
time on a CPU."""

from typing import ClassVar

from rate.models.encoders import nature


class Encoder(nature.Encoder):
    """See `nature.Encoder`. The first convolution has half of the size and of the stride."""

    pooling: ClassVar[int] = 2
    kernels: ClassVar[tuple[tuple[int, int, int], ...]] = ((16, 4, 2), (32, 4, 2), (32, 3, 1))
