"""Figures of an inspection as PNG: attention maps, memory over time, decoding accuracy, and scores
with noise in place of memory."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from rate.inspection.attention_maps import AttentionMap
from rate.inspection.probe import Estimate
from rate.reporting import style as drawing
from rate.reporting.style import COLOURS, FAINT, INK, SMALL, colour, marker

SHADES = LinearSegmentedColormap.from_list(
    "attention", ("#FFFFFF", "#A9D0EA", COLOURS[0], "#00203A")
).with_extremes(bad="#EDEDED")
LETTERS = {"return_to_go": "R", "observation": "o", "action": "a", "past": "·"}
LETTERS |= {"read": "m", "write": "m"}
FEW = 36
"""Most positions that are labelled one by one."""
TINY = 0.075
"""Largest width, in inches, of cells that are too small for a letter."""
DOTTED: dict[str, Any] = {"color": FAINT, "linewidth": 1, "linestyle": (0, (1, 3)), "zorder": 0}
"""Line of the level of chance."""

Points = Sequence[tuple[float, Estimate]]
"""Estimates and their positions on the x axis."""


class _Panel(NamedTuple):
    title: str
    map: AttentionMap
    weights: np.ndarray


def attention(maps: Sequence[AttentionMap]) -> bytes:
    """The mean over layers and heads, one panel per segment."""
    panels = [_Panel(_title(each), each, each.weights.mean((0, 1)).numpy()) for each in maps]
    wide = any(panel.weights.shape[1] > 2 * panel.weights.shape[0] for panel in panels)
    return _draw_maps([[panel] for panel in panels] if wide else [panels])


def attention_heads(shown: AttentionMap, most: int = 4) -> bytes:
    """One segment by layer (down) and head (across); a layer with more than `most` heads shows
    their mean."""
    rows = []
    for layer, weights in enumerate(shown.weights, 1):
        titles = [f"layer {layer}, head {head}" for head in range(1, len(weights) + 1)]
        if len(weights) > most:
            titles = [f"layer {layer}, mean of {len(weights)} heads"]
            weights = weights.mean(0, keepdim=True)
        panels = zip(titles, weights, strict=True)
        rows.append([_Panel(title, shown, each.numpy()) for title, each in panels])
    return _draw_maps(rows)


def trajectories(
    paths: Sequence[np.ndarray],
    steps: Sequence[int],
    shares: Sequence[float],
    cues: Sequence[int] | None,
) -> bytes:
    """Memory in the plane of its two principal components, and each component against the step.

    Args:
        paths: Projections of each episode, [n, 2], at the first n of the `steps`.
        steps: Steps at which segments begin.
        shares: Fraction of the variance that each component explains.
        cues: Cue of each episode, shown by colour.
    """

    def draw(figure: Figure) -> None:
        names = sorted(set(cues or ()))
        grid = figure.add_gridspec(2, 2, width_ratios=(1.15, 1))
        plane = figure.add_subplot(grid[:, 0])
        times = [figure.add_subplot(grid[row, 1]) for row in range(2)]
        dot: dict[str, Any] = {"edgecolors": "white", "linewidths": 0.6, "zorder": 4}
        for number, path in enumerate(paths):
            shade = colour(names.index(cues[number])) if cues else COLOURS[0]
            plane.plot(*path.T, color=shade, alpha=0.35, linewidth=1, zorder=2)
            plane.scatter(path[-1:, 0], path[-1:, 1], 26, color=shade, **dot)
            for axes, values in zip(times, path.T, strict=True):
                axes.plot(steps[: len(path)], values, color=shade, alpha=0.35, linewidth=1)
        plane.scatter(paths[0][:1, 0], paths[0][:1, 1], 60, color=INK, marker="*", zorder=5)
        words: dict[str, Any] = {"textcoords": "offset points", "color": INK, "fontsize": SMALL}
        plane.annotate("start", paths[0][0], (6, 6), zorder=5, **words)
        names_of_axes = [f"component {number}" for number in (1, 2)]
        labels = [
            f"{name} ({share:.0%} of variance)"
            for name, share in zip(names_of_axes, shares, strict=True)
        ]
        plane.set(xlabel=labels[0], ylabel=labels[1])
        for name, axes in zip(names_of_axes, times, strict=True):
            axes.set(ylabel=name)
            _name_steps(axes, steps)
        times[0].tick_params(labelbottom=False)
        times[1].set_xlabel("step at which a segment begins")
        if 1 < len(names) <= 6:
            drawing.legend(figure, [f"cue {name}" for name in names])

    return drawing.png(draw, (8, 4.2))


def decoding(points: Mapping[str, Points]) -> bytes:
    """Accuracy of decoding the cue from each part of memory, against the step at which a segment
    begins."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        ends = []
        for index, (part, own) in enumerate(points.items()):
            _line(axes, own, index)
            ends.append((own[-1][1].value, f"{part}  {own[-1][1].value:.2f}", index))
        first = next(iter(points.values()))
        chances = [estimate.chance or 0.0 for _, estimate in first]
        axes.plot([x for x, _ in first], chances, **DOTTED)
        end = (first[-1][0], chances[-1])
        words: dict[str, Any] = {"color": FAINT, "fontsize": SMALL, "textcoords": "offset points"}
        axes.annotate("chance", end, (0, -3), ha="right", va="top", **words)
        axes.set(
            xlabel="step at which a segment begins",
            ylabel="cue decoded (held out)",
            ylim=(-0.02, 1.04),
        )
        _name_steps(axes, [x for x, _ in first])
        drawing.label_ends(axes, ends)

    return drawing.png(draw, (8, 3.4))


