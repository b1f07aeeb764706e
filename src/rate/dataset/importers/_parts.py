"""Episodes as parts of steps: where they begin and end, and how."""

from typing import Any, NamedTuple

import numpy as np

from rate.dataset import DatasetError
from rate.dataset.importers._numbers import flags
from rate.dataset.importers._roles import MARKS
from rate.dataset.importers._steps import Steps
from rate.spaces import PLAIN

OTHERS = ("ends", "starts", "numbers", "lengths")
"""Roles of arrays that say where episodes end and not how."""


class Part(NamedTuple):
    """An episode as a part of steps."""

    start: int
    """Its first step."""
    stop: int
    """The step after its last."""
    seen: int
    """Row of its first observation."""
    final: bool
    """Whether the observations hold the one after its last action."""
    terminated: bool
    """Whether its last step terminated it."""
    truncated: bool
    """Whether it was cut off after its last step."""


def split(steps: Steps) -> list[Part]:
    """The episodes among steps.

    A step at which an array of terminations is true terminates. One at which only an array of other
    ends is true truncates, unless that array is called done and nothing else tells the two apart.
    Truncations count as they are recorded, on steps that terminate as well. Steps behind the last
    mark are an episode that ends in neither.

    Args:
        steps: Arrays of consecutive steps.

    Raises:
        ValueError: Arrays have different lengths, or a whole episode ends before its last step.
    """
    count = len(steps.rewards)
    if not count:
        raise ValueError("it holds no step")
    for name, array in {
        **_by_name(steps, "actions"),
        **_by_name(steps, "next_observations"),
    }.items():
        if len(array) != count:
            raise ValueError(f"{name}: {len(array)} entries, but {count} rewards need {count}")
    terminated, truncated = _marked(steps, count)
    over = terminated | truncated
    if steps.closed and over[:-1].any():
        raise ValueError(
            f"the episode ends at step {int(over.argmax())}, before its last step {count - 1}; "
            "give lengths or a mask of padding, or split it where episodes end"
        )
    stops = [*(np.flatnonzero(over) + 1).tolist(), *([] if over[-1] else [count])]
    final = _final(steps, count, len(stops))
    parts = []
    for number, (start, stop) in enumerate(zip([0, *stops[:-1]], stops, strict=True)):
        last = bool(terminated[stop - 1]), bool(truncated[stop - 1])
        parts.append(Part(start, stop, start + number * final, final, *last))
    return _without_dummies(steps, parts)


def _by_name(steps: Steps, role: str) -> dict[str, Any]:
    return {
        role if path == PLAIN else f"{role}/{path}": array
        for path, array in steps.leaves[role].items()
    }


def _marked(steps: Steps, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Where steps terminate, and where episodes are cut off."""
    found: dict[str, np.ndarray] = {}
    for role in (*MARKS, "mask", "lengths"):
        for name, array in steps.marks.get(role, {}).items():
            found[role] = found.get(role, np.zeros(count, bool)) | _flagged(
                role, name, array, count
            )
    none = np.zeros(count, bool)
    truncated = found.get("truncations", none).copy()
    kinds = [found[role] for role in ("terminations", "continues", "mask") if role in found]
    done = found.get("dones", none)
    terminated = np.any(kinds, 0) if kinds else done & ~truncated
    over = np.any([terminated, truncated, done, *(found.get(role, none) for role in OTHERS)], 0)
    over[-1] |= steps.closed
    return terminated, truncated | (over & ~terminated)


def _flagged(role: str, name: str, array: Any, count: int) -> np.ndarray:
    """The steps at which an array says that an episode ends."""
    values = np.asarray(array[0 : len(array)] if array.shape else array[()])
    values = values.reshape(-1) if values.size == (*values.shape, 1)[0] else values
    if role == "lengths":
        return _at(np.cumsum(values) - 1, count) if values.sum() == count else _at([], count)
    if role in ("ends", "starts") and _is_index(values, count):
        return _at(_last_steps(role, name, values, count), count)
    if role == "numbers" and values.shape == (count,):
        return np.append(values[1:] != values[:-1], True)
    given = flags(values, name)
    if array.shape == ():
        return _at([count - 1] if given else [], count)
    if given.shape != (count,):
        raise DatasetError(f"{name}: {len(given)} entries, but {count} rewards need {count}")
    if role == "starts":
        return np.append(given[1:], False)
    return ~given if role in ("continues", "mask") else given


def _at(positions: Any, count: int) -> np.ndarray:
    result = np.zeros(count, bool)
    result[np.asarray(positions, np.int64)] = True
    return result


def _is_index(values: np.ndarray, count: int) -> bool:
    """Whether these are increasing positions of steps, not flags."""
    if values.dtype.kind not in "iu" or values.ndim != 1 or not len(values):
        return False
    return (len(values) != count or values.max() > 1) and bool((np.diff(values) > 0).all())


def _last_steps(role: str, name: str, values: np.ndarray, count: int) -> np.ndarray:
    """Last steps of episodes from where each ends, the step itself or the one behind it, or from
    where each starts."""
    last = int(values[-1])
    if role == "starts" and values[0] == 0 and last < count:
        return np.append(values[1:], count) - 1
    if role == "ends" and values[0] >= 0 and last in (count, count - 1):
        return values - (last == count)
    raise DatasetError(f"{name} reaches from {values[0]} to {last}, but there are {count} steps")


def _final(steps: Steps, count: int, episodes: int) -> bool:
    """Whether each episode has one observation more than it has steps."""
    for name, array in _by_name(steps, "observations").items():
        if len(array) not in (count, count + episodes):
            raise ValueError(
                f"{name}: {len(array)} entries, but {count} rewards need {count + episodes} with "
                f"the final observation of each episode, or {count} without"
            )
    lengths = {len(array) for array in steps.leaves["observations"].values()}
    if len(lengths) > 1:
        raise DatasetError(f"observations have {sorted(lengths)} entries; give as many of each")
    return lengths == {count + episodes}


def _without_dummies(steps: Steps, parts: list[Part]) -> list[Part]:
    """The episodes of RLDS, whose last step (`is_last`) only holds the final observation.

    Its action and reward are then zero in every episode.
    """
    names = [name.rpartition("/")[2].lower() for name in steps.marks.get("ends", {})]
    arrays = [steps.rewards, *steps.leaves["actions"].values()]
    finals = any(part.final for part in parts) or steps.leaves["next_observations"]
    if (
        "is_last" not in names
        or finals
        or any(np.any(array[part.stop - 1 : part.stop]) for part in parts for array in arrays)
    ):
        return parts
    shorter = [part._replace(stop=part.stop - 1, final=True) for part in parts]
    return [part for part in shorter if part.stop > part.start]
