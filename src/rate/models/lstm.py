"""BC-LSTM: a long short-term memory over observations alone.

The state starts at zero and is carried for as long as the episode lasts; the released code draws it
at random, anew for every training batch and with another spread when it acts. Gradients cross the
whole window.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from rate.models.backbone import Backbone, Memory, ModelConfig
from rate.models.nn.cpu import Dropout
from rate.segment import first_rows
from rate.values import Positive

Cell = type[nn.LSTM] | type[nn.GRU]


@dataclass(frozen=True)
class Config(ModelConfig):
    """Behaviour cloning with an LSTM over observations: no return, no action."""

    hidden: Positive = 128
    """Width of the recurrent state."""
    layers: Positive = 1
    """Recurrent layers."""

    whole_windows: ClassVar[bool] = True
    cell: ClassVar[Cell] = nn.LSTM

    @property
    def tokens(self) -> tuple[str, ...]:
        return ("observation",)

    @property
    def context(self) -> str:
        return f"a recurrent state of {self.layers} x {self.hidden}"

    def build(self) -> "Recurrent":
        return Recurrent(self)


class Recurrent(Backbone):
    """An LSTM or GRU between two dropouts, and a map back to the width of tokens; memory is its
    state, [B, layers, hidden] each."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layers, self.hidden = config.layers, config.hidden
        self.dropout = Dropout(config.dropout)
        self.network: nn.LSTM | nn.GRU = config.cell(
            config.width, config.hidden, config.layers, batch_first=True
        )
        self.output = nn.Linear(config.hidden, config.width)
        self.states = 2 if config.cell is nn.LSTM else 1
        for name, parameter in self.network.named_parameters():
            if "weight" in name:
                for gate in parameter.data.split(
                    config.hidden
                ):  # each gate by itself is orthogonal
                    nn.init.orthogonal_(gate)
            else:
                nn.init.zeros_(parameter)
                if config.cell is nn.LSTM and "bias_ih" in name:
                    # The forget gate begins open, so that what was seen long ago still gets a
                    # gradient (the released one is 0).
                    parameter.data[config.hidden : 2 * config.hidden] = 1.0

    def initial_memory(self, batch: int) -> Memory:
        like = self.output.weight
        return tuple(like.new_zeros(batch, self.layers, self.hidden) for _ in range(self.states))

    def forward(self, tokens: Tensor, memory: Memory, complete: int) -> tuple[Tensor, Memory]:
        before = tuple(state.transpose(0, 1).contiguous() for state in memory)
        hidden, after = self.network(
            self.dropout(tokens), before if self.states == 2 else before[0]
        )
        states = after if isinstance(after, tuple) else (after,)
        written = tuple(state.transpose(0, 1) for state in states)
        return self.output(self.dropout(hidden)), first_rows(written, memory, complete)