def corruption(
    by_step: Mapping[str, Points],
    by_strength: Mapping[str, Points],
    *,
    metric: str,
    untouched: Estimate,
    chance: float | None,
) -> bytes:
    """Score against the step of the one segment with noise in place of memory, and against the
    share of noise in all segments.

    Args:
        by_step: Scores with noise in one segment, for each part of memory.
        by_strength: Scores with noise in all segments, for each part of memory.
        metric: Name of the score.
        untouched: Score without noise.
        chance: Score of guessing, if it is known.
    """

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.5, 1))
        for axes, points in ((left, by_step), (right, by_strength)):
            for index, own in enumerate(points.values()):
                _line(axes, own, index)
            if untouched.interval[1] <= 1 and untouched.interval[0] >= 0 and chance is not None:
                axes.set_ylim(-0.02, 1.08)
            axes.axhline(untouched.value, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
            if chance is not None:
                axes.axhline(chance, **DOTTED)
        words: dict[str, Any] = {"transform": right.get_yaxis_transform(), "fontsize": SMALL}
        right.text(0.99, untouched.value, "untouched", ha="right", va="bottom", color=INK, **words)
        if chance is not None and abs(chance - untouched.value) > 0.08:
            right.text(0.01, chance - 0.012, "chance", va="top", color=FAINT, **words)
        left.set(xlabel="first step of the one segment that gets noise", ylabel=metric)
        right.set(xlabel="share of noise, in all segments", xticks=(0, 0.25, 0.5, 0.75, 1))
        right.set_xticklabels(("0", "¼", "½", "¾", "1"))
        _name_steps(left, [x for x, _ in next(iter(by_step.values()))])
        drawing.legend(figure, [f"noise in {part}" for part in by_step])

    return drawing.png(draw, (8, 3.6))


def _name_steps(axes: Axes, steps: Sequence[float]) -> None:
    """Label the steps one by one where they are few."""
    if len(steps) <= 8:
        axes.set_xticks(steps)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _line(axes: Axes, points: Points, index: int) -> None:
    x = [place for place, _ in points]
    low, high = zip(*(estimate.interval for _, estimate in points), strict=True)
    values = [estimate.value for _, estimate in points]
    axes.fill_between(x, low, high, color=colour(index), alpha=0.15, linewidth=0, zorder=2)
    axes.plot(x, values, color=colour(index), linewidth=2.2, zorder=3)
    axes.scatter(x, values, 26, color=colour(index), marker=marker(index), zorder=4, clip_on=False)


# Attention maps
# --------------------------------------------------------------------------------


def _title(shown: AttentionMap) -> str:
    steps = [step for step in shown.steps if step >= 0]
    return f"steps {steps[0]} to {steps[-1]}" if steps[0] < steps[-1] else f"step {steps[0]}"


def _draw_maps(rows: Sequence[Sequence[_Panel]]) -> bytes:
    """Panels with cells of equal size; keys are aligned on the right, so that a growing cache
    extends to the left."""
    panels = [panel for row in rows for panel in row]
    lines, keys = (max(panel.weights.shape[axis] for panel in panels) for axis in (0, 1))
    cell = min(0.2, (6.6 / len(rows[0]) - 0.3) / keys)
    # Maps with a long cache are much wider than high: their cells are drawn higher.
    height = lines * max(cell, min(0.1, 1.8 / lines)) + 0.85
    norm = PowerNorm(0.5, 0.0, max(float(panel.weights.max()) for panel in panels))

    def draw(figure: Figure) -> None:
        grid = figure.subplots(len(rows), len(rows[0]), squeeze=False)
        for cells, row in zip(grid, rows, strict=True):
            for axes, panel in zip(cells, row, strict=True):
                _draw_map(axes, panel, norm, cell)
                axes.set_xlim(panel.weights.shape[1] - keys - 0.5, None)
                axes.tick_params(labelleft=axes is cells[0])
        ticks = [mark for mark in (0, 0.01, 0.05, 0.1, 0.25, 0.5, 1) if mark <= (norm.vmax or 0)]
        look: dict[str, Any] = {"ticks": ticks, "format": "{x:g}", "aspect": 40, "pad": 0.02}
        key = figure.colorbar(ScalarMappable(norm, SHADES), ax=grid, **look)
        key.ax.tick_params(labelsize=7.5, length=2)
        key.ax.spines["outline"].set_visible(False)

    return drawing.png(draw, (8, len(rows) * height))


def _draw_map(axes: Axes, panel: _Panel, norm: PowerNorm, cell: float) -> None:
    shown, (length, times) = panel.map, panel.weights.shape
    few = times <= FEW and cell > TINY
    visible = np.ma.masked_array(panel.weights, shown.weights.amax((0, 1)).numpy() == 0)
    smooth = "none" if times <= FEW else "antialiased"
    axes.imshow(visible, SHADES, norm, aspect="auto", interpolation=smooth)
    axes.set_title(panel.title, fontsize=SMALL, color=INK, pad=4)
    output = max(index for index, role in enumerate(shown.roles[-length:]) if role == "observation")
    frame = Rectangle((-0.5, output - 0.5), times, 1, fill=False, edgecolor=COLOURS[1])
    frame.set(linewidth=1.2 if cell > TINY else 0.7, clip_on=False, zorder=5)
    axes.add_patch(frame)
    axes.spines[:].set_visible(False)
    for axis, lines, count, across in (
        (axes.xaxis, axes.vlines, times, length),
        (axes.yaxis, axes.hlines, length, times),
    ):
        axis.remove_overlapping_locs = False
        letters = [LETTERS[role] for role in shown.roles[-count:]] if few else []
        axis.set_ticks(range(len(letters)), letters, minor=True)
        names = {}
        for start, stop, name, brief in _groups(shown, few):
            first, last = max(start - times + count, 0), stop - times + count
            if first:
                lines(first - 0.5, -0.5, across - 0.5, color=FAINT, linewidth=0.5, zorder=3)
            width = (last - first) * cell if axis is axes.xaxis else 0.55
            fitting = (word for word in (name, brief) if 0.062 * len(word) < width)
            names[(first + last - 1) / 2] = next(fitting, "") if last > 0 else ""
        axis.set_ticks(list(names), list(names.values()))
    axes.tick_params(length=0, pad=15 if few else 4, labelsize=7.5)
    axes.tick_params(which="minor", length=0, pad=1.5, labelsize=min(6.5, 54 * cell))


def _groups(shown: AttentionMap, each_step: bool) -> list[tuple[int, int, str, str]]:
    """Groups of adjacent keys of one kind: first, end, name and short name."""
    kinds = [
        ("cache" if role == "past" else "memory", 0)
        if step < 0
        else ("step", step if each_step else 0)
        for role, step in zip(shown.roles, shown.steps, strict=True)
    ]
    groups, start = [], 0
    for (kind, _), members in groupby(kinds):
        stop = start + len(list(members))
        first, last = shown.steps[start], shown.steps[stop - 1]
        names = (kind, kind[:1])
        if kind == "step":
            names = (
                (f"step {first}", str(first))
                if first == last
                else (f"steps {first} to {last}", f"{first}–{last}")
            )
        groups.append((start, stop, *names))
        start = stop
    return groups
