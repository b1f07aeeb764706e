"""Conservative Q-learning, CQL(H) (Kumar et al. 2020).

The released code calls "CQL" a loss without rewards, which equals behaviour cloning with a larger
weight (baselines, section 6). This one learns from recorded rewards, next observations and
terminations: a truncated episode goes on in value, a terminated one does not.
"""

from collections.abc import Callable
from dataclasses import dataclass

import gymnasium
import torch
from gymnasium import spaces as gym
from torch import Tensor, nn

from rate.models.backbone import Memory, ModelConfig
from rate.models.heads import CategoricalHead, ContinuousHead
from rate.models.policy import Policy
from rate.objectives.critics import (
    ActionValues,
    QConfig,
    Targets,
    best,
    extended,
    features,
    td_targets,
    value_of,
)
from rate.objectives.objective import Objective, Outcome
from rate.segment import Segment


@dataclass(frozen=True)
class Config(QConfig):
    """Conservative Q-learning over observations, for mlp, lstm and gru."""

    conservative_weight: float = 1.0
    """Weight of the conservative term, alpha."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least_zero("conservative_weight")

    def build(self, policy: Policy, make: Callable[[], Policy], scale: float) -> Objective:
        if isinstance(policy.head, CategoricalHead):
            return DiscreteCQL(self, policy, make, scale)
        return ContinuousCQL(self, make, scale)

    def check(
        self, model: ModelConfig, action_space: gymnasium.Space, *, whole_windows: bool
    ) -> None:
        super().check(model, action_space, whole_windows=whole_windows)
        if isinstance(action_space, gym.Box) and not action_space.is_bounded():
            raise ValueError(
                f"objective cql compares actions over the whole space, but {action_space} is "
                "unbounded: use iql"
            )


class DiscreteCQL(Objective):
    """CQL(H) for discrete actions (Kumar et al. 2020): the policy's outputs are the values Q1 that
    it acts on greedily.

    Loss: sum over two critics of (Q(o, a) - y)^2 / 2 + alpha (logsumexp_a' Q(o, a') - Q(o, a)),
    with y = r + gamma (1 - d) min_i Q'_i(o', argmax_a' Q1(o', a')) from target networks Q'. The
    values of the components of a MultiDiscrete action add up.
    """

    next_observation = has_targets = True

    def __init__(
        self, config: Config, policy: Policy, make: Callable[[], Policy], scale: float
    ) -> None:
        super().__init__()
        self.config, self.scale = config, scale
        self.second = make()
        self.targets = Targets(nn.ModuleList([policy, self.second]), config.target_rate)

    def forward(
        self, policy: Policy, segment: Segment, weights: Tensor, memory: Memory, complete: int
    ) -> Outcome:
        head, observations = policy.head, extended(segment)
        assert isinstance(head, CategoricalHead)
        both = [network.head(features(network, observations)) for network in (policy, self.second)]
        with torch.no_grad():
            chosen = best(head, both[0][:, 1:])
            next_values = self.targets.least(
                lambda network: value_of(
                    head, network.head(features(network, observations))[:, 1:], chosen
                )
            )
            td_target = td_targets(segment, next_values, self.config.discount, self.scale)
        losses = torch.zeros_like(weights)
        for outputs in both:
            conservative = head.loss(outputs[:, :-1], segment.actions)
            soft = torch.stack(
                [values.logsumexp(-1) for values in outputs[:, :-1].split(head.counts, -1)]
            ).sum(0)
            losses = (
                losses
                + (soft - conservative - td_target).square() / 2
                + self.config.conservative_weight * conservative
            )
        correct = head.correct(both[0][:, :-1].detach(), segment.actions)
        return (losses * weights).sum(), (correct * weights).sum(), memory

    def update_targets(self, policy: Policy) -> None:
        self.targets.update(nn.ModuleList([policy, self.second]))


class ContinuousCQL(ActionValues):
    """CQL(H) for bounded Box actions with a deterministic actor.

    Critics: (Q(o, a) - y)^2 / 2 + alpha (log mean_j exp Q(o, a_j) - Q(o, a)) with actions a_j
    uniform over the space, which estimates logsumexp up to a constant, and y = r + gamma (1 - d)
    min_i Q'_i(o', pi(o')). Actor: maximise min_i Q'_i(o, pi(o)); the target critics pass a gradient
    to the action and are not moved by it.
    """

    PROPOSALS = 10

    def __init__(self, config: Config, make: Callable[[], Policy], scale: float) -> None:
        super().__init__(config, make, scale)
        self.config = config

    def forward(
        self, policy: Policy, segment: Segment, weights: Tensor, memory: Memory, complete: int
    ) -> Outcome:
        observations = extended(segment)
        actions = policy.head(features(policy, observations))
        values = self.targets.least(
            lambda critic: critic(features(critic.body, observations), actions)
        )
        td_target = td_targets(segment, values[:, 1:].detach(), self.config.discount, self.scale)
        losses = -values[:, :-1]
        for critic in self.critics:
            hidden = features(critic.body, observations)[:, :-1]
            recorded = critic(hidden, segment.actions)
            everywhere = hidden[:, :, None].expand(-1, -1, self.PROPOSALS, -1)
            proposed = critic(everywhere, self._uniform(policy, everywhere))
            conservative = proposed.logsumexp(-1) - recorded
            losses = (
                losses
                + (recorded - td_target).square() / 2
                + self.config.conservative_weight * conservative
            )
        correct = policy.head.correct(actions[:, :-1].detach(), segment.actions)
        return (losses * weights).sum(), (correct * weights).sum(), memory

    def _uniform(self, policy: Policy, like: Tensor) -> Tensor:
        head = policy.head
        assert isinstance(head, ContinuousHead)
        noise = 2 * torch.rand(*like.shape[:-1], head.linear.out_features, device=like.device) - 1
        return head.centre + head.radius * noise
