"""Transformer-XL: segment recurrence by cached hidden states alone (baselines, section 4)."""

from dataclasses import dataclass

from rate.models import rate


@dataclass(frozen=True)
class Config(rate.Config):
    """Transformer-XL: tokens see the hidden states of earlier segments."""

    feed_forward: int = 64
    memory_tokens: int = 0
    cached_states: int = 270
