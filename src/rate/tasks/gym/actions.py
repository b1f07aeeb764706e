"""Actions of several parts as one array, in environments."""

from typing import Any

import gymnasium
import numpy as np

from rate.spaces import joined, separate


class ArrayActions(gymnasium.ActionWrapper[Any, Any, Any]):
    """Takes one array, the leaves joined, in place of Dict, Tuple and MultiBinary actions.

    Raises:
        ValueError: The leaves are choices and numbers, or of a kind that is not supported.
    """

    def __init__(self, environment: gymnasium.Env[Any, Any]) -> None:
        super().__init__(environment)
        self._inner = environment.action_space
        self.action_space = joined(self._inner)

    def action(self, action: np.ndarray) -> Any:
        """Turn an array into an action of the environment's own structure."""
        return separate(self._inner, action)
