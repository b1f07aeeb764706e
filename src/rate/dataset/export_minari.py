"""Export to Minari's format."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from rate.dataset import Dataset, DatasetError
from rate.dataset.importers import require
from rate.spaces import unflatten
from rate.storage.files import storage_errors
from rate.storage.folders import new_folder
from rate.system.processes import WorkerDiedError, run_apart

_ID = re.compile(r"(\w[\w-]*/)*\w[\w-]*-v\d+")
_NUMBER = re.compile(r"errno (?:= )?(\d+)", re.IGNORECASE)


def export_minari(
    dataset: Dataset,
    output: str | Path,
    dataset_id: str = "",
    *,
    data_format: Literal["hdf5", "arrow"] = "hdf5",
) -> Path:
    """Write a dataset as one of Minari's, images byte for byte.

    The folder appears complete or not at all; one episode is held in memory at a time.

    Args:
        dataset: The dataset; its folder on the command line.
        output: Folder of Minari datasets, which others read with MINARI_DATASETS_PATH set to it.
        dataset_id: Minari's name of the dataset, such as rate/tmaze-v0; by default
            rate/<name of the dataset's folder>-v0.
        data_format: File format.

    Returns:
        The folder of the dataset, `output`/`dataset_id`.

    Raises:
        DatasetError: The folder exists already, or Minari cannot hold such an id or such names of
            observations.
        LockedError: Another process is writing it.
        ModuleNotFoundError: Minari is not installed.
        OSError: The disk is full or read-only; the message says which.
    """
    dataset_id = dataset_id or f"rate/{dataset.path.name}-v0"
    if not _ID.fullmatch(dataset_id):
        raise DatasetError(f"{dataset_id!r} is no id of Minari's; give one like namespace/name-v0")
    if data_format == "hdf5" and any("/" in key for key in _keys(dataset.observation_space)):
        raise DatasetError(
            'a "/" in the name of an observation is not for HDF5; export as arrow, or rename it'
        )
    require("minari")
    folder = Path(output) / dataset_id
    try:
        with new_folder(folder) as written, storage_errors(folder):
            data = (written / "data").resolve()  # Minari takes no relative path
            data.mkdir()
            run_apart(_write, (dataset, data, dataset_id, data_format))
    except FileExistsError as error:
        raise DatasetError(f"{folder} exists already: give another id or remove it") from error
    except WorkerDiedError as error:
        raise OSError(
            f"cannot write {folder}: the library that writes {data_format} ended its process, as "
            "it does on a full disk; free some space or choose a folder on another disk"
        ) from error
    return folder


def _write(work: tuple[Dataset, Path, str, str]) -> list[None]:
    """Write the files of a dataset, as a process of its own.

    On a full disk HDF5 and Arrow end the process, or print a report for every open file.
    """
    dataset, data, dataset_id, data_format = work
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    spaces = dataset.observation_space, dataset.action_space
    # Minari's default for images is JPEG, which changes their bytes.
    storage = require("minari.dataset.minari_storage").MinariStorage
    try:
        written = storage.new(data, *spaces, data_format=data_format, jpeg_encoding=False)
        written.update_episodes(_buffers(dataset))
        facts = {"dataset_id": dataset_id, "minari_version": require("minari").__version__}
        written.update_metadata({**facts, "dataset_size": written.get_size()})
    except (OSError, RuntimeError) as error:
        if number := _NUMBER.search(str(error)):  # HDF5 gives it as text alone
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
        raise
    return []


def _buffers(dataset: Dataset) -> Iterator[Any]:
    buffer = require("minari.data_collector").EpisodeBuffer
    for index in range(len(dataset)):
        episode = dataset.episode(index)
        yield buffer(
            id=index,
            seed=episode.seed,
            observations=unflatten(dataset.observation_space, episode.observations),
            actions=episode.actions,
            rewards=[float(reward) for reward in episode.rewards],
            terminations=episode.terminations.tolist(),
            truncations=episode.truncations.tolist(),
            infos={},
        )


def _keys(space: Any) -> list[str]:
    """Every key of a space and of those within it."""
    parts = getattr(space, "spaces", {})
    named = dict(parts) if isinstance(parts, dict) else dict(enumerate(parts))
    return [*map(str, named), *(key for part in named.values() for key in _keys(part))]
