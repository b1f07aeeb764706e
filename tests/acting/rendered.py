"""Environments that render, as a user of the library would write them."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv


class Healthy(gymnasium.Env[Any, Any]):
    """Loses health with each step, and shows a green that becomes brighter."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = spaces.Discrete(2)
        self.render_mode = render_mode

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        super().reset(**options)
        self.steps = 0
        return self._observation(), self._info()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return self._observation(), 1.0, False, False, self._info()

    def render(self) -> np.ndarray:
        picture = np.zeros((30, 60, 3), np.uint8)
        picture[..., 1] = 100 + 10 * self.steps
        return picture

    def _observation(self) -> np.ndarray:
        return np.full(2, self.steps, np.float32)

    def _info(self) -> dict[str, Any]:
        health = np.int64(100 - 10 * self.steps)
        return {"health": health, "pose": np.zeros(3), "is_red": True, "_hidden": 1}


class Broken(Healthy):
    """Cannot render here."""

    def render(self) -> np.ndarray:
        raise RuntimeError("no display")


def vector(render_mode: str | None = None) -> SyncVectorEnv:
    """Two environments that render, as a vector environment."""
    return SyncVectorEnv([lambda: Healthy(render_mode=render_mode)] * 2)
