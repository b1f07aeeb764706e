"""Other people's recordings as episodes: one format per module of this package, found by its file's
name.

A format's module says with `DESCRIPTION` what it reads, with `recognises(path)` whether something
looks like it, and reads it with `read(path, wishes)`. Nothing is loaded before episodes are asked
for, which then come one by one; no format runs code from a file.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium

from rate.dataset import Dataset, DatasetError, write_dataset
from rate.episode import Episode
from rate.progress import progress_bar
from rate.provenance import provenance


@dataclass(frozen=True)
class Wishes:
    """What is known better than the file says: spaces to use in place of those that it states or
    that its numbers suggest.

    previous_actions: actions and rewards stand beside the observation that they led to; only
    folders of episodes need to be told.
    """

    observation_space: gymnasium.Space[Any] | None = None
    action_space: gymnasium.Space[Any] | None = None
    previous_actions: bool = False


@dataclass(frozen=True)
class Recording:
    """Episodes of a file or folder with their spaces. episodes: begins to read anew each time;
    count: how many, 0 if unknown."""

    observation_space: gymnasium.Space[Any]
    action_space: gymnasium.Space[Any]
    episodes: Callable[[], Iterator[Episode]]
    count: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


def formats() -> dict[str, str]:
    """Every format with a line about it."""
    return {name: _module(name).DESCRIPTION for name in _names()}


def read(path: str | Path, file_format: str = "", wishes: Wishes | None = None) -> Recording:
    """Read a recording. file_format: one of `formats()`; empty asks each whether it recognises the
    path.

    Raises:
        DatasetError: the path does not exist, its format is not known, or it is damaged.
        ModuleNotFoundError: a library that reads the format is not installed; the message says
        which extra brings it.
    """
    path = Path(path)
    if file_format and file_format not in _names():
        raise DatasetError(
            f"there is no format {file_format!r}; formats are: {', '.join(_names())}"
        )
    chosen = file_format or next((name for name in _names() if _module(name).recognises(path)), "")
    if not chosen:
        missing = "" if path.exists() else " (it does not exist)"
        raise DatasetError(
            f"{path}{missing} looks like none of the formats {', '.join(_names())}: name one "
            "with --format"
        )
    recording: Recording = _module(chosen).read(path, wishes or Wishes())
    return recording


def import_dataset(
    path: str | Path,
    output: str | Path,
    *,
    file_format: str = "",
    wishes: Wishes | None = None,
    task: str | None = None,
    episodes: int = 0,
    show_progress: bool = False,
) -> Dataset:
    """Write a recording as a dataset folder. task: name of the task, for evaluation; episodes: at
    most so many, 0 for all."""
    recording = read(path, file_format, wishes)
    total = (
        min(recording.count, episodes)
        if recording.count and episodes
        else recording.count or episodes
    )
    with progress_bar(f"import {Path(path).name}", total, show=show_progress) as advance:

        def counted() -> Iterator[Episode]:
            for number, episode in enumerate(recording.episodes(), 1):
                yield episode
                advance(1)
                if number == episodes:
                    return

        facts = {**provenance(), "imported": str(path), **recording.facts}
        spaces = recording.observation_space, recording.action_space
        try:
            return write_dataset(Path(output), counted(), *spaces, task=task, provenance=facts)
        except DatasetError as error:
            if str(path) in str(error) or str(output) in str(error):
                raise
            raise DatasetError(f"{path}: {error}") from error


def require(module: str, extra: str = "data") -> Any:
    """Import a library that a format needs, or say which extra brings it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"this format needs {module}: pip install 'rate-rl[{extra}]'"
        ) from error


def _names() -> list[str]:
    return sorted(
        module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")
    )


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")
