"""Checks of values against their space: structure, shape, dtype, range and finiteness."""

import reprlib
import warnings
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from rate.messages import brief
from rate.spaces.structure import as_leaf, leaves, parts, shape_of

ROUNDING = {2: 4e-3, 4: 4e-6, 8: 1e-14}
"""How far a floating-point number may lie outside its bounds by rounding, by its size in bytes and
as a fraction of the larger bound: a few units in the last place."""


class SpaceError(ValueError):
    """A value that does not lie in its space."""

    row: int | None = None
    """The first row of a batch with such a number; None where the whole batch is at fault."""


class Checker:
    """Checks values of a space, and returns their leaves in the dtypes of the space.

        check = Checker(space, "observations")
        leaves = check(values, rows=16)

    Floating-point numbers that rounding has put outside their bounds are clipped, with one warning
    for each leaf. What is returned may be the array that was given.

    Args:
        space: The space.
        what: How messages name the values, such as "observations".

    Raises:
        ValueError: the space is not supported.
    """

    def __init__(self, space: gymnasium.Space[Any], what: str) -> None:
        self.space, self.what = space, what
        by_path = leaves(space)
        plain = list(by_path.values()) == [space]
        self._leaves = {
            path: LeafChecker(leaf, what if plain else f"{what}[{path!r}]")
            for path, leaf in by_path.items()
        }

    def __call__(self, value: Any, rows: int | None = None) -> dict[str, np.ndarray]:
        """Leaves of a value, or of a batch of values.

        Args:
            value: In the structure of the space.
            rows: Length of the leading axis of every leaf; None: a single value, without one.

        Raises:
            SpaceError: the value has another structure, shape or kind of number than the space, or
                a number that is not finite or out of its range.
        """
        try:
            given = parts(self.space, value)
        except ValueError as error:
            raise SpaceError(f"{self.what}: {error}") from error
        leading = () if rows is None else (rows,)
        return {
            path: check(part, leading)
            for (path, check), part in zip(self._leaves.items(), given, strict=True)
        }


class LeafChecker:
    """Checks values of one leaf space.

    Args:
        space: The leaf space.
        what: How messages name the values.
    """

    def __init__(self, space: gymnasium.Space[Any], what: str) -> None:
        self.space, self.what = space, what
        self.dtype, self.shape = np.dtype(space.dtype), shape_of(space)
        low, high = self.bounds = bounds_of(space)
        least, most = limits(self.dtype)
        self._all = self.dtype.kind != "f" and bool((low == least).all() and (high == most).all())
        self._warned = False

    def __call__(self, value: Any, leading: tuple[int, ...]) -> np.ndarray:
        """The values as an array of the space's dtype.

        Args:
            value: The values.
            leading: The axes that they have before those of the space.

        Raises:
            SpaceError: a shape, dtype or number is not one of the space.
        """
        try:
            given = array = np.asarray(value)
        except (TypeError, ValueError) as error:
            raise SpaceError(f"{self.what}: not an array: {reprlib.repr(value)}") from error
        if array.dtype != self.dtype:
            array = as_leaf(self.space, given)
            self.check_dtype(array)
        if array.shape != leading + self.shape:
            raise SpaceError(
                f"{self.what}: shape is {array.shape}, the space {brief(self.space)} needs "
                f"{leading + self.shape}, got {_shown(array)}"
            )
        return array if self.inside(array) else self._clipped(array, given.dtype)

    def check_dtype(self, array: np.ndarray) -> None:
        """Raise a SpaceError unless the array has the dtype of the space."""
        if array.dtype == self.dtype:
            return
        if array.dtype.kind in "biu" and self.dtype.kind in "biu":
            with np.errstate(over="ignore"):
                self._raise_outside(array, array.astype(self.dtype) != array)
        raise SpaceError(
            f"{self.what}: dtype is {array.dtype}, the space {brief(self.space)} needs "
            f"{self.dtype}, got {_shown(array)}; convert the array"
        )

    def inside(self, array: np.ndarray) -> bool:
        """Whether all numbers are finite and within their bounds."""
        if self._all:  # every number of the dtype is one of the space
            return True
        low, high = self.bounds
        return np.count_nonzero((array >= low) & (array <= high)) == array.size

    def raise_outside(self, array: np.ndarray, rounding: float = 0.0) -> None:
        """Raise a SpaceError if a number is not finite, or out of its bounds by more than rounding.

        Args:
            array: Numbers of the space's dtype.
            rounding: As a fraction of the larger bound.
        """
        if self.dtype.kind == "f" and not (finite := np.isfinite(array)).all():
            raise self._error(
                f"{self.what}: {_count(~finite)} NaN or infinite; repair or leave them out", ~finite
            )
        low, high = self.bounds
        if rounding:
            slack = rounding * _magnitude(low, high)
            low, high = low - slack, high + slack
        self._raise_outside(array, (array < low) | (array > high))

    def _raise_outside(self, array: np.ndarray, outside: np.ndarray) -> None:
        if outside.any():
            raise self._error(
                f"{self.what}: {_count(outside)} outside the space {brief(self.space)}, for "
                f"example {array[outside][0]}; clip the values, or name a space that holds them",
                outside,
            )

    def _error(self, message: str, wrong: np.ndarray) -> SpaceError:
        error = SpaceError(message)
        if wrong.ndim > len(self.shape):
            error.row = int(np.argmax(wrong.reshape(len(wrong), -1).any(1)))
        return error

    def _clipped(self, array: np.ndarray, given: np.dtype[Any]) -> np.ndarray:
        """The array within its bounds, if rounding alone has put numbers outside."""
        size = min(self.dtype.itemsize, given.itemsize if given.kind == "f" else 8)
        self.raise_outside(array, ROUNDING.get(size, 0.0) if self.dtype.kind == "f" else 0.0)
        clipped = np.clip(array, *self.bounds)
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"{self.what}: {_count(clipped != array)} outside the space {brief(self.space)} "
                f"by rounding, up to {np.abs(clipped - array).max():.2g}, and are clipped (this is "
                "said once)",
                stacklevel=4,
            )
        return clipped


