"""Action heads: from a Gymnasium action space to outputs, a loss per step, and actions."""

import gymnasium
import numpy as np
import torch
import torch.nn.functional as F
from gymnasium import spaces as gym
from torch import Tensor, nn


class CategoricalHead(nn.Module):
    """Logits of Discrete and MultiDiscrete actions, [..., width] to [..., sum of counts]: those of
    all components side by side.

    Args:
        counts: Number of categories of each component, of the shape of an action.
        start: First category of each component.
        width: Width of hidden states.
    """

    def __init__(self, counts: np.ndarray, start: np.ndarray, width: int) -> None:
        super().__init__()
        self.shape = counts.shape
        self.counts = counts.ravel().tolist()
        self.register_buffer(
            "start", torch.from_numpy(start.ravel().astype(np.int64)), persistent=False
        )
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

    def choose(self, outputs: Tensor, uniform: np.ndarray | None) -> np.ndarray:
        """Actions [n, *shape]; the device is read once.

        Args:
            outputs: Logits [n, sum of counts].
            uniform: Numbers in [0, 1), [n, components], at which the cumulative probability of each
                component is inverted; None: the most likely actions.
        """
        components = outputs.float().split(self.counts, -1)
        if uniform is None:
            chosen = [logits.argmax(-1) for logits in components]
        else:
            thresholds = torch.from_numpy(uniform).to(outputs.device).unsqueeze(-1).unbind(1)
            chosen = [
                (logits.double().softmax(-1).cumsum(-1) <= threshold).sum(-1).clamp(max=count - 1)
                for logits, threshold, count in zip(
                    components, thresholds, self.counts, strict=True
                )
            ]
        actions = (chosen[0][:, None] if len(chosen) == 1 else torch.stack(chosen, -1)) + self.start
        return actions.view(-1, *self.shape).cpu().numpy()

    def correct(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Whether the most likely action is the given one, [...] float."""
        targets = actions.reshape(*outputs.shape[:-1], -1) - self.start
        best = torch.stack([logits.argmax(-1) for logits in outputs.split(self.counts, -1)], -1)
        return (best == targets).all(-1).float()


class ContinuousHead(nn.Module):
    """Box actions, [..., width] to [..., size]: tanh scaled to the bounds where there are any.

    Args:
        space: The action space.
        width: Width of hidden states.
    """

    def __init__(self, space: gym.Box, width: int) -> None:
        super().__init__()
        self.shape, self.dtype = space.shape, space.dtype
        self.linear = nn.Linear(width, int(np.prod(space.shape)))
        self.bounded = bool(space.is_bounded())
        if self.bounded:
            low, high = (
                torch.as_tensor(bound, dtype=torch.float32).flatten()
                for bound in (space.low, space.high)
            )
            self.register_buffer("centre", (low + high) / 2, persistent=False)
            self.register_buffer("radius", (high - low) / 2, persistent=False)
            self.centre: Tensor
            self.radius: Tensor

    def forward(self, hidden: Tensor) -> Tensor:
        outputs = self.linear(hidden)
        return self.centre + self.radius * torch.tanh(outputs) if self.bounded else outputs

    def loss(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Squared error of actions [..., *shape], mean over components, [...]."""
        return (outputs.float() - actions.reshape(outputs.shape)).square().mean(-1)

    def choose(self, outputs: Tensor, uniform: np.ndarray | None) -> np.ndarray:
        """The actions [n, *shape] themselves.

        Args:
            outputs: Components of actions, [n, size].
            uniform: Must be None.

        Raises:
            ValueError: random numbers were given; there is no distribution to sample from.
        """
        if uniform is not None:
            raise ValueError(
                "Box actions are deterministic and cannot be sampled: evaluate with greedy actions"
            )
        actions = outputs.float().cpu().numpy().reshape(len(outputs), *self.shape)
        return actions.astype(self.dtype)

    def correct(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Whether every component is within a tenth of its range, [...] float."""
        radius = self.radius if self.bounded else 1.0
        return ((outputs - actions.reshape(outputs.shape)).abs() <= 0.2 * radius).all(-1).float()


def head(space: gymnasium.Space, width: int) -> CategoricalHead | ContinuousHead:
    """The head for an action space.

    Args:
        space: A Discrete, MultiDiscrete or Box space.
        width: Width of hidden states.

    Raises:
        ValueError: the space is of another kind.
    """
    match space:
        case gym.Discrete():
            return CategoricalHead(np.asarray(space.n), np.asarray(space.start), width)
        case gym.MultiDiscrete():
            return CategoricalHead(np.asarray(space.nvec), np.asarray(space.start), width)
        case gym.Box():
            return ContinuousHead(space, width)
    raise ValueError(
        f"no head for {type(space).__name__} actions: use Discrete, MultiDiscrete or Box"
    )
