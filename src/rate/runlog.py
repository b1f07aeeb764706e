"""Metrics of a run: JSONL in its folder always; TensorBoard and Weights & Biases when asked for."""

import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from rate.files import atomic_write, read_jsonl

METRICS = "metrics.jsonl"
LOGGERS = ("tensorboard", "wandb")


class Sink(Protocol):
    """Somewhere else that metrics go."""

    def write(self, row: dict[str, float]) -> None: ...
    def close(self) -> None: ...


class RunLog:
    """Appends rows to metrics.jsonl and to the loggers named; rows behind update `after` of an earlier attempt are dropped."""

    def __init__(self, run: Path, loggers: Sequence[str], *, after: int, writes: bool = True) -> None:
        self.file = None
        self.sinks: list[Sink] = [_open(name, run, resumed=after > 0) for name in loggers]
        if writes:
            path = run / METRICS
            rows = [row for row in (read_jsonl(path) if path.exists() else []) if row["update"] <= after]
            atomic_write(path, "".join(json.dumps(row) + "\n" for row in rows))
            self.file = open(path, "a", encoding="utf-8")  # noqa: SIM115 (closed by __exit__)

    def write(self, row: dict[str, Any]) -> None:
        """Record one update's metrics."""
        if self.file:
            self.file.write(json.dumps(row) + "\n")
        for sink in self.sinks:
            sink.write(row)

    def flush(self) -> None:
        """Make all rows so far durable."""
        if self.file:
            self.file.flush()
            os.fsync(self.file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.file:
            self.file.close()
        for sink in self.sinks:
            sink.close()


def _open(name: str, run: Path, resumed: bool) -> Sink:
    match name:
        case "tensorboard":
            return _TensorBoard(run)
        case "wandb":
            return _WeightsAndBiases(run, resumed)
    raise ValueError(f"unknown logger {name!r}: loggers are {', '.join(LOGGERS)}")


class _TensorBoard:
    def __init__(self, run: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError("TensorBoard is not installed: pip install 'rate-rl[tensorboard]'") from error
        self.writer = SummaryWriter(str(run))

    def write(self, row: dict[str, float]) -> None:
        for name, value in row.items():
            if name != "update":
                self.writer.add_scalar(name, value, int(row["update"]))

    def close(self) -> None:
        self.writer.close()


class _WeightsAndBiases:
    """Online with a key, else offline; trouble with the service is a warning, never the end of a run."""

    def __init__(self, run: Path, resumed: bool) -> None:
        try:
            import wandb
        except ImportError as error:
            raise ImportError("Weights & Biases is not installed: pip install 'rate-rl[wandb]'") from error
        key = wandb_key()
        settings = wandb.Settings(init_timeout=30, console="off", silent=True)
        options: dict[str, Any] = {
            "project": "rate",
            "name": run.name,
            "id": run.name,
            "dir": str(run),
            "settings": settings,
        }
        if key:
            os.environ["WANDB_API_KEY"] = key
        self.run = None
        for mode in ("online", "offline") if key else ("offline",):
            try:
                self.run = wandb.init(mode=mode, resume="allow" if resumed else None, **options)
                break
            except Exception as error:  # the service may fail in any way; training goes on
                warnings.warn(f"Weights & Biases failed {mode}: {error}", stacklevel=2)

    def write(self, row: dict[str, float]) -> None:
        if self.run is not None:
            try:
                self.run.log({name: value for name, value in row.items() if name != "update"}, step=int(row["update"]))
            except Exception as error:
                warnings.warn(f"Weights & Biases stopped logging: {error}", stacklevel=2)
                self.run = None

    def close(self) -> None:
        if self.run is not None:
            self.run.finish()


def wandb_key(folder: Path | None = None) -> str:
    """The W&B key from WANDB_API_KEY or from `wandb_api: <key>` in wandb_config.yaml (working folder); empty without one."""
    if key := os.environ.get("WANDB_API_KEY"):
        return key
    path = (folder or Path.cwd()) / "wandb_config.yaml"
    if not path.is_file():
        return ""
    import yaml

    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict) or not isinstance(data.get("wandb_api"), str):
        raise ValueError(f"{path} must hold one line `wandb_api: <key>`")
    return data["wandb_api"]
