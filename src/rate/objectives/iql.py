"""Implicit Q-learning (Kostrikov et al. 2022).

The released code takes returns-to-go for rewards and never trains its encoder (baselines, section
7). This one learns from recorded rewards, next observations and terminations.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rate.models.backbone import Memory
from rate.models.policy import Policy
from rate.objectives.critics import (
    ActionValues,
    QConfig,
    StateValue,
    extended,
    features,
    td_targets,
)
from rate.objectives.objective import Objective, Outcome
from rate.segment import Segment


@dataclass(frozen=True)
class Config(QConfig):
    """Implicit Q-learning over observations, for mlp, lstm and gru."""

    expectile: float = 0.7
    """Expectile that the values estimate, tau."""
    inverse_temperature: float = 3.0
    """How strongly advantageous actions are preferred, beta."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_fractions("expectile")
        self.require_at_least_zero("inverse_temperature")

    def build(self, policy: Policy, make: Callable[[], Policy], scale: float) -> Objective:
        return IQL(self, make, scale)


class IQL(ActionValues):
    """Implicit Q-learning (Kostrikov et al. 2022): values never ask about actions outside the data.

    V: L_tau(min_i Q'_i(o, a) - V(o)) with L_tau(u) = |tau - 1(u < 0)| u^2; critics: (Q(o, a) - r -
    gamma (1 - d) V(o'))^2; policy: min(exp(beta (min_i Q'_i - V)), 100) times the behaviour-cloning
    loss.
    """

    LARGEST_WEIGHT = 100.0

    def __init__(self, config: Config, make: Callable[[], Policy], scale: float) -> None:
        super().__init__(config, make, scale)
        self.config = config
        self.value = StateValue(make())

    def forward(
        self, policy: Policy, segment: Segment, weights: Tensor, memory: Memory, complete: int
    ) -> Outcome:
        config, observations = self.config, extended(segment)
        values = self.value(observations)
        with torch.no_grad():
            recorded = self.targets.least(
                lambda critic: critic(features(critic.body, observations)[:, :-1], segment.actions)
            )
            td_target = td_targets(segment, values[:, 1:], config.discount, self.scale)
        advantage = recorded - values[:, :-1]
        losses = expectile_loss(advantage, config.expectile)
        for critic in self.critics:
            hidden = features(critic.body, observations)[:, :-1]
            losses = losses + (critic(hidden, segment.actions) - td_target).square()
        outputs = policy.head(features(policy, segment.observations))
        preference = (
            (config.inverse_temperature * advantage.detach()).exp().clamp(max=self.LARGEST_WEIGHT)
        )
        losses = losses + preference * policy.head.loss(outputs, segment.actions)
        correct = policy.head.correct(outputs.detach(), segment.actions)
        return (losses * weights).sum(), (correct * weights).sum(), memory


def expectile_loss(difference: Tensor, expectile: float) -> Tensor:
    """Asymmetric square |tau - 1(u < 0)| u^2, whose minimiser is the expectile; tau = 0.5 gives
    half the square."""
    return torch.where(difference < 0, 1 - expectile, expectile) * difference.square()
