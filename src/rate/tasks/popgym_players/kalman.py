"""Kalman filtering of a known system from readings that may be noisy and clipped."""

import math
from collections.abc import Callable

import numpy as np

Dynamics = Callable[[np.ndarray, float], np.ndarray]
"""Next states [n, d] of the states [n, d] under one force."""

FAR = 6.0
"""Standard deviations beyond which a limit tells nothing."""
LEAST = 1e-15
"""Variance added with every reading, so that rounding never leaves a negative one."""


class KalmanFilter:
    """Extended Kalman filter: mean and covariance of a state whose dynamics are known.

    Readings are taken one at a time. A reading that sits at the end of its range is used as what it is, the news that
    the unclipped reading lies beyond (Tobit likelihood), with the moments of the truncated normal distribution.

    Args:
        mean: Mean [d] of the first state.
        variance: Variances [d] of the first state.
        dynamics: Next states [n, d] of states [n, d] under a force.
        drift: Variance [d] added per step, for what the linearised dynamics miss.
    """

    def __init__(self, mean: np.ndarray, variance: np.ndarray, dynamics: Dynamics, drift: np.ndarray) -> None:
        self.mean = mean
        self.covariance = np.diag(variance)
        self._dynamics = dynamics
        self._drift = np.diag(drift)

    def predict(self, force: float) -> None:
        """Move one step forward under a force."""
        size, shift = len(self.mean), 1e-5
        around = np.concatenate([shift * np.eye(size), -shift * np.eye(size)])
        moved = self._dynamics(self.mean + around, force)
        jacobian = (moved[:size] - moved[size:]).T / (2 * shift)
        self.mean = self._dynamics(self.mean[None], force)[0]
        self.covariance = jacobian @ self.covariance @ jacobian.T + self._drift

    def update(self, entry: int, value: float, noise: float, limit: float = math.inf) -> None:
        """Take in a reading of one entry of the state with noise of a variance, clipped to +-``limit``."""
        if abs(value) < limit * (1 - 1e-6):
            self._learn(entry, noise, value, 0.0)
        else:
            low, high = (limit, math.inf) if value > 0 else (-math.inf, -limit)
            self._learn(entry, noise, *truncated(float(self.mean[entry]), self._variance(entry) + noise, low, high))

    def bound(self, entry: int, limit: float) -> None:
        """Take in that an entry of the state lies within +-``limit``."""
        if limit - abs(self.mean[entry]) < FAR * math.sqrt(self._variance(entry)):
            self._learn(entry, 0.0, *truncated(float(self.mean[entry]), self._variance(entry), -limit, limit))

    def _variance(self, entry: int) -> float:
        return float(self.covariance[entry, entry])

    def _learn(self, entry: int, noise: float, mean: float, variance: float) -> None:
        """Pass on to the whole state that the reading of an entry now has this mean and variance."""
        column = self.covariance[:, entry]
        spread = self._variance(entry) + noise
        gain = column / spread
        self.mean = self.mean + gain * (mean - self.mean[entry])
        covariance = self.covariance - np.outer(gain, gain) * (spread - variance)
        self.covariance = (covariance + covariance.T) / 2 + LEAST * np.eye(len(self.mean))


def truncated(mean: float, variance: float, low: float, high: float) -> tuple[float, float]:
    """Return mean and variance of a normal variable that is known to lie between two values."""
    deviation = math.sqrt(variance)
    first, last = (low - mean) / deviation, (high - mean) / deviation
    mass = 0.5 * (math.erfc(first / math.sqrt(2)) - math.erfc(last / math.sqrt(2)))
    if mass < 1e-9:  # so far in a tail that all of it is at the nearer end
        return (low if abs(first) < abs(last) else high), 0.0
    begin, end = density(first), density(last)
    shift = (begin - end) / mass
    slope = ((first * begin if begin else 0.0) - (last * end if end else 0.0)) / mass
    return mean + deviation * shift, variance * max(1 + slope - shift**2, 0.0)


def density(value: float) -> float:
    """Return the density of the standard normal distribution."""
    return math.exp(-0.5 * value**2) / math.sqrt(2 * math.pi)
