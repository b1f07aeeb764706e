"""A dataset of several folders: shards, whose episodes follow one another.

A shard is a dataset of its own, with a card and hashes. Shards are given as several folders, or as
one folder that holds their folders, taken in the order of their names. Their arrays stay
memory-mapped where they are: rows are read from the shards that hold them, and nothing is copied.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rate.dataset.card import CARD, DatasetError
from rate.dataset.frames import SharedFrames
from rate.messages import brief
from rate.storage.untrusted import inside

Folders = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

ALWAYS_IN_MEMORY = ("episode_offsets", "seeds")
"""Arrays of one number an episode, which every batch asks for."""


class JoinedArray:
    """Arrays [n_i, ...] that read like one array of all their rows.

    Args:
        parts: The arrays, of one dtype and row shape.
        added: Numbers that are added to the rows of each.
    """

    def __init__(self, parts: Sequence[Any], added: Sequence[int] | None = None) -> None:
        self.parts, self.added = list(parts), added
        lengths = [len(part) for part in parts]
        self.ends = np.cumsum(lengths)
        self.starts = self.ends - lengths
        self.dtype, self.shape = parts[0].dtype, (int(self.ends[-1]), *parts[0].shape[1:])
        self.nbytes = sum(part.nbytes for part in parts)
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, slice):
            return self._slice(*rows.indices(len(self)))
        rows = np.asarray(rows)
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)
        taken = self.take(np.where(rows < 0, rows + len(self), rows))
        return taken if rows.ndim else taken[()]

    def take(self, rows: np.ndarray, axis: int = 0) -> np.ndarray:
        """The rows of these numbers, in their shape.

        Raises:
            IndexError: there is no such row.
        """
        flat = np.asarray(rows).reshape(-1)
        if len(flat) and not (flat.min() >= 0 and flat.max() < len(self)):
            raise IndexError(f"rows {flat.min()} to {flat.max()} of an array of {len(self)}")
        result = np.empty((len(flat), *self.shape[1:]), self.dtype)
        which = np.searchsorted(self.ends, flat, side="right")
        for index in np.unique(which):
            here = np.flatnonzero(which == index)
            result[here] = self._read(index, flat[here] - self.starts[index])
        return result.reshape(*np.shape(rows), *self.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All rows, in memory."""
        rows: np.ndarray = self[:]
        return rows if dtype is None else rows.astype(dtype)

    def _slice(self, start: int, stop: int, step: int) -> np.ndarray:
        if step != 1:
            return self.take(np.arange(start, stop, step))
        pieces = [
            self._read(index, slice(max(start - first, 0), min(stop, last) - first))
            for index, (first, last) in enumerate(zip(self.starts, self.ends, strict=True))
            if start < last and first < stop
        ]
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces) if pieces else np.empty((0, *self.shape[1:]), self.dtype)

    def _read(self, index: int, rows: Any) -> np.ndarray:
        part = self.parts[index]
        values: np.ndarray = part[rows] if isinstance(rows, slice) else part.take(rows, axis=0)
        return values + self.added[index] if self.added is not None else values


def shards_of(path: Folders) -> list[Path]:
    """The folders of a dataset's shards; one for a dataset of one folder."""
    several = [path] if isinstance(path, str | os.PathLike) else list(path)
    if not several:
        raise DatasetError("a dataset needs at least one folder")
    return [shard for one in several for shard in _inside(Path(one))]


def _inside(folder: Path) -> list[Path]:
    """The folders with a card in a folder that has none; else that folder."""
    if (folder / CARD).exists() or not folder.is_dir():
        return [folder]
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    found = [inside(folder, name, error=DatasetError) for name in names]
    return [one for one in found if (one / CARD).exists()] or [folder]


def is_dataset(path: Folders) -> bool:
    """Whether there is a dataset in this folder, or a shard in each of these."""
    return all((shard / CARD).exists() for shard in shards_of(path))


