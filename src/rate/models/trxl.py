"""Transformer-XL: segment recurrence by cached hidden states alone (baselines, section 4)."""

from dataclasses import dataclass

from rate.models import rate
from rate.values import NotNegative, Rate


@dataclass(frozen=True)
class Config(rate.Config):
    """Transformer-XL: tokens see the hidden states of earlier segments."""

    dropout: Rate = 0.1
    attention_dropout: Rate = 0.0
    feed_forward: NotNegative = 64
    memory_tokens: NotNegative = 0
    cached_states: NotNegative = 270
