"""A pole balanced on a cart from positions, noisy positions or velocities alone."""

from typing import Any

import gymnasium
import numpy as np

from rate.tasks.popgym_players.kalman import KalmanFilter

POSITION, ANGLE = 0, 2
EXACT = 1e-10
"""Variance of a reading without noise, which float32 rounds."""
STEADY = np.array([1.0, 0.1, 10.0, 0.1])
"""Weights of the squared entries of the state in the regulator's cost."""
CAREFUL = np.array([0.001, 0.001, 10.0, 0.1])
"""The same under noise, where the episode ends by the angle long before the cart reaches the end of the track."""
EFFORT = 1e-3
"""Weight of the squared force."""
START = 0.05
"""Every entry of the first state is uniform within this, in the units of the state."""


class CartPole:
    """Cart and pole as the environment defines them: state [x, velocity, angle, angular velocity], Euler steps."""

    def __init__(self, environment: gymnasium.Env[Any, Any]) -> None:
        fixed: Any = environment.unwrapped
        self.force = float(fixed.force_mag)
        self.seconds = float(fixed.tau)
        self._gravity = float(fixed.gravity)
        self._mass = float(fixed.masscart + fixed.masspole)
        self._pole = float(fixed.masspole)
        self._length = float(fixed.length)

    def next(self, states: np.ndarray, force: float) -> np.ndarray:
        """Return the states [n, 4] after one step under a force in newtons."""
        _, velocity, angle, turning = states.T
        sine, cosine = np.sin(angle), np.cos(angle)
        moment = self._pole * self._length
        push = (force + moment * turning**2 * sine) / self._mass
        inertia = self._length * (4 / 3 - self._pole * cosine**2 / self._mass)
        angular = (self._gravity * sine - cosine * push) / inertia
        linear = push - moment * angular * cosine / self._mass
        return states + self.seconds * np.stack([velocity, linear, turning, angular], axis=1)

    def regulator(self, weights: np.ndarray, effort: float) -> np.ndarray:
        """Return the gains [4] of the linear-quadratic regulator of the upright state."""
        shift = 1e-5
        around = np.concatenate([shift * np.eye(4), -shift * np.eye(4)])
        moved = self.next(around, 0.0)
        transition = (moved[:4] - moved[4:]).T / (2 * shift)
        control = (self.next(np.zeros((1, 4)), shift) - self.next(np.zeros((1, 4)), -shift)).T / (2 * shift)
        cost = np.diag(weights)
        gains = np.zeros((1, 4))
        for _ in range(5000):
            gains = np.linalg.solve(effort + control.T @ cost @ control, control.T @ cost @ transition)
            cost = np.diag(weights) + transition.T @ cost @ (transition - control @ gains)
        return gains[0]


class CartPolePlayer:
    """Pushes against what a Kalman filter believes: the sign of the linear-quadratic regulator's force.

    The first observation holds position and angle in every one of these tasks; later ones hold the entries of the
    state named by ``seen``.
    """

    seen = (POSITION, ANGLE)

    def __init__(self, environment: gymnasium.Env[Any, Any], seed: int) -> None:
        self._system = CartPole(environment)
        fixed: Any = environment.unwrapped
        space: Any = environment.observation_space
        self._limits = [float(high) for high in space.high]
        self._noise = [max(float(sigma) ** 2, EXACT) for sigma in getattr(fixed, "noise_sigma", np.zeros(2))]
        self._gains = self._system.regulator(STEADY if max(self._noise) <= EXACT else CAREFUL, EFFORT)
        self._survived = {POSITION: float(fixed.x_threshold), ANGLE: float(fixed.theta_threshold_radians)}
        drift = np.full(4, 1e-9)
        self._filter = KalmanFilter(np.zeros(4), np.full(4, START**2 / 3), self._system.next, drift)
        self._force: float | None = None

    def act(self, observation: Any, reward: float) -> int:
        """Return 1 to push the cart to the right, 0 to push it to the left."""
        entries = self.seen
        if self._force is None:
            entries = (POSITION, ANGLE)
        else:
            self._filter.predict(self._force)
            for entry, limit in self._survived.items():
                self._filter.bound(entry, limit)
        for entry, value, noise, limit in zip(entries, observation, self._noise, self._limits, strict=True):
            self._filter.update(entry, float(value), noise, limit)
        right = float(self._gains @ self._filter.mean) < 0
        self._force = self._system.force if right else -self._system.force
        return int(right)


class VelocityCartPolePlayer(CartPolePlayer):
    """Knows where it started and sums up the velocities it sees from then on."""

    seen = (POSITION + 1, ANGLE + 1)
