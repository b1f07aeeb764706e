"""Expert of Battleship: Gibbs sampling of fleets that agree with the hits and misses."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import gymnasium
import numpy as np

CHAINS = 200
"""Number of sampled fleets."""
STRICTNESS = (2.0, 6.0)
"""Cost in nats of one contradicted square, for each sweep after a shot; low in the first sweep, so
that ships can change places."""


@cache
def placements(board: int, ship: int) -> np.ndarray:
    """Every placement of a ship of length `ship`, as the squares that it covers, float32
    [placements, board * board]."""
    rows = []
    for start in range(board - ship + 1):
        for line in range(board):
            lying = np.zeros((board, board), np.float32)
            lying[line, start : start + ship] = 1
            rows += [lying.ravel(), lying.T.ravel()]
    return np.array(rows)


class BattleshipExpert:
    """Shoots where most fleets that agree with the hits and misses have a ship.

    The fleets are drawn by Gibbs sampling: each ship of each chain moves to a placement drawn given
    the other ships. The density of a square is the mean over chains of the conditional
    probabilities, not of the draws.
    """

    def __init__(self, environment: gymnasium.Env[Any, Any], seed: int) -> None:
        fixed: Any = environment.unwrapped
        self._board = int(fixed.board_size)
        self._ships: Sequence[int] = [int(ship) for ship in fixed.ship_sizes]
        self._generator = np.random.default_rng(seed)
        squares = self._board**2
        self._tried = np.zeros(squares, bool)
        self._hits = np.zeros(squares, np.float32)
        self._misses = np.zeros(squares, np.float32)
        self._shot: int | None = None
        self._fleets = np.zeros((len(self._ships), CHAINS, squares), np.float32)
        for fleet, ship in zip(self._fleets, self._ships, strict=True):
            covered = placements(self._board, ship)
            fleet[:] = covered[self._generator.integers(len(covered), size=CHAINS)]

    def act(self, observation: Any, reward: float) -> np.ndarray:
        """The square [row, column] to shoot at."""
        if self._shot is not None:
            (self._hits if observation else self._misses)[self._shot] = 1
        for strictness in STRICTNESS:
            density = self._sweep(strictness)
        density[self._tried] = -1
        self._shot = int(density.argmax())
        self._tried[self._shot] = True
        return np.array(divmod(self._shot, self._board))

    def _sweep(self, strictness: float) -> np.ndarray:
        """Draw a new placement for every ship of every chain.

        Args:
            strictness: Cost in nats of one contradicted square.

        Returns:
            The probability [squares] that each square holds a ship.
        """
        density = np.zeros(self._board**2, np.float32)
        fleets = self._fleets
        total = fleets.sum(axis=0)
        for index, ship in enumerate(self._ships):
            others = total - fleets[index]
            covered = placements(self._board, ship)
            contradictions = (
                others + self._misses - self._hits * (1 - np.minimum(others, 1))
            ) @ covered.T
            weights = np.exp(
                strictness * (contradictions.min(axis=1, keepdims=True) - contradictions)
            )
            sums = np.cumsum(weights, axis=1)
            points = self._generator.random((CHAINS, 1), np.float32) * sums[:, -1:]
            chosen = np.minimum((sums < points).sum(axis=1), len(covered) - 1)
            density += (weights / sums[:, -1:]).mean(axis=0) @ covered
            fleets[index] = covered[chosen]
            total = others + fleets[index]
        return density
