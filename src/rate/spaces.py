"""Gymnasium spaces as data: JSON and back, and structured values as flat dictionaries of arrays.

Two words are used throughout the library. A *value* has its space's own structure (a dict for a
Dict space, a tuple for a Tuple space, an array otherwise). *Leaves* are the same arrays in a flat
dictionary from path to array.
"""

import math
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

PLAIN = "observation"
"""Path of the only leaf of a space without structure."""

LARGEST_LEAF = 2**24
"""Most numbers that one leaf of a space may hold; a larger one in a file is taken for damage, not
allocated."""

_Keys = tuple[str | int, ...]
_SUPPORTED = "Box, Discrete, MultiDiscrete, MultiBinary, Dict and Tuple"


def to_json(space: gymnasium.Space[Any]) -> dict[str, Any]:
    """Describe a space as JSON data; `from_json` gives back an equal space.

    Bounds of a Box are one number where all entries agree and nested lists otherwise; infinities
    are the texts "inf" and "-inf", since JSON has no such numbers.

    Args:
        space: The space to describe.

    Raises:
        ValueError: the space, or one inside it, is of an unsupported kind.
    """
    if isinstance(space, spaces.Dict):
        for key in space.spaces:
            if not isinstance(key, str):
                raise ValueError(f"keys of a Dict space must be text, got {key!r}; rename the key")
        return {
            "type": "Dict",
            "spaces": {key: to_json(part) for key, part in space.spaces.items()},
        }
    if isinstance(space, spaces.Tuple):
        return {"type": "Tuple", "spaces": [to_json(part) for part in space.spaces]}
    _check_leaf_space(space)
    if isinstance(space, spaces.Box):
        bounds = {"low": _bounds_to_json(space.low), "high": _bounds_to_json(space.high)}
        return {"type": "Box", "dtype": str(space.dtype), "shape": list(space.shape), **bounds}
    if isinstance(space, spaces.Discrete):
        return {
            "type": "Discrete",
            "dtype": str(np.dtype(space.dtype)),
            "n": int(space.n),
            "start": int(space.start),
        }
    if isinstance(space, spaces.MultiDiscrete):
        numbers = {"nvec": space.nvec.tolist(), "start": space.start.tolist()}
        return {"type": "MultiDiscrete", "dtype": str(np.dtype(space.dtype)), **numbers}
    assert isinstance(space, spaces.MultiBinary)
    return {
        "type": "MultiBinary",
        "n": space.n if isinstance(space.n, int) else list(_shape(space)),
    }


def from_json(data: Mapping[str, Any]) -> gymnasium.Space[Any]:
    """Build the space that `to_json` described.

    Args:
        data: The description.

    Raises:
        ValueError: the description is not one that `to_json` writes.
    """
    try:
        return _parse(data)
    except (
        LookupError,
        TypeError,
        AttributeError,
        AssertionError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise ValueError(
            f"not the description of a space: {_brief(data)} ({type(error).__name__}: {error}); "
            "write the description with rate.spaces.to_json"
        ) from error


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
            f"{_SUPPORTED.partition(', Dict')[0]}"
        )
    return by_path


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
    paths = leaves(space)
    return dict(zip(paths, _collect(space, value), strict=True))


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
    if array.dtype == dtype or not (
        (whole and dtype.kind in "iuf") or (real and dtype.kind == "f")
    ):
        return array
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    return array if whole and not np.array_equal(cast, array) else cast


def check_leaf(space: gymnasium.Space[Any], array: np.ndarray, what: str) -> None:
    """Check that an array holds values of a leaf space, with any leading batch dimensions.

    Args:
        space: The leaf space.
        array: The values.
        what: How the error message names the array, for example "actions".

    Raises:
        ValueError: the dtype, the trailing shape or a value is not one of the space's, or a number
        is not finite.
    """
    dtype, shape = np.dtype(space.dtype), _shape(space)
    if array.dtype != dtype:
        raise ValueError(
            f"{what}: dtype is {array.dtype}, the space {_brief(space)} needs {dtype}; "
            "convert the array"
        )
    if array.shape[max(array.ndim - len(shape), 0) :] != shape:
        raise ValueError(
            f"{what}: shape is {array.shape}, the space {_brief(space)} needs one that ends "
            f"in {shape}"
        )
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(
            f"{what}: {_count(~np.isfinite(array))} NaN or infinite; repair or leave them out"
        )
    low, high = _bounds(space)
    if low is None and high is None:
        return
    outside = (array < (array if low is None else low)) | (
        array > (array if high is None else high)
    )
    if outside.any():
        raise ValueError(
            f"{what}: {_count(outside)} outside the space {_brief(space)}, for example "
            f"{array[outside][0]}; "
            "clip the values or record with a space that holds them"
        )


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
        _check_leaf_space(space)
    except ValueError as error:
        if not keys:
            raise
        raise ValueError(f"{'/'.join(str(key) for key in keys)!r}: {error}") from error
    return [(keys, space)]


def _collect(space: gymnasium.Space[Any], value: Any) -> list[np.ndarray]:
    if isinstance(space, spaces.Dict):
        if not isinstance(value, Mapping) or set(value) != set(space.spaces):
            kind = list(value) if isinstance(value, Mapping) else type(value).__name__
            raise ValueError(
                f"expected a dictionary with the keys {list(space.spaces)}, got {kind}"
            )
        return [array for key, part in space.spaces.items() for array in _collect(part, value[key])]
    if isinstance(space, spaces.Tuple):
        if not isinstance(value, Sequence) or len(value) != len(space.spaces):
            kind = f"{len(value)} parts" if isinstance(value, Sequence) else type(value).__name__
            raise ValueError(f"expected a tuple of {len(space.spaces)} parts, got {kind}")
        return [
            array
            for part, entry in zip(space.spaces, value, strict=True)
            for array in _collect(part, entry)
        ]
    return [as_leaf(space, value)]


