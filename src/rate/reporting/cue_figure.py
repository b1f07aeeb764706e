"""The figure that shows how an answer depends on the cue (Fig. 12 of the paper)."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from rate.reporting import style
from rate.reporting.statistics import Conditional
from rate.reporting.style import FAINT, INK, SOFT, Drawing, colour, marker, position_label, short


def conditional(
    points: Sequence[Conditional],
    *,
    order: Sequence[str],
    axis: str,
    training_length: float | None = None,
) -> Drawing:
    """How often the answer is correct given each of two cues, and the sum of both against the
    position x.

    Without memory no policy is expected above the diagonal from (0, 1) to (1, 0), whatever it
    prefers. Points beyond the training length are hollow.

    Args:
        points: Frequencies of the correct answer by cue.
        order: Variants in the order of their colours.
        axis: Name of the position.
        training_length: Position up to which policies are trained.
    """
    names = style.ordered(order, (point.variant for point in points))
    rows = -(-len(names) // style.legend_columns(names))

    def draw(figure: Figure) -> None:
        if style.is_narrow(figure):
            left, right = figure.subplots(2, 1)
        else:
            left, right = figure.subplots(1, 2, width_ratios=(1, 1.5))
        _scatter(left, points, names, training_length)
        _sums(right, points, names, axis)
        style.legend(figure, names, marked=True)

    narrow_rows = -(-len(names) // style.legend_columns(names, style.NARROW))
    return Drawing(draw, (8, 3.7 + 0.23 * max(rows - 2, 0)), 6.2 + 0.23 * narrow_rows)


def _scatter(
    axes: Axes, points: Sequence[Conditional], names: Sequence[str], training_length: float | None
) -> None:
    axes.fill_between((0, 1), (1, 0), color=SOFT, zorder=0, linewidth=0)
    axes.plot((0, 1), (1, 0), color=FAINT, linewidth=1, zorder=1)
    for place, text in ((0.455, "no memory"), (0.545, "memory")):
        look: dict[str, Any] = {"ha": "center", "va": "center", "rotation": -45, "zorder": 1}
        style.note(axes, place, place, text, **look)
    cues = sorted({cue for point in points for cue in point.means})
    for index, name in reversed(list(enumerate(names))):
        own = [point for point in points if point.variant == name]
        x, y = ([point.means.get(cue, math.nan) for point in own] for cue in cues)
        beyond = [bool(training_length and point.x and point.x > training_length) for point in own]
        faces = [to_rgba(colour(index), 0.0 if hollow else 0.75) for hollow in beyond]
        dots: dict[str, Any] = {"marker": marker(index), "zorder": 3, "clip_on": False}
        axes.scatter(x, y, 40, facecolors=faces, edgecolors=to_rgba(colour(index), 0.75), **dots)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    axes.set(xlabel=f"right given cue {cues[0]}", ylabel=f"right given cue {cues[1]}")


def _sums(axes: Axes, points: Sequence[Conditional], names: Sequence[str], axis: str) -> None:
    tasks = {point.task: point.x for point in points}
    crowded = len(tasks) * len(names) > 40
    width = 0.8 / len(names)
    for index, name in reversed(list(enumerate(names))):
        totals = [
            [point.total for point in points if (point.variant, point.task) == (name, task)]
            for task in tasks
        ]
        centres = np.arange(len(tasks)) + (index - (len(names) - 1) / 2) * width
        heights = [float(np.mean(total)) if total else math.nan for total in totals]
        ink = colour(index)
        if crowded:  # Bars would be hairlines.
            dots: dict[str, Any] = {"marker": marker(index), "markersize": 4, "clip_on": False}
            axes.plot(centres, heights, color=ink, linewidth=1, **dots)
        else:
            axes.bar(centres, heights, 0.9 * width, color=ink, zorder=2)
            ink = INK
        for centre, total in zip(centres, totals, strict=True):
            if len(total) > 1:
                ends = (min(total), max(total))
                axes.plot((centre, centre), ends, color=ink, linewidth=1, zorder=3)
    axes.axhline(1, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=4)
    side = axes.get_yaxis_transform()
    style.note(axes, 1.01, 1, "at most 1\nwithout\nmemory", transform=side, va="center")
    labels = [short(task) if x is None else position_label(x) for task, x in tasks.items()]
    axes.set_xticks(range(len(tasks)), labels)
    if sum(map(len, labels)) > 22:
        for label in axes.get_xticklabels():
            label.set(rotation=35, ha="right", rotation_mode="anchor")
    axes.set(ylim=(0, 2.02), yticks=(0, 1, 2), xlabel=short(axis, 50), ylabel="sum over both cues")
    axes.tick_params(axis="x", length=0)
