"""NumPy arrays in gzipped files, read from front to back a few rows at a time."""

import gzip
import math
from pathlib import Path

import numpy as np

from rate.dataset import DatasetError
from rate.dataset.importers._files import array_header, readable


class GzippedRows:
    """The rows of an array in a gzipped `.npy`; what is read and unpacked is not kept.

    Rows are best asked for in their order, because going back unpacks the file anew.

    Args:
        path: The file; a single number in it is one row.

    Raises:
        DatasetError: It holds no array of plain numbers.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = gzip.open(path)  # noqa: SIM115 (closed by __exit__)
        with readable(path, "give a gzipped .npy of plain numbers"):
            shape, self.dtype, self._begin, by_columns = array_header(self._file, path.name)
            if by_columns and len(shape) > 1:
                raise DatasetError(f"{path} holds columns one after the other, not rows")
        self.shape = shape or (1,)
        self._row = math.prod(self.shape[1:]) * self.dtype.itemsize

    def __enter__(self) -> "GzippedRows":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, start: int, stop: int) -> np.ndarray:
        """The rows from `start` up to, not including, `stop`.

        Raises:
            DatasetError: The file is damaged, or ends before them.
        """
        size = (stop - start) * self._row
        with readable(self.path, "fetch it again"):
            self._file.seek(self._begin + start * self._row)
            data = self._file.read(size)
            if len(data) < size:
                raise DatasetError(f"it ends before row {stop} of {len(self)}")
        return np.frombuffer(data, self.dtype).reshape(stop - start, *self.shape[1:])
