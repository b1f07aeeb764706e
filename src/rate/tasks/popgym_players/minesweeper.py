"""Mines avoided on a hidden board from the numbers on the squares that were opened."""

from typing import Any

import gymnasium
import numpy as np

from rate.tasks.popgym_players.mines import Square, neighbours, probabilities

HOPE = 0.5
"""Chance given to opening all that is left after a guess that was right; the rest goes to waiting from then on."""
TIE = 1e-9
"""Risks that differ by less are equal."""


class MineSweeperPlayer:
    """Opens the square that is least likely to hold a mine, or an opened one again where a guess costs more.

    An opened square has a small fixed cost per step, a mine a large one and ends the episode: late in a game a guess at
    even odds is worth less than the waiting.
    """

    def __init__(self, environment: gymnasium.Env[Any, Any], seed: int) -> None:
        fixed: Any = environment.unwrapped
        self._rows, self._columns = (int(size) for size in fixed.dims)
        self._mines = int(fixed.num_mines)
        self._gain = float(fixed.success_reward_scale)
        self._loss = float(fixed.fail_reward_scale)
        self._waiting = float(fixed.bad_action_reward_scale)
        self._steps = int(fixed.max_episode_length)
        self._safe = self._rows * self._columns - self._mines
        self._ended = False
        self._opened: dict[Square, int] = {}
        self._last: Square | None = None

    def act(self, observation: Any, reward: float) -> np.ndarray:
        """Return the square [row, column] to open."""
        if self._last is not None:
            self._ended |= reward < self._loss / 2 + self._waiting / 2
            if not self._ended:
                self._opened[self._last] = int(observation)
            self._ended |= self._steps == 0 or len(self._opened) == self._safe
            if self._ended:
                return np.array(self._last)
        risks = probabilities(self._rows, self._columns, self._mines, self._opened)
        for square in self._opened:
            risks[square] = np.inf
        self._last = self._safest(risks)
        if self._opened and self._prefers_waiting(float(risks[self._last])):
            self._last = next(iter(self._opened))
        self._steps -= 1
        return np.array(self._last)

    def _safest(self, risks: np.ndarray) -> Square:
        """Return the square of least risk; among equals one with few neighbours, the likeliest to read zero."""
        squares = [(int(row), int(column)) for row, column in np.argwhere(risks <= risks.min() + TIE)]
        return min(squares, key=lambda square: len(neighbours(square, self._rows, self._columns)))

    def _prefers_waiting(self, risk: float) -> bool:
        """Compare the return of waiting to the end with that of one guess and what may follow it."""
        left = self._safe - len(self._opened)
        after = HOPE * self._gain * (left - 1) + (1 - HOPE) * self._waiting * (self._steps - 1)
        guess = risk * self._loss + (1 - risk) * (self._gain + after)
        return guess < self._waiting * self._steps
