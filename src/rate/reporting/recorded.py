"""What runs recorded besides scores: returns asked for and obtained, and scores on data."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from rate.messages import reason
from rate.reporting import style
from rate.reporting.load import ReportError, read_object, read_rows
from rate.reporting.sections import Part
from rate.reporting.style import Drawing, short
from rate.reporting.sweep import drawing
from rate.reporting.tables import Table
from rate.runs.folder import Run
from rate.values import checked

SWEEP, RECORDED = "target-return.png", "recorded.png"
"""Files of the figures."""
ASKED = (
    "The policy was asked for several returns. Lines across are quantiles of the returns of the "
    "data it learned from: asking for more than the best of the data asks for what it has not seen."
)
HELD = (
    "Recorded actions as the policy predicts them, without an environment; accuracy ± standard "
    "error over episodes. Calibration error: mean distance between confidence and accuracy."
)

_GROUP = {"from": int, "to": int, "steps": int, "accuracy": float}
_BIN = {"steps": int, "confidence": float, "accuracy": float}
_POINT = {"task": str, "asked": float, "obtained": float, "standard_error": float, "episodes": int}


def parts(runs: Mapping[str, Run]) -> tuple[list[Part], dict[str, Drawing]]:
    """The sections that runs have recorded something for, with their figures by file name.

    Args:
        runs: Runs by variant.

    Raises:
        ReportError: a file is damaged.
    """
    found, drawn = [], {}
    if swept := _sweeps(runs):
        points, quantiles = swept
        drawn[SWEEP] = drawing(points, quantiles)
        caption = "Return obtained against return asked for, mean ± standard error over episodes."
        found.append(Part("Asked and obtained return", ASKED, (), SWEEP, caption, _asked(points)))
    if rows := _recorded(runs):
        drawn[RECORDED] = _figure(rows)
        caption = "Accuracy by steps from the episode's beginning and from the segment's."
        if any("calibration" in row for row in rows.values()):
            caption += " Calibration: how often the most likely action is right, by its confidence."
        found.append(Part("On recorded data", HELD, (), RECORDED, caption, _numbers(rows)))
    return found, drawn


# Returns asked for


def _sweeps(runs: Mapping[str, Run]) -> tuple[list[dict[str, Any]], dict[str, float]] | None:
    """Points of all runs, and quantiles of the returns of the data where all have the same."""
    points: list[dict[str, Any]] = []
    quantiles: list[dict[str, float]] = []
    for variant, run in runs.items():
        path = run.sweep_file.with_suffix(".json")
        if path.is_file():
            data = read_object(path)
            try:
                own = [_entries(one, _POINT) for one in _objects("points", data.get("points"))]
                known = checked("quantiles", data.get("quantiles"), dict)
                quantiles.append(
                    {str(float(part)): checked(part, one, float) for part, one in known.items()}
                )
            except ValueError as error:
                raise ReportError(f"{path} cannot be shown ({reason(error)}): remove it") from error
            points += own if len(runs) == 1 else [_of(variant, one) for one in own]
    if not points:
        return None
    return points, quantiles[0] if all(one == quantiles[0] for one in quantiles) else {}


def _of(variant: str, point: Mapping[str, Any]) -> dict[str, Any]:
    return {**point, "task": f"{variant}, {point['task']}"}


def _asked(points: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        (
            str(one["task"]),
            f"{one['asked']:g}",
            f"{one['obtained']:.3f} ± {one['standard_error']:.3f}",
            str(one["episodes"]),
        )
        for one in points
    ]
    return Table(("task", "asked", "obtained", "episodes"), rows)


# Recorded data


def _recorded(runs: Mapping[str, Run]) -> dict[str, dict[str, Any]]:
    """The last row of each run and dataset, by variant and, where there are several, dataset."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for variant, run in runs.items():
        for row in read_rows(run.recorded_file):
            try:
                one = _row(row)
            except ValueError as error:
                raise ReportError(
                    f"{run.recorded_file} cannot be shown ({reason(error)}): remove the row, or "
                    "run rate evaluate --dataset again"
                ) from error
            found[variant, str(one["dataset"]), str(one["checkpoint"])] = one
    several = len({key[1:] for key in found}) > 1
    return {
        f"{variant}, {checkpoint} on {data[:12]}" if several else variant: row
        for (variant, data, checkpoint), row in found.items()
    }


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose entries are of the types that are shown."""
    kinds = {"dataset": str, "checkpoint": str, "held_out": bool, "episodes": int, "steps": int}
    kinds |= {"accuracy": float, "accuracy_standard_error": float}
    one = _entries(row, kinds)
    measure = "log_likelihood" if "log_likelihood" in row else "squared_error"
    one |= _entries(row, {measure: float})
    for name in ("by_distance", "by_position"):
        one[name] = [_entries(group, _GROUP) for group in _objects(name, row.get(name))]
    if "calibration" in row:
        one |= _entries(row, {"calibration_error": float})
        bins = _objects("calibration", row["calibration"])
        one["calibration"] = [_entries(part, _BIN) for part in bins]
    return one


def _objects(name: str, value: Any) -> Sequence[Any]:
    """A list of at least one JSON object; else a ValueError."""
    found: Sequence[Any] = checked(name, value, Sequence[dict])
    if not found:
        raise ValueError(f"{name} is empty")
    return found


def _entries(data: Any, kinds: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of a JSON object by name, each of its type; else a ValueError."""
    given = checked("an entry", data, dict)
    return {name: checked(name, given.get(name), kind) for name, kind in kinds.items()}


