"""Numbers of recordings: the space that fits them, and their conversion to a space or to flags."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from rate.dataset import DatasetError
from rate.spaces import PLAIN, as_leaf, is_array, join, joined, leaves

MOST_CATEGORIES = 2**16
"""Most categories, of all components together, that whole numbers are taken for; grey images
without a colour axis have more."""

CHUNK_BYTES = 2**24
"""About how much of an array is read at a time."""

_FLAGS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}


class Derived:
    """The space of one step, derived from arrays [T, ...] one after another.

    Bytes [T, H, W, C] or [T, C, H, W] are images, other whole numbers are categories counted from
    their least, or from 0 (Discrete, or MultiDiscrete of several components), floating-point
    numbers a Box without bounds. Only whole numbers are read.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.shape: tuple[int, ...] | None = None
        self.kinds: set[str] = set()
        self.images = True
        self.least = self.greatest = np.zeros((), np.int64)

    def add(self, array: Any) -> None:
        """Take another array into account.

        Raises:
            DatasetError: It is empty, of another shape or kind than those before, or not of
                numbers.
        """
        kind = "i" if array.dtype.kind in "biu" else array.dtype.kind
        if not math.prod(array.shape) or not array.shape:
            raise DatasetError(
                f"{self.what} have the shape {array.shape}; there must be at least one number a "
                "step"
            )
        if self.shape is not None and array.shape[1:] != self.shape:
            raise DatasetError(
                f"{self.what}: steps have the shapes {self.shape} and {array.shape[1:]}; they "
                "must be alike"
            )
        if kind not in "if" or len(self.kinds | {kind}) > 1:
            words = {"i": "whole", "f": "real"}
            kinds = sorted({words.get(one, one) for one in {*self.kinds, kind}})
            raise DatasetError(
                f"{self.what} are numbers of the kinds {kinds}; give whole or real numbers alone"
            )
        first, self.shape = self.shape is None, array.shape[1:]
        self.kinds.add(kind)
        self.images &= array.dtype == np.uint8 and len(array.shape) == 4
        if kind == "i" and not self.images:
            for rows in chunks(array):
                low, high = (np.asarray(bound(rows, 0), np.int64) for bound in (np.min, np.max))
                self.least = low if first else np.minimum(self.least, low)
                self.greatest = high if first else np.maximum(self.greatest, high)
                first = False

    def space(self) -> gymnasium.Space[Any]:
        """The space of all that was seen.

        Raises:
            DatasetError: There were no arrays, or the numbers are too many to be categories.
        """
        if self.shape is None:
            raise DatasetError(f"{self.what}: there is nothing to read")
        if self.images:
            return spaces.Box(0, 255, self.shape, np.uint8)
        if self.kinds == {"f"}:
            return spaces.Box(-np.inf, np.inf, self.shape, np.float32)
        start = np.minimum(self.least, 0)
        count = self.greatest - start + 1
        if (count < 1).any() or count.max() > MOST_CATEGORIES or count.sum() > MOST_CATEGORIES:
            raise DatasetError(
                f"{self.what} of the shape {self.shape} reach from {self.least.min()} to "
                f"{self.greatest.max()}, which are too many categories; name the space, record "
                "real numbers, or give grey images an axis for colour"
            )
        if self.shape == ():
            return spaces.Discrete(int(count), start=int(start))
        return spaces.MultiDiscrete(count, start=start)


