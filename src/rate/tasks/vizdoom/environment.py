"""ViZDoom-Two-Colors (RATE, App. C.1.1): a pillar shows once which items heal and which hurt."""

from functools import cache
from typing import Any

import gymnasium
import numpy as np

from rate.tasks.vizdoom.engine import Engine, State
from rate.tasks.vizdoom.scenario import FULL, Damage, Rules

HEIGHT, WIDTH = 64, 112
ALIVE = 0.02
"""Reward of a decision that the agent lives to make."""


class TwoColors(gymnasium.Env[Any, Any]):
    """Collect items of the colour of a pillar that is seen only at first.

    ## Description
    In an arena with an acid floor, which costs health all the time, ten green and ten red items lie
    about, and new ones appear. Items of the pillar's colour heal, others hurt. The pillar stands in
    front of the agent and disappears after 45 decisions. Health is not observed.

    ## Action Space
    `Discrete(5)`: 0 turn left, 1 turn right, 2 forward, 3 left and forward, 4 right and forward;
    each for two tics of the engine.

    ## Observation Space
    `Box`, uint8 [3, 64, 112]: the view in RGB, rendered at 256 x 144 and reduced by averaging
    areas. After death it is black.

    ## Rewards
    0.02 for every decision, and 1 more if health is higher than before it.

    ## Starting State
    Health 100, in front of the pillar. The seed decides the colour, which is the first number that
    the scenario draws, the places of the items, and all later ones.

    ## Episode End
    Termination when health is 0, truncation after `limit` decisions.

    ## Information
    `health` (0 to 100) and `is_red`.

    ## Arguments
    `limit`: decisions. `pillar`: whether there is one. `pillar_tics`: tics until it disappears.
    `damage`: "released" (a wrong green item costs 17, a wrong red one 13, as measured in the
    released scenario) or "paper" (25 each). `acid`: health that the acid costs every 32 tics.

    ```python
    gymnasium.make("rate.tasks.vizdoom:rate/ViZDoomTwoColors-v0", limit=2100)
    ```

    ## Version History
    v0: own map and pictures; scores of standing still and of random actions are those of the
    released scenario, places of items differ.
    """

    # Gymnasium reads the class attribute.
    metadata = {"render_modes": ["rgb_array"], "render_fps": 17}  # noqa: RUF012

    def __init__(
        self,
        limit: int = 2100,
        pillar: bool = True,
        pillar_tics: int = 90,
        damage: Damage = "released",
        acid: int = 8,
        render_mode: str | None = None,
    ) -> None:
        if limit < 1:
            raise ValueError(f"limit is {limit}, but must be at least 1")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode is {render_mode!r}, allowed: 'rgb_array' or None")
        self.rules = Rules(pillar, pillar_tics, damage, acid)
        self.limit, self.render_mode = limit, render_mode
        self.observation_space = gymnasium.spaces.Box(0, 255, (3, HEIGHT, WIDTH), np.uint8)
        self.action_space = gymnasium.spaces.Discrete(5)
        self._engine: Engine | None = None
        self._state: State | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode; `options` are not used."""
        super().reset(seed=seed)
        if self._engine is None:
            self._engine = Engine(self.rules)
        drawn = int(self.np_random.integers(2**32)) if seed is None else seed
        self._state = self._engine.begin(drawn)
        self._elapsed = 0
        return self._observe(), self._info()

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take one decision."""
        if self._state is None or self._engine is None or self._elapsed >= self.limit:
            raise gymnasium.error.ResetNeeded(
                "the episode has ended or not begun: call reset() before step()"
            )
        if not self.action_space.contains(action):
            raise gymnasium.error.InvalidAction(
                f"the action is {action!r}, allowed: {self.action_space}"
            )
        before, info = self._state.health, self._info()
        self._state = self._engine.act(int(action))
        self._elapsed += 1
        dead = self._state is None
        info = {**info, "health": 0} if dead else self._info()
        reward = ALIVE + float(info["health"] > before)
        truncated = not dead and self._elapsed >= self.limit
        return self._observe(), reward, dead, truncated, info

    def render(self) -> np.ndarray | None:
        """The view at its full size, uint8 [144, 256, 3]."""
        if self.render_mode is None:
            return None
        return np.zeros((144, 256, 3), np.uint8) if self._state is None else self._state.frame

    def close(self) -> None:
        """End the engine's process."""
        if self._engine is not None:
            self._engine.close()
        self._engine = self._state = None

    def _observe(self) -> np.ndarray:
        if self._state is None:
            return np.zeros((3, HEIGHT, WIDTH), np.uint8)
        import cv2

        small = cv2.resize(self._state.frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(small.transpose(2, 0, 1))

    def _info(self) -> dict[str, Any]:
        assert self._state is not None
        return {"health": min(self._state.health, FULL), "is_red": self._state.red}


@cache
def is_red(seed: int) -> int:
    """1 if the pillar of the episode of a seed is red, 0 if it is green, whatever the rules.

    The engine draws it, so the first question starts one.
    """
    return int(_colours().begin(seed).red)


def colour(seed: int) -> str:
    """The colour of the pillar of the episode of a seed, "red" or "green"; see `is_red`."""
    return "red" if is_red(seed) else "green"


@cache
def _colours() -> Engine:
    return Engine(Rules(), "160X120")
