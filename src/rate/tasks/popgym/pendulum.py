"""Expert of the pendulums, observed by the angle, with or without noise: dynamic programming on an
estimated state."""

from functools import cache
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from rate.tasks.popgym.particle_filter import ParticleFilter, log_normal_clipped

ANGLES, SPEEDS, TORQUES = 180, 145, 17
"""Points of the grid of the dynamic program."""
SWEEPS = 200
"""Planning horizon in steps: the longest episode."""
PARTICLES = 1000
WATCHED = 200
"""Number of particles over which the cost of an action is averaged."""
FIRST_SPEED = 1.0
"""Bound of the uniform distribution of the first angular velocity, in radians per second."""


class Pendulum(NamedTuple):
    """Dynamics of the environment: state [angle from upright, angular velocity], semi-implicit
    Euler steps."""

    gravity: float
    mass: float
    length: float
    seconds: float
    fastest: float
    strongest: float

    @classmethod
    def of(cls, environment: gymnasium.Env[Any, Any]) -> "Pendulum":
        """The dynamics of an environment."""
        fixed: Any = environment.unwrapped
        names = ("g", "m", "l", "dt", "max_speed", "max_torque")
        return cls(*(float(getattr(fixed, name)) for name in names))

    def next(
        self, angle: np.ndarray, speed: np.ndarray, torque: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Angles and angular velocities after one step under a torque; shapes broadcast."""
        pull = 3 * self.gravity / (2 * self.length) * np.sin(angle)
        push = 3 / (self.mass * self.length**2) * torque
        speed = np.clip(speed + (pull + push) * self.seconds, -self.fastest, self.fastest)
        return angle + speed * self.seconds, speed


class SwingUp:
    """Minimal cost from every state, by dynamic programming on a grid with bilinear interpolation.

    The cost of a step is that of the task: angle^2 + 0.1 velocity^2 + 0.001 torque^2.
    """

    def __init__(self, pendulum: Pendulum) -> None:
        self._pendulum = pendulum
        self.torques = np.linspace(-pendulum.strongest, pendulum.strongest, TORQUES)
        angle = -np.pi + np.arange(ANGLES) * 2 * np.pi / ANGLES
        speed = np.linspace(-pendulum.fastest, pendulum.fastest, SPEEDS)
        torque = self.torques[:, None, None]
        costs = angle[:, None] ** 2 + 0.1 * speed**2 + 0.001 * torque**2
        corners = self._corners(*pendulum.next(angle[:, None], speed, torque))
        self._values = np.zeros(ANGLES * SPEEDS)
        for _ in range(SWEEPS):
            self._values = (costs + self._interpolate(corners)).min(axis=0).ravel()

    def costs(self, angle: np.ndarray, speed: np.ndarray, torques: np.ndarray) -> np.ndarray:
        """The cost-to-go [torques, n] of each torque in n states."""
        torque = torques[:, None]
        after = self._interpolate(self._corners(*self._pendulum.next(angle, speed, torque)))
        return 0.001 * torque**2 + after

    def _corners(self, angle: np.ndarray, speed: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """The four grid points around each state, as flat indices, and their weights."""
        row = (angle + np.pi) % (2 * np.pi) * ANGLES / (2 * np.pi)
        column = (speed / self._pendulum.fastest + 1) / 2 * (SPEEDS - 1)
        low, left = np.floor(row).astype(np.int64), np.minimum(column.astype(np.int64), SPEEDS - 2)
        up, right = row - low, column - left
        return [
            ((low + i) % ANGLES * SPEEDS + left + j, np.abs(1 - i - up) * np.abs(1 - j - right))
            for i in (0, 1)
            for j in (0, 1)
        ]

    def _interpolate(self, corners: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        first, *rest = [weight * self._values[index] for index, weight in corners]
        return sum(rest, first)


@cache
def swing_up(pendulum: Pendulum) -> SwingUp:
    """The plan of a pendulum, computed once per process; all sizes of the tasks share it."""
    return SwingUp(pendulum)


class PendulumExpert:
    """Applies the torque of least expected cost under its belief about the state.

    Without noise two consecutive angles give the exact state. With noise the belief is a particle
    filter of the known dynamics.
    """

    def __init__(self, environment: gymnasium.Env[Any, Any], seed: int) -> None:
        self._pendulum = Pendulum.of(environment)
        self._plan = swing_up(self._pendulum)
        self._noise = [
            float(sigma) for sigma in getattr(environment.unwrapped, "noise_sigma", np.zeros(2))
        ]
        self._generator = np.random.default_rng(seed)
        self._filter: ParticleFilter | None = None
        self._angle: float | None = None
        self._torque = 0.0

    def act(self, observation: Any, reward: float) -> np.ndarray:
        """The torque [1] in newton metres."""
        cosine, sine = (float(value) for value in observation)
        exact = max(self._noise) == 0
        states = self._measure(np.arctan2(sine, cosine)) if exact else self._believe(cosine, sine)
        torques = self._plan.torques
        costs = self._plan.costs(states[:, 0], states[:, 1], torques).mean(axis=1)
        self._torque = float(torques[costs.argmin()])
        return np.array([self._torque], np.float32)

    def _measure(self, angle: float) -> np.ndarray:
        """The state [1, 2] from the last two angles."""
        turned = 0.0 if self._angle is None else (angle - self._angle + np.pi) % (2 * np.pi) - np.pi
        self._angle = angle
        return np.array([[angle, turned / self._pendulum.seconds]])

    def _believe(self, cosine: float, sine: float) -> np.ndarray:
        """States [n, 2] drawn from the belief given all readings so far."""
        if self._filter is None:
            generator = self._generator
            angle = np.arctan2(sine, cosine) + generator.uniform(-np.pi, np.pi, PARTICLES)
            speed = generator.uniform(-FIRST_SPEED, FIRST_SPEED, PARTICLES)
            self._filter = ParticleFilter(np.stack([angle, speed], axis=1), generator)
        else:
            angle, speed = self._filter.particles.T
            moved = self._pendulum.next(angle, speed, np.asarray(self._torque))
            self._filter.particles = np.stack(moved, axis=1)
        angle = self._filter.particles[:, 0]
        likelihood = log_normal_clipped(cosine, np.cos(angle), self._noise[0], 1.0)
        self._filter.update(
            likelihood + log_normal_clipped(sine, np.sin(angle), self._noise[1], 1.0)
        )
        chosen = self._generator.choice(PARTICLES, WATCHED, p=self._filter.weights)
        return self._filter.particles[chosen]
