"""Transformer-XL: segment recurrence by cached hidden states alone."""

from dataclasses import dataclass

from rate.models import rate
from rate.values import NotNegative


@dataclass(frozen=True)
class Config(rate.PlainConfig):
    """Transformer-XL: tokens see the hidden states of earlier segments."""

    cached_states: NotNegative = 270
