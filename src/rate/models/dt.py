"""Decision Transformer: the backbone of RATE with one segment as long as the window, and no memory.

Differences from Chen et al. 2021: relative attention, no timestep embedding, post-norm layers
(baselines, section 2). While acting, the window of N x K steps slides by one segment at a time: the
last (N - 1) x K steps stay as context. A stride of one step (segment_length 1) is the textbook
sliding window, and costs one forward pass of the whole window a step.
"""

from dataclasses import dataclass
from typing import Annotated

from rate.models import rate
from rate.models.nn.valve import ValveKind
from rate.values import Checked, Range


@dataclass(frozen=True)
class Config(rate.PlainConfig):
    """Decision Transformer: sees the last N x K steps and remembers nothing else."""

    valve: ValveKind = "none"
    context_segments: Annotated[int, Range(-1)] = -1
    """Earlier segments in the window; -1 stands for N - 1."""

    def __post_init__(self) -> None:
        Checked.__post_init__(self)
        if self.context_segments == -1:
            object.__setattr__(self, "context_segments", self.segments - 1)
        super().__post_init__()