def _numbers(rows: Mapping[str, Mapping[str, Any]]) -> Table:
    measures = [
        (title, name, form)
        for title, name, form in (
            ("log-likelihood", "log_likelihood", ".4f"),
            ("squared error", "squared_error", ".4g"),
            ("calibration error", "calibration_error", ".3f"),
        )
        if any(name in row for row in rows.values())
    ]
    kind = {True: "held out", False: "all"}
    lines = [
        (
            name,
            f"{row['episodes']} ({kind[row['held_out']]})",
            f"{row['steps']:,}",
            f"{row['accuracy']:.3f} ± {row['accuracy_standard_error']:.3f}",
            *(format(row[key], form) if key in row else "" for _, key, form in measures),
        )
        for name, row in rows.items()
    ]
    titles = (title for title, _, _ in measures)
    return Table(("policy", "episodes", "steps", "accuracy", *titles), lines)


def _figure(rows: Mapping[str, Mapping[str, Any]]) -> Drawing:
    """Accuracy by distance and by position, and calibration where there are choices."""
    calibrated = [row for row in rows.values() if "calibration" in row]
    panels = 3 if calibrated else 2

    def draw(figure: Figure) -> None:
        shape = (panels, 1) if style.is_narrow(figure) else (1, panels)
        axes = figure.subplots(*shape)
        for index, row in enumerate(rows.values()):
            look: dict[str, Any] = {"color": style.colour(index), "marker": style.marker(index)}
            look |= {"markersize": 4, "linestyle": style.dashes(index)}
            for place, name in zip(axes, ("by_distance", "by_position"), strict=False):
                middle = [(group["from"] + group["to"]) / 2 + 1 for group in row[name]]
                place.plot(middle, [group["accuracy"] for group in row[name]], **look)
            if "calibration" in row:
                bins = row["calibration"]
                sure, right = ([part[key] for part in bins] for key in ("confidence", "accuracy"))
                axes[2].plot(sure, right, **look)
        _labelled(axes[0], "step of the episode")
        _labelled(axes[1], "step of the segment")
        if calibrated:
            axes[2].plot((0, 1), (0, 1), color=style.FAINT, linewidth=1, linestyle=":", zorder=0)
            axes[2].set(xlabel="confidence", ylabel="accuracy")
        if len(rows) > 1:
            style.legend(figure, list(map(short, rows)), marked=True)

    return Drawing(draw, (8, 3.2), 2.8 * panels)


def _labelled(axes: Axes, name: str) -> None:
    axes.set(xlabel=name, ylabel="accuracy", xscale="log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.98 * high), high)
    axes.grid(axis="y", color=style.LINE, linewidth=0.8)
    axes.set_axisbelow(True)
