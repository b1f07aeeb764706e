"""Images that repeat are stored once each: frames, and for every observation the number of its
frame."""

import hashlib
from collections import OrderedDict

import numpy as np

REMEMBERED = 2**20
"""Latest distinct frames that a writer recognises; a forgotten one is stored again."""


class SharedFrames:
    """Reads like the array of all observations [n, ...]."""

    def __init__(self, frames: np.ndarray, numbers: np.ndarray) -> None:
        """Combine distinct frames [u, ...] and the number of each observation's frame [n]."""
        self.frames, self.numbers = frames, numbers
        self.dtype = frames.dtype
        self.shape = (len(numbers), *frames.shape[1:])

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        return self.frames[self.numbers[rows]]

    def take(self, rows: np.ndarray, axis: int = 0) -> np.ndarray:
        """The observations of `rows`, in its shape."""
        return self.frames.take(self.numbers.take(rows), axis=axis)


class FrameNumbers:
    """Numbers frames [n, ...] in the order of their first appearance."""

    def __init__(self) -> None:
        self.count = 0
        self._known: OrderedDict[bytes, int] = OrderedDict()

    def add(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The numbers [n] int64 of these frames, and those frames among them that are new."""
        numbers = np.empty(len(frames), np.int64)
        new = []
        for row, frame in enumerate(frames):
            key = hashlib.blake2b(np.ascontiguousarray(frame).data, digest_size=16).digest()
            if key in self._known:
                self._known.move_to_end(key)
            else:
                self._known[key] = self.count
                self.count += 1
                new.append(row)
                if len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
            numbers[row] = self._known[key]
        return numbers, frames[new]
