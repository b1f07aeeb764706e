"""What a policy is trained for: behaviour cloning, conservative Q-learning (CQL) or implicit
Q-learning (IQL).

The released code calls "CQL" a loss without rewards, which equals behaviour cloning with a larger
weight (baselines, section 6). Its IQL takes returns-to-go for rewards and never trains its encoder
(section 7). Here both learn from recorded rewards, next observations and terminations: a truncated
episode goes on in value, a terminated one does not.
"""

from collections.abc import Callable

import gymnasium
import torch
from gymnasium import spaces as gym
from torch import Tensor, nn

from rate.models.backbone import Memory
from rate.models.heads import CategoricalHead, ContinuousHead
from rate.models.policy import Policy
from rate.objectives.critics import (
    ActionValue,
    StateValue,
    Targets,
    best,
    extended,
    features,
    value_of,
)
from rate.recipe import ObjectiveConfig, Recipe
from rate.segment import Segment

Outcome = tuple[Tensor, Tensor, Memory]
"""Weighted loss and share of right actions (scalars), and the memory after the segment."""


class Objective(nn.Module):
    """A loss for the policy, with whatever networks it takes besides."""

    following = False
    """Whether the observation that follows a window must be loaded."""

    def forward(
        self, policy: Policy, segment: Segment, weights: Tensor, memory: Memory, complete: int
    ) -> Outcome:
        """Loss on a segment; weights: [B, K], zero on padded steps and summing to one over the
        whole batch."""
        raise NotImplementedError

    def follow(self, policy: Policy) -> None:
        """Move target networks, after an optimiser step."""


class BehaviourCloning(Objective):
    """Predict the recorded actions: cross-entropy for discrete ones, squared error for continuous
    ones (method, section 9)."""

    def forward(
        self, policy: Policy, segment: Segment, weights: Tensor, memory: Memory, complete: int
    ) -> Outcome:
        outputs, memory = policy(segment, memory, complete)
        return *behaviour_cloning(policy, outputs, segment, weights), memory


