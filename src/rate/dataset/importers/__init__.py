"""Recordings as episodes: one format per module of this package, found by its file's name.

A format's module says with `DESCRIPTION` what it reads, with `recognises(path)` whether something
looks like it, and reads it with `read(path, options)`. Nothing is loaded before episodes are asked
for, which then come one by one; no format runs code from a file.
"""

import importlib
import pkgutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium

from rate.dataset import Dataset, DatasetError, write_dataset
from rate.episode import Episode
from rate.extras import how_to_install
from rate.system.progress import progress_bar
from rate.system.provenance import provenance
from rate.values import Checked, NotNegative, Seed, checks_arguments


@dataclass(frozen=True)
class ImportOptions(Checked):
    """What is known better than the file says."""

    observation_space: gymnasium.Space[Any] | None = None
    """Space of observations, as Gymnasium prints it, such as "Box(-10, 10, (17,))", or as JSON, as
    in `card.json`; by default the recording's own, or one that its numbers suggest."""
    action_space: gymnasium.Space[Any] | None = None
    """Space of actions, such as "Discrete(4)"; by default the recording's own, or one that its
    numbers suggest."""
    episode_ends: str = ""
    """Name of the array that marks where episodes end, if nothing else does and its own name does
    not say so: flags of last steps, or positions. `none`: all steps are one episode."""
    previous_actions: bool = False
    """In a folder of episodes, each action and reward stands beside the observation that it led
    to."""
    transitions: NotNegative = 0
    """Of Dopamine's replay buffers, sample trajectories from all of them until there are so many
    transitions; 0 takes all."""
    sampling_seed: Seed = 0
    """Which trajectories are sampled."""


@dataclass(frozen=True)
class Recording:
    """Episodes of a file or folder with their spaces."""

    observation_space: gymnasium.Space[Any]
    """Space of observations."""
    action_space: gymnasium.Space[Any]
    """Space of actions."""
    episodes: Callable[[], Iterator[Episode]]
    """Begins to read, anew each time."""
    count: int = 0
    """Number of episodes; 0 if unknown."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What to note in the dataset's provenance."""


def formats() -> dict[str, str]:
    """Every format with a line about it."""
    return {name: _module(name).DESCRIPTION for name in _names()}


def read(
    path: str | Path, file_format: str = "", options: ImportOptions = ImportOptions()
) -> Recording:
    """Read a recording.

    Args:
        path: File or folder, or the id of a Minari dataset on this machine.
        file_format: One of `formats()`; empty: the first that recognises the path.
        options: What is known better than the file says.

    Raises:
        DatasetError: The path does not exist, its format is not known, or it is damaged.
        ModuleNotFoundError: A library that reads the format is not installed; the message says how
            to install it.
    """
    path = Path(path)
    if file_format and file_format not in _names():
        known = "; ".join(f"{name}: {description}" for name, description in formats().items())
        raise DatasetError(f"there is no format {file_format!r}. Formats are {known}")
    chosen = file_format or next((name for name in _names() if _module(name).recognises(path)), "")
    if not chosen:
        missing = "" if path.exists() else " (it does not exist)"
        raise DatasetError(
            f"{path}{missing} looks like none of the formats {', '.join(_names())}: name one "
            "with --format"
        )
    recording: Recording = _module(chosen).read(path, options)
    return recording


@checks_arguments
def import_dataset(
    path: str | Path,
    output: str | Path,
    *,
    file_format: str = "",
    options: ImportOptions = ImportOptions(),
    task: str | None = None,
    episodes: NotNegative = 0,
    show_progress: bool = False,
) -> Dataset:
    """Write a recording as a dataset; no simulator is needed, and no code in a file is run.

    Args:
        path: File or folder, or the id of a Minari dataset on this machine.
        output: Folder of the new dataset.
        file_format: arrays (NumPy), d4rl, d3rlpy or robomimic (HDF5), dopamine (replay buffers),
            episodes (folder of .npz), lerobot, minari or trajectories (pickles); by default
            recognised.
        options: What is known better than the file says.
        task: Name of the task that was recorded, for evaluation.
        episodes: At most so many episodes; 0 for all.
        show_progress: Show a progress bar.

    Raises:
        DatasetError: The recording is damaged or not of a known format, or the output exists.
        ModuleNotFoundError: A library that reads the format is not installed.
    """
    recording = read(path, file_format, options)
    total = min(filter(None, (recording.count, episodes)), default=0)
    with progress_bar(f"import {Path(path).name}", total, show=show_progress) as advance:

        def counted() -> Iterator[Episode]:
            for number, episode in enumerate(recording.episodes(), 1):
                yield episode
                advance(1)
                if number == episodes:
                    return

        facts = {**provenance(), "imported": str(path), **recording.facts}
        for text in recording.facts.get("warnings", []):
            warnings.warn(f"{path}: {text}", stacklevel=2)
        spaces = recording.observation_space, recording.action_space
        try:
            return write_dataset(Path(output), counted(), *spaces, task=task, provenance=facts)
        except DatasetError as error:
            if str(path) in str(error) or str(output) in str(error):
                raise
            raise DatasetError(f"{path}: {error}") from error


def require(module: str, extra: str = "data") -> Any:
    """Import a library that a format needs, or say how to install it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"this format needs {module}: {how_to_install(extra)}") from error


def _names() -> list[str]:
    return sorted(
        module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")
    )


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")
