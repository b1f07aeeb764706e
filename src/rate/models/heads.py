"""Action heads: from a Gymnasium action space to outputs, a loss per step, and actions."""

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

import gymnasium
import numpy as np
import torch
import torch.nn.functional as F
from gymnasium import spaces as gym
from scipy.special import ndtri
from torch import Tensor, nn

from rate.spaces import ACTION_MASK, leaves, nearest

ActionHead = Literal["auto", "tanh-gaussian"]
"""auto: logits of categories, and the action itself of a Box; tanh-gaussian: a distribution over a
Box."""


class CategoricalHead(nn.Module):
    """Logits of choices, [..., width] to [..., sum of counts], those of all components in a row.

    Args:
        counts: Number of categories of each component, of the shape of an action.
        start: First category of each component, of the dtype of actions.
        width: Width of hidden states.
    """

    def __init__(self, counts: np.ndarray, start: np.ndarray, width: int) -> None:
        super().__init__()
        self.shape, self.dtype = counts.shape, start.dtype
        self.counts = counts.ravel().tolist()
        self.cuts = np.cumsum(self.counts)[:-1].tolist()
        self.first = start.ravel().astype(np.int64)
        self.register_buffer("start", torch.from_numpy(self.first), persistent=False)
        self.start: Tensor
        self.linear = nn.Linear(width, sum(self.counts), bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.linear(hidden)

    def loss(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Cross-entropy of actions [..., *shape], summed over components, [...]."""
        batch = outputs.shape[:-1]
        targets = actions.reshape(*batch, -1).long() - self.start
        # Padding is zeros, which need not be an action; masked steps take any target.
        losses = [
            F.cross_entropy(
                logits.flatten(0, -2).float(),
                target.flatten().clamp(0, count - 1),
                reduction="none",
            )
            for logits, target, count in zip(
                outputs.split(self.counts, -1), targets.unbind(-1), self.counts, strict=True
            )
        ]
        return (losses[0] if len(losses) == 1 else torch.stack(losses).sum(0)).view(batch)

    def uniform_loss(self, outputs: Tensor) -> Tensor:
        """Cross-entropy of categories that are all equally likely, summed over components, [...]:
        what label smoothing adds."""
        parts = (logits.float() for logits in outputs.split(self.counts, -1))
        losses = [-logits.log_softmax(-1).mean(-1) for logits in parts]
        return torch.stack(losses).sum(0)

    def choose(self, outputs: np.ndarray, uniform: np.ndarray | None) -> np.ndarray:
        """Actions [n, *shape].

        Args:
            outputs: Logits [n, sum of counts], float32.
            uniform: Numbers in [0, 1), [n, components], at which the cumulative probability of each
                component is inverted; None: the most likely actions.
        """
        if uniform is None:
            parts = np.split(outputs, self.cuts, -1) if self.cuts else [outputs]
            chosen = [part.argmax(-1) for part in parts]
        else:
            logits = torch.from_numpy(outputs).double().split(self.counts, -1)
            thresholds = torch.from_numpy(uniform).unsqueeze(-1).unbind(1)
            chosen = [
                (part.softmax(-1).cumsum(-1) <= threshold).sum(-1).clamp(max=count - 1).numpy()
                for part, threshold, count in zip(logits, thresholds, self.counts, strict=True)
            ]
        actions = (np.array(chosen).T + self.first).reshape(-1, *self.shape)
        return actions.astype(self.dtype, copy=False)

    def greedy(self, outputs: Tensor) -> Tensor:
        """The most likely actions [n, *shape] of logits [n, sum of counts], as `choose` gives
        them, in operations that can be exported."""
        best = torch.stack([logits.argmax(-1) for logits in outputs.split(self.counts, -1)], -1)
        actions = (best + self.start).reshape(-1, *self.shape)
        return actions.to(torch_dtype(self.dtype))

    def correct(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Whether the most likely action is the given one, [...] float."""
        targets = actions.reshape(*outputs.shape[:-1], -1) - self.start
        best = torch.stack([logits.argmax(-1) for logits in outputs.split(self.counts, -1)], -1)
        return (best == targets).all(-1).float()


LARGEST_BOUND = 2.0**24
"""Bounds beyond this are no scale for outputs: they only limit actions. Up to here, float32 tells
whole numbers apart."""


def box_scale(space: gym.Box) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre and radius of each component of Box actions, float32 [size], and whether it has two
    bounds that are a scale; where not, the centre is 0 and the radius 1.

    Whole numbers are outputs that are rounded, so their radius reaches half a step beyond the
    bounds.
    """
    low, high = (bound.astype(np.float64).ravel() for bound in (space.low, space.high))
    bounded = (np.abs(low) <= LARGEST_BOUND) & (np.abs(high) <= LARGEST_BOUND)
    low, high = np.where(bounded, low, -1.0), np.where(bounded, high, 1.0)
    radius = (high - low) / 2 + (bounded & (space.dtype.kind in "biu")) / 2
    return ((low + high) / 2).astype(np.float32), radius.astype(np.float32), bounded


class ContinuousHead(nn.Module):
    """Box actions, [..., width] to [..., size].

    A component that is bounded on both sides is a tanh scaled to its bounds, any other one the
    output itself. Actions are rounded, where they are whole numbers, and clipped to the bounds.

    Args:
        space: The action space.
        width: Width of hidden states.
    """

    per_component = 1
    """Outputs of the linear map for each component of an action."""

    def __init__(self, space: gym.Box, width: int) -> None:
        super().__init__()
        self.space, self.shape = space, space.shape
        self.whole = space.dtype.kind in "biu"
        self.size = int(np.prod(space.shape))
        self.linear = nn.Linear(width, self.per_component * self.size)
        self.scale = box_scale(space)
        for name, numbers in zip(("centre", "radius", "bounded"), self.scale, strict=True):
            self.register_buffer(name, torch.from_numpy(numbers), persistent=False)
        self.centre: Tensor
        self.radius: Tensor
        self.bounded: Tensor
        self.any_bounded, self.all_bounded = bool(self.bounded.any()), bool(self.bounded.all())

    def forward(self, hidden: Tensor) -> Tensor:
        return self.squashed(self.linear(hidden))

    def squashed(self, values: Tensor) -> Tensor:
        """Components of actions for values on the whole line, [..., size] both."""
        if not self.any_bounded:
            return values
        scaled = self.centre + self.radius * torch.tanh(values)
        return scaled if self.all_bounded else torch.where(self.bounded, scaled, values)

    def actions(self, outputs: Tensor) -> Tensor:
        """The actions [..., size] that are taken greedily."""
        return outputs

    def loss(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Squared error of actions [..., *shape], mean over components, [...]."""
        return (outputs.float() - actions.reshape(outputs.shape).float()).square().mean(-1)

    def choose(self, outputs: np.ndarray, uniform: np.ndarray | None) -> np.ndarray:
        """Actions [n, *shape] of the space.

        Args:
            outputs: Components of actions, [n, size], float32.
            uniform: Must be None.

        Raises:
            ValueError: random numbers were given; there is no distribution to sample from.
        """
        if uniform is not None:
            raise ValueError(
                "Box actions of this policy are deterministic and cannot be sampled: evaluate with "
                "greedy actions, or train with action_head tanh-gaussian"
            )
        return nearest(self.space, outputs.reshape(len(outputs), *self.shape))

    def greedy(self, outputs: Tensor) -> Tensor:
        """The actions [n, *shape] of outputs, as `choose` gives them, in operations that can be
        exported."""
        kind = torch_dtype(self.space.dtype)
        numbers = self.actions(outputs).reshape(-1, *self.shape)
        low, high = (torch.from_numpy(bound) for bound in (self.space.low, self.space.high))
        if not self.whole:
            return numbers.to(kind).clamp(low, high)
        exact = numbers.double().round().clamp(-(2.0**53), 2.0**53)
        return exact.clamp(low.double(), high.double()).to(kind)

    def correct(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Whether every component, if whole, is rounded to the action's, and else is within a tenth
        of its range, [...] float."""
        chosen = self.actions(outputs)
        near = chosen - actions.reshape(chosen.shape).float()
        return (near.abs() <= (0.5 if self.whole else 0.2 * self.radius)).all(-1).float()


def torch_dtype(dtype: Any) -> torch.dtype:
    """PyTorch's name of a NumPy type of numbers."""
    return torch.from_numpy(np.zeros(0, dtype)).dtype


LOG_DEVIATIONS = (-5.0, 2.0)
"""Least and largest logarithm of a standard deviation, before the tanh."""

EDGE = 1e-3
"""Recorded actions nearer to a bound than this fraction of the radius are taken for that far from
it: at the bound itself their density is infinite."""


class GaussianHead(ContinuousHead):
    """A distribution over Box actions of real numbers, [..., width] to [..., 2 x size]: means, then
    logarithms of standard deviations.

    A component that is bounded on both sides is the tanh of a Gaussian number, scaled to its
    bounds, any other one the number itself. Greedy actions are those of the mean.
    """

    per_component = 2

    def forward(self, hidden: Tensor) -> Tensor:
        mean, deviation = self.linear(hidden).chunk(2, -1)
        least, largest = LOG_DEVIATIONS
        # A smooth bound: a clamp would end the gradient of all that lies outside.
        deviation = least + (largest - least) * (1 + torch.tanh(deviation)) / 2
        return torch.cat([mean, deviation], -1)

    def actions(self, outputs: Tensor) -> Tensor:
        return self.squashed(outputs.float()[..., : self.size])

    def loss(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Negative log-likelihood of actions [..., *shape], summed over components, [...]."""
        flat = actions.reshape(*outputs.shape[:-1], self.size).float()
        inside = ((flat - self.centre) / self.radius).clamp(EDGE - 1, 1 - EDGE)
        values = torch.where(self.bounded, torch.atanh(inside), flat)
        return -self._log_density(outputs, values)

    def sampled(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Actions [..., size] drawn by the generator of the device, through which gradients pass,
        and their log-likelihood [...]."""
        mean, deviation = outputs.float().chunk(2, -1)
        values = mean + deviation.exp() * torch.randn_like(mean)
        return self.squashed(values), self._log_density(outputs, values)

    def choose(self, outputs: np.ndarray, uniform: np.ndarray | None) -> np.ndarray:
        """Actions [n, *shape] of the space.

        Args:
            outputs: Means and logarithms of standard deviations, [n, 2 x size], float32.
            uniform: Numbers in [0, 1), [n, size], at which the cumulative probability of each
                component is inverted; None: the actions of the mean.
        """
        values = outputs[:, : self.size].astype(np.float64)
        if uniform is not None:
            least = np.finfo(np.float64).tiny  # 0 is drawn, too
            normal = ndtri(np.maximum(uniform.reshape(values.shape), least))
            values = values + np.exp(outputs[:, self.size :]) * normal
        values = values.astype(np.float32)
        centre, radius, bounded = self.scale  # on the host, as the outputs are
        squashed = np.where(bounded, centre + radius * np.tanh(values), values)
        return nearest(self.space, squashed.reshape(len(outputs), *self.shape))

    def _log_density(self, outputs: Tensor, values: Tensor) -> Tensor:
        """Log-density [...] of the actions that values [..., size] are squashed to."""
        mean, deviation = outputs.float().chunk(2, -1)
        normal = ((values - mean) / deviation.exp()).square() / 2 + deviation
        # log(1 - tanh(v)^2), in a form that is exact for large v
        squash = 2 * (math.log(2.0) - values - F.softplus(-2 * values)) + self.radius.log()
        squash = torch.where(self.bounded, squash, 0.0)
        return -(normal + squash + math.log(2 * math.pi) / 2).sum(-1)


def head(
    space: gymnasium.Space, width: int, kind: ActionHead = "auto"
) -> CategoricalHead | ContinuousHead:
    """The head for an action space.

    Args:
        space: A Discrete, MultiDiscrete, MultiBinary or Box space.
        width: Width of hidden states.
        kind: Which head, where there is a choice.

    Raises:
        ValueError: the space is of another kind.
    """
    if kind not in get_args(ActionHead):
        raise ValueError(f"action_head is {kind!r}, but it must be auto or tanh-gaussian")
    if kind != "auto":
        if not isinstance(space, gym.Box) or space.dtype.kind != "f":
            raise ValueError(
                f"action_head {kind} goes with Box actions of real numbers, not with {space}: "
                "leave it at auto"
            )
        return GaussianHead(space, width)
    match space:
        case gym.Discrete() | gym.MultiDiscrete():
            counts = space.n if isinstance(space, gym.Discrete) else space.nvec
            return CategoricalHead(np.asarray(counts), np.asarray(space.start, space.dtype), width)
        case gym.MultiBinary():
            zeros = np.zeros(space.shape, space.dtype)
            return CategoricalHead(zeros + 2, zeros, width)
        case gym.Box():
            return ContinuousHead(space, width)
    raise ValueError(
        f"no head for {type(space).__name__} actions: use Discrete, MultiDiscrete, MultiBinary or "
        "Box; `rate.spaces.joined` makes one space of several"
    )


FORBIDDEN = -1e4
"""Logit of a forbidden category: its probability is 0, and a recorded action that was forbidden
gives a large loss, not an infinite one."""


def mask_leaf(space: gymnasium.Space, head: nn.Module) -> str | None:
    """Path of the leaf that says which actions are allowed, if the space has one that goes with the
    head."""
    if not isinstance(head, CategoricalHead):
        return None
    for path, leaf in leaves(space).items():
        flags = isinstance(leaf, gym.MultiBinary) or (
            isinstance(leaf, gym.Box) and bool((leaf.low >= 0).all() and (leaf.high <= 1).all())
        )
        size = int(np.prod(leaf.shape or ()))
        if path.rpartition("/")[2] == ACTION_MASK and flags and size == sum(head.counts):
            return path
    return None


def allowed(outputs: Tensor, observations: Mapping[str, Tensor], path: str | None) -> Tensor:
    """Logits [..., n] without those of forbidden actions; a mask that allows nothing, as that of
    padding, counts as none."""
    if path is None:
        return outputs
    mask = observations[path].reshape(outputs.shape) > 0
    nothing = ~mask.any(-1, keepdim=True)
    return outputs.masked_fill(~(mask | nothing), FORBIDDEN)
