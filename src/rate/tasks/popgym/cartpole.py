"""Experts of the cart-poles: a linear-quadratic regulator on a state estimated from positions,
noisy positions or velocities."""

from typing import Any

import gymnasium
import numpy as np

from rate.tasks.popgym.particle_filter import ParticleFilter, log_normal_clipped

POSITIONS, VELOCITIES = [0, 2], [1, 3]
"""Entries of the state that are positions and velocities, of cart and pole."""
STEADY = np.array([1.0, 0.1, 10.0, 0.1])
"""Weights of the squared entries of the state in the regulator's cost."""
CAREFUL = np.array([0.001, 0.001, 10.0, 0.1])
"""The same weights under noise, where episodes end by the angle long before the cart reaches the
end of the track."""
EFFORT = 1e-3
"""Weight of the squared force."""
SWEEPS = 2000
"""Iterations of the Riccati equation, in environment steps; more than any episode has."""
START = 0.05
"""Bound of the uniform distribution of every entry of the first state."""
PARTICLES = 2000
LOST = -50.0
"""Log-likelihood of a state in which the episode would have ended."""


class CartPole:
    """Cart and pole as the environment defines them: state [x, velocity, angle, angular velocity],
    Euler steps."""

    def __init__(self, environment: gymnasium.Env[Any, Any]) -> None:
        fixed: Any = environment.unwrapped
        self.force = float(fixed.force_mag)
        self.seconds = float(fixed.tau)
        self._gravity = float(fixed.gravity)
        self._mass = float(fixed.masscart + fixed.masspole)
        self._pole = float(fixed.masspole)
        self._length = float(fixed.length)

    def next(self, states: np.ndarray, force: float) -> np.ndarray:
        """The states [n, 4] after one step under a force in newtons."""
        _, velocity, angle, turning = states.T
        sine, cosine = np.sin(angle), np.cos(angle)
        moment = self._pole * self._length
        push = (force + moment * turning**2 * sine) / self._mass
        inertia = self._length * (4 / 3 - self._pole * cosine**2 / self._mass)
        angular = (self._gravity * sine - cosine * push) / inertia
        linear = push - moment * angular * cosine / self._mass
        return states + self.seconds * np.stack([velocity, linear, turning, angular], axis=1)


def regulator(system: CartPole, weights: np.ndarray) -> np.ndarray:
    """The gains [4] of the linear-quadratic regulator of the upright state, from the Riccati
    equation."""
    shift, upright = 1e-5, np.zeros((1, 4))
    around = np.concatenate([shift * np.eye(4), -shift * np.eye(4)])
    moved = system.next(around, 0.0)
    transition = (moved[:4] - moved[4:]).T / (2 * shift)
    control = (system.next(upright, shift) - system.next(upright, -shift)).T / (2 * shift)
    cost, gains = np.diag(weights), np.zeros((1, 4))
    for _ in range(SWEEPS):
        gains = np.linalg.solve(EFFORT + control.T @ cost @ control, control.T @ cost @ transition)
        cost = np.diag(weights) + transition.T @ cost @ (transition - control @ gains)
    return gains[0]


class CartPoleExpert:
    """Pushes in the direction of the regulator's force, at the state given by two consecutive
    observations."""

    weights = STEADY

    def __init__(self, environment: gymnasium.Env[Any, Any], seed: int) -> None:
        self.system = CartPole(environment)
        self.force: float | None = None
        self._last = np.zeros(2)
        self._gains = regulator(self.system, self.weights)

    def act(self, observation: Any, reward: float) -> int:
        """1 to push the cart to the right, 0 to push it to the left."""
        # Every step of an episode is rewarded: without a reward the episode has ended.
        if self.force is not None and reward <= 0:
            return 0
        right = float(self._gains @ self.estimate(np.asarray(observation, np.float64))) < 0
        self.force = self.system.force if right else -self.system.force
        return int(right)

    def estimate(self, reading: np.ndarray) -> np.ndarray:
        """The state [4] after a reading [2] of the two positions.

        The difference of two readings is the velocity one step ago; the dynamics give the present
        one.
        """
        state = np.zeros(4)
        if self.force is not None:
            before = np.zeros((1, 4))
            before[0, POSITIONS] = self._last
            before[0, VELOCITIES] = (reading - self._last) / self.system.seconds
            state = self.system.next(before, self.force)[0]
        self._last = state[POSITIONS] = reading
        return state


class VelocityCartPoleExpert(CartPoleExpert):
    """Integrates the velocities from the positions, which the first observation holds."""

    def estimate(self, reading: np.ndarray) -> np.ndarray:
        """The state [4] after a reading [2]: of the positions at the first step, of the velocities
        afterwards."""
        if self.force is None:
            self._state = np.zeros(4)
            self._state[POSITIONS] = reading
        else:
            self._state = self.system.next(self._state[None], self.force)[0]
            self._state[VELOCITIES] = reading
        return self._state


class NoisyCartPoleExpert(CartPoleExpert):
    """Estimates the state with a particle filter of the known dynamics; that the episode goes on is
    also an observation."""

    weights = CAREFUL

    def __init__(self, environment: gymnasium.Env[Any, Any], seed: int) -> None:
        super().__init__(environment, seed)
        fixed: Any = environment.unwrapped
        space: Any = environment.observation_space
        self._deviations = [float(sigma) for sigma in fixed.noise_sigma]
        self._limits = [float(high) for high in space.high]
        self._ends = np.array([fixed.x_threshold, fixed.theta_threshold_radians])
        generator = np.random.default_rng(seed)
        self._filter = ParticleFilter(generator.uniform(-START, START, (PARTICLES, 4)), generator)

    def estimate(self, reading: np.ndarray) -> np.ndarray:
        """The mean state [4] after a noisy reading [2] of the two positions."""
        likelihood = np.zeros(PARTICLES)
        if self.force is not None:
            self._filter.particles = self.system.next(self._filter.particles, self.force)
            ended = np.abs(self._filter.particles[:, POSITIONS]) > self._ends
            likelihood += LOST * ended.any(axis=1)
        for entry, value, deviation, limit in zip(
            POSITIONS, reading, self._deviations, self._limits, strict=True
        ):
            means = self._filter.particles[:, entry]
            likelihood += log_normal_clipped(float(value), means, deviation, limit)
        self._filter.update(likelihood)
        return self._filter.weights @ self._filter.particles
