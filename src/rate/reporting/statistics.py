"""Statistics of scores: means over seeds, seeds that hold, and differences between variants.

A missing seed stays visible.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rate.reporting import intervals
from rate.reporting.intervals import Interval, Scores, interquartile_mean, mean_standard_error
from rate.reporting.protocol import TRIAL_SEEDS, Row, latest, position

HOLDS = 0.95
"""Least success of a seed that holds."""


def holds(row: Row) -> bool | None:
    """Whether a seed's policy solves a task: success in at least 95 % of the episodes; None where
    the score is no success."""
    return float(row["value"]) >= HOLDS if row["metric"] == "success" else None


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
    """Over seeds; over episodes within their cues where there is one seed."""
    interval: Interval
    """Interval of the mean, 95 %, see `intervals.seed_interval`."""
    interquartile_mean: float
    """Interquartile mean over seeds."""
    interquartile_interval: Interval
    """Bootstrap interval of the interquartile mean, 95 %."""
    held: int | None
    """Seeds that hold; None where the score is no success."""
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


def scores_of(row: Row) -> Scores:
    """The scores of a row with their cues."""
    values, cues = np.asarray(row["scores"], float), tuple(map(str, row.get("cues") or ()))
    return Scores(values, cues, row.get("first_seed") or 0)


@dataclass(frozen=True)
class Difference:
    """The mean of one variant less that of another one in the same task."""

    variant: str
    reference: str
    task: str
    mean: float
    interval: Interval
    """95 %, see `intervals.difference`."""


def differences(rows: Iterable[Row], references: Mapping[str, str]) -> list[Difference]:
    """Differences of variants from others, in tasks that both have been scored on.

    Args:
        rows: Result rows of one checkpoint.
        references: The variant that each is compared with.
    """
    scored: dict[tuple[str, str], list[Row]] = {}
    for row in latest(rows):
        scored.setdefault((row["variant"], row["task"]), []).append(row)
    tasks = {row["task"]: row for own in scored.values() for row in own}
    return [
        Difference(variant, reference, task, *intervals.difference(*sides))
        for variant, reference in references.items()
        for task in sorted(tasks, key=lambda task: _place(tasks[task]))
        if {(variant, task), (reference, task)} <= scored.keys()
        for sides in [[list(map(scores_of, scored[name, task])) for name in (variant, reference)]]
    ]


TARGET = ",target_return="
"""What names a further target return in the name of a task."""


def summarise(
    rows: Iterable[Row],
    variants: Sequence[str] = (),
    seeds: Sequence[int] = (),
    first_seed_only: Collection[str] = (),
    fewer_seeds: Mapping[str, int] | None = None,
    without_targets: Collection[str] = (),
) -> list[Summary]:
    """One summary per variant, task and checkpoint.

    What is expected and has no row gives a summary that says so.

    Args:
        rows: Result rows.
        variants: Variants that are expected, in this order.
        seeds: Seeds that are expected of each.
        first_seed_only: Tasks for which the first of these seeds alone is expected.
        fewer_seeds: Variants of which the first so many of these seeds are expected.
        without_targets: Variants of which no further target returns are expected.

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
                planned = name in variants and not (name in without_targets and TARGET in task)
                if group or planned:
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
            Conditional(row["variant"], row["task"], position(row), row["seed"], means, error)
        )
    return points


def _summary(variant: str, example: Row, group: Sequence[Row], expected: Sequence[int]) -> Summary:
    group = sorted(group, key=lambda row: row["seed"])
    seeds = tuple(row["seed"] for row in group)
    scores = list(map(scores_of, group))
    mean = error = middle = math.nan
    interval = middle_interval = (math.nan, math.nan)
    if scores:
        seed_means = [one.values.mean() for one in scores]
        mean, error = mean_standard_error(seed_means)
        error = error if len(scores) > 1 else intervals.standard_error(scores[0])
        middle = float(interquartile_mean(seed_means))
        interval = intervals.seed_interval(scores)
        resampled = intervals.bootstrap_means(scores, 2000, 0)
        low, high = np.quantile(interquartile_mean(resampled), [0.025, 0.975])
        middle_interval = float(low), float(high)
    return Summary(
        variant=variant,
        task=example["task"],
        checkpoint=example["checkpoint"],
        metric=example["metric"],
        x=position(example),
        mean=mean,
        standard_error=error,
        interval=interval,
        interquartile_mean=middle,
        interquartile_interval=middle_interval,
        held=None if None in map(holds, group) else sum(map(bool, map(holds, group))),
        seeds=seeds,
        missing=tuple(seed for seed in expected if seed not in seeds),
        episodes=sum(len(one.values) for one in scores),
        seconds=float(np.mean([row.get("seconds") or math.nan for row in group or [{}]])),
    )


def _place(row: Row) -> tuple[bool, float, str]:
    x = position(row)
    return x is None, x or 0.0, row["task"]
