"""DT-XL: a Decision Transformer that carries cached hidden states from window to window (baselines,
section 2).

In training the cache is always empty, because one window is one segment; only acting uses it.
"""

from dataclasses import dataclass

from rate.models import rate


@dataclass(frozen=True)
class Config(rate.Config):
    """Decision Transformer with cached hidden states of the previous window while acting."""

    segment_length: int = 90
    segments: int = 1
    dropout: float = 0.1
    attention_dropout: float = 0.0
    feed_forward: int = 64
    memory_tokens: int = 0
    cached_states: int = 270
