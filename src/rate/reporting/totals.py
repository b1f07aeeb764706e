"""Sums of scores over groups of tasks, as in Table 2 of the paper, with intervals."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rate.reporting.intervals import (
    Interval,
    Scores,
    combined_reach,
    mean_standard_error,
    standard_error,
)
from rate.reporting.protocol import Row, latest
from rate.reporting.statistics import scores_of
from rate.reporting.tables import Published, Table


@dataclass(frozen=True)
class Sum:
    """Sum over tasks of one variant's mean scores."""

    group: str
    variant: str
    total: float
    standard_error: float
    """Pooled: over seeds within each task, added as squares; over episodes where there is one
    seed."""
    interval: Interval
    """By Student's t with the pooled degrees of freedom, 95 %."""
    difference: float
    """This sum less that of the first variant, over the tasks that both have."""
    difference_interval: Interval
    """95 %, from the pooled errors of both."""
    tasks: tuple[str, ...]
    """Tasks that are summed."""
    missing: tuple[str, ...]
    """Tasks of the group without a score."""


def sums(rows: Sequence[Row], groups: Mapping[str, Sequence[str]]) -> list[Sum]:
    """One sum per group and variant, where there is something to sum.

    Args:
        rows: Result rows of one checkpoint.
        groups: Groups of tasks by name.
    """
    scores: dict[tuple[str, str], dict[int, Scores]] = {}
    for row in latest(rows):
        scores.setdefault((row["variant"], row["task"]), {})[row["seed"]] = scores_of(row)
    variants = list(dict.fromkeys(variant for variant, _ in scores))
    return [
        _sum(group, variant, tasks, scores, variants[0])
        for group, tasks in groups.items()
        for variant in variants
        if any((variant, task) in scores for task in tasks)
    ]


def left_out(rows: Sequence[Row], groups: Mapping[str, Sequence[str]]) -> str:
    """Say what the sums are of, and which tasks of the groups have no score at all."""
    scored = {row["task"] for row in rows}
    missing = dict.fromkeys(
        task for tasks in groups.values() for task in tasks if task not in scored
    )
    text = (
        "Mean scores added up over those tasks of a group that were run. ± is the pooled standard "
        "error over seeds within tasks, and intervals have Student's quantile for its degrees of "
        "freedom."
    )
    return f"{text} Not run: {', '.join(missing)}." if missing else text


def _apart(total: Sum) -> str:
    low, high = total.difference_interval
    return f"{total.difference:+.2f} ({low:+.2f} to {high:+.2f})".replace("-", "−")


def sum_table(totals: Sequence[Sum], published: Published | None = None) -> Table:
    """Sum ± standard error and interval, and the difference from the first variant, a row per group
    and variant; with published values also their sum over the same tasks."""
    columns = {
        "tasks": [total.group for total in totals],
        "variant": [total.variant for total in totals],
        "sum ± s.e.": [f"{total.total:.2f} ± {total.standard_error:.2f}" for total in totals],
        "95 % interval": ["{:.2f} to {:.2f}".format(*total.interval) for total in totals],
        f"less {totals[0].variant}" if totals else "difference": [
            "—" if math.isnan(total.difference) else _apart(total) for total in totals
        ],
        "tasks summed": [
            f"{len(total.tasks)} of {len(total.tasks) + len(total.missing)}" for total in totals
        ],
    }
    if published and published.values:
        columns["paper, same tasks"] = [_printed(total, published) for total in totals]
    return Table(tuple(columns), list(zip(*columns.values(), strict=True)))


def _sum(
    group: str,
    variant: str,
    tasks: Sequence[str],
    scores: Mapping[tuple[str, str], Mapping[int, Scores]],
    reference: str,
) -> Sum:
    present = tuple(task for task in tasks if (variant, task) in scores)
    missing = tuple(task for task in tasks if task not in present)
    total = sum(_mean(scores[variant, task]) for task in present)
    low, high = _interval(total, [_pooled([scores[variant, task] for task in present])])
    both = [task for task in present if variant != reference and (reference, task) in scores]
    less = math.nan
    apart = math.nan, math.nan
    if both:
        sides = [[scores[name, task] for task in both] for name in (variant, reference)]
        less = sum(map(_mean, sides[0])) - sum(map(_mean, sides[1]))
        apart = _interval(less, [_pooled(side) for side in sides])
    error = _pooled([scores[variant, task] for task in present])[0] ** 0.5
    return Sum(group, variant, total, error, (low, high), less, apart, present, missing)


def _mean(seeds: Mapping[int, Scores]) -> float:
    return float(np.mean([one.values.mean() for one in seeds.values()]))


def _pooled(tasks: Sequence[Mapping[int, Scores]]) -> tuple[float, int]:
    """Variance of the sum over tasks, and its degrees of freedom: of seeds within each task; of
    episodes where a task has one seed."""
    variance, free = 0.0, 0
    for seeds in tasks:
        if len(seeds) > 1:
            means = [one.values.mean() for one in seeds.values()]
            variance += mean_standard_error(means)[1] ** 2
            free += len(seeds) - 1
        else:
            (only,) = seeds.values()
            variance += standard_error(only) ** 2
            free += len(only.values) - 1
    return variance, max(free, 1)


def _interval(mean: float, parts: Sequence[tuple[float, int]]) -> Interval:
    reach = combined_reach(parts)
    return mean - reach, mean + reach


def _printed(total: Sum, published: Published) -> str:
    values = published.values.get(total.variant, {})
    if any(task not in values for task in total.tasks):
        return "—"
    return f"{sum(values[task][0] for task in total.tasks):.2f}"
