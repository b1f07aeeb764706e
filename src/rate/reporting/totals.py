"""Sums of scores over groups of tasks, as in Table 2 of the paper, with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rate.reporting.protocol import Row, latest
from rate.reporting.statistics import bootstrap_means, mean_standard_error
from rate.reporting.tables import Published, Table


@dataclass(frozen=True)
class Sum:
    """Sum over tasks of one variant's mean scores."""

    group: str
    variant: str
    total: float
    standard_error: float
    """Over the seeds' sums, for the seeds that every task has; of episodes where there is one."""
    interval: tuple[float, float]
    """Two-level bootstrap within each task, 95 %."""
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
    scores: dict[tuple[str, str], dict[int, np.ndarray]] = {}
    for row in latest(rows):
        scores.setdefault((row["variant"], row["task"]), {})[row["seed"]] = np.asarray(
            row["scores"], float
        )
    variants = dict.fromkeys(variant for variant, _ in scores)
    return [
        _sum(group, variant, tasks, scores)
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
    text = "Mean scores added up over those tasks of a group that were run."
    return f"{text} Not run: {', '.join(missing)}." if missing else text


def sum_table(totals: Sequence[Sum], published: Published | None = None) -> Table:
    """Sum ± standard error and interval, a row per group and variant; with published values also
    their sum over the same tasks."""
    columns = {
        "tasks": [total.group for total in totals],
        "variant": [total.variant for total in totals],
        "sum ± s.e.": [f"{total.total:.2f} ± {total.standard_error:.2f}" for total in totals],
        "95 % interval": ["{:.2f} to {:.2f}".format(*total.interval) for total in totals],
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
    scores: Mapping[tuple[str, str], Mapping[int, np.ndarray]],
) -> Sum:
    present = tuple(task for task in tasks if (variant, task) in scores)
    missing = tuple(task for task in tasks if task not in present)
    by_task = [scores[variant, task] for task in present]
    total = sum(float(np.mean([values.mean() for values in seeds.values()])) for seeds in by_task)
    shared = sorted(set.intersection(*(set(seeds) for seeds in by_task)))
    if len(shared) > 1:
        error = mean_standard_error(
            [sum(seeds[seed].mean() for seeds in by_task) for seed in shared]
        )[1]
    else:
        single = [next(iter(seeds.values())) for seeds in by_task]
        errors = [mean_standard_error(values)[1] for values in single]
        error = float(np.sqrt(np.sum(np.square(errors))))
    # Tasks are independent of one another: each has draws of its own.
    draws = sum(
        bootstrap_means(list(seeds.values()), 2000, index).mean(axis=-1)
        for index, seeds in enumerate(by_task)
    )
    low, high = np.percentile(draws, [2.5, 97.5])
    return Sum(group, variant, total, error, (float(low), float(high)), present, missing)


def _printed(total: Sum, published: Published) -> str:
    values = published.values.get(total.variant, {})
    if any(task not in values for task in total.tasks):
        return "—"
    return f"{sum(values[task][0] for task in total.tasks):.2f}"
