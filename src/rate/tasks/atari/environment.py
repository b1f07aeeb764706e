"""Atari games as in RATE, App. C.2.1: 84 x 84 grey pixels, and a decision every four frames."""

from typing import Any

import gymnasium
import numpy as np

from rate.tasks.atari.emulator import Emulator, Rules

SIDE = 84


class Atari(gymnasium.Env[Any, Any]):
    """A game of the Atari 2600.

    ## Description
    A decision lasts four frames. The observation is the pixelwise maximum of its last two screens
    in grey, reduced by averaging areas. Where the game has FIRE, it is pressed for a decision at
    the start and after every lost life, because some games wait for it.

    ## Action Space
    `Discrete(n)`: the actions that have an effect in the game, NOOP first (ALE's minimal set).

    ## Observation Space
    `Box`, uint8 [1, 84, 84]: one frame. Stacks of four are made when data are loaded and while a
    policy acts (`stack_frames=4` of a recipe), so that each frame is stored once.

    ## Rewards
    Points of the game, not clipped.

    ## Starting State
    The seed decides the emulator's random numbers and how many frames, from 1 to 30, pass without
    an action.

    ## Episode End
    Termination when the game is over, and not when a life is lost. Truncation after `max_frames`
    frames of the emulator, all frames counted.

    ## Information
    `lives`.

    ## Arguments
    `game`: a name such as "Pong". Others: see `rate.tasks.atari.emulator.Rules`.

    ```python
    gymnasium.make("rate.tasks.atari:rate/Atari-v0", game="Pong")
    ```

    ## Version History
    v0: without `fire`, observations, rewards and ends are those of Gymnasium's `AtariPreprocessing`
    around `ALE/<game>-v5` with `frameskip=1` and `repeat_action_probability=0`, for the same seed.
    """

    # Gymnasium reads the class attribute.
    metadata = {"render_modes": ["rgb_array"], "render_fps": 15}  # noqa: RUF012

    def __init__(self, game: str = "Pong", render_mode: str | None = None, **rules: Any) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode is {render_mode!r}, allowed: 'rgb_array' or None")
        self.emulator = Emulator(game, Rules(**rules))
        self.game, self.render_mode = game, render_mode
        self.observation_space = gymnasium.spaces.Box(0, 255, (1, SIDE, SIDE), np.uint8)
        self.action_space = gymnasium.spaces.Discrete(len(self.emulator.actions))
        self._screens = np.zeros((2, *self.emulator.size), np.uint8)
        self._running = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode; `options` are not used."""
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(2**62)) if seed is None else seed
        self.emulator.begin(drawn, self._screens)
        self._running = True
        return self._observe(), {"lives": self.emulator.lives}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take an action for four frames."""
        if not self._running:
            raise gymnasium.error.ResetNeeded(
                "the episode has ended or not begun: call reset() before step()"
            )
        if not self.action_space.contains(action):
            raise gymnasium.error.InvalidAction(
                f"the action is {action!r}, allowed: {self.action_space}"
            )
        reward, terminated, truncated = self.emulator.decide(int(action), self._screens)
        self._running = not (terminated or truncated)
        return self._observe(), reward, terminated, truncated, {"lives": self.emulator.lives}

    def render(self) -> np.ndarray | None:
        """The screen in colour, uint8 [height, width, 3]."""
        return None if self.render_mode is None else self.emulator.picture()

    def _observe(self) -> np.ndarray:
        import cv2

        # The maximum stays in the newest screen: it is shown again if the game ends before both
        # have been drawn.
        newest, before = self._screens
        np.maximum(newest, before, out=newest)
        frame = cv2.resize(newest, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        return np.asarray(frame, np.uint8)[None]