def check_leaf(space: gymnasium.Space[Any], array: np.ndarray, what: str) -> None:
    """Check that an array holds values of a leaf space, with any leading batch dimensions.

    Args:
        space: The leaf space.
        array: The values.
        what: How the error message names the array, for example "actions".

    Raises:
        SpaceError: the dtype, the trailing shape or a value is not one of the space's, or a number
            is not finite.
    """
    check = LeafChecker(space, what)
    check.check_dtype(array)
    if array.shape[max(array.ndim - len(check.shape), 0) :] != check.shape:
        raise SpaceError(
            f"{what}: shape is {array.shape}, the space {brief(space)} needs one that ends "
            f"in {check.shape}"
        )
    if not check.inside(array):
        check.raise_outside(array)


def nearest(space: spaces.Box, numbers: np.ndarray) -> np.ndarray:
    """The values of a Box that are nearest to real numbers, in its dtype: rounded where they are
    whole, and clipped.

    Args:
        space: The space.
        numbers: Floating-point numbers with any leading batch dimensions.
    """
    if space.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.clip(numbers.astype(space.dtype), space.low, space.high)
    # float64 holds every whole number up to 2^53; a larger bound may be rounded out of the dtype.
    exact = np.rint(numbers.astype(np.float64)).clip(-(2.0**53), 2.0**53)
    low, high = (bound.astype(np.float64) for bound in (space.low, space.high))
    return np.clip(exact, low, high).astype(space.dtype)


def bounds_of(space: gymnasium.Space[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest finite value of each component of a leaf space, in its dtype."""
    dtype = np.dtype(space.dtype)
    if isinstance(space, spaces.Discrete):
        low, high = space.start, space.start + (space.n - 1)
    elif isinstance(space, spaces.MultiDiscrete):
        low, high = space.start, space.start + (space.nvec - 1)
    elif isinstance(space, spaces.Box):
        low, high = space.low, space.high
    else:
        low, high = 0, 1
    least, most = limits(dtype)
    return np.asarray(np.maximum(low, least), dtype), np.asarray(np.minimum(high, most), dtype)


def limits(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """Smallest and largest finite number of a dtype."""
    if dtype.kind == "b":
        return False, True
    info: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return info.min, info.max


def _magnitude(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The larger finite bound of each component, without sign; 1 where there is none but 0."""
    largest = np.finfo(low.dtype).max
    sizes = [np.where(np.abs(bound) < largest, np.abs(bound), 0) for bound in (low, high)]
    size = np.maximum(*sizes)
    return np.where(size > 0, size, np.ones_like(size))


def _count(flags: np.ndarray) -> str:
    return f"{int(flags.sum())} of {flags.size} numbers are"


def _shown(array: np.ndarray) -> str:
    return reprlib.repr(array.ravel()[:7].tolist() if array.ndim else array.item())
