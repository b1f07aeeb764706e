"""BC-MLP: a map from the current observation alone, the control that cannot remember (baselines,
section 5)."""

from dataclasses import dataclass

from torch import Tensor, nn

from rate.models.backbone import Backbone, Memory, ModelConfig, Stream
from rate.models.nn.cpu import Dropout


@dataclass(frozen=True)
class Config(ModelConfig):
    """Behaviour cloning with an MLP: no history, no return, no action."""

    hidden: int = 128
    """Width of the two hidden layers."""

    @property
    def training_segment_length(self) -> int:
        return self.window

    @property
    def tokens(self) -> tuple[str, ...]:
        return ("observation",)

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

    def start(self, memory: Memory) -> Stream:
        return Stream({"memory": memory[0]})

    def append(self, stream: Stream, tokens: Tensor) -> Tensor:
        return self.layers(tokens)

    def write_memory(self, stream: Stream) -> Memory:
        return (stream["memory"],)
