"""Figures of results as PNG: scores against length or by task, heat maps, and training curves."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from rate.reporting import levels, style
from rate.reporting.levels import Level
from rate.reporting.load import Curve
from rate.reporting.statistics import Summary
from rate.reporting.style import (
    FAINT,
    INK,
    LINE,
    ON_BRIGHT,
    ON_DARK,
    SMALL,
    Drawing,
    colour,
    dashes,
    marker,
    position_label,
    short,
)

MOST_LINES = 6
"""Most lines in one figure; more become a panel each."""
SLANTED: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
"""Labels of an axis that are too long to lie side by side."""


def success(
    summaries: Sequence[Summary],
    *,
    axis: str,
    training_length: float | None = None,
    known: Sequence[Level] = (),
) -> Drawing:
    """Mean score with its 95 % band against the position x (logarithmic); hollow markers lack a
    seed.

    Args:
        summaries: Scores; the first variant is what the experiment is about.
        axis: Name of the position.
        training_length: Position up to which policies are trained.
        known: Known scores, which are drawn as lines.
    """

    variants = list(dict.fromkeys(summary.variant for summary in summaries))
    placed = [summary for summary in summaries if summary.x and summary.seeds]

    def draw(figure: Figure) -> None:
        axes, ends = figure.subplots(), []
        narrow = style.is_narrow(figure)
        # The first variant is drawn last, on top.
        for index, variant in reversed(list(enumerate(variants))):
            own = [summary for summary in placed if summary.variant == variant]
            if own:
                _band(axes, own, index)
                ends.append((own[-1].mean, f"{short(variant)}  {own[-1].mean:.2f}", index))
        _scale(axes, placed, training_length)
        levels.draw(axes, known, placed)
        axes.set(xlabel=short(axis, 40 if narrow else 80), ylabel=short(metrics, 40))
        if training_length:
            text = f"trained up to {position_label(training_length)}"
            style.vertical_line(axes, training_length, text)
        if narrow:
            texts = {index: text for _, text, index in ends}
            style.legend(figure, [texts.get(*pair) for pair in enumerate(variants)])
        else:
            style.label_ends(axes, ends)

    metrics = " / ".join(dict.fromkeys(summary.metric for summary in summaries))
    if len(variants) > MOST_LINES:
        return _multiples(placed, variants, (axis, metrics), training_length, known)
    # Names are lines of text beside the curves, or above them.
    return Drawing(draw, (8, max(4.4, 0.8 + 0.2 * len(variants))), 3.2 + 0.24 * len(variants))


def _multiples(
    placed: Sequence[Summary],
    variants: Sequence[str],
    names: tuple[str, str],
    training_length: float | None,
    known: Sequence[Level],
) -> Drawing:
    """A panel for each variant; `names` are those of the two axes."""

    def draw(figure: Figure) -> None:
        across = 2 if style.is_narrow(figure) else 3
        shape = -(-len(variants) // across), across
        panels = figure.subplots(*shape, sharex=True, sharey=True, squeeze=False).ravel()
        for index, axes in enumerate(panels):
            axes.set_visible(index < len(variants))
            if index < len(variants):
                _panel(axes, placed, variants, index)
                _scale(axes, placed, training_length)
                levels.draw(axes, known, placed, named=index == 0)
                axes.tick_params(labelbottom=index >= len(variants) - across)
        figure.supxlabel(short(names[0], 60), color=INK, fontsize=11)
        figure.supylabel(short(names[1], 40), color=INK, fontsize=11)

    wide, narrow = -(-len(variants) // 3), -(-len(variants) // 2)
    return Drawing(draw, (8, 0.8 + 1.7 * wide), 0.8 + 1.6 * narrow)


def _scale(axes: Axes, placed: Sequence[Summary], training_length: float | None) -> None:
    """Positions that are scored on the logarithmic axis; success runs from 0 to 1."""
    positions = sorted({summary.x for summary in placed if summary.x})
    style.log_positions(axes, positions, training_length)
    if all(summary.metric == "success" for summary in placed):
        axes.set_ylim(-0.02, 1.04)


def _panel(axes: Axes, placed: Sequence[Summary], variants: Sequence[str], index: int) -> None:
    """One variant of several, with the lines of all of them in grey."""
    for variant in variants:
        own = [summary for summary in placed if summary.variant == variant]
        x = [summary.x or math.nan for summary in own]
        axes.plot(x, [summary.mean for summary in own], color=LINE, linewidth=1.2, zorder=1)
    if own := [summary for summary in placed if summary.variant == variants[index]]:
        _band(axes, own, index)
    axes.set_title(short(variants[index], 22), loc="left", fontsize=SMALL, color=colour(index))


def tasks(summaries: Sequence[Summary], known: Sequence[Level] = ()) -> Drawing:
    """Mean scores with their 95 % intervals in tasks without a position: a line per task, a marker
    per variant, and a stroke per known score."""
    strokes = [one for one in known if one.name in levels.SCALING]
    scored = [summary for summary in summaries if summary.seeds]
    variants = list(dict.fromkeys(summary.variant for summary in scored))
    names = list(dict.fromkeys(summary.task for summary in scored))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for summary in scored:
            index, line = variants.index(summary.variant), names.index(summary.task)
            height = line + 0.6 * ((index + 0.5) / len(variants) - 0.5)
            look: dict[str, Any] = {"color": colour(index)}
            axes.plot(summary.interval, (height, height), linewidth=1.5, alpha=0.5, **look)
            axes.plot(summary.mean, height, marker(index), markersize=5.5, **look)
        for level in strokes:
            for line, name in enumerate(names):
                if name in level.scores:
                    x, look = level.scores[name], level.look
                    axes.plot((x, x), (line - 0.4, line + 0.4), **look)
        for line in range(1, len(names)):
            axes.axhline(line - 0.5, color=FAINT, linewidth=0.4, zorder=0)
        narrow = style.is_narrow(figure)
        shown = style.task_labels(names, 16 if narrow else 34)
        axes.set_yticks(range(len(names)), shown, fontsize=SMALL)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlabel(short(" / ".join(dict.fromkeys(summary.metric for summary in scored)), 40))
        marks = [
            Line2D((), (), color=colour(index), marker=marker(index), linestyle="")
            for index in range(len(variants))
        ]
        marks += [Line2D((), (), **level.look) for level in strokes]
        titles = [*variants, *(level.name for level in strokes)]
        columns = style.legend_columns(titles, figure.get_figwidth())
        look = {"loc": "outside upper center", "ncols": columns, "frameon": False}
        figure.legend(marks, list(map(short, titles)), **look)

    height = 1.2 + len(names) * max(0.3, 0.09 * len(variants))
    return Drawing(draw, (8, height), height + 0.2 * len(variants))


def heat_map(
    summaries: Sequence[Summary], grid: Mapping[str, tuple[str, str]], *, axis: str, grid_axis: str
) -> Drawing:
    """Mean scores in [0, 1] as colours and numbers, a column per task (Fig. 6 of the paper).

    A cell without any score stays empty. A thin frame marks where row and column name the same
    length.

    Args:
        summaries: Scores.
        grid: Panel and row of each variant.
        axis: Name of the columns.
        grid_axis: Name of the rows.
    """

    def draw(figure: Figure) -> None:
        panels = list(dict.fromkeys(panel for panel, _ in grid.values()))
        columns = {summary.task: summary.x for summary in summaries if summary.variant in grid}
        across = 1 if len(panels) == 1 or style.is_narrow(figure) else 2
        down = -(-len(panels) // across)
        cells = figure.subplots(down, across, squeeze=False, sharey="row").ravel()
        for axes, panel in zip(cells, panels, strict=False):
            rows = {row: variant for variant, (own, row) in grid.items() if own == panel}
            _cells(axes, summaries, rows, columns)
            axes.set_title(short(panel), loc="left", fontsize=11, weight="bold")
        for axes in cells[len(panels) :]:
            axes.set_visible(False)
        figure.supxlabel(short(axis, 60), color=INK, fontsize=11)
        figure.supylabel(short(grid_axis, 40), color=INK, fontsize=11)

    rows = Counter(panel for panel, _ in grid.values())
    down = 1 if len(rows) == 1 else -(-len(rows) // 2)
    height = 0.45 + 0.36 * max(rows.values())
    return Drawing(draw, (8, 0.9 + height * down), 0.9 + height * len(rows))


def _cells(
    axes: Axes,
    summaries: Sequence[Summary],
    rows: Mapping[str, str],
    columns: Mapping[str, float | None],
) -> None:
    means = {(summary.variant, summary.task): summary.mean for summary in summaries}
    values = np.array(
        [[means.get((variant, task), math.nan) for task in columns] for variant in rows.values()]
    )
    edges = (np.arange(count + 1) - 0.5 for count in reversed(values.shape))
    axes.pcolormesh(*edges, values, cmap="viridis", vmin=0, vmax=1)
    axes.invert_yaxis()
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            text = f"{value:.2f}".removeprefix("0") if value < 1 else "1"
            ink = ON_DARK if value < 0.7 else ON_BRIGHT
            axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=ink)
    names = [short(task, 12) if x is None else position_label(x) for task, x in columns.items()]
    for row, name in enumerate(rows):
        if name in names:
            corner = (names.index(name) - 0.5, row - 0.5)
            axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=ON_DARK, linewidth=1.5))
    axes.set_xticks(range(len(names)), names, fontsize=SMALL, **SLANTED)
    axes.set_yticks(range(len(rows)), [short(name, 20) for name in rows], fontsize=SMALL)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def training(curves: Sequence[Curve], order: Sequence[str]) -> Drawing:
    """Training loss (logarithmic), accuracy and, where checkpoints were selected, validation
    against updates: seeds thin, their mean thick."""
    selected = any(np.isfinite(curve.score).any() for curve in curves)
    panels = {"loss": "loss", "accuracy": "accuracy"}
    panels |= {"score": "score in validation"} if selected else {}

    def draw(figure: Figure) -> None:
        names = style.ordered(order, (curve.variant for curve in curves))
        shape = (len(panels), 1) if style.is_narrow(figure) else (1, len(panels))
        for axes, quantity in zip(figure.subplots(*shape), panels, strict=True):
            for index, variant in reversed(list(enumerate(names))):
                own = [
                    _measured(curve.updates, getattr(curve, quantity))
                    for curve in curves
                    if curve.variant == variant
                ]
                lines = [(x, y) for x, y in own if np.isfinite(y).any()]
                for x, y in lines if len(lines) > 1 else []:
                    axes.plot(x, y, color=colour(index), linewidth=0.8, alpha=0.4)
                if lines:
                    look: dict[str, Any] = {"color": colour(index), "linestyle": dashes(index)}
                    axes.plot(*_mean_line(lines), linewidth=2.2, **look)
            axes.set(xlabel="update", ylabel=panels[quantity])
            axes.grid(axis="y", color=LINE, linewidth=0.8)
            axes.set_axisbelow(True)
            if quantity == "loss" and axes.lines:
                style.log_values(axes)
        style.legend(figure, names)

    return Drawing(draw, (8, 3.6), 3.0 * len(panels))


def _band(axes: Axes, summaries: Sequence[Summary], index: int) -> None:
    x = [summary.x or math.nan for summary in summaries]
    means = [summary.mean for summary in summaries]
    low, high = zip(*(summary.interval for summary in summaries), strict=True)
    look: dict[str, Any] = {"color": colour(index)}
    if len(x) > 1:
        axes.fill_between(x, low, high, alpha=0.15, linewidth=0, zorder=2, **look)
    else:
        axes.vlines(x, low, high, alpha=0.5, linewidth=2, zorder=2, **look)
    front, width = (3, 1.8) if index else (5, 2.4)
    axes.plot(x, means, linestyle=dashes(index), linewidth=width, zorder=front, **look)
    faces = ["white" if summary.missing else colour(index) for summary in summaries]
    dots: dict[str, Any] = {"marker": marker(index), "zorder": front, "clip_on": False}
    axes.scatter(x, means, 30, facecolors=faces, edgecolors=colour(index), **dots)


def _measured(updates: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What was measured: grouped, or as it is where few updates were followed by a measurement."""
    known = np.isfinite(values)
    if known.any() and not known.all() and known.sum() <= 100:
        return updates[known], values[known]
    return _grouped(updates, values)


def _grouped(
    updates: np.ndarray, values: np.ndarray, groups: int = 100
) -> tuple[np.ndarray, np.ndarray]:
    """Means of at most `groups` groups of consecutive updates: the noise of single batches would
    hide the curve."""
    parts = np.array_split(np.arange(len(updates)), min(groups, len(updates)))
    x, y = (np.array([array[part].mean() for part in parts]) for array in (updates, values))
    return x, y


def _mean_line(lines: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Mean over seeds, as far as all of them have got."""
    last = min(x[-1] for x, _ in lines)
    x = max((x for x, _ in lines), key=len)
    x = x[x <= last] if (x <= last).any() else x[:1]
    return x, np.mean([np.interp(x, own, y) for own, y in lines], axis=0)
