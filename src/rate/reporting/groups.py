"""Scores by group of episodes, such as the colour of a pillar, and how far the groups lie apart.

The imbalance is the difference between the groups' means without its sign (Fig. 4 of the paper),
taken seed by seed; of several groups it is the largest one.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rate.reporting import style
from rate.reporting.intervals import mean_standard_error
from rate.reporting.protocol import Row, latest
from rate.reporting.style import FAINT, INK, SMALL, Drawing, short
from rate.reporting.tables import Published, Table, mean_and_error

ALL, IMBALANCE = "all", "imbalance"
TEXT = (
    "Mean score of the episodes of each group ± standard error over seeds; with a single seed, "
    "over its episodes. Imbalance: the difference between the groups' means without its sign, "
    "seed by seed. Chance alone makes it larger than 0."
)


@dataclass(frozen=True)
class Breakdown:
    """Scores of one variant on one task by group of episodes, over seeds."""

    variant: str
    task: str
    means: Mapping[str, tuple[float, float]]
    """Mean and standard error: of all episodes, of each group's, and of the imbalance."""
    seeds: tuple[int, ...]
    """Seeds that have been scored."""


def breakdowns(rows: Iterable[Row]) -> list[Breakdown]:
    """One breakdown per variant and task of the rows that name the group of every episode.

    Raises:
        ValueError: a row has not as many groups as scores.
    """
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in latest(rows):
        if row.get("groups"):
            if len(row["groups"]) != len(row["scores"]):
                raise ValueError(
                    f"the row of {row['variant']}, seed {row['seed']}, {row['task']} has "
                    f"{len(row['groups'])} groups for {len(row['scores'])} scores: restore the "
                    "row or remove it"
                )
            grouped.setdefault((row["variant"], row["task"]), []).append(row)
    return [_breakdown(variant, task, own) for (variant, task), own in grouped.items()]


def _breakdown(variant: str, task: str, rows: Sequence[Row]) -> Breakdown:
    names = sorted({str(group) for row in rows for group in row["groups"]})
    by_seed: list[dict[str, tuple[float, float]]] = []
    for row in rows:
        groups, scores = np.array(list(map(str, row["groups"]))), np.asarray(row["scores"], float)
        own = {ALL: mean_standard_error(scores)}
        own |= {name: mean_standard_error(scores[groups == name]) for name in {*groups}}
        if len(own) > 2:
            ends = [pair for name, pair in own.items() if name != ALL]
            low, high = min(ends), max(ends)
            own[IMBALANCE] = high[0] - low[0], math.hypot(low[1], high[1])
        by_seed.append(own)
    means = {}
    for name in (ALL, *names, IMBALANCE):
        pairs = [own[name] for own in by_seed if name in own]
        if pairs:
            mean, error = mean_standard_error([mean for mean, _ in pairs])
            means[name] = mean, pairs[0][1] if len(pairs) == 1 else error
    return Breakdown(variant, task, means, tuple(sorted(row["seed"] for row in rows)))


def group_table(
    found: Sequence[Breakdown], names: Mapping[str, str], published: Published | None = None
) -> Table:
    """A row per task and variant, with a column for all episodes, each group, and the imbalance.

    Args:
        found: Breakdowns.
        names: Names of the tasks.
        published: Values that are printed in a paper, at the positions "all", the groups and
            "imbalance": a row behind those of the variant.
    """
    columns = list(dict.fromkeys(name for one in found for name in one.means))
    columns.sort(key=lambda name: (name != ALL, name == IMBALANCE))
    rows, quoted = [], set()
    for task in dict.fromkeys(one.task for one in found):
        for one in found:
            if one.task == task:
                rows.append((names.get(task, task), one.variant, *_cells(one.means, columns)))
                printed = (published or Published()).values.get(one.variant, {})
                if one.variant not in quoted and any(name in printed for name in columns):
                    quoted.add(one.variant)
                    rows.append(("the paper", one.variant, *_cells(printed, columns)))
    return Table(("task", "variant", *columns), rows)


def _cells(pairs: Mapping[str, tuple[float, float]], columns: Sequence[str]) -> list[str]:
    return [mean_and_error(*pairs[name]) if name in pairs else "—" for name in columns]


def group_figure(found: Sequence[Breakdown], names: Mapping[str, str], metric: str) -> Drawing:
    """Mean scores of each group of episodes with their standard errors, and of all of them as a
    line across: a panel per task, a place on the axis per variant (Fig. 4 of the paper).

    Args:
        found: Breakdowns.
        names: Names of the tasks.
        metric: What scores measure.
    """
    tasks = list(dict.fromkeys(one.task for one in found))
    variants = list(dict.fromkeys(one.variant for one in found))
    groups = sorted({name for one in found for name in one.means} - {ALL, IMBALANCE})

    def draw(figure: Figure) -> None:
        narrow = style.is_narrow(figure)
        shape = (len(tasks), 1) if narrow else (1, len(tasks))
        panels = figure.subplots(*shape, sharey=True, sharex=True, squeeze=False).ravel()
        for axes, task in zip(panels, tasks, strict=True):
            for one in found:
                if one.task == task:
                    _draw(axes, one, variants.index(one.variant), groups)
            axes.set_xticks(range(len(variants)), [short(name, 14) for name in variants])
            axes.tick_params(axis="x", length=0, labelsize=SMALL, rotation=90)
            axes.set_title(short(names.get(task, task), 30), loc="left", fontsize=SMALL)
            axes.set_xlim(-0.6, len(variants) - 0.4)
        panels[0].set_ylabel(short(metric, 30))
        shown: list[Any] = [
            Line2D((), (), color=_ink(name, place), marker="o", linestyle="")
            for place, name in enumerate(groups)
        ]
        shown.append(Line2D((), (), color=INK, linewidth=2))
        look: dict[str, Any] = {
            "loc": "outside upper center",
            "ncols": 3 if narrow else 6,
            "frameon": False,
        }
        figure.legend(shown, [*map(short, groups), "all episodes"], **look)

    return Drawing(draw, (8, 4.2), 1.4 + 2.0 * len(tasks))


def _draw(axes: Any, one: Breakdown, place: int, groups: Sequence[str]) -> None:
    own = [one.means[name][0] for name in groups if name in one.means]
    axes.plot((place, place), (min(own), max(own)), color=FAINT, linewidth=1, zorder=1)
    for index, name in enumerate(groups):
        if name in one.means:
            mean, error = one.means[name]
            look: dict[str, Any] = {"color": _ink(name, index), "zorder": 3}
            axes.errorbar(place, mean, error, marker="o", markersize=5, linewidth=1.2, **look)
    mean = one.means[ALL][0]
    axes.plot((place - 0.28, place + 0.28), (mean, mean), color=INK, linewidth=2, zorder=2)


def _ink(group: str, index: int) -> str:
    """A group that is called by a colour has it."""
    return {"red": style.RED, "green": style.GREEN}.get(group, style.colour(index))
