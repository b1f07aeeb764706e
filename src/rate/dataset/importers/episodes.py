"""Folders of `.npz` files, an episode each: ViZDoom, Minigrid and others of RATE's authors."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from rate.dataset import DatasetError
from rate.dataset.importers import ImportOptions, Recording
from rate.dataset.importers._infer import Derived, load_npz, readable
from rate.episode import Episode
from rate.spaces import PLAIN, as_leaf

DESCRIPTION = (
    "a folder of .npz files, one episode each (obs, action, reward, done): ViZDoom, Minigrid, "
    "Memory Maze, POPGym"
)

_NEEDED = ("obs", "action", "reward")


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
    reading = _survey(files, options)

    def episodes() -> Iterator[Episode]:
        for file in files:
            with readable(file, "repair the file or take it out"):
                episode = reading.episode(_load(file))
            yield episode

    facts = {"format": "episodes", **reading.facts}
    return Recording(reading.observation_space, reading.action_space, episodes, len(files), facts)


@dataclass(frozen=True)
class _Reading:
    """How the files of a folder are read, all in the same way."""

    observation_space: gymnasium.Space[Any]
    """Space of observations."""
    action_space: gymnasium.Space[Any]
    """Space of actions."""
    restored: bool
    """Whether images were divided by 255 and become bytes again."""
    one_hot: bool
    """Whether actions are one-hot and become numbers."""
    previous: bool
    """Whether actions and rewards stand beside the observation that they led to."""
    facts: dict[str, Any]
    """What to note in the dataset's provenance."""

    def episode(self, arrays: dict[str, np.ndarray]) -> Episode:
        """An episode from the arrays of its file."""
        seen, actions = arrays["obs"], arrays["action"]
        rewards, done = arrays["reward"], arrays["done"]
        seen = _bytes(seen) if self.restored else seen
        actions = actions.argmax(1) if self.one_hot else _numbered(actions, self.action_space)
        if self.previous:
            actions, rewards, done = actions[1:], rewards[1:], done[1:]
        steps = len(rewards)
        if not steps:
            raise ValueError("it holds no step")
        if len(seen) == steps:
            seen = np.concatenate([seen, seen[-1:]])
        last = np.arange(steps) == steps - 1
        return Episode(
            {PLAIN: as_leaf(self.observation_space, seen)},
            as_leaf(self.action_space, actions),
            rewards,
            done,
            last & ~done,
        )


def _survey(files: list[Path], options: ImportOptions) -> _Reading:
    """Read all files once, to see what is true of all."""
    stored, divided = Derived("observations"), Derived("observations")
    plain, numbered = Derived("actions"), Derived("actions")
    observed, acted = options.observation_space, options.action_space
    restored = observed is None or observed.dtype == np.uint8
    one_hot = acted is None or isinstance(acted, spaces.Discrete)
    blank, more, ignored = set(), set(), set()
    for file in files:
        arrays = _load(file)
        with readable(file, "repair the file or take it out"):
            seen, actions = arrays["obs"], arrays["action"]
            restored, one_hot = restored and _is_divided(seen), one_hot and _is_one_hot(actions)
            blank.add(one_hot and not actions[0].any())
            more.add(len(seen) - len(actions))
            ignored |= set(arrays) - {*_NEEDED, "done"}
            if observed is None:
                stored.add(seen)
                if restored:
                    divided.add(_bytes(seen))
            if acted is None:
                plain.add(_numbered(actions, None))
                if one_hot:
                    numbered.add(actions.argmax(1))
    if one_hot and len(blank) > 1:
        raise DatasetError(
            f"{files[0].parent}: the first action is blank in some files and not in others; "
            "import the files of each recorder alone"
        )
    previous = options.previous_actions or (one_hot and blank == {True})
    facts = {
        "images": "bytes that had been divided by 255" if restored else "as stored",
        "actions": "numbers that had been one-hot" if one_hot else "as stored",
        "alignment": "moved to the observation before" if previous else "as stored",
        "final_observation": "recorded" if previous or more == {1} else "repeated",
        "ignored": sorted(ignored),
    }
    observation_space = observed or (divided if restored else stored).space()
    action_space = acted or (numbered if one_hot else plain).space()
    return _Reading(observation_space, action_space, restored, one_hot, previous, facts)


def _load(file: Path) -> dict[str, np.ndarray]:
    """The arrays of one episode, with steps counted along the first axis."""
    arrays = load_npz(file)
    missing = [name for name in _NEEDED if name not in arrays]
    if missing:
        raise DatasetError(
            f"{file} has no {', '.join(missing)}, got {sorted(arrays)}; an episode's file "
            "has obs, action, reward and done"
        )
    if not all(arrays[name].ndim and len(arrays[name]) for name in _NEEDED):
        raise DatasetError(f"{file} holds no step; take it out")
    rewards = arrays["reward"].reshape(-1)
    done = arrays.get("done", np.zeros(len(rewards))).reshape(-1).astype(bool)
    seen = arrays["obs"]
    if seen.ndim == 3 and seen.shape[1] == 1:
        seen = seen[:, 0]
    return {**arrays, "obs": seen, "reward": rewards, "done": done}


def _is_divided(values: np.ndarray) -> bool:
    """Whether these are images whose bytes were divided by 255."""
    if values.ndim != 4 or values.dtype.kind != "f":
        return False
    if not (values.min() >= 0 and values.max() <= 1):
        return False
    return bool((np.abs(_bytes(values) / np.float32(255) - values) < 1e-6).all())


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(values * values.dtype.type(255)).astype(np.uint8)


def _is_one_hot(actions: np.ndarray) -> bool:
    """Whether each row has a single 1 among three entries or more; the first may be blank."""
    if actions.ndim != 2 or actions.shape[1] < 3 or actions.dtype.kind not in "biuf":
        return False
    rows = actions[1:] if len(actions) > 1 and not actions[0].any() else actions
    return bool(np.isin(actions, (0, 1)).all() and (rows.sum(1) == 1).all())


def _numbered(actions: np.ndarray, space: gymnasium.Space[Any] | None) -> np.ndarray:
    """Whole numbers [T, 1] as [T], and rows and columns as one number for a Discrete space."""
    if actions.dtype.kind not in "biu" or actions.ndim != 2:
        return actions
    if actions.shape[1] == 1 and (space is None or not space.shape):
        return actions[:, 0]
    if actions.shape[1] == 2 and isinstance(space, spaces.Discrete) and space.start == 0:
        size = math.isqrt(int(space.n))
        if size * size != space.n or actions.min() < 0 or actions.max() >= size:
            raise ValueError(
                f"rows and columns reach from {actions.min()} to {actions.max()}, which is no "
                f"board of {space.n} fields; give Discrete(size * size), or "
                "MultiDiscrete([rows, columns])"
            )
        return actions[:, 0] * size + actions[:, 1]
    return actions
