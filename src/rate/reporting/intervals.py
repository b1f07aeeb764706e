"""Standard errors and 95 % intervals of means, counts and differences.

With several seeds, what varies is the training run: intervals of means are those of Student's t
over the seeds' means. With one seed it is the episodes, drawn within their cues: scores of 0 and 1
have Wilson intervals. Counts of seeds have exact (Clopper-Pearson) intervals.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest, sem, t, trim_mean

from rate.reporting.protocol import finite

Statistic = Callable[..., Any]
"""Called as `statistic(values, axis=-1)`, as NumPy's reductions are."""

Interval = tuple[float, float]


class Scores(NamedTuple):
    """Scores of the episodes of one seed, with their cues, if these are known."""

    values: np.ndarray
    cues: tuple[str, ...] = ()
    first_seed: int = 0

    def by_cue(self) -> list[np.ndarray]:
        """Scores of the episodes of each cue; of all together where none is known."""
        cues = np.array(self.cues)
        return [self.values[cues == cue] for cue in np.unique(cues)] if self.cues else [self.values]


def mean_standard_error(values: ArrayLike) -> tuple[float, float]:
    """Mean and standard error of the mean; the error of a single value is 0."""
    array = finite(values)
    return float(array.mean()), float(sem(array)) if array.size > 1 else 0.0


def standard_error(scores: Scores) -> float:
    """Of the mean over the episodes of one seed, drawn within their cues."""
    parts = [(len(own) / len(scores.values), own) for own in scores.by_cue()]
    return math.hypot(*(weight * mean_standard_error(own)[1] for weight, own in parts))


def interquartile_mean(values: ArrayLike, axis: int = -1) -> Any:
    """Mean without the lowest and highest quarter, each rounded down: with fewer than four values
    it is the mean."""
    return trim_mean(np.asarray(values, float), 0.25, axis=axis)


def count_interval(
    count: int, total: int, method: Literal["exact", "wilson"] = "exact"
) -> Interval:
    """The interval of a proportion of which `count` of `total` are seen."""
    found = binomtest(count, total).proportion_ci(method=method)
    return float(found.low), float(found.high)


def episode_interval(scores: Scores) -> Interval:
    """The interval of the mean over the episodes of one seed, drawn within their cues.

    Scores of 0 and 1 have Wilson intervals within each cue, whose distances from the means are
    added as squares (Newcombe 1998); other scores Student's t.
    """
    mean = float(scores.values.mean())
    if not np.isin(scores.values, (0, 1)).all():
        if len(scores.values) < 2:
            return mean, mean
        reach = _quantile(len(scores.values) - len(scores.by_cue())) * standard_error(scores)
        return mean - reach, mean + reach
    low = high = 0.0
    for own in scores.by_cue():
        weight, count = len(own) / len(scores.values), int(own.sum())
        bounds = count_interval(count, len(own), "wilson")
        low += (weight * (own.mean() - bounds[0])) ** 2
        high += (weight * (bounds[1] - own.mean())) ** 2
    return max(0.0, mean - math.sqrt(low)), min(1.0, mean + math.sqrt(high))


def seed_interval(scores: Sequence[Scores]) -> Interval:
    """The interval of the mean over seeds by Student's t; with one seed, of the mean over its
    episodes. Scores from 0 to 1 have an interval within these."""
    if len(scores) == 1:
        return episode_interval(scores[0])
    means = [one.values.mean() for one in scores]
    mean, error = mean_standard_error(means)
    reach = _quantile(len(means) - 1) * error
    everything = np.concatenate([one.values for one in scores])
    least, most = (0.0, 1.0) if np.isin(everything, (0, 1)).all() else (-math.inf, math.inf)
    return max(least, mean - reach), min(most, mean + reach)


def difference(one: Sequence[Scores], other: Sequence[Scores]) -> tuple[float, Interval]:
    """The mean of one variant less that of another, with its interval.

    Seeds of both are independent, and their episodes the same: what varies is each seed's mean, and
    the difference in each episode, of the means over seeds (crossed errors, added as squares). The
    degrees of freedom are Satterthwaite's.

    Args:
        one: Scores by seed.
        other: Scores by seed, in the same episodes; where they are others, they count as drawn
            anew.
    """
    parts: list[tuple[float, int]] = []
    for side in (one, other):
        if len(side) > 1:
            means = [scores.values.mean() for scores in side]
            parts.append((mean_standard_error(means)[1] ** 2, len(side) - 1))
    played = {(one.first_seed, len(one.values), one.cues) for one in (*one, *other)}
    both = [_averaged(side) for side in (one, other)]
    if len(played) == 1:
        both = [Scores(both[0].values - both[1].values, one[0].cues)]
    for scores in both:
        if len(scores.values) > len(scores.by_cue()):
            free = len(scores.values) - len(scores.by_cue())
            parts.append((standard_error(scores) ** 2, free))
    mean = float(
        np.mean([scores.values.mean() for scores in one])
        - np.mean([scores.values.mean() for scores in other])
    )
    reach = combined_reach(parts)
    return mean, (mean - reach, mean + reach)


def _averaged(side: Sequence[Scores]) -> Scores:
    """Scores of the episodes as means over seeds; where seeds have other episodes, of the first."""
    alike = len({(scores.first_seed, len(scores.values)) for scores in side}) == 1
    values = np.mean([scores.values for scores in side], 0) if alike else side[0].values
    return side[0]._replace(values=values)


def combined_reach(parts: Sequence[tuple[float, int]]) -> float:
    """How far the 95 % interval of a sum reaches to both sides.

    Args:
        parts: Variance and degrees of freedom of each independent part.
    """
    variance = sum(part for part, _ in parts)
    if not variance:
        return 0.0
    free = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    return _quantile(free) * math.sqrt(variance)


def _quantile(free: float) -> float:
    """Of Student's t with so many degrees of freedom, for 95 %."""
    return float(t.ppf(0.975, free))


def bootstrap_interval(
    scores_by_seed: Sequence[ArrayLike],
    statistic: Statistic = interquartile_mean,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """The 95 % percentile interval of a statistic of the seeds' mean scores, by a two-level
    bootstrap.

    Every resample draws seeds with replacement, then episodes with replacement within each; with
    one seed only episodes are drawn. The statistic is taken over the resampled seeds' means, so
    that scores of 0 and 1 are not trimmed to all or nothing.

    Args:
        scores_by_seed: Scores of the episodes, one array for each seed.
        statistic: What the interval is of.
        resamples: Number of resamples.
        seed: Seed of the draws.
    """
    scores = [Scores(finite(values)) for values in scores_by_seed]
    low, high = np.quantile(
        statistic(bootstrap_means(scores, resamples, seed), axis=-1), [0.025, 0.975]
    )
    return float(low), float(high)


def bootstrap_means(scores_by_seed: Sequence[Scores], resamples: int, seed: int) -> np.ndarray:
    """Means of resampled episodes, within their cues, of resampled seeds, [resamples, seeds]."""
    if not scores_by_seed:
        raise ValueError("a bootstrap needs the scores of at least one seed, but none were given")
    random = np.random.default_rng(seed)
    chosen = random.integers(len(scores_by_seed), size=(resamples, len(scores_by_seed)))
    means = np.empty(chosen.shape)
    for index, scores in enumerate(scores_by_seed):
        here = chosen == index
        drawn = np.zeros(int(here.sum()))
        for own in scores.by_cue():
            episodes = random.integers(own.size, size=(len(drawn), own.size))
            drawn += own[episodes].sum(-1)
        means[here] = drawn / scores.values.size
    return means
