"""A game of the Arcade Learning Environment (Bellemare et al. 2013), one decision at a time.

`ale_py` is imported where an emulator is made. Its licence is GPL-2.0, so it is an optional extra.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
from gymnasium.utils import seeding

from rate.values import Checked, Positive, Rate

SKIP = 4
"""Frames of a decision."""
NO_OPS = 30
"""Most frames without an action at the start of an episode; at least one."""
FOR_TWO = ("combat", "joust", "maze_craze", "warlords")
"""ROMs that one player alone cannot play: the emulator ends the process instead."""


@dataclass(frozen=True)
class Rules(Checked):
    """What can be chosen about a game."""

    prefix: ClassVar[str] = "environment."

    max_frames: Positive = 28_000
    """Frames of the emulator after which an episode is truncated."""
    repeat_action_probability: Rate = 0.0
    """Chance of each frame to repeat the last action instead (sticky actions)."""
    fire: bool = True
    """Whether FIRE is pressed for a decision at the start and after every lost life, in games that
    have it."""
    clip_rewards: bool = False
    """Whether rewards are clipped to [-1, 1]."""

    @property
    def decisions(self) -> int:
        """Most decisions of an episode."""
        return -(-self.max_frames // SKIP)


class Decision(NamedTuple):
    """What a decision led to."""

    reward: float
    """Raw points."""
    terminated: bool
    """Whether the game is over."""
    truncated: bool
    """Whether the limit of frames is reached."""


@cache
def games() -> Mapping[str, str]:
    """ROMs of all games for one player by name, such as `MsPacman`."""
    import ale_py.roms

    roms = sorted(set(ale_py.roms.get_all_rom_ids()) - set(FOR_TWO))
    return {rom.title().replace("_", ""): rom for rom in roms}


def rom_of(game: str) -> str:
    """The ROM of a game.

    Raises:
        ValueError: There is no game of this name.
    """
    if game not in games():
        close = difflib.get_close_matches(game, games(), n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}? " if close else ""
        raise ValueError(f"there is no game {game!r}: {hint}Games are {', '.join(games())}")
    return games()[game]


class Emulator:
    """One game that is played by decisions of four frames.

    The draws of a seed are those of Gymnasium's `AtariEnv` in its `AtariPreprocessing`: the
    emulator's own seed first, then the number of frames without an action.

    Args:
        game: Its name, such as `Pong`.
        rules: What can be chosen about it.
    """

    def __init__(self, game: str, rules: Rules = Rules()) -> None:
        import ale_py
        from ale_py import roms

        self.game, self.rules = game, rules
        rom = roms.get_rom_path(rom_of(game))
        assert rom is not None  # `rom_of` has looked
        self._rom = rom
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self._ale = ale_py.ALEInterface()
        self._ale.setFloat("repeat_action_probability", rules.repeat_action_probability)
        self._ale.setInt("max_num_frames_per_episode", rules.max_frames)
        self._ale.loadROM(self._rom)
        self._actions = self._ale.getMinimalActionSet()
        self.actions: tuple[str, ...] = tuple(action.name for action in self._actions)
        self._no_op, self._fire = ale_py.Action.NOOP, ale_py.Action.FIRE
        self._presses_fire = rules.fire and self._fire in self._actions

    def begin(self, seed: int, screens: np.ndarray | None = None) -> None:
        """Begin the episode of a seed.

        Args:
            seed: Determines the episode.
            screens: Two grey screens [2, height, width], see `decide`.
        """
        words = np.random.SeedSequence(seed).generate_state(2)
        generator, _ = seeding.np_random(int(words[0]))
        self._ale.setInt("random_seed", words[1].astype(np.int32))
        self._ale.loadROM(self._rom)
        self._ale.reset_game()
        for _ in range(generator.integers(1, NO_OPS + 1)):
            self._ale.act(self._no_op)
            if self._ale.game_over():
                self._ale.reset_game()
        if screens is not None:
            self._ale.getScreenGrayscale(screens[0])
            screens[1] = 0
        if self._presses_fire:
            self._press(self._fire, screens)

    def decide(self, action: int, screens: np.ndarray | None = None) -> Decision:
        """Take an action for four frames, and press FIRE for four more if a life was lost.

        Args:
            action: Number of the action in `actions`.
            screens: Where the last two screens of the decision are written in grey, uint8
                [2, height, width], the newest first. Both are left as they are where the game ends
                before them.
        """
        lives = self._ale.lives()
        reward = self._press(self._actions[action], screens)
        if self._presses_fire and self._ale.lives() < lives and not self._ale.game_over():
            reward += self._press(self._fire, screens)
        if self.rules.clip_rewards:
            reward = max(-1.0, min(1.0, reward))
        over = self._ale.game_over(with_truncation=False)
        return Decision(float(reward), over, not over and self._ale.game_truncated())

    def _press(self, action: Any, screens: np.ndarray | None) -> float:
        act, reward = self._ale.act, 0.0
        for left in range(SKIP - 1, -1, -1):
            reward += act(action)
            if self._ale.game_over():
                break
            if left < 2 and screens is not None:
                self._ale.getScreenGrayscale(screens[left])
        return reward

    @property
    def lives(self) -> int:
        """Lives that are left; 0 in games without."""
        return int(self._ale.lives())

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a screen."""
        height, width = self._ale.getScreenDims()
        return height, width

    def memory(self) -> list[int]:
        """The 128 bytes of the machine's memory."""
        return self._ale.getRAM().tolist()  # type: ignore[no-any-return]

    def picture(self) -> np.ndarray:
        """The screen in colour, uint8 [height, width, 3]."""
        picture: np.ndarray = self._ale.getScreenRGB()
        return picture

    def state(self) -> Any:
        """The state of the game, its random numbers included, for `restore`."""
        return self._ale.cloneState(include_rng=True)

    def restore(self, state: Any) -> None:
        """Continue from a state that `state` of an emulator of the same game returned."""
        self._ale.restoreState(state)
