"""Minari's datasets, in HDF5 or Arrow, by folder or by the id of one on this machine."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rate.dataset import DatasetError
from rate.dataset.importers import ImportOptions, Recording, require
from rate.dataset.importers._files import check_hdf5, check_stored, readable
from rate.dataset.importers._numbers import Fitting, fitting, flags
from rate.episode import Episode
from rate.spaces import PLAIN, leaves, usable

DESCRIPTION = (
    "Minari's dataset: its folder, or the id of one on this machine such as namespace/name-v0"
)

MOST_EPISODES = 10**8
"""More in a file are taken for damage: Minari makes an array of that many numbers at once."""


def recognises(path: Path) -> bool:
    """Whether it is, or names, a folder with Minari's metadata."""
    return _data(path) is not None


def read(path: Path, options: ImportOptions) -> Recording:
    """Read a Minari dataset; every episode has its final observation and its seed.

    Leaves that a dataset cannot hold, such as text, are left out (fact `ignored`), and actions of
    several parts become one array. Images from 32 x 32 pixels on that Minari keeps as JPEG, its
    default, are not those that were recorded (fact `lossy_images`).

    Raises:
        DatasetError: There is no such dataset, it is damaged, or a space is not supported.
    """
    data = _data(path)
    if data is None:
        raise DatasetError(
            f"{path} is no Minari dataset: give a folder with data/metadata.json, or the id of a "
            "local one"
        )
    with readable(path, "repair it or fetch it again"):
        facts = {"format": "minari", "final_observation": "recorded", **_metadata(path, data)}
        for file in data.glob("*.hdf5"):
            with require("h5py").File(file, "r") as opened:
                check_hdf5(opened)
                check_stored(opened)
        source = require("minari").MinariDataset(data)
        observed, left_out = usable(source.observation_space)
        fitted = fitting(
            (options.observation_space, options.action_space), (observed, source.action_space)
        )
        dropped = set(leaves(observed)) - set(leaves(fitted.observed))
        facts["ignored"] = sorted({*left_out, *dropped})
        is_image = require("minari.dataset.minari_storage").is_image_space
        images = any(map(is_image, leaves(observed).values()))
        facts["lossy_images"] = bool(source.storage.jpeg_encoding) and images
        seeds = _seeds(source)
        count, expected = int(source.total_episodes), int(source.total_steps)

    def episodes() -> Iterator[Episode]:
        with readable(path, "repair it or fetch it again"):
            remaining, steps = iter(source.iterate_episodes()), 0
        for number in range(count):
            with readable(path, f"look at episode {number}"):
                episode = _episode(next(remaining, None), fitted, seeds[number])
                steps += len(episode)
            yield episode
        if steps != expected:
            raise DatasetError(
                f"{path}: its episodes have {steps} steps, its metadata say {expected}"
            )

    return Recording(fitted.observed, fitted.acted, episodes, count, facts)


def _metadata(path: Path, data: Path) -> dict[str, Any]:
    """What is worth keeping of the metadata, which must state both spaces.

    Where one is missing, Minari would make the recorder's environment to ask it, and so run
    whatever the metadata name.
    """
    metadata = json.loads((data / "metadata.json").read_text(encoding="utf-8"))
    for name in ("observation_space", "action_space"):
        if not isinstance(metadata.get(name), str):
            raise DatasetError(
                f"{path}: its metadata state no {name}; write the dataset again with Minari 0.5 or "
                "later, which states it"
            )
    episodes = metadata.get("total_episodes", 0)
    if isinstance(episodes, int) and episodes > MOST_EPISODES:
        raise DatasetError(f"{path}: its metadata state {episodes} episodes; write it again")
    return {name: str(metadata.get(name, "")) for name in ("dataset_id", "data_format")}


def _seeds(source: Any) -> list[int | None]:
    """What each episode was reset with, None where that is not known."""
    rows = source.storage.get_episode_metadata(source.episode_indices)
    seeds = [row.get("seed") for row in rows]
    return [seed if isinstance(seed, int) and 0 <= seed < 2**63 else None for seed in seeds]


def _data(path: Path) -> Path | None:
    root = Path(os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets")
    for folder in (path.resolve(), path / "data", root / path / "data"):
        try:
            if folder.name == "data" and (folder / "metadata.json").is_file():
                return folder
        except OSError:
            continue
    return None


def _episode(data: Any, fitted: Fitting, seed: int | None) -> Episode:
    if data is None:
        raise ValueError("there are fewer episodes than its metadata say")
    seen, acted = dict(_by_path(data.observations)), dict(_by_path(data.actions))
    return Episode(
        fitted.observations(seen),
        fitted.actions(acted),
        data.rewards,
        flags(data.terminations, "terminations"),
        flags(data.truncations, "truncations"),
        seed,
    )


def _by_path(value: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, np.ndarray]]:
    """Arrays of a nested value by path."""
    if isinstance(value, dict | tuple):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _by_path(part, (*before, str(key)))
    else:
        yield "/".join(before) or PLAIN, np.asarray(value)
