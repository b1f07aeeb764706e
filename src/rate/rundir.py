"""A run: a folder with recipe, provenance, metrics and checkpoints; and what to do when it is asked to stop."""

import contextlib
import json
import multiprocessing
import platform
import signal
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import Any

from rate import recipe as recipes
from rate.files import atomic_write, storage_errors
from rate.recipe import Recipe

RECIPE, PROVENANCE = "recipe.json", "provenance.json"


class RunError(ValueError):
    """A run folder that cannot be started, resumed or read."""


def create(run: Path, recipe: Recipe, seed: int, **facts: Any) -> None:
    """Begin a run folder; an existing run is never overwritten."""
    if (run / RECIPE).exists():
        raise RunError(
            f"{run} holds a run already: choose another folder, remove it, or continue it with `rate train --resume {run}`"
        )
    with storage_errors(run):
        run.mkdir(parents=True, exist_ok=True)
    atomic_write(run / PROVENANCE, json.dumps({"seed": seed, **provenance(), **facts}, indent=2))
    # The recipe is written last: a folder with a recipe is a complete beginning.
    atomic_write(run / RECIPE, json.dumps({**recipe.to_json(), "hash": recipe.hash}, indent=2))


def read(run: Path) -> tuple[Recipe, dict[str, Any]]:
    """The recipe and provenance of a run folder."""
    if not (run / RECIPE).is_file():
        raise RunError(f"{run} is not a run: it has no {RECIPE}. Run folders are made by `rate train`")
    try:
        data = json.loads((run / RECIPE).read_text())
        data.pop("hash", None)
        return recipes.from_json(data), json.loads((run / PROVENANCE).read_text())
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise RunError(f"{run} has an unreadable {RECIPE} or {PROVENANCE}: {error}") from error


def remove_partial_files(run: Path) -> None:
    """Remove what a killed process was just writing; whole files never bear such a name."""
    for partial in run.glob(".*.partial"):
        partial.unlink(missing_ok=True)


def provenance() -> dict[str, Any]:
    """Where a result comes from: versions, machine, commit and date."""
    packages = {}
    for name in ("rate-rl", "torch", "numpy", "gymnasium"):
        with contextlib.suppress(PackageNotFoundError):
            packages[name] = version(name)
    return {
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "packages": packages,
    }


def commit() -> str:
    """The commit of the source tree this package runs from, with "+" if it was changed; empty outside a checkout."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", here, *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    head = git("rev-parse", "--short=12", "HEAD")
    return head + ("+" if head and git("status", "--porcelain", "--untracked-files=no", "--", ".") else "")


class Interrupted(Exception):  # noqa: N818 (it is not an error)
    """The run was asked to stop, has saved, and can be resumed. what: who stopped it, and when; way_on: how to resume."""

    def __init__(self, what: str, way_on: str = "") -> None:
        super().__init__(what, way_on)  # both, so that it can be sent to another process
        self.way_on = way_on

    def __str__(self) -> str:
        return str(self.args[0])


class Interruption:
    """Whether Ctrl-C or SIGTERM has asked for an end; a second Ctrl-C ends at once."""

    def __init__(self, forward: bool) -> None:
        self.requested = ""
        self.forward = forward

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = signal.Signals(number).name
        if self.forward and number == signal.SIGTERM:
            # A terminal sends Ctrl-C to every process, but SIGTERM often comes to the first one alone.
            for child in multiprocessing.active_children():
                child.terminate()


@contextlib.contextmanager
def interruption(forward: bool = False) -> Iterator[Interruption]:
    """Within this context Ctrl-C and SIGTERM set a flag for the loop to end cleanly.

    forward: hand SIGTERM on to the processes started by this one.
    """
    flag = Interruption(forward)
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    old = {number: signal.signal(number, flag._ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield flag
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
