"""Mines avoided on a hidden board from the numbers on the squares that were opened."""

from typing import Any

import gymnasium
import numpy as np

from rate.tasks.popgym_players.mines import Square, neighbours, probabilities

SAFE = 1e-9


class MineSweeperPlayer:
    """Opens the square that is least likely to hold a mine; waits where the risk costs more than the waiting."""

    hope = 0.3

    def __init__(self, environment: gymnasium.Env[Any, Any], seed: int) -> None:
        fixed: Any = environment.unwrapped
        self._rows, self._columns = (int(size) for size in fixed.dims)
        self._mines = int(fixed.num_mines)
        self._gain = float(fixed.success_reward_scale)
        self._loss = float(fixed.fail_reward_scale)
        self._waiting = float(fixed.bad_action_reward_scale)
        self._left = int(fixed.max_episode_length)
        self._opened: dict[Square, int] = {}
        self._last: Square | None = None

    def act(self, observation: Any, reward: float) -> np.ndarray:
        """Return the square [row, column] to open."""
        if self._last is not None:
            self._opened[self._last] = int(observation)
        risks = probabilities(self._rows, self._columns, self._mines, self._opened)
        risks[tuple(np.array(list(self._opened), int).reshape(-1, 2).T)] = 2
        least = risks.min()
        candidates = [(int(i), int(j)) for i, j in np.argwhere(risks <= least + SAFE)]
        choice = min(candidates, key=lambda square: len(neighbours(square, self._rows, self._columns)))
        if self._opened and self._prefers_waiting(float(least)):
            choice = next(iter(self._opened))
        self._left -= 1
        self._last = choice
        return np.array(choice)

    def _prefers_waiting(self, risk: float) -> bool:
        wait = self._waiting * self._left
        squares = self._rows * self._columns - self._mines - len(self._opened)
        after = self.hope * self._gain * (squares - 1) + (1 - self.hope) * self._waiting * (self._left - 1)
        return risk * self._loss + (1 - risk) * (self._gain + after) < wait
