"""BC-MLP: a map from the current observation alone, the control that cannot remember (baselines,
section 5)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from rate.models.backbone import Backbone, Memory, ModelConfig
from rate.models.nn.cpu import Dropout
from rate.values import Positive


@dataclass(frozen=True)
class Config(ModelConfig):
    """Behaviour cloning with an MLP: no history, no return, no action."""

    hidden: Positive = 128
    """Width of the two hidden layers."""

    whole_windows: ClassVar[bool] = True

    @property
    def tokens(self) -> tuple[str, ...]:
        return ("observation",)

    @property
    def context(self) -> str:
        return "the observation of its step alone"

    def build(self) -> "PerStep":
        return PerStep(self)


class PerStep(Backbone):
    """The same two-layer network at every token; its memory is empty."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(config.width, config.hidden),
            nn.ReLU(),
            Dropout(config.dropout),
            nn.Linear(config.hidden, config.width),
            nn.ReLU(),
            Dropout(config.dropout),
        )

    def initial_memory(self, batch: int) -> Memory:
        return (next(self.parameters()).new_zeros(batch, 0),)

    def forward(self, tokens: Tensor, memory: Memory, complete: int) -> tuple[Tensor, Memory]:
        return self.layers(tokens), memory
