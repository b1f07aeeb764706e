"""Actions of several parts as one array, which datasets hold and policies choose."""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from rate.spaces.checks import nearest
from rate.spaces.structure import leaves, unflatten

_Categories = spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary


def is_array(space: gymnasium.Space[Any]) -> bool:
    """Whether values of the space are one array for which there is a head."""
    return isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.Box)


def joined(space: gymnasium.Space[Any]) -> gymnasium.Space[Any]:
    """The space of one array that holds all leaves of a Dict, Tuple or MultiBinary space.

    Leaves that are all choices become a MultiDiscrete space that counts from 0; leaves that are all
    Box become one Box. A space whose values are one array already stays as it is.

    Args:
        space: A space of actions.

    Raises:
        ValueError: The leaves are of both kinds, or of a kind that is not supported.
    """
    if is_array(space):
        return space
    parts = list(leaves(space).values())
    if all(isinstance(part, _Categories) for part in parts):
        return spaces.MultiDiscrete(np.concatenate([_counts(part).ravel() for part in parts]))
    if all(isinstance(part, spaces.Box) for part in parts):
        dtype = np.result_type(*(np.dtype(part.dtype) for part in parts))
        low, high = (
            np.concatenate([np.ravel(getattr(part, bound)).astype(dtype) for part in parts])
            for bound in ("low", "high")
        )
        return spaces.Box(low, high, dtype=dtype.type)
    raise ValueError(
        f"the actions {space} mix choices and numbers, and no head puts out both: "
        "write a wrapper that takes a Discrete, MultiDiscrete or Box action"
    )


def join(space: gymnasium.Space[Any], by_path: Mapping[str, np.ndarray]) -> np.ndarray:
    """Leaves [T, ...] of a space as one array [T, n] of its `joined` space."""
    columns = []
    for path, part in leaves(space).items():
        numbers = np.asarray(by_path[path])
        if isinstance(part, spaces.Discrete | spaces.MultiDiscrete):
            numbers = numbers - part.start
        columns.append(numbers.reshape(len(numbers), -1))
    return np.concatenate(columns, 1).astype(joined(space).dtype)


def separate(space: gymnasium.Space[Any], array: np.ndarray) -> Any:
    """One array of the `joined` space as a value of the space; the inverse of `join`."""
    by_path, begin = {}, 0
    for path, part in leaves(space).items():
        shape = part.shape or ()
        size = int(np.prod(shape))
        numbers = np.reshape(array[begin : begin + size], shape)
        if isinstance(part, spaces.Discrete | spaces.MultiDiscrete):
            numbers = numbers + part.start
        if isinstance(part, spaces.Box):
            leaf = nearest(part, numbers)
        else:
            leaf = np.asarray(numbers).astype(part.dtype)
        # Environments look up a single choice, so it is a number.
        by_path[path] = leaf[()] if isinstance(part, spaces.Discrete) else leaf
        begin += size
    return unflatten(space, by_path)


def _counts(space: gymnasium.Space[Any]) -> np.ndarray:
    if isinstance(space, spaces.MultiBinary):
        return np.full(space.shape, 2)
    return np.asarray(getattr(space, "n" if isinstance(space, spaces.Discrete) else "nvec"))
