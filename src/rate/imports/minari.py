"""Minari's datasets, in HDF5 or Arrow: a folder of one, or the id of one that Minari has stored on this machine."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rate.dataset import DatasetError
from rate.episode import Episode
from rate.imports import Recording, Wishes, require
from rate.spaces import as_leaf, flatten, leaves

DESCRIPTION = "Minari's dataset: its folder, or the id of one on this machine such as namespace/name-v0"


def recognises(path: Path) -> bool:
    """Whether it is, or names, a folder with Minari's metadata."""
    return _data(path) is not None


def read(path: Path, wishes: Wishes) -> Recording:
    """Read a Minari dataset; spaces are those it states, and every episode has its final observation.

    Raises:
        DatasetError: there is no such dataset, it is damaged, or a space is not supported.
    """
    data = _data(path)
    if data is None:
        raise DatasetError(
            f"{path} is no Minari dataset: give a folder with data/metadata.json, or the id of a local one"
        )
    minari = require("minari")
    try:
        source = minari.MinariDataset(data)
        observed = wishes.observation_space or source.observation_space
        acted = wishes.action_space or source.action_space
        for space in (observed, acted):
            leaves(space)
    except Exception as error:  # a damaged folder fails in Minari in many ways
        raise DatasetError(f"{path} cannot be read by Minari: {error}; repair or fetch it again") from error

    def episodes() -> Iterator[Episode]:
        remaining = iter(source.iterate_episodes())
        for number in range(int(source.total_episodes)):
            try:
                yield _episode(next(remaining), observed, acted)
            except GeneratorExit:
                raise
            except Exception as error:
                raise DatasetError(f"{path}: episode {number} cannot be read: {error}") from error

    facts = {"format": "minari", "final_observation": "recorded"}
    return Recording(observed, acted, episodes, int(source.total_episodes), facts)


def _data(path: Path) -> Path | None:
    root = Path(os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets")
    for folder in (path, path / "data", root / path / "data"):
        try:
            if folder.name == "data" and (folder / "metadata.json").is_file():
                return folder
        except OSError:
            continue
    return None


def _episode(data: Any, observed: Any, acted: Any) -> Episode:
    return Episode(
        flatten(observed, data.observations),
        as_leaf(acted, data.actions),
        data.rewards,
        np.asarray(data.terminations).astype(bool),
        np.asarray(data.truncations).astype(bool),
    )
