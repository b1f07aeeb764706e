"""Arrays in files, found without reading them: `.npz`, `.npy` and HDF5, with bounds on their size.

An array that nobody uses is never read. One that is used must be as large as its file says, and all
of them together may not be far larger than the file, before any of them is read.
"""

import functools
import math
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from rate.dataset import DatasetError
from rate.dataset.importers import require
from rate.dataset.importers._roles import place
from rate.messages import printable, reason

GREATEST_GROWTH = 100
"""How many times as large as its file the arrays of a recording may be, once inflated."""

ALWAYS_ALLOWED = 2**28
"""Bytes that the arrays of a recording may take, however small its file is."""

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_NUMBERED = re.compile(r"[A-Za-z_]+?_?(\d+)")
_ADVICE = "it is no sound HDF5 file; fetch it again"

Used = Callable[[str], bool]
"""Whether an array of this name is used."""


def known(also: str = "") -> Used:
    """Names that importers know are used, and one more."""
    return lambda name: place(name) is not None or name == also


class Lazy:
    """An array that is read when sliced.

    Args:
        shape: Its shape.
        dtype: Type of its numbers.
        read: Returns the numbers of a slice.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: Any, read: Callable[[Any], np.ndarray]
    ) -> None:
        self.shape, self.dtype, self._read = shape, np.dtype(dtype), read

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: Any) -> np.ndarray:
        return self._read(slice(*part.indices(len(self))) if isinstance(part, slice) else part)


@contextmanager
def readable(path: Path, advice: str) -> Iterator[None]:
    """Turn any error in here, as damaged files raise them, into a DatasetError with the path.

    A ModuleNotFoundError stays one.
    """
    try:
        yield
    except DatasetError as error:
        text = printable(str(error), 600)  # it may repeat names from the file
        raise DatasetError(text if str(path) in text else f"{path}: {text}") from error
    except ModuleNotFoundError:
        raise
    except Exception as error:
        raise DatasetError(f"{path} cannot be read: {reason(error)}; {advice}") from error


def npz_arrays(path: Path, used: Used) -> dict[str, Any]:
    """Arrays of a `.npz` by name, read when sliced; None for those that are not used.

    Args:
        path: The file.
        used: Whether an array of this name is used.

    Raises:
        DatasetError: It is damaged, or an array that is used holds Python objects, or is not as
            large as its header says.
    """
    with readable(path, "give an undamaged .npz of plain numbers"):
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no .npz archive" if path.exists() else "it does not exist")
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            chosen = {name: entry for name, entry in entries.items() if used(name)}
            check_growth(path, sum(entry.file_size for entry in chosen.values()))
            arrays: dict[str, Any] = dict.fromkeys(entries)
            for name, entry in chosen.items():
                with archive.open(entry) as file:
                    shape, dtype, begin, _ = array_header(file, name)
                if begin + math.prod(shape) * dtype.itemsize != entry.file_size:
                    raise DatasetError(f"{path}: {name} is not as large as its header says")
                load = functools.partial(_member, path, entry)
                arrays[name] = _cached(shape, dtype, load)
            return arrays


def npy_arrays(path: Path, used: Used) -> dict[str, Any]:
    """Arrays of a folder of `.npy`, memory-mapped; None for those that are not used.

    Args:
        path: The folder; an array in a folder within it is named by its relative path.
        used: Whether an array of this name is used.

    Raises:
        DatasetError: A file that is used is damaged or holds Python objects.
    """
    arrays: dict[str, Any] = {}
    for file in sorted(path.rglob("*.npy")):
        name = file.relative_to(path).with_suffix("").as_posix()
        arrays[name] = None
        if used(name):
            with readable(file, "give arrays of plain numbers"):
                with file.open("rb") as header:
                    array_header(header, name)
                arrays[name] = np.load(file, mmap_mode="r", allow_pickle=False)
    return arrays


def hdf5_layout(path: Path) -> str:
    """The format of an HDF5 file: d3rlpy, robomimic, or else d4rl; empty if it is none."""
    try:
        with path.open("rb") as file:
            if file.read(len(_SIGNATURE)) != _SIGNATURE:
                return ""
        with open_hdf5(path) as file:
            names = list(file)
            if "actions_0" in names and "rewards_0" in names:
                return "d3rlpy"
            return "robomimic" if episode_groups(file) else "d4rl"
    except (OSError, ModuleNotFoundError, DatasetError):
        return "d4rl" if path.is_file() else ""


def episode_groups(file: Any) -> dict[str, Any]:
    """Numbered groups with actions, in an HDF5 file or its group `data`, in their order."""
    group = file["data"] if hasattr(file.get("data"), "keys") else file
    numbered = [(int(found[1]), key) for key in group if (found := _NUMBERED.fullmatch(key))]
    groups = {key: group[key] for _, key in sorted(numbered)}
    return {key: one for key, one in groups.items() if hasattr(one, "keys") and "actions" in one}


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """An HDF5 file that holds all that it names; errors in here become ones with its path.

    Raises:
        DatasetError: It is damaged, or points outside itself: by links, virtual datasets or
            external storage.
    """
    with readable(path, _ADVICE), require("h5py").File(path, "r") as file:
        check_hdf5(file)
        yield file


def check_hdf5(file: Any) -> None:
    """Refuse an HDF5 file that points outside itself.

    Links are listed without following any. What a soft link leads to is in the list as well.

    Args:
        file: The open file.

    Raises:
        DatasetError: It does.
    """
    h5py, links = require("h5py"), []
    file.id.links.visit(lambda name, link: links.append((name, link.type)), info=True)
    for name, kind in links:
        printable = ascii(name.decode("utf-8", "replace"))
        if kind not in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT):
            raise DatasetError(f"{printable} is a link to another file, which is not followed")
        if kind != h5py.h5l.TYPE_HARD:
            continue
        if h5py.h5o.get_info(file.id, name).type != h5py.h5o.TYPE_DATASET:
            continue
        plist = h5py.h5d.open(file.id, name).get_create_plist()
        if plist.get_layout() == h5py.h5d.VIRTUAL or plist.get_external_count():
            raise DatasetError(f"{printable} has its numbers in another file, which is not read")


def check_stored(file: Any) -> None:
    """Refuse an HDF5 file in which an array is not as large as it says.

    Args:
        file: The open file, all of whose arrays will be read.

    Raises:
        DatasetError: It is not, or all arrays together are far larger than the file.
    """
    arrays: list[Any] = []
    kind = require("h5py").Dataset
    file.visititems(lambda _, item: arrays.append(item) if isinstance(item, kind) else None)
    check_growth(Path(file.filename), sum(map(_stored, arrays)))


def hdf5_arrays(group: Any, used: Used) -> dict[str, Any]:
    """Arrays in a group of an HDF5 file by path, read when sliced; None for what is not used.

    Args:
        group: The group; groups within it are entered where their names say what they hold.
        used: Whether an array of this name is used.

    Raises:
        DatasetError: An array that is used is not as large as the file says.
    """
    arrays: dict[str, Any] = {}
    groups, entered = [("", group)], set()
    while groups:
        before, current = groups.pop()
        entered.add(current)
        for key in current:
            name, item = f"{before}{key}", current.get(key)
            arrays[name] = None
            if isinstance(getattr(item, "shape", None), tuple):
                arrays[name] = item if used(name) else None
            elif hasattr(item, "keys") and used(f"{name}/rewards") and item not in entered:
                del arrays[name]
                groups.append((f"{name}/", item))
    sizes = [_stored(array) for array in arrays.values() if array is not None]
    check_growth(Path(group.file.filename), sum(sizes))
    return {name: array if array is None else _text(array) for name, array in arrays.items()}


def _text(array: Any) -> Any:
    """An array of HDF5, whose texts are read as such."""
    if require("h5py").check_string_dtype(array.dtype) is None:
        return array
    return Lazy(array.shape, object, lambda part: np.asarray(array.asstr()[part]))


def _stored(array: Any) -> int:
    """Bytes that reading all of an array of HDF5 makes, if all of them are in the file."""
    size = int(array.nbytes)
    if array.chunks is None:
        whole = array.id.get_storage_size() >= size
    else:
        pairs = zip(array.shape, array.chunks, strict=True)
        chunks = math.prod(-(-side // part) for side, part in pairs)
        whole = array.id.get_num_chunks() >= chunks
        size = max(size, chunks * math.prod(array.chunks) * array.dtype.itemsize)
    if not whole:
        raise DatasetError(f"{array.name} declares {array.shape} numbers, the file holds fewer")
    return size


def check_growth(path: Path, size: int) -> None:
    most = max(ALWAYS_ALLOWED, GREATEST_GROWTH * path.stat().st_size)
    if size > most:
        raise DatasetError(
            f"{path}: its arrays take {size:,} bytes once inflated, more than {GREATEST_GROWTH} "
            "times the file; save them without compression if they are sound"
        )


def array_header(
    file: BinaryIO | Any, name: str
) -> tuple[tuple[int, ...], np.dtype[Any], int, bool]:
    """Shape and dtype of a `.npy`, the length of its header, and whether columns come first."""
    version = np.lib.format.read_magic(file)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    shape, by_columns, dtype = readers[version](file)
    if dtype.hasobject:
        raise DatasetError(
            f"{name}: Object arrays cannot be loaded, as they may run code; save plain numbers, "
            "or a pickled list of steps or of episodes"
        )
    return shape, dtype, file.tell(), by_columns


def _member(path: Path, entry: zipfile.ZipInfo) -> np.ndarray:
    with zipfile.ZipFile(path) as archive, archive.open(entry) as file:
        array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
        return array


def _cached(shape: tuple[int, ...], dtype: np.dtype[Any], load: Callable[[], np.ndarray]) -> Lazy:
    whole = functools.cache(load)
    return Lazy(shape, dtype, lambda part: whole()[part])
