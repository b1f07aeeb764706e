"""The return that is asked for against the return that is obtained."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rate.reporting import style
from rate.reporting.intervals import mean_standard_error
from rate.reporting.statistics import returned
from rate.runs.folder import Run
from rate.storage.files import atomic_write

QUANTILES = (0.05, 0.5, 0.95, 1.0)
"""Quantiles of the data's returns that are shown; the last one is the best."""


def sweep(
    run: Run, rows: Sequence[Mapping[str, Any]], returns: Sequence[float] | np.ndarray = ()
) -> Path:
    """Write the figure and the numbers of a sweep over target returns into the run's folder.

    Args:
        run: The run.
        rows: Rows of its evaluations, each with its target return.
        returns: Returns of the episodes that it was trained on, if they are known.

    Returns:
        The path of the figure.
    """
    points = [
        {
            "task": str(row["task"]).partition(",target_return=")[0],
            "asked": float(row["target_return"]),
            "obtained": mean_standard_error(row["scores"])[0],
            "standard_error": mean_standard_error(row["scores"])[1],
            "episodes": len(row["scores"]),
        }
        for row in returned(rows)
    ]
    points.sort(key=lambda point: (point["task"], point["asked"]))
    shown = QUANTILES if len(returns) else ()
    quantiles = {str(part): float(np.quantile(returns, part)) for part in shown}
    numbers = {"points": points, "quantiles": quantiles}
    atomic_write(run.sweep_file.with_suffix(".json"), json.dumps(numbers, indent=2) + "\n")
    atomic_write(run.sweep_file, drawing(points, quantiles).png())
    return run.sweep_file


def drawing(points: Sequence[Mapping[str, Any]], quantiles: Mapping[str, float]) -> style.Drawing:
    """Obtained against asked return, one line a task, beside the line where both are equal and the
    returns of the data."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for index, task in enumerate(dict.fromkeys(point["task"] for point in points)):
            own = [point for point in points if point["task"] == task]
            asked, obtained, error = (
                [point[name] for point in own] for name in ("asked", "obtained", "standard_error")
            )
            axes.errorbar(
                asked,
                obtained,
                error,
                color=style.colour(index),
                marker=style.marker(index),
                label=style.short(task),
                capsize=3,
            )
        ends = [min(point["asked"] for point in points), max(point["asked"] for point in points)]
        axes.plot(ends, ends, color=style.FAINT, linewidth=1, linestyle=":", label="as asked")
        low, high = axes.get_ylim()
        low, high = min([low, *quantiles.values()]), max([high, *quantiles.values()])
        axes.set_ylim(low - 0.02 * (high - low), high + 0.06 * (high - low))
        for value, names in _named(quantiles).items():
            axes.axhline(value, color=style.FAINT, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
            side = axes.get_yaxis_transform()
            style.note(axes, 0.995, value, names, va="bottom", ha="right", transform=side)
        axes.set(xlabel="return asked for", ylabel="return obtained, mean ± standard error")
        axes.legend(frameon=False, loc="upper left")

    return style.Drawing(draw, (8, 4.4), 4.4)


def _named(quantiles: Mapping[str, float]) -> dict[float, str]:
    """The names of quantiles by their values; those that are equal share one."""
    names: dict[float, list[str]] = {}
    for part, value in quantiles.items():
        name = "best" if float(part) == 1 else f"{float(part):.0%}"
        names.setdefault(value, []).append(name)
    return {value: f"data: {', '.join(own)}" for value, own in names.items()}