def joined_card(cards: Sequence[Mapping[str, Any]], folders: Sequence[Path]) -> dict[str, Any]:
    """The card of the dataset that shards make up, without statistics of lengths and returns.

    Raises:
        DatasetError: two shards have other spaces, or are the same data.
    """
    for card, folder in zip(cards, folders, strict=True):
        for key in ("observation_space", "action_space"):
            if card[key] != cards[0][key]:
                raise DatasetError(
                    f"{folder} has the {key.replace('_', ' ')} {brief(card[key])}, but "
                    f"{folders[0]} has {brief(cards[0][key])}: shards of one dataset have the same "
                    "spaces; import or collect them with the same ones"
                )
    hashes = [card["content_hash"] for card in cards]
    if len(set(hashes)) < len(hashes):
        twice = next(index for index, one in enumerate(hashes) if one in hashes[:index])
        raise DatasetError(
            f"{folders[twice]} holds the same data as {folders[hashes.index(hashes[twice])]}: name "
            "each shard once"
        )
    tasks = {card["task"] for card in cards}
    counts = np.array([card["steps"] + card["episodes"] for card in cards], np.float64)
    everywhere = set.intersection(*(set(card["normalisation"]) for card in cards))
    return {
        "task": tasks.pop() if len(tasks) == 1 else None,
        "provenance": {"shards": len(cards)},
        "observation_space": cards[0]["observation_space"],
        "action_space": cards[0]["action_space"],
        "episodes": sum(card["episodes"] for card in cards),
        "steps": sum(card["steps"] for card in cards),
        "normalisation": {
            leaf: _moments([card["normalisation"][leaf] for card in cards], counts)
            for leaf in cards[0]["normalisation"]
            if leaf in everywhere
        },
        "arrays": {},
        "content_hash": hashlib.sha256(" ".join(hashes).encode()).hexdigest(),
    }


def joined_arrays(shards: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The arrays of shards, one behind the other."""
    steps = np.cumsum([0, *(shard["episode_offsets"][-1] for shard in shards)])
    offsets = [
        shard["episode_offsets"][1:] + before
        for shard, before in zip(shards, steps[:-1], strict=True)
    ]
    arrays: dict[str, Any] = {"episode_offsets": np.concatenate([np.zeros(1, np.int64), *offsets])}
    for name, first in shards[0].items():
        parts = [shard[name] for shard in shards]
        if name in arrays:
            continue
        if name in ALWAYS_IN_MEMORY:
            arrays[name] = np.concatenate(parts)
        elif isinstance(first, SharedFrames):
            counts = np.cumsum([0, *(len(part.frames) for part in parts)])
            numbers = JoinedArray([part.numbers for part in parts], counts[:-1].tolist())
            frames: Any = JoinedArray([part.frames for part in parts])
            arrays[name] = SharedFrames(frames, numbers)  # type: ignore[arg-type]
        else:
            arrays[name] = JoinedArray(parts)
    return arrays


def _moments(parts: Sequence[Mapping[str, Any]], counts: np.ndarray) -> dict[str, Any]:
    """Statistics of all rows from those of each shard, which has so many rows."""
    mean, std = (np.array([part[key] for part in parts], np.float64) for key in ("mean", "std"))
    weights = (counts / counts.sum()).reshape(-1, *[1] * (mean.ndim - 1))
    center = (weights * mean).sum(0)
    variance = (weights * (std**2 + (mean - center) ** 2)).sum(0)
    merged = {"mean": center.tolist(), "std": np.sqrt(variance).tolist()}
    limits: dict[str, Callable[..., Any]] = {"min": np.min, "max": np.max}
    for key, least_or_most in limits.items():
        if key in parts[0]:
            merged[key] = least_or_most([part[key] for part in parts], axis=0).tolist()
    return merged


def allow_open_files(count: int) -> None:
    """Let this process keep so many files open, as far as the system allows it."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + 512  # for everything else
    if soft != resource.RLIM_INFINITY and soft < needed:
        most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
