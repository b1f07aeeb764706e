"""Players that look ahead: they try ways to play in the emulator itself, and take what went best.

A player plays a twin of every episode in an emulator of its own, and tries ways in another one.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rate.tasks.atari.emulator import Emulator, Rules
from rate.tasks.atari.scripts import GAMES, LIFE, USUAL, Memory, Script

QUALITIES = {
    "expert": (0.0,),
    "medium": (0.1,),
    "poor": (0.4,),
    "mixed": (0.0, 0.02, 0.05, 0.1, 0.2, 0.4),
}
"""Noise of players by name: `expert=mixed` in the name of a task gives episodes of all qualities in
turns."""


class Player:
    """Looks ahead by what is known of the game, and now and then takes a random action.

    Args:
        game: Name of the game.
        rules: Those of the environment that it plays in.
        noise: Chance of a decision to begin one to four random ones. Of several, the episode of
            seed k has number k modulo how many they are.
    """

    def __init__(self, game: str, rules: Rules = Rules(), noise: Sequence[float] = (0.0,)) -> None:
        # Its own emulator counts raw points, whatever the environment pays.
        self._name, self._rules, self._noise = game, replace(rules, clip_rewards=False), noise
        self._emulators: list[Emulator] = []
        # A state does not hold the last action, which sticky actions repeat, so a twin is never set
        # back.
        self._trial = Emulator(game, self._rules)

    def reset(self, batch: int, seeds: Sequence[int] | None = None) -> None:
        """Begin new episodes."""
        if seeds is None:
            raise ValueError("the player plays along with episodes of known seeds: give seeds")
        while len(self._emulators) < batch:
            self._emulators.append(Emulator(self._name, self._rules))
        self._twins = [
            _Twin(emulator, self._trial, int(seed), self._noise[int(seed) % len(self._noise)])
            for emulator, seed in zip(self._emulators, seeds, strict=False)
        ]

    def act(
        self, observations: np.ndarray, rewards: np.ndarray, forced: np.ndarray | None = None
    ) -> np.ndarray:
        """One action per row, int64 [n]."""
        given = [None] * len(self._twins) if forced is None else forced
        return np.array(
            [twin.act(action) for twin, action in zip(self._twins, given, strict=True)], np.int64
        )


class _Twin:
    """An episode that is played along with another one of the same seed."""

    def __init__(self, emulator: Emulator, trial: Emulator, seed: int, noise: float) -> None:
        self._game = GAMES.get(emulator.game, USUAL)
        self._emulator, self._trial, self._noise = emulator, trial, noise
        self._generator = np.random.default_rng(seed)
        emulator.begin(seed)
        self._scripts = self._game.scripts(emulator.actions)
        self._script, self._time = self._scripts[0], 0
        self._now: Memory = emulator.memory()
        self._before: Memory = self._now
        self._random: list[int] = []
        self._looked = self._over = False

    def act(self, forced: int | None) -> int:
        """Choose an action, and take it in the twin."""
        if self._over:
            return 0
        action = self._choose() if forced is None else int(forced)
        decision = self._emulator.decide(action)
        self._over = decision.terminated or decision.truncated
        self._before = self._now
        self._now = self._emulator.memory()
        self._time += 1
        return action

    def _choose(self) -> int:
        begins = self._game.begins(self._time, self._now, self._before)
        if begins and not self._looked:
            self._script, self._time = self._best(), 0
        self._looked = begins
        if not self._random and self._generator.random() < self._noise:
            count = int(self._generator.integers(1, 5))
            self._random = [int(self._generator.integers(len(self._emulator.actions)))] * count
        if self._random:
            return self._random.pop()
        return self._script(self._time, self._now, self._before)

    def _best(self) -> Script:
        """The way that earns most, the first of equal ones in a random order."""
        state, best, most = self._emulator.state(), self._scripts[0], -np.inf
        for number in self._generator.permutation(len(self._scripts)):
            self._trial.restore(state)
            value = self._tried(self._scripts[number])
            if value > most:
                best, most = self._scripts[number], value
            if value >= 1:
                break
        return best

    def _tried(self, script: Script) -> float:
        """What a way earns."""
        lives, value = self._trial.lives, 0.0
        now: Memory = self._now
        before: Memory = self._before
        for time in range(self._game.ahead):
            decision = self._trial.decide(script(time, now, before))
            before, now = now, self._trial.memory()
            value += decision.reward
            if decision.terminated or decision.truncated or self._trial.lives < lives:
                return value - LIFE
            worth = self._game.judge(decision.reward, now, before)
            if worth is not None:
                return value + worth
        return value
