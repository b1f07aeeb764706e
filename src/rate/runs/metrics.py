"""Metrics of a run: JSON lines in its folder, and loggers that are asked for."""

import json
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from rate.runs.folder import Run
from rate.runs.loggers import Sink, require_loggers, start_loggers
from rate.storage.files import atomic_write, storage_errors


class Spent(NamedTuple):
    """Seconds that a run has taken."""

    seconds: float
    """All of them."""
    selection: float
    """Those that went into choosing the best checkpoint."""


def spent(rows: Iterable[Mapping[str, Any]]) -> Spent:
    """Time that a run with these metrics has taken, all its resumptions together."""
    seconds = selection = last = 0.0
    for row in rows:
        now = float(row.get("seconds", last))
        seconds += now - last if now >= last else now  # the clock begins anew when a run is resumed
        selection += float(row.get("selection_seconds", 0.0))
        last = now
    return Spent(seconds, selection)


class RunLog:
    """Appends rows to the metrics file of a run, and to loggers."""

    def __init__(
        self,
        run: Run | Path,
        loggers: Sequence[str],
        *,
        after: int,
        writes: bool = True,
        sinks: Sequence[Sink] = (),
    ) -> None:
        """Open the metrics file and start the loggers.

        Args:
            run: The run.
            loggers: Names of loggers.
            after: Last update that has been saved; rows of later ones, from an attempt that was
                interrupted, are dropped.
            writes: Whether this process writes the file.
            sinks: Further objects that take the rows.
        """
        require_loggers(loggers)
        run = Run(run)
        self.file = None
        self.path = run.metrics_file
        if writes:
            rows = {row["update"]: row for row in run.metrics() if 1 <= row["update"] <= after}
            if len(rows) < after:
                warnings.warn(
                    f"{self.path} lacks the rows of {after - len(rows)} of {after} updates: the "
                    "training curve has a gap, the weights do not",
                    stacklevel=2,
                )
            lines = [json.dumps(rows[update]) + "\n" for update in sorted(rows)]
            atomic_write(self.path, "".join(lines))
            self.file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 (closed by __exit__)
        self.sinks = [*start_loggers(loggers, run, after), *sinks]

    def write(self, row: dict[str, Any]) -> None:
        """Record one update's metrics."""
        if self.file:
            with storage_errors(self.path):
                self.file.write(json.dumps(row) + "\n")
        for sink in self.sinks:
            sink.write(row)

    def flush(self) -> None:
        """Make all rows so far durable."""
        if self.file:
            with storage_errors(self.path):
                self.file.flush()
                os.fsync(self.file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for sink in self.sinks:
            sink.close()
        if self.file:
            with storage_errors(self.path):
                self.file.close()


CUE = "selection_score_cue_"
"""What stands before a cue in the name of its score on the selection task."""


def cue_correlation(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Correlation, over training, of the selection scores of two cues (App. D of the paper).

    With memory both rise together; a policy without memory that comes to prefer one answer gains
    for one cue what it loses for the other. None where a task has not two cues, or where a score
    never changes.

    Args:
        rows: Metrics of a run; the first hundredth of its updates is left out.
    """
    names = sorted({name for row in rows for name in row if name.startswith(CUE)})
    scored = [row for row in rows if all(name in row for name in names)]
    last = max((row["update"] for row in rows if "update" in row), default=0)
    scored = [row for row in scored if row["update"] > last / 100]
    if len(names) != 2 or len(scored) < 3:
        return None
    one, other = (np.array([float(row[name]) for row in scored]) for name in names)
    if not (one.std() and other.std()):
        return None
    return round(float(np.corrcoef(one, other)[0, 1]), 6)
