"""Export to Minari's format."""

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from rate.dataset import Dataset, DatasetError
from rate.dataset.importers import require
from rate.files import storage_errors
from rate.spaces import unflatten

_ID = re.compile(r"(\w[\w-]*/)*\w[\w-]*-v\d+")


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
        ModuleNotFoundError: Minari is not installed.
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
    if folder.exists():
        raise DatasetError(f"{folder} exists already: give another id or remove it")
    partial = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    try:
        with storage_errors(folder):
            (partial / "data").mkdir(parents=True)
            _write(
                dataset, (partial / "data").resolve(), dataset_id, data_format
            )  # Minari takes no relative path
            os.rename(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _write(dataset: Dataset, data: Path, dataset_id: str, data_format: str) -> None:
    spaces = dataset.observation_space, dataset.action_space
    # Minari's default for images is JPEG, which changes their bytes.
    storage = require("minari.dataset.minari_storage").MinariStorage
    written = storage.new(data, *spaces, data_format=data_format, jpeg_encoding=False)
    written.update_episodes(_buffers(dataset))
    facts = {"dataset_id": dataset_id, "minari_version": require("minari").__version__}
    written.update_metadata({**facts, "dataset_size": written.get_size()})


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
