"""Spaces that fit recorded numbers, for formats that do not state theirs."""

from collections.abc import Iterable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from rate.dataset import DatasetError


def space_of(arrays: Iterable[np.ndarray], what: str) -> gymnasium.Space[Any]:
    """The space of one step, from all arrays [T, ...] of that kind: read once, nothing kept.

    Bytes [T, H, W, C] are images, other whole numbers are categories counted from their least, or from 0 (Discrete, or
    MultiDiscrete of several components), floating-point numbers a Box without bounds.

    Raises:
        DatasetError: no array was given, they differ in shape or kind, or they are not numbers.
    """
    shape: tuple[int, ...] | None = None
    least = greatest = np.zeros(())
    kinds: set[str] = set()
    dtype = np.dtype(np.float32)
    for array in arrays:
        kinds.add("i" if array.dtype.kind in "biu" else array.dtype.kind)
        if shape is not None and array.shape[1:] != shape:
            raise DatasetError(f"{what}: steps have the shapes {shape} and {array.shape[1:]}; they must be alike")
        low, high = array.min(0), array.max(0)
        least, greatest = (low, high) if shape is None else (np.minimum(least, low), np.maximum(greatest, high))
        shape, dtype = array.shape[1:], array.dtype
    if shape is None:
        raise DatasetError(f"{what}: there is nothing to read")
    if len(kinds) != 1 or not kinds <= {"i", "f"}:
        raise DatasetError(
            f"{what}: kinds of numbers are {sorted(kinds)}; give whole numbers or floating-point numbers alone"
        )
    if dtype == np.uint8 and len(shape) == 3:
        return spaces.Box(0, 255, shape, np.uint8)
    if kinds == {"f"}:
        return spaces.Box(-np.inf, np.inf, shape, np.float32)
    least, greatest = np.asarray(least, np.int64), np.asarray(greatest, np.int64)
    start = np.minimum(least, 0)
    if shape == ():
        return spaces.Discrete(int(greatest - start) + 1, start=int(start))
    return spaces.MultiDiscrete((greatest - start + 1).astype(np.int64), start=start)
