"""The three convolutions of `nature` with half of the channels: a quarter of the time on a CPU."""

from typing import ClassVar

from rate.models.encoders import nature


class Encoder(nature.Encoder):
    """See `nature.Encoder`."""

    widths: ClassVar[tuple[int, int, int]] = (16, 32, 32)
