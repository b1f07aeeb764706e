"""Steps out of named arrays: all in a row, padded episodes, or those of several environments."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from rate.dataset import DatasetError
from rate.dataset.importers._files import Lazy
from rate.dataset.importers._numbers import flags
from rate.dataset.importers._roles import BUFFER, STRUCTURED, Place, place, resembles
from rate.spaces import PLAIN


@dataclass(frozen=True)
class Stream:
    """Arrays of a file, as it names them."""

    path: Path
    """The file."""
    arrays: Mapping[str, Any]
    """By name: arrays, what slices to them, or lists; None for what is not read."""
    where: str = ""
    """How messages name a part of the file, such as "trajectory 3"."""
    closed: bool = False
    """Whether the arrays are one whole episode."""


@dataclass(frozen=True)
class Steps:
    """Arrays of consecutive steps, by what they are."""

    leaves: dict[str, dict[str, Any]]
    """Observations, next observations and actions, by leaf."""
    rewards: Any
    """Rewards."""
    marks: dict[str, dict[str, Any]]
    """Other arrays, by role and name."""
    where: str
    """How messages name them; empty where they are all of a file."""
    closed: bool
    """Whether they are one whole episode."""
    ignored: set[str] = field(default_factory=set)
    """Names of arrays that are left out."""
    warnings: set[str] = field(default_factory=set)
    """What may be wrong with that."""

    def view(self, change: Callable[[str, Any], Any], where: str, closed: bool) -> "Steps":
        """The same arrays, each changed by a function of its name and itself."""
        leaves = {
            role: {path: change(f"{role}/{path}", array) for path, array in found.items()}
            for role, found in self.leaves.items()
        }
        marks = {
            role: {name: change(name, array) for name, array in found.items()}
            for role, found in self.marks.items()
            if role not in ("lengths", "mask", *BUFFER)
        }
        rewards = change("rewards", self.rewards)
        return replace(
            self, leaves=leaves, marks=marks, rewards=rewards, where=where, closed=closed
        )


def understand(stream: Stream, ends: str = "") -> list[Steps]:
    """The steps of a stream: one of all, or one for each row or environment of its arrays.

    Args:
        stream: Arrays by name.
        ends: Name of an array that marks ends whatever it is called.

    Raises:
        DatasetError: An array is missing, or has a shape that does not fit the others.
    """
    steps = _named(stream, ends)
    shape = steps.rewards.shape
    if "environments" in steps.marks:
        return _environments(steps)
    if len(shape) == 1:
        return [steps]
    if len(shape) == 2 and not stream.closed:
        return _rows(steps)
    raise DatasetError(f"rewards are {shape}; all arrays begin with [N] or [E, T]")


def _named(stream: Stream, ends: str) -> Steps:
    """Arrays by what their names say, and the names of those that are left out."""
    arrays = {str(name): _array(array) for name, array in stream.arrays.items()}
    places = {name: found for name in arrays if (found := place(name))}
    if ends in arrays:
        places[ends] = Place("ends", 0, ends, "")
    groups = {role: _preferred(role, places, arrays) for role in (*STRUCTURED, "rewards")}
    marks: dict[str, dict[str, Any]] = {}
    for name, one in places.items():
        if one.role not in groups and arrays[name] is not None:
            marks.setdefault(one.role, {})[name] = arrays[name]
    if "environments" not in marks:
        marks = {role: found for role, found in marks.items() if role not in BUFFER}
    used = {id(array) for found in (*groups.values(), *marks.values()) for array in found.values()}
    returns = marks.pop("returns_to_go", {})
    for name, array in returns.items() if not groups["rewards"] else ():
        sums = np.asarray(array[:], np.float64).reshape(-1)  # one more than there are rewards
        groups["rewards"][name] = sums[:-1] - sums[1:]
    for role in ("observations", "actions", "rewards"):
        if not groups[role]:
            raise DatasetError(
                f"{stream.where or 'it'} has no array {role!r}, got {sorted(arrays)}; a recording "
                "has observations, actions, rewards and what marks its ends"
            )
    rewards = next(iter(groups.pop("rewards").values()))
    padded = not stream.closed and ("lengths" in marks or "mask" in marks)
    rewards = column(rewards, 2 if padded and len(rewards.shape) > 1 else 1)
    steps = Steps(groups, rewards, marks, stream.where, stream.closed)
    for name, array in arrays.items():
        if id(array) not in used:
            _leave(steps, name, array)
    _drop_unsupported(steps)
    return steps


def _preferred(role: str, places: Mapping[str, Place], arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays of a role by leaf, of its preferred spelling."""
    fit = {
        name: one
        for name, one in places.items()
        if one.role == role and getattr(arrays[name], "shape", None)
    }
    group = min([(one.rank, one.group) for one in fit.values()], default=(0, ""))[1]
    return {one.leaf or PLAIN: arrays[name] for name, one in fit.items() if one.group == group}


def _leave(steps: Steps, name: str, array: Any) -> None:
    steps.ignored.add(name)
    if (kind := resembles(name)) and (array is None or array.shape):
        advice = "; if it is, name it with --episode-ends" if "ends" in kind else ""
        steps.warnings.add(f"{name} is not used, and looks like {kind}{advice}")


