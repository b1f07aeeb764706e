"""Which spaces are supported, their leaves by path, and values as flat dictionaries of arrays."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from rate.messages import brief

PLAIN = "observation"
"""Path of the only leaf of a space without structure."""

ACTION_MASK = "action_mask"
"""Last key of a leaf with 1 for each choice of the action that is allowed, those of all components
in a row."""

LARGEST_LEAF = 2**24
"""Most numbers that one leaf of a space may hold; a larger one in a file is taken for damage, not
allocated."""

_Keys = tuple[str | int, ...]
SUPPORTED = "Box, Discrete, MultiDiscrete, MultiBinary, Dict and Tuple"


def leaves(space: gymnasium.Space[Any]) -> dict[str, gymnasium.Space[Any]]:
    """Leaf spaces by path, in the order of the space: `{"observation": space}` for a space without
    structure.

    Keys of Dict spaces and indices of Tuple spaces are joined by "/": "camera/front", "0".

    Args:
        space: The space of whole values.

    Raises:
        ValueError: a space is unsupported, has no leaf, or two leaves have the same path.
    """
    by_path: dict[str, gymnasium.Space[Any]] = {}
    for keys, leaf in _walk(space):
        path = "/".join(str(key) for key in keys) if keys else PLAIN
        if path in by_path:
            raise ValueError(
                f"two leaves of the space have the path {path!r}; rename a key so that paths differ"
            )
        by_path[path] = leaf
    if not by_path:
        raise ValueError(
            f"the space {space} has no leaf; give it at least one "
            f"{SUPPORTED.partition(', Dict')[0]}"
        )
    return by_path


def usable(space: gymnasium.Space[Any]) -> tuple[gymnasium.Space[Any], dict[str, str]]:
    """The space without the leaves that no array holds, and these: text, graphs, sequences, and
    leaves without numbers.

    A Tuple of which a part is left out becomes a Dict with the positions of the others as keys, so
    that paths stay. `pick` takes such values out of whole ones.

    Args:
        space: The space of whole values.

    Returns:
        The space that is left, the same object if that is all of it, and by path why a leaf is left
        out.

    Raises:
        ValueError: nothing is left.
    """
    left_out: dict[str, str] = {}
    kept = _kept(space, (), left_out)
    if kept is None:
        raise ValueError("; ".join(left_out.values()))
    return (kept, left_out) if left_out else (space, {})


def pick(space: gymnasium.Space[Any], value: Any) -> Any:
    """The value of a `usable` space within a value of the whole space.

    Args:
        space: What is left of the space.
        value: One value, or a batch, in the structure of the whole space.

    Raises:
        ValueError: the value lacks a part of the space.
    """
    try:
        if isinstance(space, spaces.Dict):
            parts = dict(zip(map(str, range(len(value))), value, strict=True)) if isinstance(
                value, tuple | list
            ) else value  # fmt: skip
            return {key: pick(part, parts[key]) for key, part in space.spaces.items()}
        if isinstance(space, spaces.Tuple):
            pairs = zip(space.spaces, value, strict=True)
            return tuple(pick(part, entry) for part, entry in pairs)
    except (KeyError, TypeError) as error:
        raise ValueError(f"expected a value of {brief(space)}, got {brief(value)}") from error
    return value


def flatten(space: gymnasium.Space[Any], value: Any) -> dict[str, np.ndarray]:
    """Turn a value into leaves; works for one value and for values with leading batch dimensions.

    Numbers are cast to the leaf's dtype where that loses no whole number.

    Args:
        space: The space of the value.
        value: One value, or a batch as Gymnasium's vector environments return it: the space's
            structure, with stacked arrays at the leaves.

    Raises:
        ValueError: the value lacks a part of the space, or has one that the space does not have.
    """
    by_path = leaves(space)
    return {
        path: as_leaf(leaf, part)
        for (path, leaf), part in zip(by_path.items(), parts(space, value), strict=True)
    }


def unflatten(space: gymnasium.Space[Any], leaves_by_path: Mapping[str, np.ndarray]) -> Any:
    """Turn leaves back into a value of the space's own structure; the inverse of `flatten`.

    Args:
        space: The space of the value.
        leaves_by_path: All leaves of the space.

    Raises:
        ValueError: a leaf is missing, or there is one that the space does not have.
    """
    paths = list(leaves(space))
    if set(paths) != set(leaves_by_path):
        raise ValueError(f"the space has the leaves {paths}, got {list(leaves_by_path)}")
    remaining = iter([leaves_by_path[path] for path in paths])
    return _rebuild(space, remaining)


def is_image(space: gymnasium.Space[Any]) -> bool:
    """Whether the space is an image: a Box of unsigned bytes with three dimensions."""
    return isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3


def as_leaf(space: gymnasium.Space[Any], value: Any) -> np.ndarray:
    """A value of a leaf space as an array of the space's dtype, if no whole number is lost.

    Floating-point numbers may be rounded (float64 to float32) but never truncated to whole numbers;
    what cannot be cast is returned as it is, for `check_leaf` to name.

    Args:
        space: The leaf space.
        value: One value, or a batch.
    """
    array, dtype = np.asarray(value), np.dtype(space.dtype)
    whole, real = array.dtype.kind in "biu", array.dtype.kind == "f"
    if array.dtype == dtype or not (whole or (real and dtype.kind == "f")):
        return array
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    return array if whole and not np.array_equal(cast, array) else cast


def _walk(
    space: gymnasium.Space[Any], keys: _Keys = ()
) -> list[tuple[_Keys, gymnasium.Space[Any]]]:
    if isinstance(space, spaces.Dict):
        return [leaf for key, part in space.spaces.items() for leaf in _walk(part, (*keys, key))]
    if isinstance(space, spaces.Tuple):
        return [
            leaf for index, part in enumerate(space.spaces) for leaf in _walk(part, (*keys, index))
        ]
    try:
        check_supported(space)
    except ValueError as error:
        if not keys:
            raise
        raise ValueError(f"{'/'.join(str(key) for key in keys)!r}: {error}") from error
    return [(keys, space)]


def _kept(
    space: gymnasium.Space[Any], keys: _Keys, left_out: dict[str, str]
) -> gymnasium.Space[Any] | None:
    """What is left of a space, or None; adds what is not to `left_out`."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        inner = space.spaces
        by_key = inner if isinstance(inner, dict) else {str(k): p for k, p in enumerate(inner)}
        held = {key: _kept(part, (*keys, key), left_out) for key, part in by_key.items()}
        kept = {key: part for key, part in held.items() if part is not None}
        if not held:
            left_out["/".join(map(str, keys)) or PLAIN] = f"{brief(space)} has no leaf"
        if not kept:
            return None
        if isinstance(space, spaces.Tuple) and len(kept) == len(held):
            return spaces.Tuple(list(kept.values()))
        return spaces.Dict(list(kept.items()))
    try:
        check_supported(space)
    except ValueError as error:
        left_out["/".join(map(str, keys)) or PLAIN] = str(error)
        return None
    return space