def chunks(array: Any) -> Iterator[np.ndarray]:
    """The rows of an array, some at a time."""
    rows = max(1, CHUNK_BYTES // max(1, math.prod(array.shape[1:]) * array.dtype.itemsize))
    for start in range(0, len(array), rows):
        yield np.asarray(array[start : start + rows])


@dataclass(frozen=True)
class Fitting:
    """Spaces of steps, and how recorded leaves are turned into values of them."""

    observed: gymnasium.Space[Any]
    """Space of observations."""
    parts: gymnasium.Space[Any]
    """Space of actions as they are recorded, with a leaf for each array."""
    acted: gymnasium.Space[Any]
    """Space of actions as one array."""

    def observations(self, by_path: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Observations of the space; leaves that it does not have are left out.

        Raises:
            ValueError: A leaf is missing.
        """
        spaces_by_path = leaves(self.observed)
        if not set(spaces_by_path) <= set(by_path):
            raise ValueError(
                f"observations have the leaves {sorted(by_path)}, the space has "
                f"{sorted(spaces_by_path)}"
            )
        return {path: fit(space, by_path[path]) for path, space in spaces_by_path.items()}

    def actions(self, by_path: Mapping[str, np.ndarray]) -> np.ndarray:
        """Actions as one array."""
        fitted = {path: fit(space, by_path[path]) for path, space in leaves(self.parts).items()}
        return fit(self.acted, fitted[PLAIN] if is_array(self.parts) else join(self.parts, fitted))


def fitting(
    given: tuple[gymnasium.Space[Any] | None, gymnasium.Space[Any] | None],
    recorded: tuple[gymnasium.Space[Any], gymnasium.Space[Any]],
) -> Fitting:
    """How to turn what was recorded into values of given spaces.

    Args:
        given: Spaces of observations and actions, None where those of the recording are right.
        recorded: Spaces of the recording.
    """
    observed, parts = recorded
    acted = joined(parts if given[1] is None else given[1])
    if given[1] is not None and set(leaves(given[1])) == set(leaves(parts)):
        parts = given[1]
    return Fitting(given[0] or observed, parts, acted)


def fit(space: gymnasium.Space[Any], array: np.ndarray) -> np.ndarray:
    """Numbers [T, ...] as values of a leaf space, where that changes none; else as they are.

    Axes of one come and go. Where the space is one of choices, real numbers that are whole become
    whole, rows with a single 1 among as many entries as there are choices (one-hot) become its
    index, and rows and columns become the number row * size + column of a square board.

    Raises:
        ValueError: Rows and columns are no board of that size.
    """
    shape = tuple(space.shape or ())
    if array.dtype.kind == "f" and np.dtype(space.dtype).kind in "iu":
        with np.errstate(invalid="ignore"):
            whole = array.astype(np.int64)
        array = whole if np.array_equal(whole, array) else array
    if array.shape[1:] != shape and math.prod(array.shape[1:]) == math.prod(shape):
        array = array.reshape(len(array), *shape)
    if isinstance(space, spaces.Discrete) and array.ndim == 2 and array.dtype.kind in "biu":
        if array.shape[1] == space.n and is_one_hot(array):
            array = array.argmax(1) + space.start
        elif array.shape[1] == 2 and space.start == 0:
            array = _board(array, int(space.n))
    return as_leaf(space, array)


def is_one_hot(array: np.ndarray) -> bool:
    """Whether each row [T, n] has a single 1 and else zeros."""
    return bool(np.isin(array, (0, 1)).all() and (array.sum(1) == 1).all())


def _board(pairs: np.ndarray, fields: int) -> np.ndarray:
    size = math.isqrt(fields)
    if size * size != fields or pairs.min() < 0 or pairs.max() >= size:
        raise ValueError(
            f"rows and columns reach from {pairs.min()} to {pairs.max()}, which is no board of "
            f"{fields} fields; give Discrete(size * size), or MultiDiscrete([rows, columns])"
        )
    return pairs[:, 0] * size + pairs[:, 1]


def flags(array: Any, name: str) -> np.ndarray:
    """Flags [T] out of booleans, zeros and ones, or their texts, with axes of one behind them.

    Raises:
        DatasetError: An entry is anything else, such as NaN, -1 or "maybe".
    """
    given = np.asarray(array[()] if isinstance(array, np.ndarray) else array)
    given = given.reshape(len(given)) if given.ndim and given.size == len(given) else given
    if given.dtype.kind == "b":
        return given
    if given.dtype.kind in "OSU":
        texts = [
            item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item)
            for item in given.ravel()
        ]
        known = [_FLAGS.get(text.strip().lower()) for text in texts]
        bad = [text for text, flag in zip(texts, known, strict=True) if flag is None]
        result = np.array([bool(flag) for flag in known]).reshape(given.shape)
    else:
        bad = given[~np.isin(given, (0, 1))].ravel()[:1].tolist()
        result = given == 1
    if bad:
        raise DatasetError(
            f"{name}: {bad[0]!r} is no flag; give booleans, or 0 and 1, as numbers or as text"
        )
    return result
