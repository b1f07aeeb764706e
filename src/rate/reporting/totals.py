"""Sums of scores over groups of tasks, as in Table 2 of the paper, with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rate.reporting.statistics import Row, bootstrap_means, latest, mean_standard_error
from rate.reporting.tables import Published, Table


@dataclass(frozen=True)
class Sum:
    """Sum over tasks of one variant's mean scores.

    standard_error: over the seeds' sums, for the seeds that every task has; of episodes where there
    is one. interval: 95 %, by a two-level bootstrap within each task. tasks: those that are summed.
    missing: tasks of the group without a score.
    """

    group: str
    variant: str
    total: float
    standard_error: float
    interval: tuple[float, float]
    tasks: tuple[str, ...]
    missing: tuple[str, ...]


def sums(rows: Sequence[Row], groups: Mapping[str, Sequence[str]]) -> list[Sum]:
    """One sum per group and variant, where there is something to sum; rows of one checkpoint,
    groups of tasks by name."""
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


def sum_table(found: Sequence[Sum], published: Published | None = None) -> Table:
    """Sum ± standard error and interval, a row per group and variant; with published values also
    their sum over the same tasks."""
    columns: tuple[str, ...] = ("tasks", "variant", "sum ± s.e.", "95 % interval", "tasks summed")
    rows = []
    for entry in found:
        rows.append(
            (
                entry.group,
                entry.variant,
                f"{entry.total:.2f} ± {entry.standard_error:.2f}",
                f"{entry.interval[0]:.2f} to {entry.interval[1]:.2f}",
                f"{len(entry.tasks)} of {len(entry.tasks) + len(entry.missing)}",
            )
        )
    if published is None or not published.values:
        return Table(columns, rows)
    printed = [_printed(entry, published) for entry in found]
    return Table(
        (*columns, "paper, same tasks"),
        [(*row, text) for row, text in zip(rows, printed, strict=True)],
    )


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
        errors = [
            mean_standard_error(values)[1]
            for seeds in by_task
            for values in list(seeds.values())[:1]
        ]
        error = float(np.sqrt(np.sum(np.square(errors))))
    # Tasks are independent of one another: each has draws of its own.
    draws = sum(
        bootstrap_means(list(seeds.values()), 2000, index).mean(axis=-1)
        for index, seeds in enumerate(by_task)
    )
    low, high = np.percentile(draws, [2.5, 97.5])
    return Sum(group, variant, total, error, (float(low), float(high)), present, missing)


def _printed(entry: Sum, published: Published) -> str:
    values = published.values.get(entry.variant, {})
    if any(task not in values for task in entry.tasks):
        return "—"
    return f"{sum(values[task][0] for task in entry.tasks):.2f}"
