"""Expert of the Bernoulli bandits, whose arms are drawn uniformly: a Gittins index with a finite
horizon."""

from typing import Any

import gymnasium
import numpy as np

PATIENCE = 2.0
"""Discount rate of the index times the remaining steps."""


class BanditExpert:
    """Plays the arm with the highest Gittins index of its Beta posterior, in closed form.

    The index is the approximation of Brezzi and Lai (2002, Optimal learning and experimentation in
    bandit problems): the posterior's mean plus its deviation times a boundary of optimal stopping.
    The discount rate is such that the effective horizon is the rest of the episode.
    """

    def __init__(self, environment: gymnasium.Env[Any, Any], seed: int) -> None:
        arms: Any = environment.action_space
        definition: Any = environment.unwrapped
        self._left = int(definition.max_episode_length)
        self._wins = np.ones(int(arms.n))
        self._losses = np.ones(int(arms.n))
        self._last: int | None = None

    def act(self, observation: Any, reward: float) -> int:
        """The arm to play."""
        if self._last is not None:
            counts = self._wins if int(observation) else self._losses
            counts[self._last] += 1
        self._last = int(
            np.argmax(indices(self._wins, self._losses, PATIENCE / max(self._left, 1)))
        )
        self._left -= 1
        return self._last


def indices(wins: np.ndarray, losses: np.ndarray, rate: float) -> np.ndarray:
    """Approximate Gittins indices of arms.

    Args:
        wins: First parameter of each arm's Beta posterior, [arms].
        losses: Second parameter, [arms].
        rate: Discount rate per step.
    """
    total = wins + losses
    mean = wins / total
    variance = mean * (1 - mean) / (total + 1)
    return np.asarray(mean + np.sqrt(variance) * boundary(1 / ((total + 1) * rate)))


def boundary(scale: np.ndarray) -> np.ndarray:
    """The boundary of optimal stopping psi(s) for positive `scale` s, in the pieces of Brezzi and
    Lai (2002)."""
    root = np.sqrt(scale)
    logarithm = np.log(np.maximum(scale, 15.0))
    far = np.sqrt(2 * logarithm - np.log(logarithm) - np.log(16 * np.pi))
    pieces = [np.sqrt(scale / 2), 0.49 - 0.11 / root, 0.63 - 0.26 / root, 0.77 - 0.58 / root]
    return np.asarray(np.select([scale <= 0.2, scale <= 1, scale <= 5, scale <= 15], pieces, far))
