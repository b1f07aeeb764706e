"""Statistics of scores: means over seeds, interquartile means and bootstrap intervals.

A missing seed stays visible.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import sem, trim_mean

from rate.reporting.protocol import TRIAL_SEEDS, Row, finite, latest

Statistic = Callable[..., Any]
"""Called as `statistic(values, axis=-1)`, as NumPy's reductions are."""


@dataclass(frozen=True)
class Summary:
    """The scores of one variant on one task over seeds; numbers are NaN without any seed."""

    variant: str
    task: str
    checkpoint: str
    metric: str
    x: float | None
    """Position of the task on the axis."""
    mean: float
    """Mean over seeds."""
    standard_error: float
    """Over seeds; over episodes where there is one seed."""
    interval: tuple[float, float]
    """Bootstrap interval of the mean, 95 %."""
    interquartile_mean: float
    """Interquartile mean over seeds."""
    interquartile_interval: tuple[float, float]
    """Bootstrap interval of the interquartile mean, 95 %."""
    seeds: tuple[int, ...]
    """Seeds that have been scored."""
    missing: tuple[int, ...]
    """Seeds that were expected and have no row."""
    episodes: int
    """Episodes of all seeds."""
    seconds: float
    """Wall time of the evaluation, mean over seeds; NaN where it was not recorded."""

    @property
    def early(self) -> bool:
        """Whether only trial seeds have been scored, though reported ones are planned."""
        kinds = ({seed in TRIAL_SEEDS for seed in own} for own in (self.seeds, self.missing))
        return tuple(kinds) == ({True}, {False})

    @property
    def complete(self) -> bool:
        """Whether every expected seed has been scored."""
        return bool(self.seeds) and not self.missing


@dataclass(frozen=True)
class Conditional:
    """How often one seed answers correctly for each cue.

    The expected frequencies of the correct answer, summed over cues, are at most 1 for a policy
    without memory and reach the number of cues with perfect memory (App. D of the paper, where the
    cue is the first action).
    """

    variant: str
    task: str
    x: float | None
    """Position of the task on the axis."""
    seed: int
    means: Mapping[str, float]
    """Frequency of the correct answer by cue."""
    error: float
    """Standard error of the sum of `means` over this seed's episodes."""

    @property
    def total(self) -> float:
        """Sum over cues; more than chance above 1 there is memory."""
        return sum(self.means.values())


HOLDS = 0.95
"""Least success of a seed that holds."""


def holds(row: Row) -> bool | None:
    """Whether a seed's policy solves a task: success in at least 95 % of the episodes; None where
    the score is no success."""
    return float(row["value"]) >= HOLDS if row["metric"] == "success" else None


def mean_standard_error(values: ArrayLike) -> tuple[float, float]:
    """Mean and standard error of the mean; the error of a single value is 0."""
    array = finite(values)
    return float(array.mean()), float(sem(array)) if array.size > 1 else 0.0


def interquartile_mean(values: ArrayLike, axis: int = -1) -> Any:
    """Mean without the lowest and highest quarter, each rounded down: with fewer than four values
    it is the mean."""
    return trim_mean(np.asarray(values, float), 0.25, axis=axis)


