"""Gymnasium spaces as JSON data and back."""

import math
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from rate.messages import brief
from rate.spaces.structure import (
    LARGEST_LEAF,
    SUPPORTED,
    check_supported,
    checked_shape,
    shape_of,
    whole_number,
)


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
    check_supported(space)
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
        "n": space.n if isinstance(space.n, int) else list(shape_of(space)),
    }


def from_json(data: Mapping[str, Any]) -> gymnasium.Space[Any]:
    """Build the space that `to_json` described.

    Args:
        data: The description.

    Raises:
        ValueError: the description is not one that `to_json` writes.
    """
    try:
        if (numbers := _declared(data)) > LARGEST_LEAF:
            raise ValueError(
                f"a space holds at most {LARGEST_LEAF} numbers, got {numbers} in {brief(data)}"
            )
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
            f"not the description of a space: {brief(data)} ({type(error).__name__}: {error}); "
            "write the description with rate.spaces.to_json"
        ) from error


def _declared(data: Mapping[str, Any]) -> int:
    """Numbers in a value of the space, all leaves together, before anything of that size is
    built."""
    if data["type"] in ("Dict", "Tuple"):
        parts = data["spaces"]
        return sum(map(_declared, parts.values() if isinstance(parts, Mapping) else parts))
    shape = data.get("n" if data["type"] == "MultiBinary" else "shape", ())
    return math.prod(checked_shape(shape if isinstance(shape, list | tuple) else [shape]))


def _parse(data: Mapping[str, Any]) -> gymnasium.Space[Any]:
    kind = data["type"]
    space: gymnasium.Space[Any]
    if kind == "Dict":
        return spaces.Dict([(key, _parse(part)) for key, part in data["spaces"].items()])
    if kind == "Tuple":
        return spaces.Tuple([_parse(part) for part in data["spaces"]])
    if kind == "Box":
        dtype, shape = _parse_dtype(data["dtype"]), checked_shape(data["shape"])
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
        space = spaces.Discrete(
            whole_number(data["n"]), start=whole_number(data["start"]), **option
        )
    elif kind == "MultiDiscrete":
        dtype = _parse_dtype(data["dtype"])
        nvec, start = (
            np.array(_map_nested(whole_number, data[key]), dtype) for key in ("nvec", "start")
        )
        space = spaces.MultiDiscrete(nvec, dtype.type, start=start)
    elif kind == "MultiBinary":
        n = data["n"]  # Gymnasium tells MultiBinary(4) from MultiBinary([4])
        space = spaces.MultiBinary(
            checked_shape(n) if isinstance(n, list) else checked_shape([n])[0]
        )
    else:
        raise ValueError(f"unknown kind of space {brief(kind)}; supported are {SUPPORTED}")
    check_supported(space)
    return space


def _parse_dtype(name: Any) -> np.dtype[Any]:
    dtype = np.dtype(str(name))
    if dtype.kind not in "biuf" or str(dtype) != name:
        raise ValueError(
            "a space holds booleans, whole numbers or floating-point numbers, got dtype "
            f"{brief(name)}"
        )
    return dtype


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
    raise ValueError(f'a bound is a number, "inf" or "-inf", got {brief(number)}')
