"""Conservative Q-learning, CQL(H) (Kumar et al. 2020).

The released code calls "CQL" a loss without rewards, which equals behaviour cloning with a larger
weight. This one learns from recorded rewards, next observations and
terminations: a truncated episode goes on in value, a terminated one does not.
"""

from collections.abc import Callable
from dataclasses import dataclass

import gymnasium
import torch
from gymnasium import spaces as gym
from torch import Tensor, nn

from rate.models.backbone import ModelConfig
from rate.models.heads import CategoricalHead, ContinuousHead, GaussianHead, box_scale
from rate.models.policy import Policy
from rate.objectives.critics import (
    ActionValues,
    QConfig,
    QLearning,
    Targets,
    best,
    extended,
    features,
    value_of,
)
from rate.objectives.objective import Objective
from rate.segment import Segment
from rate.values import NotNegativeFloat


@dataclass(frozen=True)
class Config(QConfig):
    """Conservative Q-learning over observations, for models that see nothing else."""

    conservative_weight: NotNegativeFloat = 1.0
    """Weight of the conservative term, alpha."""

    def build(self, policy: Policy, make: Callable[[], Policy], scale: float) -> Objective:
        if isinstance(policy.head, CategoricalHead):
            return DiscreteCQL(self, policy, make, scale)
        return ContinuousCQL(self, make, scale)

    def check(
        self, model: ModelConfig, action_space: gymnasium.Space, *, whole_windows: bool
    ) -> None:
        super().check(model, action_space, whole_windows=whole_windows)
        if isinstance(action_space, gym.Box) and not box_scale(action_space)[2].all():
            raise ValueError(
                f"objective cql compares actions over the whole space, but {action_space} is "
                "unbounded: use iql"
            )


class DiscreteCQL(QLearning):
    """CQL(H) for discrete actions (Kumar et al. 2020): the policy's outputs are the values Q1 that
    it acts on greedily.

    Loss: sum over two critics of (Q(o, a) - y)^2 / 2 + alpha (logsumexp_a' Q(o, a') - Q(o, a)),
    with y = r + gamma (1 - d) min_i Q'_i(o', argmax_a' Q1(o', a')) from target networks Q'. The
    values of the components of a MultiDiscrete action add up.
    """

    config: Config

    def __init__(
        self, config: Config, policy: Policy, make: Callable[[], Policy], scale: float
    ) -> None:
        super().__init__(config, scale)
        self.second = make()
        self.targets = Targets(self.critics(policy), config.target_rate)

    def critics(self, policy: Policy) -> nn.ModuleList:
        return nn.ModuleList([policy, self.second])

    def losses(self, policy: Policy, segment: Segment) -> tuple[Tensor, Tensor]:
        head, observed = policy.head, extended(segment)
        assert isinstance(head, CategoricalHead)
        both = [critic.head(features(critic, observed)) for critic in (policy, self.second)]
        with torch.no_grad():
            chosen = best(head, both[0][:, 1:])
            next_values = self.targets.least(
                lambda critic: value_of(
                    head, critic.head(features(critic, observed))[:, 1:], chosen
                )
            )
            td_target = self.td_target(segment, next_values)
        losses = torch.zeros_like(segment.rewards)
        for outputs in both:
            conservative = head.loss(outputs[:, :-1], segment.actions)
            parts = outputs[:, :-1].split(head.counts, -1)
            recorded = torch.stack([part.logsumexp(-1) for part in parts]).sum(0) - conservative
            losses = losses + (recorded - td_target).square() / 2
            losses = losses + self.config.conservative_weight * conservative
        return losses, both[0][:, :-1]


class ContinuousCQL(ActionValues):
    """CQL(H) for bounded Box actions, with a deterministic actor or a stochastic one.

    Critics: (Q(o, a) - y)^2 / 2 + alpha (log sum_j exp(Q(o, a_j) - log p(a_j)) - Q(o, a)), and y =
    r + gamma (1 - d) min_i Q'_i(o', pi(o')). The actions a_j are uniform over the space and, as
    uniform ones seldom come near it in many dimensions, the actor's: several drawn with their
    densities p, or the one of a deterministic actor, which counts as a uniform one. Actor: maximise
    min_i Q'_i(o, pi(o)); the target critics pass a gradient to the action and are not moved by it.
    """

    config: Config
    PROPOSALS = 10

    def losses(self, policy: Policy, segment: Segment) -> tuple[Tensor, Tensor]:
        observed, head = extended(segment), policy.head
        assert isinstance(head, ContinuousHead)
        outputs = head(features(policy, observed))
        actions, _ = _drawn(head, outputs)
        values = self.targets.least(lambda critic: critic(features(critic.body, observed), actions))
        td_target = self.td_target(segment, values[:, 1:].detach())
        losses = -values[:, :-1]
        proposals, densities = self._proposals(head, outputs[:, :-1].detach())
        for critic in (self.first, self.second):
            hidden = features(critic.body, observed)[:, :-1]
            recorded = critic(hidden, segment.actions)
            everywhere = hidden[:, :, None].expand(-1, -1, proposals.shape[2], -1)
            proposed = critic(everywhere, proposals) - densities
            conservative = proposed.logsumexp(-1) - recorded
            losses = losses + (recorded - td_target).square() / 2
            losses = losses + self.config.conservative_weight * conservative
        return losses, outputs[:, :-1]

    def _proposals(self, head: ContinuousHead, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Actions [B, K, n, size] whose values are held down, and the logarithms of their
        densities [B, K, n], those of uniform actions set to 0."""
        count = self.PROPOSALS if isinstance(head, GaussianHead) else 1
        several = outputs[:, :, None].expand(-1, -1, count, -1)
        own, density = _drawn(head, several)
        shape = (*outputs.shape[:2], self.PROPOSALS, head.size)
        uniform = head.centre + head.radius * (2 * torch.rand(shape, device=outputs.device) - 1)
        volume = (2 * head.radius).log().sum()
        densities = torch.cat([torch.zeros(shape[:-1], device=outputs.device), density + volume], 2)
        return torch.cat([uniform, own], 2), densities


def _drawn(head: ContinuousHead, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Actions [..., size] of an actor, and the logarithms of their densities [...]; one that is
    deterministic counts as uniform."""
    if isinstance(head, GaussianHead):
        return head.sampled(outputs)
    actions = head.actions(outputs)
    return actions, -(2 * head.radius).log().sum().expand(actions.shape[:-1])
