"""Statistics of scores: means over seeds, interquartile means and bootstrap intervals. A missing
seed stays visible."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import trim_mean

Row = Mapping[str, Any]
"""One result: the scores of one seed of one variant on one task."""

Statistic = Callable[..., Any]
"""Called as `statistic(values, axis=-1)`, as NumPy's reductions are."""

REQUIRED = ("variant", "seed", "task", "checkpoint", "metric", "value", "scores")


@dataclass(frozen=True)
class Summary:
    """The scores of one variant on one task over seeds; `mean` and the rest are NaN where no seed
    has been scored.

    standard_error is over seeds, or over episodes where there is one seed. interval and
    interquartile_interval are bootstrap intervals of the mean and of the interquartile mean.
    missing: seeds that were expected and have no row. seconds: wall time of the evaluation, mean
    over seeds; NaN where it was not recorded.
    """

    variant: str
    task: str
    checkpoint: str
    metric: str
    x: float | None
    mean: float
    standard_error: float
    interval: tuple[float, float]
    interquartile_mean: float
    interquartile_interval: tuple[float, float]
    seeds: tuple[int, ...]
    missing: tuple[int, ...]
    episodes: int
    seconds: float

    @property
    def complete(self) -> bool:
        """Whether every expected seed has been scored."""
        return bool(self.seeds) and not self.missing


@dataclass(frozen=True)
class Conditional:
    """How often one seed answers rightly for each cue.

    The expected frequencies of the right answer, summed over cues, are at most 1 for a policy
    without memory and reach the number of cues with perfect memory (App. D of the paper, where the
    cue is the first action). error: standard error of that sum over this seed's episodes.
    """

    variant: str
    task: str
    x: float | None
    seed: int
    means: Mapping[str, float]
    error: float

    @property
    def total(self) -> float:
        """Sum over cues; more than chance above 1 there is memory."""
        return sum(self.means.values())


def mean_standard_error(values: ArrayLike) -> tuple[float, float]:
    """Mean and standard error of the mean (sample deviation / sqrt(n)); the error of a single value
    is 0."""
    array = _finite(values)
    error = array.std(ddof=1) / math.sqrt(array.size) if array.size > 1 else 0.0
    return float(array.mean()), float(error)


def interquartile_mean(values: ArrayLike, axis: int = -1) -> Any:
    """Mean without the lowest and highest quarter, each rounded down: with fewer than four values
    it is the mean."""
    return trim_mean(np.asarray(values, float), 0.25, axis=axis)


