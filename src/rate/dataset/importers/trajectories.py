"""Pickled trajectories of RATE's authors: T-Maze (dict of dicts) and MuJoCo (list of dicts)."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rate.dataset import DatasetError
from rate.dataset.importers import ImportOptions, Recording
from rate.dataset.importers._infer import Derived, readable
from rate.dataset.importers._pickle import load_numbers
from rate.episode import Episode
from rate.spaces import PLAIN, as_leaf

DESCRIPTION = (
    "pickled trajectories of RATE's authors: T-Maze (obs, action, rtg, done), MuJoCo "
    "(observations, actions, ...)"
)

_KEYS = {
    "rtg": ("obs", "action", "rtg", "done"),
    "rewards": ("observations", "actions", "rewards", "terminals", "next_observations", "timeouts"),
}
_OPTIONAL = ("next_observations", "timeouts")


def recognises(path: Path) -> bool:
    """Whether its name ends as a pickle's."""
    return path.suffix in (".pickle", ".pkl") and path.is_file()


def read(path: Path, options: ImportOptions) -> Recording:
    """Read a pickle of trajectories, which is held in memory.

    T-Maze: rewards are the differences of returns-to-go, and the final observation is recorded.
    MuJoCo: the final observation is the last of `next_observations` where there are any (fact
    `final_observation`), and a trajectory that is not terminal at its end was truncated. Other keys
    are ignored (fact `ignored`).

    Raises:
        DatasetError: The pickle holds anything but plain data and arrays of numbers, or no
            trajectories.
    """
    data = load_numbers(path)
    items = list(data.values()) if isinstance(data, dict) else data
    if not isinstance(items, list) or not items or not all(isinstance(one, dict) for one in items):
        raise DatasetError(
            f"{path} holds no trajectories: give a pickled list, or dict, of dicts of arrays"
        )
    observed, acted = Derived(f"{path}: observations"), Derived(f"{path}: actions")
    for number, one in enumerate(items):
        part = _part(path, number, one)
        observed.add(part["observations"])
        acted.add(part["actions"])
    observation_space = options.observation_space or observed.space()
    action_space = options.action_space or acted.space()

    def episodes() -> Iterator[Episode]:
        for number, one in enumerate(items):
            with readable(path, f"look at trajectory {number}"):
                part = _part(path, number, one)
                seen = {PLAIN: as_leaf(observation_space, part["observations"])}
                actions = as_leaf(action_space, part["actions"])
                ends = part["terminations"], part["truncations"]
                episode = Episode(seen, actions, part["rewards"], *ends)
            yield episode

    recorded = all("rtg" in one or "next_observations" in one for one in items)
    facts = {
        "format": "trajectories",
        "final_observation": "recorded" if recorded else "repeated",
        "ignored": sorted({str(key) for one in items for key in one if key not in _keys(one)}),
    }
    return Recording(observation_space, action_space, episodes, len(items), facts)


def _keys(one: Mapping[Any, Any]) -> tuple[str, ...]:
    return _KEYS["rtg" if "rtg" in one else "rewards"]


def _part(path: Path, number: int, one: Mapping[Any, Any]) -> dict[str, np.ndarray]:
    """The arrays of a trajectory under our names; observations [T + 1, ...]."""
    needed = [key for key in _keys(one) if key not in _OPTIONAL]
    for key in needed:
        if not isinstance(one.get(key), np.ndarray) or not one[key].ndim:
            raise DatasetError(
                f"{path}: trajectory {number} has no array {key!r}, got {sorted(map(str, one))}; "
                f"needed are {needed}"
            )
    with readable(path, f"look at trajectory {number}"):
        return _returns(one) if "rtg" in one else _rewards(one)


def _returns(one: Mapping[Any, Any]) -> dict[str, np.ndarray]:
    """A trajectory that records returns-to-go, one more than actions."""
    returns = one["rtg"].reshape(-1).astype(np.float64)
    done = one["done"].reshape(-1).astype(bool)
    last = np.arange(len(done)) == len(done) - 1
    return {
        "observations": one["obs"],
        "actions": one["action"].reshape(-1),
        "rewards": returns[:-1] - returns[1:],
        "terminations": done,
        "truncations": last & ~done,
    }


def _rewards(one: Mapping[Any, Any]) -> dict[str, np.ndarray]:
    """A trajectory in D4RL's names."""
    seen = one["observations"]
    final = one.get("next_observations", seen)
    terminals = one["terminals"].reshape(-1).astype(bool)
    last = np.arange(len(terminals)) == len(terminals) - 1
    return {
        "observations": np.concatenate([seen, final[-1:]]),
        "actions": one["actions"],
        "rewards": one["rewards"].reshape(-1),
        "terminations": terminals,
        "truncations": last & ~terminals,
    }
