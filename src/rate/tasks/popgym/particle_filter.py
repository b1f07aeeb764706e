"""Particle filter of a known system, for readings that may be noisy and clipped."""

import math

import numpy as np

SHRINKAGE = 0.95
"""Fraction of its distance to the mean that a resampled particle keeps; added noise restores the
variance."""


class ParticleFilter:
    """Weighted samples of a state; resampling with the kernel of Liu and West keeps their mean and
    covariance.

    Args:
        particles: Initial samples [n, d] of the state, equally likely.
        generator: Source of randomness for resampling.
    """

    def __init__(self, particles: np.ndarray, generator: np.random.Generator) -> None:
        self.particles = particles
        self._generator = generator
        self._logits = np.zeros(len(particles))

    @property
    def weights(self) -> np.ndarray:
        """Probabilities [n] of the particles."""
        weights = np.exp(self._logits - self._logits.max())
        return weights / weights.sum()

    def update(self, log_likelihood: np.ndarray) -> None:
        """Weight the particles by the log-likelihoods [n] of a reading; resample when fewer than
        half of them are effective."""
        self._logits = self._logits + log_likelihood
        self._logits -= self._logits.max()
        weights = self.weights
        if 1 / np.square(weights).sum() < len(weights) / 2:
            self._resample(weights)

    def _resample(self, weights: np.ndarray) -> None:
        count = len(weights)
        points = (np.arange(count) + self._generator.random()) / count
        chosen = self.particles[np.minimum(np.searchsorted(np.cumsum(weights), points), count - 1)]
        mean = chosen.mean(axis=0)
        spread = np.linalg.cholesky(np.cov(chosen.T) + 1e-12 * np.eye(chosen.shape[1]))
        fresh = self._generator.standard_normal(chosen.shape) @ spread.T
        self.particles = mean + SHRINKAGE * (chosen - mean) + math.sqrt(1 - SHRINKAGE**2) * fresh
        self._logits = np.zeros(count)


def log_normal_clipped(
    value: float, means: np.ndarray, deviation: float, limit: float
) -> np.ndarray:
    """Log-likelihoods [n] of a clipped reading with normal noise, up to a constant.

    Args:
        value: The reading.
        means: Values [n] without noise.
        deviation: Standard deviation of the noise.
        limit: Readings are clipped to [-limit, limit].
    """
    if abs(value) < limit:
        return -0.5 * ((value - means) / deviation) ** 2
    beyond = (limit - np.sign(value) * means) / deviation
    return np.log(np.maximum(upper_tail(beyond), 1e-300)) + 0.5 * math.log(2 * math.pi)


def upper_tail(values: np.ndarray) -> np.ndarray:
    """Probability that a standard normal variable exceeds each of the values [n]."""
    return 0.5 * np.array([math.erfc(value / math.sqrt(2)) for value in values.tolist()])
