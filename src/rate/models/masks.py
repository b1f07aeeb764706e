"""Actions that the environment forbids: the leaf "action_mask" of an observation."""

from collections.abc import Mapping

import gymnasium
import numpy as np
from gymnasium import spaces as gym
from torch import Tensor, nn

from rate.models.heads import CategoricalHead
from rate.spaces import ACTION_MASK, leaves

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
