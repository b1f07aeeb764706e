"""DT-XL: a Decision Transformer that carries cached hidden states from window to window (baselines,
section 2).

In training the cache is always empty, because one window is one segment; only acting uses it.
"""

from dataclasses import dataclass

from rate.models import trxl
from rate.values import Positive


@dataclass(frozen=True)
class Config(trxl.Config):
    """Decision Transformer with cached hidden states of the previous window while acting."""

    segment_length: Positive = 90
    segments: Positive = 1
