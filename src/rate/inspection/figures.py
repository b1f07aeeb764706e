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
)
HIDDEN = "#EDEDED"
LETTERS = {
    "return_to_go": "R",
    "observation": "o",
    "action": "a",
    "read": "m",
    "write": "m",
    "past": "·",
}
FEW = 36
"""Most positions that are labelled one by one."""
TINY = 0.075
"""Largest width, in inches, of cells that are too small for a letter."""
DOTTED: dict[str, Any] = {
    "color": FAINT,
    "linewidth": 1,
    "linestyle": (0, (1, 3)),
    "zorder": 0,
}
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
    """Panels with cells of equal size, positioned in inches from the upper left."""
    side, above, below, gap, width, bar = 0.78, 0.32, 0.5, 0.26, 8.0, 0.75
    columns = max(sum(panel.weights.shape[1] for panel in row) for row in rows)
    most = max(len(row) for row in rows)
    cell = min(0.2, (width - side - bar - gap * (most - 1)) / columns)
    # Maps with a long cache are much wider than high: their cells are drawn higher.
    tall = max(cell, min(0.1, 1.8 / max(panel.weights.shape[0] for row in rows for panel in row)))
    heights = [max(panel.weights.shape[0] for panel in row) * tall for row in rows]
    total = sum(heights) + len(rows) * (above + below)
    content = columns * cell + gap * (most - 1)
    right = side + content + (width - side - bar - content) / 2
    norm = PowerNorm(0.5, 0.0, max(float(panel.weights.max()) for row in rows for panel in row))

    def draw(figure: Figure) -> None:
        figure.set_layout_engine("none")
        top = above
        for row, height in zip(rows, heights, strict=True):
            # Rows are aligned on the right, so that a growing cache extends to the left.
            left = (
                right - sum(panel.weights.shape[1] for panel in row) * cell - gap * (len(row) - 1)
            )
            for number, panel in enumerate(row):
                lines, times = panel.weights.shape
                axes = figure.add_axes(_box(left, top, times * cell, lines * tall, width, total))
                _draw_map(axes, panel, norm, cell, named=number == 0)
                left += times * cell + gap
            top += height + below + above
        place = _box(right + 0.18, above, 0.1, min(max(heights[0], 0.9), 2.4), width, total)
        key = figure.colorbar(ScalarMappable(norm, SHADES), cax=figure.add_axes(place))
        key.ax.tick_params(labelsize=7.5, length=2)
        key.ax.spines["outline"].set_visible(False)
        key.set_ticks(
            [mark for mark in (0, 0.01, 0.05, 0.1, 0.25, 0.5, 1) if mark <= (norm.vmax or 0)]
        )
        key.ax.yaxis.set_major_formatter("{x:g}")

    return drawing.png(draw, (width, total))


def _box(
    left: float, top: float, wide: float, high: float, width: float, height: float
) -> tuple[float, float, float, float]:
    return left / width, 1 - (top + high) / height, wide / width, high / height


def _draw_map(axes: Axes, panel: _Panel, norm: PowerNorm, cell: float, named: bool) -> None:
    shown, weights = panel.map, panel.weights
    length, times = weights.shape
    axes.set_facecolor(HIDDEN)
    hidden = shown.weights.amax((0, 1)).numpy() == 0
    smooth = "none" if times <= FEW else "antialiased"
    axes.imshow(
        np.ma.masked_array(weights, hidden), SHADES, norm, aspect="auto", interpolation=smooth
    )
    axes.set_title(panel.title, fontsize=SMALL, color=INK, pad=4)
    roles = shown.roles[-length:]
    read_off = max(index for index, role in enumerate(roles) if role == "observation")
    frame = Rectangle((-0.5, read_off - 0.5), times, 1, fill=False, edgecolor=COLOURS[1])
    frame.set(linewidth=1.2 if cell > TINY else 0.7, clip_on=False, zorder=5)
    axes.add_patch(frame)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, pad=1.5)
    size = min(6.5, 0.75 * 72 * cell)
    for axis, count in ((axes.xaxis, times), (axes.yaxis, length)):
        places = range(count) if times <= FEW and cell > TINY else ()
        letters = [LETTERS[shown.roles[place - count]] for place in places]
        axis.set_ticks(places, letters, fontsize=size)
    _name_groups(axes, shown, length, times, cell, named)


def _name_groups(
    axes: Axes, shown: AttentionMap, length: int, times: int, cell: float, named: bool
) -> None:
    """Draw lines between groups of positions, and their names below (keys) and, if `named`, to the
    left (queries)."""
    letters = times <= FEW and cell > TINY
    away, offset = (15 if letters else 4), times - length
    words: dict[str, Any] = {"fontsize": 7.5, "color": INK, "textcoords": "offset points"}
    for start, stop, name, brief in _groups(shown, letters):
        if start:
            axes.axvline(start - 0.5, color=FAINT, linewidth=0.5, zorder=3)
        if start > offset:
            axes.axhline(start - offset - 0.5, color=FAINT, linewidth=0.5, zorder=3)
        letters_fit = (stop - start) * cell / 0.062
        below = next((word for word in (name, brief) if letters_fit > len(word)), "")
        centre = ((start + stop - 1) / 2, 0.0)
        place: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "ha": "center", "va": "top"}
        axes.annotate(below, centre, (0, -away), **place, **words)
        first, last = max(start - offset, 0), stop - offset
        if named and last > 0:
            centre = (0.0, (first + last - 1) / 2)
            text = name if len(name) < 9 else brief
            place = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "center"}
            axes.annotate(text, centre, (-away, 0), **place, **words)


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
