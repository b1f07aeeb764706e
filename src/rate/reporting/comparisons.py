"""Tables that compare variants: seeds that hold, differences, and how long memory lasts."""

from collections.abc import Iterable, Sequence

from rate.reporting.intervals import count_interval
from rate.reporting.protocol import Row
from rate.reporting.statistics import Difference, Summary
from rate.reporting.tables import Table, by_task_or_variant, number, without


def held_table(summaries: Sequence[Summary], axis: str = "", means: bool = False) -> Table:
    """How many seeds hold, with exact intervals of the proportion of all seeds that would; or with
    `means` behind the mean success."""
    cells = {}
    for summary in summaries:
        if summary.held is not None and summary.seeds:
            total = len(summary.seeds)
            low, high = count_interval(summary.held, total)
            held = f"{summary.held} of {total}"
            exact = f"{held} ({low:.2f} to {high:.2f})"
            held = f"{number(summary.mean)} ({held}){without(summary)}" if means else exact
            cells[summary.task, summary.variant] = held
    return by_task_or_variant(summaries, cells, axis)


def difference_table(
    found: Sequence[Difference], summaries: Sequence[Summary], axis: str = ""
) -> Table:
    """Mean differences with their intervals, of every variant from that which it is compared
    with."""
    cells = {
        (one.task, one.variant): f"{_signed(one.mean)} ({_signed(one.interval[0])} to "
        f"{_signed(one.interval[1])})"
        for one in found
    }
    compared = {one.variant for one in found}
    return by_task_or_variant([one for one in summaries if one.variant in compared], cells, axis)


def _signed(value: float) -> str:
    text = number(abs(value))
    return text if float(text) == 0 else ("+" if value > 0 else "−") + text


def correlation_table(rows: Iterable[Row]) -> Table | None:
    """Correlation of two cues' scores over training, a row per variant; None where no row says
    so."""
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        if row.get("cue_correlation") is not None:
            found.setdefault(row["variant"], {})[row["seed"]] = row["cue_correlation"]
    lines = [
        (variant, _spread(list(by_seed.values())), str(len(by_seed)))
        for variant, by_seed in found.items()
    ]
    return Table(("variant", "correlation", "seeds"), lines) if lines else None


def separation_table(rows: Iterable[Row]) -> Table | None:
    """How far the memories of cues lie apart, a row per variant; None where no row says so."""
    found: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        if row.get("separation"):
            found.setdefault(row["variant"], {})[row["seed"]] = row["separation"]
    lines = []
    for variant, by_seed in found.items():
        apart = list(by_seed.values())
        columns = [[own[place] for own in apart] for place in (0, 1, -1)]
        columns.append([own[-1] / max(own[0], 1e-12) for own in apart])
        lines.append((variant, *map(_spread, columns), str(len(apart))))
    names = ("variant", "first", "after 1", "after 10", "kept", "seeds")
    return Table(names, lines) if lines else None


def _spread(values: Sequence[float]) -> str:
    mean = sum(values) / len(values)
    return f"{mean:.2f} ({min(values):.2f} to {max(values):.2f})"