def bootstrap_interval(
    scores_by_seed: Sequence[ArrayLike],
    statistic: Statistic = interquartile_mean,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
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
    return _interval(statistic(bootstrap_means(scores_by_seed, resamples, seed), axis=-1))


def summarise(
    rows: Iterable[Row],
    variants: Sequence[str] = (),
    seeds: Sequence[int] = (),
    first_seed_only: Collection[str] = (),
    fewer_seeds: Mapping[str, int] | None = None,
) -> list[Summary]:
    """One summary per variant, task and checkpoint.

    What is expected and has no row gives a summary that says so.

    Args:
        rows: Result rows.
        variants: Variants that are expected, in this order.
        seeds: Seeds that are expected of each.
        first_seed_only: Tasks for which the first of these seeds alone is expected.
        fewer_seeds: Variants of which the first so many of these seeds are expected.

    Returns:
        Summaries in the order of checkpoints, variants and positions of tasks.

    Raises:
        ValueError: scores are not finite, or do not agree with their row's value.
    """
    rows, fewer = latest(rows), fewer_seeds or {}
    names = list(dict.fromkeys([*variants, *(row["variant"] for row in rows)]))
    summaries = []
    for checkpoint in dict.fromkeys(row["checkpoint"] for row in rows):
        here = [row for row in rows if row["checkpoint"] == checkpoint]
        examples = {row["task"]: row for row in here}
        tasks = sorted(examples, key=lambda task: _place(examples[task]))
        for name in names:
            for task in tasks:
                group = [row for row in here if row["variant"] == name and row["task"] == task]
                if group or name in variants:
                    count = 1 if task in first_seed_only else fewer.get(name, len(seeds))
                    expected = seeds[:count]
                    summaries.append(_summary(name, examples[task], group, expected))
    return summaries


def returned(rows: Iterable[Row]) -> list[Row]:
    """The rows with returns in place of scores, which are the returns where a row has no others."""
    changed: list[Row] = []
    for row in rows:
        returns = row.get("returns", row.get("scores"))
        value = float(np.mean(returns)) if "returns" in row else row.get("value")
        changed.append({**row, "metric": "return", "scores": returns, "value": value})
    return changed


def conditionals(rows: Iterable[Row]) -> list[Conditional]:
    """Mean score per cue, for the rows that name the cue of every episode, ordered by position."""
    points = []
    for row in sorted((row for row in latest(rows) if row.get("cues")), key=_place):
        cues, scores = np.array([str(cue) for cue in row["cues"]]), np.asarray(row["scores"], float)
        by_cue = {str(cue): mean_standard_error(scores[cues == cue]) for cue in np.unique(cues)}
        error = math.hypot(*(error for _, error in by_cue.values()))
        means = {cue: mean for cue, (mean, _) in by_cue.items()}
        points.append(
            Conditional(row["variant"], row["task"], row.get("x"), row["seed"], means, error)
        )
    return points


def _summary(variant: str, example: Row, group: Sequence[Row], expected: Sequence[int]) -> Summary:
    group = sorted(group, key=lambda row: row["seed"])
    seeds = tuple(row["seed"] for row in group)
    scores = [np.asarray(row["scores"], float) for row in group]
    mean = error = middle = math.nan
    interval = middle_interval = (math.nan, math.nan)
    if scores:
        seed_means = [values.mean() for values in scores]
        mean, error = mean_standard_error(seed_means if len(scores) > 1 else scores[0])
        middle = float(interquartile_mean(seed_means))
        resampled = bootstrap_means(scores, 2000, 0)
        interval = _interval(resampled.mean(-1))
        middle_interval = _interval(interquartile_mean(resampled))
    return Summary(
        variant=variant,
        task=example["task"],
        checkpoint=example["checkpoint"],
        metric=example["metric"],
        x=example.get("x"),
        mean=mean,
        standard_error=error,
        interval=interval,
        interquartile_mean=middle,
        interquartile_interval=middle_interval,
        seeds=seeds,
        missing=tuple(seed for seed in expected if seed not in seeds),
        episodes=sum(len(values) for values in scores),
        seconds=float(np.mean([row.get("seconds") or math.nan for row in group or [{}]])),
    )


def bootstrap_means(scores_by_seed: Sequence[ArrayLike], resamples: int, seed: int) -> np.ndarray:
    """Means of resampled episodes of resampled seeds, [resamples, seeds]."""
    scores = [finite(values) for values in scores_by_seed]
    if not scores:
        raise ValueError("a bootstrap needs the scores of at least one seed, but none were given")
    random = np.random.default_rng(seed)
    chosen = random.integers(len(scores), size=(resamples, len(scores)))
    means = np.empty(chosen.shape)
    for index, values in enumerate(scores):
        here = chosen == index
        episodes = random.integers(values.size, size=(int(here.sum()), values.size))
        means[here] = values[episodes].mean(-1)
    return means


def _interval(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - 0.95) / 2, (1 + 0.95) / 2])
    return float(low), float(high)


def _place(row: Row) -> tuple[bool, float, str]:
    x = row.get("x")
    return x is None, x or 0.0, row["task"]
