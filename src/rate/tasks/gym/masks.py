"""Actions that an environment allows, from its info into its observations."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from rate.spaces import ACTION_MASK

__all__ = ["ActionMasks"]


class ActionMasks(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Makes `info["action_mask"]` a part of the observation, so that it is recorded, and that
    policies neither learn nor choose what is forbidden.

        def make():
            return ActionMasks(gymnasium.make("Taxi-v4"))

    A Dict observation gets the key "action_mask"; any other one becomes the key "observation" of a
    Dict beside it.

    Args:
        env: An environment with Discrete or MultiDiscrete actions.

    Raises:
        ValueError: It has other actions.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        actions, inner = env.action_space, env.observation_space
        if not isinstance(actions, spaces.Discrete | spaces.MultiDiscrete):
            raise ValueError(
                f"actions are {actions}, but masks are for Discrete and MultiDiscrete ones"
            )
        counts = actions.n if isinstance(actions, spaces.Discrete) else actions.nvec.sum()
        self._size, self._own = int(counts), isinstance(inner, spaces.Dict)
        parts = dict(inner.spaces) if isinstance(inner, spaces.Dict) else {"observation": inner}
        masks = spaces.Box(0, 1, (self._size,), np.int8)
        self.observation_space = spaces.Dict({**parts, ACTION_MASK: masks})

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(**options)
        return self._joined(observation, info), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._joined(observation, info), reward, terminated, truncated, info

    def _joined(self, observation: Any, info: dict[str, Any]) -> dict[str, Any]:
        given = info.get(ACTION_MASK)
        if given is None:
            raise ValueError(f"info has no {ACTION_MASK!r}, but keys {sorted(map(str, info))}")
        parts = given if isinstance(given, tuple) else (given,)  # one for each component
        mask = np.concatenate([np.asarray(part, np.int8).ravel() for part in parts])
        if mask.shape != (self._size,):
            raise ValueError(
                f"info[{ACTION_MASK!r}] has {mask.size} entries, but there are {self._size} choices"
            )
        whole = dict(observation) if self._own else {"observation": observation}
        return {**whole, ACTION_MASK: mask}
