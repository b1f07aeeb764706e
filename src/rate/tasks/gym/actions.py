"""Actions of several parts as one array, which datasets hold and policies choose."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from rate.spaces import leaves, unflatten

__all__ = ["ArrayActions", "is_array"]

_Categories = spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary


class ArrayActions(gymnasium.ActionWrapper[Any, Any, Any]):
    """Takes one array, the leaves joined, in place of Dict, Tuple and MultiBinary actions.

    Leaves that are all choices become a MultiDiscrete space that counts from 0; leaves that are all
    Box become one Box.

    Raises:
        ValueError: The leaves are of both kinds, or of a kind that is not supported.
    """

    def __init__(self, environment: gymnasium.Env[Any, Any]) -> None:
        super().__init__(environment)
        self._inner = environment.action_space
        self._leaves = leaves(self._inner)
        parts = list(self._leaves.values())
        if all(isinstance(part, _Categories) for part in parts):
            counts = [_counts(part).ravel() for part in parts]
            self.action_space = spaces.MultiDiscrete(np.concatenate(counts))
        elif all(isinstance(part, spaces.Box) for part in parts):
            low, high = (
                np.concatenate([np.ravel(getattr(part, bound)) for part in parts])
                for bound in ("low", "high")
            )
            self.action_space = spaces.Box(low.astype(np.float32), high.astype(np.float32))
        else:
            raise ValueError(
                f"the actions {self._inner} mix choices and numbers, and no head puts out both: "
                "write a wrapper that takes a Discrete, MultiDiscrete or Box action"
            )

    def action(self, action: np.ndarray) -> Any:
        """Turn an array into an action of the environment's own structure."""
        parts, begin = {}, 0
        for path, part in self._leaves.items():
            shape = part.shape or ()
            size = int(np.prod(shape))
            numbers = np.reshape(action[begin : begin + size], shape)
            if isinstance(part, spaces.Discrete | spaces.MultiDiscrete):
                numbers = numbers + part.start
            leaf = np.asarray(numbers).astype(part.dtype)
            # Environments look up a single choice, so it is a number.
            parts[path] = leaf[()] if isinstance(part, spaces.Discrete) else leaf
            begin += size
        return unflatten(self._inner, parts)


def is_array(space: gymnasium.Space[Any]) -> bool:
    """Whether actions of the space are one array for which there is a head."""
    return isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.Box)


def _counts(space: gymnasium.Space[Any]) -> np.ndarray:
    if isinstance(space, spaces.MultiBinary):
        return np.full(space.shape, 2)
    return np.asarray(getattr(space, "n" if isinstance(space, spaces.Discrete) else "nvec"))
