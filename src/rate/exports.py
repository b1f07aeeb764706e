"""Datasets in the formats of other libraries, so that others can read them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rate.dataset import Dataset, DatasetError
from rate.imports import require
from rate.spaces import unflatten


def export_minari(dataset: Dataset, output: str | Path, dataset_id: str, *, data_format: str = "hdf5") -> Path:
    """Write a dataset as one of Minari's, images byte for byte; returns its folder, `output`/`dataset_id`.

    Args:
        output: the folder of datasets; others read it with MINARI_DATASETS_PATH set to it.
        dataset_id: Minari's name of the dataset, such as "namespace/name-v0".
        data_format: "hdf5" or "arrow".

    Raises:
        DatasetError: the folder exists already.
        ModuleNotFoundError: Minari is not installed.
    """
    storage = require("minari.dataset.minari_storage").MinariStorage
    buffer = require("minari.data_collector").EpisodeBuffer
    folder = Path(output) / dataset_id
    if folder.exists():
        raise DatasetError(f"{folder} exists already: give another id or remove it")
    (folder / "data").mkdir(parents=True)
    # Minari's default for images is JPEG, which changes their bytes.
    spaces = dataset.observation_space, dataset.action_space
    written = storage.new(folder / "data", *spaces, data_format=data_format, jpeg_encoding=False)

    def buffers() -> Iterator[Any]:
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

    written.update_episodes(buffers())
    written.update_metadata(
        {"dataset_id": dataset_id, "minari_version": require("minari").__version__, "dataset_size": written.get_size()}
    )
    return folder
