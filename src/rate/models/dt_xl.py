"""DT-XL: a Decision Transformer that carries cached hidden states from window to window (baselines,
section 2).

In training the cache is always empty, because one window is one segment; only acting uses it.
"""

from dataclasses import dataclass

from rate.models import rate
from rate.values import NotNegative, Positive, Rate


@dataclass(frozen=True)
class Config(rate.Config):
    """Decision Transformer with cached hidden states of the previous window while acting."""

    segment_length: Positive = 90
    segments: Positive = 1
    dropout: Rate = 0.1
    attention_dropout: Rate = 0.0
    feed_forward: NotNegative = 64
    memory_tokens: NotNegative = 0
    cached_states: NotNegative = 270
