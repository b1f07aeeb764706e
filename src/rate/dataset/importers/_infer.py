"""What formats share: spaces that fit recorded numbers, `.npz` files, errors that name a file."""

import zipfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from rate.dataset import DatasetError

MOST_CATEGORIES = 2**16
"""Most categories, of all components together, that whole numbers are taken for; grey images
without a colour axis have more."""


class Derived:
    """The space of one step, derived from arrays [T, ...] one after another.

    Bytes [T, H, W, C] or [T, C, H, W] are images, other whole numbers are categories counted from
    their least, or from 0 (Discrete, or MultiDiscrete of several components), floating-point
    numbers a Box without bounds.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.shape: tuple[int, ...] | None = None
        self.kinds: set[str] = set()
        self.images = True
        self.least = self.greatest = np.zeros((), np.int64)

    def add(self, array: np.ndarray) -> None:
        """Take another array into account.

        Raises:
            DatasetError: It is empty, of another shape or kind than those before, or not of
                numbers.
        """
        kind = "i" if array.dtype.kind in "biu" else array.dtype.kind
        if not array.ndim or not array.size:
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
        self.images &= array.dtype == np.uint8 and array.ndim == 4
        if kind == "i" and not self.images:
            low, high = (np.asarray(function(array, 0), np.int64) for function in (np.min, np.max))
            self.least = low if first else np.minimum(self.least, low)
            self.greatest = high if first else np.maximum(self.greatest, high)

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


def space_of(arrays: Iterable[np.ndarray], what: str) -> gymnasium.Space[Any]:
    """The space of one step that fits all arrays; `Derived` says how."""
    derived = Derived(what)
    for array in arrays:
        derived.add(array)
    return derived.space()


def load_npz(path: Path, names: Collection[str] = ()) -> dict[str, np.ndarray]:
    """Arrays of a `.npz`.

    Args:
        path: The file.
        names: The arrays to read, as far as the file has them; by default all.

    Raises:
        DatasetError: It is damaged, or holds Python objects.
    """
    with readable(path, "give an undamaged .npz of plain numbers"):
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no .npz archive" if path.exists() else "it does not exist")
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files if not names or name in names}


@contextmanager
def readable(path: Path, advice: str) -> Iterator[None]:
    """Turn any error in here, as damaged files raise them, into a DatasetError with the path.

    A ModuleNotFoundError stays one.
    """
    try:
        yield
    except DatasetError as error:
        if str(path) in str(error):
            raise
        raise DatasetError(f"{path}: {error}") from error
    except ModuleNotFoundError:
        raise
    except Exception as error:
        raise DatasetError(
            f"{path} cannot be read: {error or type(error).__name__}; {advice}"
        ) from error
