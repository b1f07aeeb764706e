"""Readers that fail, one in every way that the fuzzer must notice."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.fuzz.formats import Format


class OtherError(ValueError):
    """Not what the format raises."""


def _raising(error: BaseException) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        raise error

    return read


def _allocate(folder: Path) -> None:
    np.ones(1 << 28)


def _hide_memory(folder: Path) -> None:
    try:
        _allocate(folder)
    except MemoryError as error:
        raise ValueError("the file cannot be read for some reason") from error


def _loop(folder: Path) -> None:
    while True:
        pass


def _write_beside(folder: Path) -> None:
    (folder.parent / "outside").touch()


READERS: dict[str, Callable[[Path], object]] = {
    "data": lambda folder: None,
    "refused": _raising(ValueError("the file is damaged: restore it")),
    "class": _raising(KeyError("the file is damaged: restore it")),
    "subclass": _raising(OtherError("the file is damaged: restore it")),
    "lines": _raising(ValueError("the file is damaged:\nrestore it")),
    "escape": _raising(ValueError("the file is damaged \x1b[31m")),
    "long": _raising(ValueError("the file is damaged: restore it " * 100)),
    "empty": _raising(ValueError("")),
    "exit": lambda folder: sys.exit(0),
    "memory": _allocate,
    "hidden-memory": _hide_memory,
    "hang": _loop,
    "sleep": lambda folder: time.sleep(100),
    "crash": lambda folder: os.kill(os.getpid(), signal.SIGSEGV),
    "escaped": _write_beside,
}


class _Broken(Format):
    def check(self, folder: Path) -> None:
        """Nothing: no input is read."""


FORMATS = {
    name: _Broken(lambda folder: (folder / "a.txt").write_text("text"), read, (ValueError,))
    for name, read in READERS.items()
}