def parts(space: gymnasium.Space[Any], value: Any) -> list[Any]:
    """The parts of a value that belong to the leaves of its space, as they are.

    Args:
        space: The space of the value.
        value: One value, or a batch.

    Raises:
        ValueError: the value lacks a part of the space, or has one that the space does not have.
    """
    if isinstance(space, spaces.Dict):
        if not isinstance(value, Mapping) or set(value) != set(space.spaces):
            kind = list(value) if isinstance(value, Mapping) else type(value).__name__
            raise ValueError(
                f"expected a dictionary with the keys {list(space.spaces)}, got {kind}"
            )
        return [array for key, part in space.spaces.items() for array in parts(part, value[key])]
    if isinstance(space, spaces.Tuple):
        if not isinstance(value, Sequence) or len(value) != len(space.spaces):
            kind = f"{len(value)} parts" if isinstance(value, Sequence) else type(value).__name__
            raise ValueError(f"expected a tuple of {len(space.spaces)} parts, got {kind}")
        return [
            array
            for part, entry in zip(space.spaces, value, strict=True)
            for array in parts(part, entry)
        ]
    return [value]


def _rebuild(space: gymnasium.Space[Any], remaining: Any) -> Any:
    if isinstance(space, spaces.Dict):
        return {key: _rebuild(part, remaining) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_rebuild(part, remaining) for part in space.spaces)
    return next(remaining)


def checked_shape(shape: Any) -> tuple[int, ...]:
    """The shape of a leaf, if it is one that a space of this library may have."""
    sizes = tuple(whole_number(size) for size in shape)
    if min(sizes, default=1) < 1 or math.prod(sizes) > LARGEST_LEAF:
        raise ValueError(
            f"a leaf of a space holds 1 to {LARGEST_LEAF} numbers, got the shape {brief(shape)}"
        )
    return sizes


def whole_number(number: Any) -> int:
    """The number, if it is whole; booleans are not."""
    if type(number) is not int:
        raise ValueError(f"expected a whole number, got {brief(number)}")
    return number


def check_supported(space: gymnasium.Space[Any]) -> None:
    """Raise a ValueError unless the space is one of a leaf that arrays can hold."""
    if not isinstance(
        space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary
    ):
        raise ValueError(
            f"{brief(space)} is not supported, supported are {SUPPORTED}; convert it with a wrapper"
        )
    if np.dtype(space.dtype).kind not in "biuf":
        raise ValueError(
            f"{brief(space)}: a space holds booleans or real numbers, not {space.dtype}"
        )
    checked_shape(shape_of(space))


def shape_of(space: gymnasium.Space[Any]) -> tuple[int, ...]:
    """The shape of a leaf space, () where it has none."""
    return tuple(int(size) for size in space.shape or ())