def _rebuild(space: gymnasium.Space[Any], remaining: Any) -> Any:
    if isinstance(space, spaces.Dict):
        return {key: _rebuild(part, remaining) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_rebuild(part, remaining) for part in space.spaces)
    return next(remaining)


def _parse(data: Mapping[str, Any]) -> gymnasium.Space[Any]:
    kind = data["type"]
    space: gymnasium.Space[Any]
    if kind == "Dict":
        return spaces.Dict([(key, _parse(part)) for key, part in data["spaces"].items()])
    if kind == "Tuple":
        return spaces.Tuple([_parse(part) for part in data["spaces"]])
    if kind == "Box":
        dtype, shape = _parse_dtype(data["dtype"]), _parse_shape(data["shape"])
        low, high = (
            _bounds_from_json(data["low"], shape, dtype),
            _bounds_from_json(data["high"], shape, dtype),
        )
        space = spaces.Box(low, high, shape, dtype.type)
    elif kind == "Discrete":
        # Releases of Gymnasium before 1.2 know no dtype here: it is passed only where it is not
        # their int64.
        dtype = _parse_dtype(data["dtype"])
        option: dict[str, Any] = {} if dtype == np.int64 else {"dtype": dtype.type}
        space = spaces.Discrete(_whole(data["n"]), start=_whole(data["start"]), **option)
    elif kind == "MultiDiscrete":
        dtype = _parse_dtype(data["dtype"])
        nvec, start = (np.array(_map_nested(_whole, data[key]), dtype) for key in ("nvec", "start"))
        space = spaces.MultiDiscrete(nvec, dtype.type, start=start)
    elif kind == "MultiBinary":
        n = data["n"]  # Gymnasium tells MultiBinary(4) from MultiBinary([4])
        space = spaces.MultiBinary(_parse_shape(n) if isinstance(n, list) else _parse_shape([n])[0])
    else:
        raise ValueError(f"unknown kind of space {_brief(kind)}; supported are {_SUPPORTED}")
    _check_leaf_space(space)
    return space


def _parse_dtype(name: Any) -> np.dtype[Any]:
    dtype = np.dtype(str(name))
    if dtype.kind not in "biuf" or str(dtype) != name:
        raise ValueError(
            "a space holds booleans, whole numbers or floating-point numbers, got dtype "
            f"{_brief(name)}"
        )
    return dtype


def _parse_shape(shape: Any) -> tuple[int, ...]:
    sizes = tuple(_whole(size) for size in shape)
    if min(sizes, default=1) < 1 or math.prod(sizes) > LARGEST_LEAF:
        raise ValueError(
            f"a leaf of a space holds 1 to {LARGEST_LEAF} numbers, got the shape {_brief(shape)}"
        )
    return sizes


def _whole(number: Any) -> int:
    if type(number) is not int:
        raise ValueError(f"expected a whole number, got {_brief(number)}")
    return number


def _check_leaf_space(space: gymnasium.Space[Any]) -> None:
    if not isinstance(
        space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary
    ):
        raise ValueError(
            f"{_brief(space)} is not supported, supported are {_SUPPORTED}; convert it with "
            "a wrapper"
        )
    if np.dtype(space.dtype).kind not in "biuf":
        raise ValueError(
            f"{_brief(space)}: a space holds booleans or real numbers, not {space.dtype}"
        )
    _parse_shape(_shape(space))


def _shape(space: gymnasium.Space[Any]) -> tuple[int, ...]:
    return tuple(int(size) for size in space.shape or ())


def _bounds(space: gymnasium.Space[Any]) -> tuple[Any, ...]:
    """Smallest and largest value; None where the dtype or the absence of a bound leaves nothing to
    check."""
    if isinstance(space, spaces.Discrete):
        return space.start, space.start + (space.n - 1)
    if isinstance(space, spaces.MultiDiscrete):
        return space.start, space.start + (space.nvec - 1)
    if not isinstance(space, spaces.Box):
        return 0, 1
    limits: tuple[Any, Any] = (-np.inf, np.inf)
    if space.dtype.kind == "b":
        limits = (False, True)
    elif space.dtype.kind in "iu":
        limits = (np.iinfo(space.dtype).min, np.iinfo(space.dtype).max)
    bounds = zip((space.low, space.high), limits, strict=True)
    return tuple(None if (bound == limit).all() else bound for bound, limit in bounds)


def _bounds_to_json(bound: np.ndarray) -> Any:
    numbers = bound.flat[0].item() if (bound == bound.flat[0]).all() else bound.tolist()
    return _map_nested(lambda number: str(number) if math.isinf(number) else number, numbers)


def _bounds_from_json(bound: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    numbers = np.array(_map_nested(_number_from_json, bound), dtype=dtype)
    return np.full(shape, numbers) if numbers.ndim == 0 else numbers


def _map_nested(function: Any, entry: Any) -> Any:
    return (
        [_map_nested(function, part) for part in entry]
        if isinstance(entry, list)
        else function(entry)
    )


def _number_from_json(number: Any) -> Any:
    if isinstance(number, int | float) and number == number:
        return number
    if number in ("inf", "-inf"):
        return float(number)
    raise ValueError(f'a bound is a number, "inf" or "-inf", got {_brief(number)}')


def _count(flags: np.ndarray) -> str:
    return f"{int(flags.sum())} of {flags.size} numbers are"


def _brief(thing: Any) -> str:
    text = str(thing) if isinstance(thing, gymnasium.Space) else reprlib.repr(thing)
    return text if len(text) <= 200 else text[:197] + "..."
