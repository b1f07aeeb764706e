"""Behaviour cloning: predict the recorded actions."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from rate.models.backbone import Memory
from rate.models.policy import Policy
from rate.objectives.objective import Objective, ObjectiveConfig, Outcome
from rate.segment import Segment


@dataclass(frozen=True)
class Config(ObjectiveConfig):
    """Behaviour cloning of the recorded actions, or of those of the best episodes."""

    def build(self, policy: Policy, make: Callable[[], Policy], scale: float) -> Objective:
        return BehaviourCloning()


class BehaviourCloning(Objective):
    """Cross-entropy of discrete actions, squared error of continuous ones."""

    def forward(
        self, policy: Policy, segment: Segment, weights: Tensor, memory: Memory, complete: int
    ) -> Outcome:
        outputs, memory = policy(segment, memory, complete)
        losses = policy.head.loss(outputs, segment.actions)
        correct = policy.head.correct(outputs.detach(), segment.actions)
        return (losses * weights).sum(), (correct * weights).sum(), memory
