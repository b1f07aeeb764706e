"""Implicit Q-learning (Kostrikov et al. 2022).

The released code takes returns-to-go for rewards and never trains its encoder. This one
learns from recorded rewards, next observations and terminations.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rate.models.policy import Policy
from rate.objectives.critics import ActionValues, QConfig, StateValue, extended, features
from rate.objectives.objective import Objective
from rate.segment import Segment
from rate.values import Fraction, NotNegativeFloat


@dataclass(frozen=True)
class Config(QConfig):
    """Implicit Q-learning over observations, for models that see nothing else."""

    expectile: Fraction = 0.7
    """Expectile that the values estimate, tau."""
    inverse_temperature: NotNegativeFloat = 3.0
    """How strongly advantageous actions are preferred, beta."""

    def build(self, policy: Policy, make: Callable[[], Policy], scale: float) -> Objective:
        return IQL(self, make, scale)


class IQL(ActionValues):
    """Implicit Q-learning (Kostrikov et al. 2022): values never ask about actions outside the data.

    V: L_tau(min_i Q'_i(o, a) - V(o)) with L_tau(u) = |tau - 1(u < 0)| u^2; critics: (Q(o, a) - r -
    gamma (1 - d) V(o'))^2; policy: min(exp(beta (min_i Q'_i - V)), 100) times the behaviour-cloning
    loss.
    """

    config: Config
    LARGEST_WEIGHT = 100.0

    def __init__(self, config: Config, make: Callable[[], Policy], scale: float) -> None:
        super().__init__(config, make, scale)
        self.value = StateValue(make())

    def losses(self, policy: Policy, segment: Segment) -> tuple[Tensor, Tensor]:
        config, observed = self.config, extended(segment)
        values = self.value(observed)
        with torch.no_grad():
            recorded = self.targets.least(
                lambda critic: critic(features(critic.body, observed)[:, :-1], segment.actions)
            )
            td_target = self.td_target(segment, values[:, 1:])
        advantage = recorded - values[:, :-1]
        losses = expectile_loss(advantage, config.expectile)
        for critic in (self.first, self.second):
            hidden = features(critic.body, observed)[:, :-1]
            losses = losses + (critic(hidden, segment.actions) - td_target).square()
        outputs = policy.head(features(policy, observed))[:, :-1]
        preference = (config.inverse_temperature * advantage.detach()).exp()
        cloning = policy.head.loss(outputs, segment.actions)
        losses = losses + preference.clamp(max=self.LARGEST_WEIGHT) * cloning
        return losses, outputs


def expectile_loss(difference: Tensor, expectile: float) -> Tensor:
    """Asymmetric square |tau - 1(u < 0)| u^2, whose minimiser is the expectile; tau = 0.5 gives
    half the square."""
    return torch.where(difference < 0, 1 - expectile, expectile) * difference.square()
