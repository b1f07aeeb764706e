"""Action heads: from a Gymnasium action space to outputs, a loss per step, and actions."""

from typing import Any

import gymnasium
import numpy as np
import torch
import torch.nn.functional as F
from gymnasium import spaces as gym
from torch import Tensor, nn

from rate.spaces import nearest


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

    def __init__(self, space: gym.Box, width: int) -> None:
        super().__init__()
        self.space, self.shape = space, space.shape
        self.whole = space.dtype.kind in "biu"
        self.linear = nn.Linear(width, int(np.prod(space.shape)))
        for name, numbers in zip(("centre", "radius", "bounded"), box_scale(space), strict=True):
            self.register_buffer(name, torch.from_numpy(numbers), persistent=False)
        self.centre: Tensor
        self.radius: Tensor
        self.bounded: Tensor
        self.any_bounded, self.all_bounded = bool(self.bounded.any()), bool(self.bounded.all())

    def forward(self, hidden: Tensor) -> Tensor:
        outputs = self.linear(hidden)
        if not self.any_bounded:
            return outputs
        scaled = self.centre + self.radius * torch.tanh(outputs)
        return scaled if self.all_bounded else torch.where(self.bounded, scaled, outputs)

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
                "Box actions are deterministic and cannot be sampled: evaluate with greedy actions"
            )
        return nearest(self.space, outputs.reshape(len(outputs), *self.shape))

    def greedy(self, outputs: Tensor) -> Tensor:
        """The actions [n, *shape] of outputs [n, size], as `choose` gives them, in operations that
        can be exported."""
        kind = torch_dtype(self.space.dtype)
        numbers = outputs.reshape(-1, *self.shape)
        low, high = (torch.from_numpy(bound) for bound in (self.space.low, self.space.high))
        if not self.whole:
            return numbers.to(kind).clamp(low, high)
        exact = numbers.double().round().clamp(-(2.0**53), 2.0**53)
        return exact.clamp(low.double(), high.double()).to(kind)

    def correct(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Whether every component, if whole, is rounded to the action's, and else is within a tenth
        of its range, [...] float."""
        actions = actions.reshape(outputs.shape).float()
        near = (outputs - actions).abs() <= (0.5 if self.whole else 0.2 * self.radius)
        return near.all(-1).float()


def torch_dtype(dtype: Any) -> torch.dtype:
    """PyTorch's name of a NumPy type of numbers."""
    return torch.from_numpy(np.zeros(0, dtype)).dtype


def head(space: gymnasium.Space, width: int) -> CategoricalHead | ContinuousHead:
    """The head for an action space.

    Args:
        space: A Discrete, MultiDiscrete, MultiBinary or Box space.
        width: Width of hidden states.

    Raises:
        ValueError: the space is of another kind.
    """
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
