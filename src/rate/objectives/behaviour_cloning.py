"""Behaviour cloning: predict the recorded actions (method, section 9)."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from rate.models.backbone import Memory
from rate.models.policy import Policy
from rate.objectives.objective import Objective, ObjectiveConfig
from rate.segment import Segment


@dataclass(frozen=True)
class Config(ObjectiveConfig):
    """Behaviour cloning of the recorded actions, or of those of the best episodes."""

    def build(self, policy: Policy, make: Callable[[], Policy], scale: float) -> Objective:
        return BehaviourCloning()


class BehaviourCloning(Objective):
    """Cross-entropy of discrete actions, squared error of continuous ones."""

    def losses(
        self, policy: Policy, segment: Segment, memory: Memory, complete: int
    ) -> tuple[Tensor, Tensor, Memory]:
        outputs, memory = policy(segment, memory, complete)
        return policy.head.loss(outputs, segment.actions), outputs, memory