def behaviour_cloning(
    policy: Policy, outputs: Tensor, segment: Segment, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Weighted sum of the loss of the recorded actions, and of how many were predicted right (two
    scalars).

    outputs: [B, K, outputs]; weights: [B, K], zero on padded steps and summing to one over the
    whole batch.
    """
    losses = policy.head.loss(outputs, segment.actions)
    correct = policy.head.correct(outputs.detach(), segment.actions)
    return (losses * weights).sum(), (correct * weights).sum()


class DiscreteCQL(Objective):
    """CQL(H) for discrete actions (Kumar et al. 2020): the policy's outputs are the values Q1 that
    it acts on greedily.

    Loss: sum over two critics of (Q(o, a) - y)^2 / 2 + alpha (logsumexp_a' Q(o, a') - Q(o, a)),
    with y = r + gamma (1 - d) min_i Q'_i(o', argmax_a' Q1(o', a')) from target networks Q'. The
    values of the components of a MultiDiscrete action add up.
    """

    following = True

    def __init__(
        self, config: ObjectiveConfig, policy: Policy, make: Callable[[], Policy], scale: float
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
            following = self.targets.least(
                lambda network: value_of(
                    head, network.head(features(network, observations))[:, 1:], chosen
                )
            )
            wanted = bellman(segment, following, self.config.discount, self.scale)
        losses = torch.zeros_like(weights)
        for outputs in both:
            conservative = head.loss(outputs[:, :-1], segment.actions)
            soft = torch.stack(
                [values.logsumexp(-1) for values in outputs[:, :-1].split(head.counts, -1)]
            ).sum(0)
            losses = (
                losses
                + (soft - conservative - wanted).square() / 2
                + self.config.conservative_weight * conservative
            )
        correct = head.correct(both[0][:, :-1].detach(), segment.actions)
        return (losses * weights).sum(), (correct * weights).sum(), memory

    def follow(self, policy: Policy) -> None:
        self.targets.follow(nn.ModuleList([policy, self.second]))


class ActionValues(Objective):
    """What CQL for continuous actions and IQL share: two critics with their targets."""

    following = True

    def __init__(self, config: ObjectiveConfig, make: Callable[[], Policy], scale: float) -> None:
        super().__init__()
        self.config, self.scale = config, scale
        self.first, self.second = ActionValue(make()), ActionValue(make())
        self.targets = Targets(nn.ModuleList(self.critics), config.target_rate)

    @property
    def critics(self) -> tuple[ActionValue, ActionValue]:
        """Both critics."""
        return self.first, self.second

    def follow(self, policy: Policy) -> None:
        self.targets.follow(nn.ModuleList(self.critics))


class ContinuousCQL(ActionValues):
    """CQL(H) for bounded Box actions with a deterministic actor.

    Critics: (Q(o, a) - y)^2 / 2 + alpha (log mean_j exp Q(o, a_j) - Q(o, a)) with actions a_j
    uniform over the space, which estimates logsumexp up to a constant, and y = r + gamma (1 - d)
    min_i Q'_i(o', pi(o')). Actor: maximise min_i Q'_i(o, pi(o)); the target critics pass a gradient
    to the action and are not moved by it.
    """

    PROPOSALS = 10

    def forward(
        self, policy: Policy, segment: Segment, weights: Tensor, memory: Memory, complete: int
    ) -> Outcome:
        observations = extended(segment)
        actions = policy.head(features(policy, observations))
        values = self.targets.least(
            lambda critic: critic(features(critic.body, observations), actions)
        )
        wanted = bellman(segment, values[:, 1:].detach(), self.config.discount, self.scale)
        losses = -values[:, :-1]
        for critic in self.critics:
            hidden = features(critic.body, observations)[:, :-1]
            recorded = critic(hidden, segment.actions)
            everywhere = hidden[:, :, None].expand(-1, -1, self.PROPOSALS, -1)
            proposed = critic(everywhere, self._uniform(policy, everywhere))
            conservative = proposed.logsumexp(-1) - recorded
            losses = (
                losses
                + (recorded - wanted).square() / 2
                + self.config.conservative_weight * conservative
            )
        correct = policy.head.correct(actions[:, :-1].detach(), segment.actions)
        return (losses * weights).sum(), (correct * weights).sum(), memory

    def _uniform(self, policy: Policy, like: Tensor) -> Tensor:
        head = policy.head
        assert isinstance(head, ContinuousHead)
        noise = 2 * torch.rand(*like.shape[:-1], head.linear.out_features, device=like.device) - 1
        return head.centre + head.radius * noise


class IQL(ActionValues):
    """Implicit Q-learning (Kostrikov et al. 2022): values never ask about actions outside the data.

    V: L_tau(min_i Q'_i(o, a) - V(o)) with L_tau(u) = |tau - 1(u < 0)| u^2; critics: (Q(o, a) - r -
    gamma (1 - d) V(o'))^2; policy: min(exp(beta (min_i Q'_i - V)), 100) times the behaviour-cloning
    loss.
    """

    LARGEST_WEIGHT = 100.0

    def __init__(self, config: ObjectiveConfig, make: Callable[[], Policy], scale: float) -> None:
        super().__init__(config, make, scale)
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
            wanted = bellman(segment, values[:, 1:], config.discount, self.scale)
        advantage = recorded - values[:, :-1]
        losses = expectile_loss(advantage, config.expectile)
        for critic in self.critics:
            hidden = features(critic.body, observations)[:, :-1]
            losses = losses + (critic(hidden, segment.actions) - wanted).square()
        outputs = policy.head(features(policy, segment.observations))
        preference = (
            (config.inverse_temperature * advantage.detach()).exp().clamp(max=self.LARGEST_WEIGHT)
        )
        losses = losses + preference * policy.head.loss(outputs, segment.actions)
        correct = policy.head.correct(outputs.detach(), segment.actions)
        return (losses * weights).sum(), (correct * weights).sum(), memory


def bellman(segment: Segment, following: Tensor, discount: float, scale: float) -> Tensor:
    """What the values of recorded actions should be, [B, K]: r / scale + gamma (1 - d) V(o'), with
    V(o') in `following` [B, K]."""
    return segment.rewards / scale + discount * (~segment.terminations) * following


def expectile_loss(difference: Tensor, expectile: float) -> Tensor:
    """Asymmetric square |tau - 1(u < 0)| u^2, whose minimiser is the expectile; tau = 0.5 gives
    half the square."""
    return torch.where(difference < 0, 1 - expectile, expectile) * difference.square()


def build(
    config: ObjectiveConfig, policy: Policy, make: Callable[[], Policy], scale: float
) -> Objective:
    """The objective of a recipe. make: a fresh policy of the same kind; scale: what rewards are
    divided by."""
    match config.name:
        case "behaviour-cloning":
            return BehaviourCloning()
        case "cql" if isinstance(policy.head, CategoricalHead):
            return DiscreteCQL(config, policy, make, scale)
        case "cql":
            return ContinuousCQL(config, make, scale)
        case "iql":
            return IQL(config, make, scale)


def check(recipe: Recipe, action_space: gymnasium.Space) -> None:
    """Refuse, with a ValueError, an objective that does not go with the model, the actions, or how
    gradients are cut."""
    config, model = recipe.objective, recipe.model
    if config.name == "behaviour-cloning":
        return
    if model.tokens != ("observation",) or model.training_segment_length < model.window:
        raise ValueError(
            f"objective {config.name} learns values of observations over whole windows, but "
            "this model sees "
            f"{', '.join(model.tokens)} in segments of {model.training_segment_length} of "
            f"{model.window} steps: use mlp, "
            "lstm or gru"
        )
    if recipe.bptt_segments or recipe.update_per_segment:
        raise ValueError(
            f"objective {config.name} takes whole windows: leave bptt_segments and "
            "update_per_segment at 0"
        )
    if config.name == "cql" and isinstance(action_space, gym.Box) and not action_space.is_bounded():
        raise ValueError(
            f"objective cql compares actions over the whole space, but {action_space} is "
            "unbounded: use iql"
        )
