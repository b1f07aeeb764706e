"""Tensors of a file that `torch.save` wrote, without unpickling it and without PyTorch.

Such a file is a zip archive: a pickle says which tensors there are, and one entry holds the numbers
of each storage. The pickle is read by `rate.storage.pickles`; entries are looked at as bytes.
Archives whose entries are compressed, and tensors that are larger than their storage, are refused,
so that nothing grows beyond the file.
"""

import math
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from rate.messages import brief, reason
from rate.storage.pickles import Array, Known, Machine, Ordered, PickleError, known

_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "<u2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
"""Types of storages, and the numbers in them; of bfloat16 the bits."""


def load_tensors(path: Path, error: type[ValueError] = PickleError) -> Any:
    """The data of a file of `torch.save`: dicts, lists, text, numbers, and arrays for its tensors.

    Args:
        path: The file, as PyTorch 1.6 and later write it.
        error: What is raised.

    Raises:
        error: It is damaged, of another format, or holds anything else.
    """
    try:
        if not zipfile.is_zipfile(path):
            path.open("rb").close()  # an error of the system says more
            raise PickleError(
                "it is no archive of torch.save, or was truncated. Files from before PyTorch 1.6 "
                "must be written anew: torch.save(torch.load(file, weights_only=True), new_file)"
            )
        with zipfile.ZipFile(path) as archive:
            return _Archive(archive, path.stat().st_size).data()
    except PickleError as refused:
        raise error(
            f"{path} is refused: {refused}. Only plain data and tensors are read: save "
            "model.state_dict() alone"
        ) from refused
    except OSError as failed:
        raise error(f"{path} cannot be read: {failed.strerror or reason(failed)}") from failed
    except Exception as damaged:  # a damaged archive fails in many ways
        raise error(
            f"{path} is no sound file of torch.save ({reason(damaged)}): fetch it again"
        ) from damaged


class _Kind:
    """Stands for a type of storage."""

    def __init__(self, name: str) -> None:
        self.dtype, self.bfloat16 = np.dtype(_STORAGES[name]), name == "BFloat16Storage"


class _Storage:
    """Stands for the numbers that tensors share."""

    def __init__(self, numbers: np.ndarray, kind: _Kind) -> None:
        self.numbers, self.kind = numbers, kind


class _Archive:
    """What a zip archive of `torch.save` holds."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self.archive, self.size = archive, size
        self.entries = {entry.filename: entry for entry in archive.infolist()}
        found = [name for name in self.entries if re.fullmatch(r"([^/]+/)?data\.pkl", name)]
        if len(found) != 1:
            raise PickleError("it has no data.pkl, so it is no archive of torch.save")
        self.pickle, self.root = found[0], found[0].removesuffix("data.pkl")
        self.storages: dict[str, _Storage] = {}

    def data(self) -> Any:
        """What was saved, in arrays."""
        order = self.root + "byteorder"
        if order in self.entries and self._read(order) != b"little":
            raise PickleError("its numbers are not in little-endian order")
        with self.archive.open(self._stored(self.pickle)) as text:
            return Machine(self._known, 4 * self.size + 2**16, self._persistent).run(text)

    def _stored(self, name: str) -> zipfile.ZipInfo:
        if name not in self.entries:
            raise PickleError(f"it lacks its part {brief(name)}")
        entry = self.entries[name]
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > self.size:
            raise PickleError(f"its part {brief(name)} is compressed, as torch.save leaves none")
        return entry

    def _read(self, name: str) -> bytes:
        return self.archive.read(self._stored(name))

    def _known(self, module: Any, name: Any) -> Known:
        if module == "torch" and name in _STORAGES:
            return _StorageType(name)
        return _NAMES.get((module, name)) or known(module, name)

    def _persistent(self, description: Any) -> _Storage:
        """The storage of a description: a tag, type, key, device and number of entries."""
        match description:
            case ("storage", _StorageType(kind=kind), str(key), _, int(count)):
                pass
            case _:
                raise PickleError("it describes a storage as torch.save does not")
        if key not in self.storages:
            content = self._read(f"{self.root}data/{key}")
            if len(content) != count * kind.dtype.itemsize:
                raise PickleError(f"its storage {brief(key)} is not as large as it says")
            self.storages[key] = _Storage(np.frombuffer(content, kind.dtype), kind)
        return self.storages[key]


class _StorageType(Known):
    """The name of a type of storage, which nothing calls."""

    def __init__(self, name: str) -> None:
        super().__init__(_not_called)
        self.kind = _Kind(name)


def _not_called(*_: Any) -> Any:
    raise PickleError("it calls a type of storage")


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Array:
    """The numbers of a tensor: a part of its storage, of no more entries than that has."""
    counts = (offset, *shape, *strides)
    sound = isinstance(storage, _Storage) and len(shape) == len(strides) <= 32
    if not sound or not all(type(count) is int and count >= 0 for count in counts):
        raise PickleError("it has a tensor without a sound shape")
    numbers, size = storage.numbers, math.prod(shape)
    last = offset + sum((side - 1) * step for side, step in zip(shape, strides, strict=True))
    if size and (last >= len(numbers) or size > len(numbers)):
        raise PickleError(f"it has a tensor {brief(shape)} that is larger than its storage")
    each = [step * numbers.itemsize for step in strides]
    part = numbers[offset:] if size else numbers[:0]
    array = np.lib.stride_tricks.as_strided(part, shape, each, writeable=False)
    if storage.kind.bfloat16:  # the upper half of a float32
        return Array((array.astype(np.uint32) << 16).view(np.float32))
    return Array(array.astype(numbers.dtype.newbyteorder("="), copy=False))


def _parameter(data: Any, *_: Any) -> Array:
    if not isinstance(data, Array):
        raise PickleError("it has a parameter that is no tensor")
    return data


def _ordered(*items: Any) -> Ordered:
    if items:
        raise PickleError("it makes an ordered dict as torch.save does not")
    return Ordered()


_NAMES = {
    ("collections", "OrderedDict"): Known(_ordered),
    ("torch._utils", "_rebuild_tensor_v2"): Known(_tensor),
    ("torch._utils", "_rebuild_parameter"): Known(_parameter),
}
