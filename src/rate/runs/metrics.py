"""Metrics of a run: JSONL in its folder always; TensorBoard and Weights & Biases when asked for."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from rate.files import atomic_write, storage_errors
from rate.runs.folder import Run
from rate.runs.loggers import Sink, _TensorBoard, _WeightsAndBiases, require_loggers

METRICS = "metrics.jsonl"  # until every module uses `Run`


class Spent(NamedTuple):
    """Seconds that a run has taken in all, and those of them that went into choosing its best
    checkpoint."""

    seconds: float
    selection: float


def spent(rows: Iterable[Mapping[str, Any]]) -> Spent:
    """What a run with these metrics has taken up to now, all its resumptions together."""
    seconds = selection = last = 0.0
    for row in rows:
        now = float(row.get("seconds", last))
        seconds += now - last if now >= last else now  # the clock begins anew when a run is resumed
        selection += float(row.get("selection_seconds", 0.0))
        last = now
    return Spent(seconds, selection)


class RunLog:
    """Appends rows to metrics.jsonl and to the loggers named; rows behind update `after` of an
    earlier attempt are dropped."""

    def __init__(
        self, run: Run | Path, loggers: Sequence[str], *, after: int, writes: bool = True
    ) -> None:
        require_loggers(loggers)
        run = Run(run)
        self.file = None
        self.path = run.metrics_file
        if writes:
            rows = [row for row in run.metrics() if row["update"] <= after]
            atomic_write(self.path, "".join(json.dumps(row) + "\n" for row in rows))
            self.file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 (closed by __exit__)
        kinds: dict[str, type[_TensorBoard | _WeightsAndBiases]] = {
            "tensorboard": _TensorBoard,
            "wandb": _WeightsAndBiases,
        }
        self.sinks: list[Sink] = [kinds[name](run, after) for name in loggers]

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