def _drop_unsupported(steps: Steps) -> None:
    """Leave out leaves of observations that no space can hold, as long as others remain."""
    observations = steps.leaves["observations"]
    for path, array in list(observations.items()):
        if len(observations) > 1 and (
            array.dtype.kind not in "biuf" or not math.prod(array.shape[1:])
        ):
            del observations[path]
            steps.ignored.add(f"observations/{path}")
            steps.warnings.add(
                f"observations/{path} holds {array.dtype} of the shape {array.shape[1:]}, which is "
                "left out"
            )


def _array(value: Any) -> Any:
    """A value with a shape, None where it is of no rectangular one."""
    if value is None or hasattr(value, "shape"):
        return value
    try:
        return np.asarray(value)
    except ValueError:
        return None


def column(array: Any, least: int = 1) -> Any:
    """An array without axes of one behind its first `least` axes."""
    shape = array.shape
    while len(shape) > least and shape[-1] == 1:
        shape = shape[:-1]
    if not (dropped := len(array.shape) - len(shape)):
        return array

    def read(part: Any) -> np.ndarray:
        rows = np.asarray(array[part])
        return rows.reshape(rows.shape[: rows.ndim - dropped])

    return Lazy(shape, array.dtype, read)


def _rows(steps: Steps) -> list[Steps]:
    """Padded episodes, the rows of arrays [E, T, ...]."""
    count, most = steps.rewards.shape
    if not count * most:
        raise DatasetError("it holds no step")
    lengths = _lengths(steps.marks, count, most)

    def row(index: int) -> Steps:
        length = int(lengths[index])

        def change(name: str, array: Any) -> Any:
            more = name.startswith("observations/") and array.shape[1:2] == (most + 1,)
            if array.shape == (count,):
                return np.asarray(array[index : index + 1])[0]
            if array.shape[:2] != (count, most + more):
                raise DatasetError(
                    f"{name.removesuffix('/' + PLAIN)} is {array.shape}, rewards are "
                    f"{(count, most)}; all begin with [N] or [E, T]"
                )
            return _view(array, length + more, array.shape[2:], lambda part: (index, part))

        return steps.view(change, f"episode {index}", True)

    return list(map(row, range(count)))


def _view(array: Any, length: int, shape: tuple[int, ...], index: Callable[[slice], Any]) -> Lazy:
    read = lambda part: np.asarray(array[index(part)])  # noqa: E731
    return Lazy((length, *shape), array.dtype, read)


def _lengths(marks: Mapping[str, Mapping[str, Any]], count: int, most: int) -> np.ndarray:
    """How long each of the padded episodes is."""
    lengths = np.full(count, most)
    for array in marks.get("mask", {}).values():
        mask = flags(array[:], "mask")
        lengths = mask.sum(-1)
        if mask.shape != (count, most) or (mask != (np.arange(most) < lengths[:, None])).any():
            raise DatasetError(
                f"mask must be {(count, most)}, true for an episode's first steps and for no other"
            )
    for array in marks.get("lengths", {}).values():
        lengths = np.asarray(array[()])
    whole = lengths.shape == (count,) and (lengths == np.floor(lengths)).all()
    if not whole or (lengths < 1).any() or (lengths > most).any():
        raise DatasetError(f"lengths must be {count} whole numbers from 1 to {most}, got {lengths}")
    return lengths


def _environments(steps: Steps) -> list[Steps]:
    """The steps of each environment in arrays [T, environments, ...] of Stable-Baselines3.

    A buffer that was filled begins at `pos`. What a RolloutBuffer was trained from is [environments
    * T, ...].
    """
    scalars = {
        role: int(np.asarray(next(iter(steps.marks[role].values()))[()]).reshape(()))
        for role in BUFFER
        if role in steps.marks
    }
    count, shape = scalars["environments"], (*steps.rewards.shape, 1)[:2]
    size = shape[0]
    if count < 1 or shape[1] != count:
        raise DatasetError(f"rewards are {shape}, but there are {count} environments")
    start = scalars.get("position", size)
    order = np.arange(start)
    if scalars.get("full"):
        # Without next observations, the newest observation stands in the place of the oldest.
        lost = "starts" not in steps.marks and not steps.leaves["next_observations"]
        order = np.r_[start + (lost and start < size) : size, :start]

    def environment(column: int) -> Steps:
        def change(name: str, array: Any) -> Any:
            flattened = name.partition("/")[0] in STRUCTURED and array.shape[0] == size * count
            if flattened and (count > 1 or scalars.get("flattened")):
                first, rest = column * size, array.shape[1:]
                return _view(array, len(order), rest, lambda part: first + order[part])
            if array.shape[:1] != (size,) or (*array.shape, 1)[1] != count:
                raise DatasetError(f"{name} is {array.shape}, rewards are {(size, count)}")
            if len(array.shape) == 1:
                return _view(array, len(order), (), lambda part: order[part])
            return _view(array, len(order), array.shape[2:], lambda part: (order[part], column))

        return steps.view(change, f"environment {column}", False)

    return list(map(environment, range(count)))
