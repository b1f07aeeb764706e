"""BC-GRU: a gated recurrent unit over observations alone."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from rate.models import lstm


@dataclass(frozen=True)
class Config(lstm.Config):
    """Behaviour cloning with a GRU over observations: no return, no action."""

    cell: ClassVar[lstm.Cell] = nn.GRU
