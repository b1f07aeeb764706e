"""Folders of `.npz` files, an episode each: ViZDoom, Minigrid and others of RATE's authors."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from rate.dataset import DatasetError
from rate.dataset.importers import ImportOptions, Recording
from rate.dataset.importers._files import Lazy, known, npz_arrays, readable
from rate.dataset.importers._numbers import is_one_hot
from rate.dataset.importers._recording import recording
from rate.dataset.importers._steps import Steps, Stream, understand
from rate.spaces import PLAIN

DESCRIPTION = (
    "a folder of .npz files, one episode each (obs, action, reward, done): ViZDoom, Minigrid, "
    "Memory Maze, POPGym"
)


def recognises(path: Path) -> bool:
    """Whether it is a folder with `.npz` files in it."""
    return path.is_dir() and next(path.glob("*.npz"), None) is not None


def read(path: Path, options: ImportOptions) -> Recording:
    """Read a folder of episodes, one file at a time, in the order of the numbers in their names.

    If all files allow it, and the spaces that are asked for do, all are changed (facts `images`,
    `actions`, `alignment`):

    * Images that were divided by 255 become bytes again, exactly.
    * One-hot actions of three and more components become numbers. Where the first of them is blank,
      actions and rewards stand beside the observation that they led to, and are moved to the one
      before.
    * Observations [T, 1, D] lose their second axis.
    * Pairs of a row and a column (Battleship, MineSweeper) are MultiDiscrete, or the number
      row * size + column where a Discrete space of size * size is asked for.

    A file with as many observations as actions has none after the last: it is repeated, which is
    right only for models that never look at it (fact `final_observation`). An episode that is not
    done at its end was truncated.

    Raises:
        DatasetError: A file is damaged, holds Python objects, or lacks an array.
    """
    files = sorted(
        path.glob("*.npz"),
        key=lambda file: ([int(part) for part in re.findall(r"\d+", file.name)], file.name),
    )
    if not files:
        raise DatasetError(f"{path} holds no .npz file; give the folder that does")

    def streams() -> Iterator[Stream]:
        used = known(options.episode_ends)
        return (Stream(file, npz_arrays(file, used), file.name, closed=True) for file in files)

    reading = _survey(path, streams(), options)
    facts = {
        "format": "episodes",
        "images": "bytes that had been divided by 255" if reading.restored else "as stored",
        "actions": "numbers that had been one-hot" if reading.one_hot else "as stored",
        "alignment": "moved to the observation before" if reading.previous else "as stored",
    }
    return recording(path, streams, options, facts, reading.change)


@dataclass(frozen=True)
class _Reading:
    """How the files of a folder are read, all in the same way."""

    restored: bool
    """Whether images were divided by 255 and become bytes again."""
    one_hot: bool
    """Whether actions are one-hot and become numbers."""
    previous: bool
    """Whether actions and rewards stand beside the observation that they led to."""

    def change(self, steps: Steps) -> Steps:
        """The steps of a file, converted."""

        def change(name: str, array: Any) -> Any:
            if name == f"observations/{PLAIN}":
                if len(array.shape) == 3 and array.shape[1] == 1:
                    shape = (array.shape[0], array.shape[2])
                    return Lazy(shape, array.dtype, lambda part: np.asarray(array[part])[:, 0])
                if self.restored:
                    return Lazy(array.shape, np.uint8, lambda part: _bytes(np.asarray(array[part])))
            if name.startswith("observations/") or not array.shape:
                return array
            if self.one_hot and name == f"actions/{PLAIN}":
                array = array[:].argmax(1)
            return array[1 : len(array)] if self.previous else array

        return steps.view(change, steps.where, True)


def _survey(path: Path, streams: Iterator[Stream], options: ImportOptions) -> _Reading:
    """Read all files once, to see what is true of all."""
    observed, acted = options.observation_space, options.action_space
    restored = observed is None or observed.dtype == np.uint8
    one_hot = acted is None or isinstance(acted, spaces.Discrete)
    blank = set()
    for stream in streams:
        with readable(stream.path, "repair the file or take it out"):
            (steps,) = understand(stream, options.episode_ends)
            restored = restored and _is_divided(steps.leaves["observations"].get(PLAIN))
            actions = steps.leaves["actions"].get(PLAIN)
            one_hot = one_hot and actions is not None and _is_hot(actions)
            blank.add(one_hot and not np.any(actions[0:1]))  # type: ignore[index]
    if one_hot and len(blank) > 1:
        raise DatasetError(
            f"{path}: the first action is blank in some files and not in others; "
            "import the files of each recorder alone"
        )
    previous = options.previous_actions or (one_hot and blank == {True})
    return _Reading(restored, one_hot, previous)


def _is_divided(array: Any) -> bool:
    """Whether these are images whose bytes were divided by 255."""
    if array is None or len(array.shape) != 4 or array.dtype.kind != "f" or not len(array):
        return False
    values = array[0 : len(array)]
    if not (values.min() >= 0 and values.max() <= 1):
        return False
    return bool((np.abs(_bytes(values) / np.float32(255) - values) < 1e-6).all())


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(values * values.dtype.type(255)).astype(np.uint8)


def _is_hot(array: Any) -> bool:
    """Whether each row has a single 1 among three entries or more; the first may be blank."""
    if len(array.shape) != 2 or array.shape[1] < 3 or not len(array):
        return False
    rows = array[0 : len(array)]
    return is_one_hot(rows[1:] if len(rows) > 1 and not rows[0].any() else rows)
