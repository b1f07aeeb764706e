"""Decision Transformer: the backbone of RATE with one segment as long as the window, and no memory.

Differences from Chen et al. 2021: relative attention, no timestep embedding, post-norm layers
(baselines, section 2). While acting, the window of N x K steps slides by one segment at a time: the
last (N - 1) x K steps stay as context. A stride of one step (segment_length 1) is the textbook
sliding window, and costs one forward pass of the whole window a step.
"""

from dataclasses import dataclass

from rate.models import rate
from rate.models.nn.valve import ValveKind


@dataclass(frozen=True)
class Config(rate.Config):
    """Decision Transformer: sees the last N x K steps and remembers nothing else."""

    dropout: float = 0.1
    attention_dropout: float = 0.0
    feed_forward: int = 64
    memory_tokens: int = 0
    valve: ValveKind = "none"
    context_segments: int = -1
    """Earlier segments in the window; -1 stands for N - 1."""

    def __post_init__(self) -> None:
        if self.context_segments == -1:
            object.__setattr__(self, "context_segments", self.segments - 1)
        super().__post_init__()
