"""Loggers beside the metrics file of a run: TensorBoard, Weights & Biases and trackio."""

import io
import os
import secrets
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from importlib.util import find_spec
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any, Literal, Protocol, get_args
from urllib.parse import urlsplit

from rate.extras import how_to_install
from rate.runs.folder import Run
from rate.storage.files import atomic_write
from rate.system.progress import say

Logger = Literal["tensorboard", "wandb", "trackio"]
LOGGERS = get_args(Logger)
"""Names of loggers; each needs the package, and the extra, of its own name."""

WANDB_TIMEOUT = 30.0
"""Seconds to wait for the Weights & Biases service before logging offline."""


def require_loggers(names: Sequence[str]) -> None:
    """Raise unless every name is a logger whose package is installed."""
    for name in names:
        if name not in LOGGERS:
            raise ValueError(f"unknown logger {name!r}: loggers are {', '.join(LOGGERS)}")
        if find_spec(name) is None:
            raise ImportError(f"the logger {name!r} is not installed: {how_to_install(name)}")


class Sink(Protocol):
    """What metrics are written to, beside the metrics file; any object with these two methods."""

    def write(self, row: Mapping[str, float]) -> None:
        """Take what was measured after one update, of which "update" is the number."""

    def close(self) -> None:
        """Take notice that the run has ended, or was interrupted."""


def start_loggers(names: Sequence[str], run: Run, after: int) -> list[Sink]:
    """The loggers of these names.

    Args:
        names: Names of loggers.
        run: The run.
        after: Last update that has been saved; 0 for a new run.
    """
    kinds: dict[str, type[_TensorBoard | _WeightsAndBiases | _Trackio]]
    kinds = {"tensorboard": _TensorBoard, "wandb": _WeightsAndBiases, "trackio": _Trackio}
    return [kinds[name](run, after) for name in names]


class _TensorBoard:
    def __init__(self, run: Run, after: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Points after the last checkpoint, from an attempt that was interrupted, are hidden.
        self.writer = SummaryWriter(str(run), purge_step=after + 1 if after else None)

    def write(self, row: Mapping[str, float]) -> None:
        for name, value in row.items():
            if name != "update":
                self.writer.add_scalar(name, value, int(row["update"]))

    def close(self) -> None:
        self.writer.close()


class _WeightsAndBiases:
    """Weights & Biases, as its own variables say; else online with a key and offline without.

    Failures of the service are warnings.
    """

    def __init__(self, run: Run, after: int) -> None:
        import wandb

        key = wandb_key()
        if key:
            os.environ["WANDB_API_KEY"] = key
        options: dict[str, Any] = {
            "project": _variable("PROJECT", "rate"),
            "name": _variable("NAME", run.name),
            "id": _variable("RUN_ID") or _identity(run.wandb_id_file),
            "dir": _variable("DIR", str(run)),
            "resume": _variable("RESUME") or ("allow" if after else None),
        }
        quiet: dict[str, Any] = {"init_timeout": WANDB_TIMEOUT, "console": "off", "silent": True}
        quiet = {name: value for name, value in quiet.items() if not _variable(name.upper())}
        options["settings"] = wandb.Settings(**quiet)
        mode: Any = _variable("MODE", "online")
        if mode == "online" and not (key or _logged_in()):
            mode = "offline"
            say(
                "no key of Weights & Biases in WANDB_API_KEY, wandb_config.yaml or ~/.netrc: it "
                f"logs offline to {options['dir']}, and `wandb sync` sends that later"
            )
        self.run = None
        for attempt in dict.fromkeys((mode, "offline")):
            try:
                self.run = wandb.init(mode=attempt, **options)
                break
            except Exception as error:  # the service may fail in any way; training goes on
                warnings.warn(f"Weights & Biases failed {attempt}: {error}", stacklevel=2)
                options["id"] += (
                    "-offline"  # the name that failed stays in use for the rest of this process
                )

    def write(self, row: Mapping[str, float]) -> None:
        if self.run is not None:
            try:
                _log(self.run, row)
            except Exception as error:
                warnings.warn(f"Weights & Biases stopped logging: {error}", stacklevel=2)
                self.run = None

    def close(self) -> None:
        if self.run is not None:
            try:
                self.run.finish()
            except Exception as error:
                warnings.warn(f"Weights & Biases failed to finish: {error}", stacklevel=2)


def _log(run: Any, row: Mapping[str, float]) -> None:
    """Give a run of Weights & Biases, or of trackio, the metrics of an update."""
    numbers = {name: value for name, value in row.items() if name != "update"}
    run.log(numbers, step=int(row["update"]))


class _Trackio:
    """trackio, in a folder of this machine, or where its own variables say.

    Failures are warnings. Updates behind the last checkpoint, from an attempt that was interrupted,
    are logged twice with the same numbers.
    """

    def __init__(self, run: Run, after: int) -> None:
        import trackio

        self.run, self.finish = None, trackio.finish
        name = f"{run.name}-{_identity(run.trackio_id_file)[:6]}"
        options: dict[str, Any] = {"resume": "allow", "auto_log_gpu": False, "auto_log_cpu": False}
        try:
            with redirect_stdout(io.StringIO()):  # it prints
                self.run = trackio.init("rate", name, embed=False, **options)
        except Exception as error:
            warnings.warn(f"trackio failed: {error}", stacklevel=2)
        else:
            say(f"trackio logs {name}: `trackio show --project rate` shows it")

    def write(self, row: Mapping[str, float]) -> None:
        if self.run is not None:
            try:
                _log(self.run, row)
            except Exception as error:
                warnings.warn(f"trackio stopped logging: {error}", stacklevel=2)
                self.run = None

    def close(self) -> None:
        if self.run is not None:
            try:
                with redirect_stdout(io.StringIO()):
                    self.finish()
            except Exception as error:
                warnings.warn(f"trackio failed to finish: {error}", stacklevel=2)


def _variable(name: str, default: str = "") -> str:
    """What a variable of Weights & Biases says; it reads some of them only once in a process."""
    return os.environ.get(f"WANDB_{name}") or default


def _logged_in() -> bool:
    """Whether `wandb login` has left a key."""
    host = urlsplit(_variable("BASE_URL", "https://api.wandb.ai")).hostname
    try:
        return netrc(os.environ.get("NETRC")).authenticators(host or "") is not None
    except (OSError, NetrcParseError):
        return False


def _identity(path: Path) -> str:
    """The run's own name at a service, which a file keeps: two folders of one name do not overwrite
    each other."""
    if not path.exists():
        atomic_write(path, secrets.token_hex(8))
    return path.read_text(encoding="utf-8").strip()


def wandb_key(folder: Path | None = None) -> str:
    """The key of Weights & Biases, empty without one.

    It comes from the variable WANDB_API_KEY, or from a line `wandb_api: <key>` in
    wandb_config.yaml.

    Args:
        folder: Folder of that file, by default the current one.
    """
    if key := os.environ.get("WANDB_API_KEY"):
        return key
    path = (folder or Path.cwd()) / "wandb_config.yaml"
    if not path.is_file():
        return ""
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path} cannot be read without PyYAML: {how_to_install('wandb')}"
        ) from error

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, ValueError, RecursionError):
        data = None
    key = data.get("wandb_api") if isinstance(data, dict) else None
    if not (isinstance(key, str) and key.isascii() and key.isprintable()):
        raise ValueError(f"{path} must hold one line `wandb_api: <key>`")
    return key
