"""Transformer-XL: segment recurrence by cached hidden states alone (baselines, section 4)."""

from dataclasses import dataclass

from rate.models import rate


@dataclass(frozen=True)
class Config(rate.Config):
    """Transformer-XL: tokens see the hidden states of earlier segments."""

    dropout: float = 0.1
    attention_dropout: float = 0.0
    feed_forward: int = 64
    memory_tokens: int = 0
    cached_states: int = 270
