"""Decision Transformer: the backbone of RATE with one segment as long as the window, and no memory.

Differences from Chen et al. 2021: relative attention, no timestep embedding, post-norm layers.
While acting, the window of the last N x K steps slides by `stride` steps at
a time: steps that stay are encoded anew, all but the last layer's outputs, once something has left
the window. A longer stride is cheaper, and an action then sees between N x K - stride + 1 and N x K
steps.
"""

from dataclasses import dataclass
from typing import Annotated

from rate.models import rate
from rate.models.nn.valve import ValveKind
from rate.values import Checked, Positive, Range


@dataclass(frozen=True)
class Config(rate.PlainConfig):
    """Decision Transformer: sees the last N x K steps and remembers nothing else."""

    valve: ValveKind = "none"
    context_segments: Annotated[int, Range(-1)] = -1
    """Earlier segments in the window; -1 stands for N - 1."""
    stride: Positive = 1
    """Steps by which the window slides while acting."""

    def __post_init__(self) -> None:
        Checked.__post_init__(self)
        if self.context_segments == -1:
            object.__setattr__(self, "context_segments", self.segments - 1)
        if self.stride > self.first_segment:
            raise ValueError(
                f"stride is {self.stride}, but the window has {self.first_segment} steps: let it "
                "slide by at most as many"
            )
        super().__post_init__()

    @property
    def context(self) -> str:
        return f"the last {self.first_segment} steps, in a window that slides by {self.stride}"

    @property
    def first_segment(self) -> int:
        return self.training_segment_length

    @property
    def context_steps(self) -> int:
        return self.first_segment - self.stride
