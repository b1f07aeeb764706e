"""Folders that one process at a time writes, and that appear complete or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from platform import node

from rate.storage.files import hold, is_at, partial, release, storage_errors, synchronise_folder

WAIT = 2.0
"""Seconds to wait for a lock: the workers of a process that was killed end a moment after it."""


class LockedError(ValueError):
    """Another process is writing there."""


@contextmanager
def lock(file: Path, what: str | os.PathLike[str]) -> Iterator[None]:
    """Let no other process write the same thing as long as the context lasts.

    The kernel releases the lock when its process ends, however it ends. On a network file system
    the server does so, some time after it has lost a machine. Where a file system has no locks, a
    warning says so.

    Args:
        file: The lock file. It names its owner, and is removed at the end; one that a killed
            process has left is taken over.
        what: What is written.

    Raises:
        LockedError: Another process is writing it; the message says which, and since when.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        with storage_errors(what):
            descriptor = hold(file, lambda: os.close(os.open(file, flags, 0o644)), WAIT)
    except BlockingIOError:
        owner = file.read_text(errors="replace") if file.is_file() else ""
        raise LockedError(
            f"{os.fspath(what)} is being written by {owner[:200] or 'another process'}: wait until "
            "that has ended, or choose another folder"
        ) from None
    try:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with storage_errors(what):
            file.write_text(f"process {os.getpid()} on {node()} since {now}")
        yield
    finally:
        with suppress(OSError):
            if is_at(file, descriptor):
                file.unlink()
        release(descriptor)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A hidden folder that is renamed to `path` at the end, or removed on an error.

    Raises:
        FileExistsError: There is something at `path`.
        LockedError: Another process is writing this folder.
    """
    missing = [parent for parent in path.parents if not parent.exists()]
    try:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with lock(path.with_name(f".{path.name}.lock"), path):
            _require_free(path)
            with partial(path, folder=True) as written:
                yield written
                with storage_errors(path):
                    for inner in {child.parent for child in written.rglob("*")}:
                        synchronise_folder(inner)
                    _require_free(path)
                    os.rename(written, path)
                    synchronise_folder(path.parent)
    finally:
        for parent in missing:
            with suppress(OSError):  # it is not empty
                parent.rmdir()


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Make a folder, if it is missing, and let no other process write in it as long as the context
    lasts.

    Raises:
        LockedError: Another process is writing there; the message says which, and since when.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with lock(folder / ".lock", folder):
        yield


def require_writable(folder: Path) -> None:
    """Make a folder, if it is missing, and try that files can be made in it.

    Raises:
        OSError: They cannot; the message says why, and what to do.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with partial(folder / "trial") as trial:
            trial.write_bytes(b"trial")


def _require_free(path: Path) -> None:
    if path.is_symlink() or (path.exists() and not (path.is_dir() and not any(path.iterdir()))):
        raise FileExistsError(
            f"{path} already exists; choose another folder, or remove it first if it can be spared"
        )
