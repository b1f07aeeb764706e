"""What every objective offers: a configuration, and a loss of a segment."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import gymnasium
from torch import Tensor, nn

from rate.models.backbone import Memory, ModelConfig
from rate.models.policy import Policy
from rate.segment import Segment
from rate.values import Checked, Fraction

Outcome = tuple[Tensor, Tensor, Memory]
"""Weighted loss and action accuracy (scalars), and the memory after the segment."""


class Objective(nn.Module):
    """A loss for the policy, with whatever networks it takes besides."""

    next_observation = False
    """Whether the observation after each window must be loaded."""
    has_targets = False
    """Whether there are target networks, which move after each optimiser step."""

    def forward(
        self, policy: Policy, segment: Segment, weights: Tensor, memory: Memory, complete: int
    ) -> Outcome:
        """The loss of a segment.

        Args:
            policy: What is trained.
            segment: [B, K].
            weights: [B, K], zero on padded steps and summing to one over the whole batch.
            memory: Memory before the segment.
            complete: Rows that write memory, see `Policy.forward`.
        """
        raise NotImplementedError

    def update_targets(self, policy: Policy) -> None:
        """Move target networks, after an optimiser step; called if it `has_targets`."""


@dataclass(frozen=True)
class ObjectiveConfig(Checked):
    """Fields that every objective has."""

    top_fraction: Fraction = 1.0
    """Fraction of the episodes to learn from, those with the highest returns (filtered behaviour
    cloning); 1 takes all."""

    whole_windows: ClassVar[bool] = False
    """Whether the objective is given whole windows, which it splits by itself, not segments."""

    def build(self, policy: Policy, make: Callable[[], Policy], scale: float) -> Objective:
        """The objective.

        Args:
            policy: What is trained.
            make: Makes a fresh policy of the same kind.
            scale: What rewards are divided by.
        """
        raise NotImplementedError

    def check(
        self, model: ModelConfig, action_space: gymnasium.Space, *, whole_windows: bool
    ) -> None:
        """Refuse, with a ValueError, what the objective does not go with.

        Args:
            model: The model that is trained.
            action_space: Its actions.
            whole_windows: Whether gradients cross whole windows, the optimiser steps after them,
                and their segments are as long as the model says.
        """
