"""Value networks of Q-learning, and what they look at: all observations of a window and the one
that follows it."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import gymnasium
import torch
from torch import Tensor, nn

from rate.models.backbone import Memory, ModelConfig
from rate.models.heads import CategoricalHead, ContinuousHead
from rate.models.policy import Policy
from rate.objectives.objective import Objective, ObjectiveConfig, Outcome
from rate.segment import Segment
from rate.values import Fraction


@dataclass(frozen=True)
class QConfig(ObjectiveConfig):
    """Fields of objectives that learn values of actions from rewards."""

    discount: Fraction = 0.99
    """Discount of rewards, gamma."""
    target_rate: Fraction = 0.005
    """Rate at which target networks move towards the critics."""

    whole_windows: ClassVar[bool] = True

    def check(
        self, model: ModelConfig, action_space: gymnasium.Space, *, whole_windows: bool
    ) -> None:
        name = type(self).__module__.rpartition(".")[2]
        if model.tokens != ("observation",):
            raise ValueError(
                f"objective {name} learns values of observations, but this model sees "
                f"{', '.join(model.tokens)}: set observation_only, or use mlp, lstm or gru"
            )
        if not whole_windows:
            raise ValueError(
                f"objective {name} takes whole windows: leave bptt_segments, update_per_segment, "
                "shorter_segments and growing_segments at 0"
            )


class Observed(NamedTuple):
    """What values are learned of."""

    observations: dict[str, Tensor]
    """Leaves [B, K + 1, ...]."""
    timesteps: Tensor
    """Index of each step in its episode, [B, K + 1]."""


def extended(segment: Segment) -> Observed:
    """Observations of a whole window: in every row the one that follows its last real step comes
    behind it."""
    rows = torch.arange(len(segment), device=segment.mask.device)
    last, found = segment.mask.sum(1), {}
    for path, leaf in segment.observations.items():
        found[path] = torch.cat([leaf, torch.zeros_like(leaf[:, :1])], 1)
        found[path][rows, last] = segment.next_observation[path]
    steps = torch.arange(segment.steps + 1, device=last.device)
    return Observed(found, segment.timesteps[:, :1] + steps)


def features(policy: Policy, observed: Observed) -> Tensor:
    """Hidden states [B, K + 1, d] of a policy that sees observations alone, from the beginning of
    the window on and with memory from segment to segment.

    Every row writes memory after each segment but the last, rows that end earlier included: only
    their padding reads it.
    """
    tokens = policy.embed({"observation": (observed.observations,)}, observed.timesteps)
    memory, hidden = policy.initial_memory(len(tokens)), []
    segments = tokens.split(policy.config.training_segment_length, 1)
    for number, segment in enumerate(segments, 1):
        complete = len(tokens) if number < len(segments) else 0
        part, memory = policy.backbone(segment, memory, complete)
        hidden.append(part)
    return torch.cat(hidden, 1)


def best(head: CategoricalHead, outputs: Tensor) -> Tensor:
    """The components of the action with the highest value, [..., components], given the values of
    each component."""
    return torch.stack([values.argmax(-1) for values in outputs.split(head.counts, -1)], -1)


def value_of(head: CategoricalHead, outputs: Tensor, components: Tensor) -> Tensor:
    """Value [...] of an action given by its components [..., components]; the values of components
    add up."""
    parts = zip(outputs.split(head.counts, -1), components.unbind(-1), strict=True)
    chosen = [values.gather(-1, index[..., None])[..., 0] for values, index in parts]
    return torch.stack(chosen).sum(0)


class ActionValue(nn.Module):
    """Q(o, a) of recorded or proposed actions, with encoder and backbone of its own."""

    def __init__(self, body: Policy) -> None:
        super().__init__()
        self.body = body
        if isinstance(body.head, ContinuousHead):
            size = body.head.size
            self.register_buffer("centre", body.head.centre, persistent=False)
            self.register_buffer("radius", body.head.radius, persistent=False)
            self.centre: Tensor
            self.radius: Tensor
            body.head = nn.Identity()  # type: ignore[assignment]
            self.value = _perceptron(body.config.width + size, body.config.width)

    def forward(self, hidden: Tensor, actions: Tensor) -> Tensor:
        """Values [...] of actions [..., *shape], given the hidden states [..., d] that
        `features(self.body, ...)` returned."""
        head = self.body.head
        flat = actions.reshape(*hidden.shape[:-1], -1)
        if isinstance(head, CategoricalHead):
            # Padding is zeros, which need not be an action; masked steps take any.
            parts = zip((flat.long() - head.start).unbind(-1), head.counts, strict=True)
            components = torch.stack([part.clamp(0, count - 1) for part, count in parts], -1)
            return value_of(head, head(hidden), components)
        scaled = (flat.float() - self.centre) / self.radius
        values: Tensor = self.value(torch.cat([hidden, scaled], -1))
        return values[..., 0]


class StateValue(nn.Module):
    """V(o), with encoder and backbone of its own."""

    def __init__(self, body: Policy) -> None:
        super().__init__()
        self.body = body
        body.head = nn.Identity()  # type: ignore[assignment]
        self.value = _perceptron(body.config.width, body.config.width)

    def forward(self, observed: Observed) -> Tensor:
        """Values [B, K + 1] of observations."""
        values: Tensor = self.value(features(self.body, observed))
        return values[..., 0]


class Targets(nn.Module):
    """Copies of networks that move towards them slowly; nothing is ever learned through them."""

    def __init__(self, networks: nn.ModuleList, rate: float) -> None:
        super().__init__()
        self.copies = deepcopy(networks).requires_grad_(False)
        self.rate = rate

    @torch.no_grad()
    def update(self, networks: nn.ModuleList) -> None:
        """Move every copy a little towards its network."""
        for copy, network in zip(self.copies.parameters(), networks.parameters(), strict=True):
            copy.lerp_(network, self.rate)

    def least(self, value: Callable[[Any], Tensor]) -> Tensor:
        """The least of the copies' values, none of which drops anything out."""
        self.copies.eval()
        return torch.stack([value(copy) for copy in self.copies]).amin(0)


