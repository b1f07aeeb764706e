"""Known scores of tasks, such as chance and that of an expert, as lines of figures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from rate.reporting import style
from rate.reporting.protocol import Row
from rate.reporting.statistics import Summary
from rate.reporting.style import FAINT, short
from rate.tasks.lookup import reference
from rate.values import checked

SCALING = ("chance", "random", "expert")
"""Levels that an axis is made long enough for; others are drawn where they fit."""
DOTS, DASHES = (0, (1, 3)), (0, (4, 3))


@dataclass(frozen=True)
class Level:
    """One known score, by task."""

    name: str
    """What reaches it, such as chance."""
    scores: Mapping[str, float]
    """By the name of the task."""

    @property
    def look(self) -> dict[str, Any]:
        """How its line looks: dotted for what asks for no skill."""
        low = self.name in SCALING[:2]
        return {"color": FAINT, "linewidth": 1, "linestyle": DOTS if low else DASHES, "zorder": 0}

    def points(self, summaries: Iterable[Summary]) -> list[tuple[float, float]]:
        """Position and score of the tasks that have a position, in order."""
        placed = {one.task: one.x for one in summaries if one.x}
        return sorted((x, self.scores[task]) for task, x in placed.items() if task in self.scores)


def levels(rows: Iterable[Row], summaries: Sequence[Summary]) -> list[Level]:
    """The known scores of the tasks that are summarised.

    A row says those of its task; for older rows the name of the task does.

    Raises:
        ValueError: a row's entry is damaged.
    """
    tasks = {one.task for one in summaries}
    said = {str(row["task"]): row.get("reference") for row in rows}
    found: dict[str, dict[str, float]] = {}
    for task in sorted(tasks):
        given = said.get(task)
        known = reference(task) if given is None else checked("reference", given, dict)
        for name, score in known.items():
            found.setdefault(str(name), {})[task] = checked(f"reference {name}", score, float)
    return [Level(name, scores) for name, scores in found.items()]


def in_words(found: Sequence[Level]) -> str:
    """What the lines of a figure are, as a sentence of its caption; empty without lines."""
    if not found:
        return ""
    names = ", ".join(f"{short(one.name)} {_extent(one.scores.values())}" for one in found)
    return f" Dotted and dashed lines: known scores ({names})."


def _extent(scores: Iterable[float]) -> str:
    least, most = min(numbers := list(scores)), max(numbers)
    return f"{least:g}" if least == most else f"{least:g} to {most:g}"


def draw(
    axes: Axes, found: Sequence[Level], summaries: Sequence[Summary], named: bool = True
) -> None:
    """Draw levels across axes that are scaled for scores already.

    Args:
        axes: Scores upwards, positions of tasks from left to right.
        found: The levels.
        summaries: What is drawn there.
        named: Whether the lines get their names.
    """
    drawn = [(one, points) for one in found if (points := one.points(summaries))]
    low, high = axes.get_ylim()
    for level, points in drawn:
        if level.name in SCALING:
            scores = [score for _, score in points]
            low, high = min(low, *scores), max(high, *scores)
    axes.set_ylim(low, high)
    everywhere = {one.x for one in summaries if one.x}
    labels = []
    for level, points in drawn:
        scores = [score for _, score in points]
        if min(scores) > high or max(scores) < low:
            continue
        if {x for x, _ in points} != everywhere:
            _partly(axes, level, points, named)
            continue
        if len(set(scores)) == 1:
            axes.axhline(scores[0], **level.look)
        else:
            axes.plot(*zip(*points, strict=True), **level.look)
        height = (scores[0] - low) / (high - low)
        # Below the line, where it fits.
        labels.append((height - 0.012 if height > 0.06 else height + 0.05, level.name))
    labels.sort()
    if named and labels:
        heights = style.spread([height for height, _ in labels], 0.05, 0.05, 1.0)
        for height, (_, name) in zip(heights, labels, strict=True):
            style.note(axes, 0.005, height, short(name), transform=axes.transAxes, va="top")


def _partly(axes: Axes, level: Level, points: Sequence[tuple[float, float]], named: bool) -> None:
    """A level that is known at some positions alone, named at the last one."""
    look = level.look | ({"marker": "_", "markersize": 16} if len(points) == 1 else {})
    axes.plot(*zip(*points, strict=True), **look)
    if named:
        offset: dict[str, Any] = {"xytext": (-10, 0), "textcoords": "offset points"}
        words: dict[str, Any] = {"color": FAINT, "fontsize": style.SMALL, "va": "center"}
        axes.annotate(short(level.name), points[-1], ha="right", **offset, **words)
