"""Behaviour cloning: predict the recorded actions."""

from collections.abc import Callable
from dataclasses import dataclass

import gymnasium
import torch
from torch import Tensor

from rate.models.backbone import Memory, ModelConfig
from rate.models.heads import CategoricalHead
from rate.models.policy import Policy
from rate.objectives.objective import Objective, ObjectiveConfig, Outcome
from rate.segment import Segment
from rate.values import Rate


@dataclass(frozen=True)
class Config(ObjectiveConfig):
    """Behaviour cloning of the recorded actions, or of those of the best episodes."""

    label_smoothing: Rate = 0.0
    """Probability that targets give to all categories alike, for discrete actions."""

    def build(self, policy: Policy, make: Callable[[], Policy], scale: float) -> Objective:
        return BehaviourCloning(self.label_smoothing)

    def check(
        self, model: ModelConfig, action_space: gymnasium.Space, *, whole_windows: bool
    ) -> None:
        super().check(model, action_space, whole_windows=whole_windows)
        if self.label_smoothing and isinstance(action_space, gymnasium.spaces.Box):
            raise ValueError(
                f"label_smoothing is {self.label_smoothing}, but the actions {action_space} have "
                "no categories: leave it at 0"
            )


class BehaviourCloning(Objective):
    """Cross-entropy of discrete actions, squared error of continuous ones."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(
        self, policy: Policy, segment: Segment, weights: Tensor, memory: Memory, complete: int
    ) -> Outcome:
        outputs, memory = policy(segment, memory, complete)
        losses = policy.head.loss(outputs, segment.actions)
        if self.label_smoothing:
            assert isinstance(policy.head, CategoricalHead)
            losses = torch.lerp(losses, policy.head.uniform_loss(outputs), self.label_smoothing)
        correct = policy.head.correct(outputs.detach(), segment.actions)
        return (losses * weights).sum(), (correct * weights).sum(), memory
