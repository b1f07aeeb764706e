"""Recurrent Memory Transformer: memory tokens at both ends of a segment, no valve and no cache."""

from dataclasses import dataclass

from rate.models import rate
from rate.models.nn.valve import ValveKind
from rate.values import NotNegative


@dataclass(frozen=True)
class Config(rate.Config):
    """Recurrent Memory Transformer: written memory is passed on as it is."""

    feed_forward: NotNegative = 64
    valve: ValveKind = "none"