def _perceptron(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, 1))


class QLearning(Objective):
    """What CQL and IQL share: two critics whose copies, the `targets`, move after every optimiser
    step.

    Args:
        config: Options.
        scale: What rewards are divided by.
    """

    next_observation = has_targets = True
    config: QConfig
    targets: Targets

    def __init__(self, config: QConfig, scale: float) -> None:
        super().__init__()
        self.config, self.scale = config, scale

    def critics(self, policy: Policy) -> nn.ModuleList:
        """Both critics."""
        raise NotImplementedError

    def forward(
        self, policy: Policy, segment: Segment, weights: Tensor, memory: Memory, complete: int
    ) -> Outcome:
        losses, outputs = self.losses(policy, segment)
        correct = policy.head.correct(outputs.detach(), segment.actions)
        return (losses * weights).sum(), (correct * weights).sum(), memory

    def losses(self, policy: Policy, segment: Segment) -> tuple[Tensor, Tensor]:
        """The loss of every step [B, K], and the policy's outputs [B, K, ...]."""
        raise NotImplementedError

    def update_targets(self, policy: Policy) -> None:
        self.targets.update(self.critics(policy))

    def td_target(self, segment: Segment, next_values: Tensor) -> Tensor:
        """What the values of recorded actions should be, [B, K]: r / scale + gamma (1 - d) V(o'),
        with V(o') in `next_values` [B, K]."""
        going_on = self.config.discount * (~segment.terminations)
        return segment.rewards / self.scale + going_on * next_values


class ActionValues(QLearning):
    """What CQL for continuous actions and IQL share: critics of their own, beside the policy."""

    def __init__(self, config: QConfig, make: Callable[[], Policy], scale: float) -> None:
        super().__init__(config, scale)
        self.first, self.second = ActionValue(make()), ActionValue(make())
        self.targets = Targets(self.critics(), config.target_rate)

    def critics(self, policy: Policy | None = None) -> nn.ModuleList:
        return nn.ModuleList([self.first, self.second])
