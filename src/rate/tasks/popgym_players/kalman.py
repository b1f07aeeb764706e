"""Kalman filtering of a known system from readings that may be noisy and clipped."""

import math
from collections.abc import Callable

import numpy as np

Dynamics = Callable[[np.ndarray, float], np.ndarray]
"""Next states [n, d] of the states [n, d] under one force."""


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
        column = self.covariance[:, entry]
        spread = float(column[entry]) + noise
        gain = column / spread
        if abs(value) < limit * (1 - 1e-6):
            seen, left = value, 0.0
        else:
            side = math.copysign(1.0, value)
            above, left = tail(side * float(self.mean[entry]), spread, limit)
            seen = side * above
        self.mean = self.mean + gain * (seen - self.mean[entry])
        self.covariance = self.covariance - np.outer(gain, gain) * (spread - left)


def tail(mean: float, variance: float, limit: float) -> tuple[float, float]:
    """Return mean and variance of a normal variable that is known to lie above a limit."""
    deviation = math.sqrt(variance)
    start = (limit - mean) / deviation
    mass = 0.5 * math.erfc(start / math.sqrt(2))
    if mass < 1e-12:  # so far in the tail that it is all at the limit
        return limit, 0.0
    hazard = math.exp(-0.5 * start**2) / math.sqrt(2 * math.pi) / mass
    return mean + deviation * hazard, variance * max(1 + start * hazard - hazard**2, 0.0)
