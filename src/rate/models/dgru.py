"""Decision GRU: the Decision LSTM with a gated recurrent unit."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from rate.models import dlstm, lstm


@dataclass(frozen=True)
class Config(dlstm.Config):
    """Decision GRU: steps three times per environment step, once for each of return-to-go,
    observation and action."""

    cell: ClassVar[lstm.Cell] = nn.GRU