def bootstrap_interval(
    scores_by_seed: Sequence[ArrayLike],
    statistic: Statistic = interquartile_mean,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of a statistic of the seeds' mean scores, by a two-level bootstrap.

    Every resample draws seeds with replacement, then episodes with replacement within each; with
    one seed only episodes are drawn. The statistic is taken over the resampled seeds' means, so
    that scores of 0 and 1 are not trimmed to all or nothing.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, but {level} was given")
    means = bootstrap_means(scores_by_seed, resamples, seed)
    return _percentiles(statistic(means, axis=-1), level)


def latest(rows: Iterable[Row]) -> list[Row]:
    """The rows that count: of repeated ones the last, and of each variant only those of its last
    row's recipe.

    Seeds of an older recipe are dropped, not averaged with the new ones; they then show as missing.
    A row with `trained_for` is of a policy for that task alone, whose recipe is compared with those
    of the same task.
    """
    checked = [_checked(row) for row in rows]
    recipes = {_policy(row): row.get("recipe") for row in checked}
    kept = {
        (row["variant"], row["checkpoint"], row["task"], row["seed"]): row
        for row in checked
        if row.get("recipe") == recipes[_policy(row)]
    }
    return list(kept.values())


def _policy(row: Row) -> tuple[str, ...]:
    """What a recipe is the recipe of."""
    return row["variant"], row["checkpoint"], row.get("trained_for", "")


def summarise(
    rows: Iterable[Row],
    variants: Sequence[str] = (),
    seeds: Sequence[int] = (),
    first_seed_only: Collection[str] = (),
) -> list[Summary]:
    """One summary per variant, task and checkpoint; tasks in order of their position x, variants in
    the order given.

    variants, seeds: those that are expected, the first seed alone of the tasks in first_seed_only.
    What is expected and has no row gives a summary that says so. Scores that are not finite, or
    that do not agree with their row's value, are a ValueError.
    """
    rows = latest(rows)
    names = list(dict.fromkeys([*variants, *(row["variant"] for row in rows)]))
    found = []
    for checkpoint in dict.fromkeys(row["checkpoint"] for row in rows):
        here = [row for row in rows if row["checkpoint"] == checkpoint]
        examples = {row["task"]: row for row in here}
        tasks = sorted(examples, key=lambda task: _place(examples[task]))
        for name in names:
            for task in tasks:
                group = [row for row in here if row["variant"] == name and row["task"] == task]
                if group or name in variants:
                    expected = seeds[:1] if task in first_seed_only else seeds
                    found.append(_summary(name, examples[task], group, expected))
    return found


def returned(rows: Iterable[Row]) -> list[Row]:
    """The rows with returns in place of scores, which are the returns where a row names no
    others."""
    return [
        {
            **row,
            "metric": "return",
            "scores": row["returns"],
            "value": float(np.mean(row["returns"])),
        }
        if "returns" in row
        else {**row, "metric": "return"}
        for row in rows
    ]


def conditionals(rows: Iterable[Row]) -> list[Conditional]:
    """Mean score per cue, for the rows that name the cue of every episode; ordered by position
    x."""
    found = []
    for row in sorted((row for row in latest(rows) if row.get("cues")), key=_place):
        cues, scores = np.array([str(cue) for cue in row["cues"]]), np.asarray(row["scores"], float)
        if len(cues) != len(scores):
            raise ValueError(
                f"{_name(row)} has {len(cues)} cues for {len(scores)} scores: restore the "
                "row or remove it"
            )
        by_cue = {str(cue): mean_standard_error(scores[cues == cue]) for cue in np.unique(cues)}
        error = math.hypot(*(error for _, error in by_cue.values()))
        means = {cue: mean for cue, (mean, _) in by_cue.items()}
        found.append(
            Conditional(row["variant"], row["task"], row.get("x"), row["seed"], means, error)
        )
    return found


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
        interval = _percentiles(resampled.mean(-1), 0.95)
        middle_interval = _percentiles(interquartile_mean(resampled), 0.95)
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
        seconds=float(np.mean([row.get("seconds", math.nan) for row in group]))
        if group
        else math.nan,
    )


def bootstrap_means(scores_by_seed: Sequence[ArrayLike], resamples: int, seed: int) -> np.ndarray:
    """Means of resampled episodes of resampled seeds, [resamples, seeds]."""
    scores = [_finite(values) for values in scores_by_seed]
    if not scores:
        raise ValueError("a bootstrap needs the scores of at least one seed, but none were given")
    random = np.random.default_rng(seed)
    chosen = random.integers(len(scores), size=(resamples, len(scores)))
    means = np.empty(chosen.shape)
    for index, values in enumerate(scores):
        here = chosen == index
        means[here] = values[
            random.integers(values.size, size=(int(here.sum()), values.size))
        ].mean(-1)
    return means


def _percentiles(values: np.ndarray, level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _finite(values: ArrayLike) -> np.ndarray:
    array = np.asarray(values, float)
    if array.ndim != 1 or not array.size:
        raise ValueError(
            "scores must be a list of at least one number, but an array of shape "
            f"{array.shape} was given"
        )
    if not np.isfinite(array).all():
        raise ValueError(
            f"scores must be finite, but {array[~np.isfinite(array)][0]} is among them: find "
            "out why before averaging"
        )
    return array


def _checked(row: Row) -> Row:
    absent = [key for key in REQUIRED if key not in row]
    if absent:
        raise ValueError(
            f"a result row lacks {', '.join(absent)}; rows are written by `rate evaluate`: "
            f"{str(dict(row))[:120]}"
        )
    types = {
        "variant": str,
        "task": str,
        "checkpoint": str,
        "metric": str,
        "seed": int,
        "x": int | float | None,
    }
    for key, kind in types.items():
        if not isinstance(row.get(key), kind):
            raise ValueError(
                f"a result row has {key} = {row.get(key)!r}, which is not of type "
                f"{getattr(kind, '__name__', kind)}"
            )
    try:
        scores, value = _finite(row["scores"]), float(row["value"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{_name(row)}: {error}") from error
    if not abs(scores.mean() - value) <= 1e-5 * max(1.0, abs(value)):
        raise ValueError(
            f"{_name(row)} says value {value}, but its scores average {scores.mean():.6g}: "
            "restore the row or remove it"
        )
    return row


def _name(row: Row) -> str:
    return f"the row of {row['variant']}, seed {row['seed']}, {row['task']}"


def _place(row: Row) -> tuple[bool, float, str]:
    x = row.get("x")
    return x is None, x or 0.0, row["task"]
