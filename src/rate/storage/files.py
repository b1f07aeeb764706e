"""Files that are either complete or absent: atomic writes, and JSON lines that survive a kill.

What is being written bears a hidden name and is locked, so that what a killed process has left is
known from what a living one writes.
"""

import errno
import json
import math
import os
import re
import secrets
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

if sys.platform != "win32":
    import fcntl

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space or choose a folder on another disk",
    errno.EDQUOT: "the disk quota is used up; free some space or choose a folder on another disk",
    errno.EFBIG: "the file exceeds the largest size allowed here; raise the limit (ulimit -f)",
    errno.EROFS: "the file system is read-only; choose a folder that can be written",
    errno.EACCES: "permission is denied; choose a folder that you may write to",
    errno.EPERM: "the operation is not permitted; choose a folder that you may write to",
    errno.ENOENT: "its folder does not exist; create the folder first",
    errno.EISDIR: "it is a folder, not a file; remove it or choose another path",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another path",
    errno.ELOOP: "there is a symbolic link at this path; remove it",
    errno.ENAMETOOLONG: "the name is too long for this file system; choose a shorter one",
}

_ABANDONED = re.compile(r"\..+\.[0-9a-f]{8}\.partial")
"""Names of files and folders that are being written, see `partial`."""
_HIDDEN = re.compile(r"(^|/)\.([^/]+)\.[0-9a-f]{8}\.partial(?=/|$)")
"""The same in a path; messages show what it shall become."""
_held: set[int] = set()
"""Descriptors that hold locks."""


@contextmanager
def storage_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Reword operating-system errors raised while writing a file: which file, why, what to do.

    Args:
        path: The file that is written.

    Raises:
        OSError: of the same class and number (`PermissionError` stays `PermissionError`), with the
            new message.
    """
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror)
        if reason is None:
            raise
        # One argument, so that the message does not begin with the number.
        shown = _HIDDEN.sub(r"\1\2", os.fspath(path))
        reworded = type(error)(f"cannot write {shown}: {reason}")
        reworded.errno = error.errno
        raise reworded from error


def atomic_write(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write a file so that a reader, or a crash at any moment, finds the old content or the new
    one, never a part.

    A temporary file beside `path` is written, flushed to the disk and renamed over `path`; then the
    folder is flushed. On any error the temporary file is removed and the old content stays.

    Args:
        path: The file.
        content: All that it shall hold; text is encoded as UTF-8.

    Raises:
        OSError: the disk is full, read-only, or the folder does not exist; the message says which.
    """
    path = Path(path)
    with storage_errors(path), partial(path) as written:
        with open(written, "wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            synchronise(file)
        os.replace(written, path)
        synchronise_folder(path.parent)


@contextmanager
def partial(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """A hidden file or folder beside `path`, to be written and then renamed to `path`.

    It is locked as long as it is written, and removed at the end unless it was renamed. What killed
    processes have left in the same folder, and nobody holds a lock of, is removed first.

    Args:
        path: What it shall become.
        folder: Whether it is a folder.
    """
    _remove_abandoned(path.parent)
    written = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    make = written.mkdir if folder else lambda: written.touch(exist_ok=False)
    with storage_errors(path):
        descriptor = hold(written, make)
    try:
        yield written
    finally:
        if is_at(written, descriptor):
            shutil.rmtree(written, ignore_errors=True) if folder else written.unlink()
        release(descriptor)


def hold(path: Path, make: Callable[[], object], seconds: float = math.inf) -> int:
    """Make a file or folder and take its lock; returns a descriptor to `release`.

    Args:
        path: The file or folder.
        make: Makes it.
        seconds: How long to wait for the lock.

    Raises:
        BlockingIOError: Another process holds the lock.
    """
    until = time.monotonic() + seconds
    while True:
        make()
        if sys.platform == "win32":
            return -1
        with suppress(FileNotFoundError):  # its owner, or who took it for abandoned, removed it
            descriptor = _open(path)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)
                continue
            except OSError as error:
                if seconds < math.inf:
                    warnings.warn(
                        f"the file system of {path.parent} has no locks ({error.strerror}): see "
                        "to it that no other process writes there",
                        stacklevel=2,
                    )
            if is_at(path, descriptor):
                _held.add(descriptor)
                return descriptor
            os.close(descriptor)


def _open(path: Path) -> int:
    """A descriptor that can be locked; some network file systems lock only what can be written."""
    access = os.O_RDONLY if path.is_dir() else os.O_RDWR
    return os.open(path, access | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)


def is_at(path: Path, descriptor: int) -> bool:
    """Whether an open file or folder still has this path."""
    try:
        found = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return descriptor < 0 or os.path.samestat(found, os.fstat(descriptor))


def release(descriptor: int) -> None:
    """Close a descriptor that holds a lock."""
    _held.discard(descriptor)
    if descriptor >= 0:
        os.close(descriptor)


def is_held(path: Path) -> bool | None:
    """Whether a process of this machine holds the lock of a file; None where that is not known.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if sys.platform == "win32":
        return None
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return None
    finally:
        os.close(descriptor)
    return False


def _remove_abandoned(folder: Path) -> None:
    """Remove what killed processes were just writing in a folder."""
    if sys.platform == "win32":
        return
    with suppress(OSError):
        for name in os.listdir(folder):
            if _ABANDONED.fullmatch(name):
                with suppress(OSError):
                    _remove_unless_held(folder / name)


def _remove_unless_held(path: Path) -> None:
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    finally:
        os.close(descriptor)


def _release_all() -> None:
    """In a forked process: leave the locks to the process that has taken them."""
    while _held:
        os.close(_held.pop())


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_release_all)


def synchronise(file: BinaryIO) -> None:
    """Flush an open file down to the disk."""
    file.flush()
    os.fsync(file.fileno())


def synchronise_folder(folder: str | os.PathLike[str]) -> None:
    """Flush a folder's list of names to the disk, which is what makes a rename in it durable."""
    if sys.platform == "win32":
        return  # Windows cannot open a folder for this, and needs no such flush.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append_jsonl(path: str | os.PathLike[str], row: Mapping[str, Any]) -> None:
    """Append one JSON object as one line, flushed to the disk.

    Several processes may append to the same file. A line torn by an earlier crash is cut off first,
    and a line that cannot be written whole is taken back, so that a complete row is never glued to
    a broken one.

    Args:
        path: The file, created if needed.
        row: The object.

    Raises:
        ValueError: the row holds a value that JSON cannot hold (an array, NaN, infinity).
        OSError: the disk is full or read-only; the message says which.
    """
    try:
        line = json.dumps(dict(row), allow_nan=False, ensure_ascii=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"a row for {os.fspath(path)} may hold only text, booleans, None, finite "
            "numbers, lists and dicts "
            f"({error}): {dict(row)!r}"
        ) from error
    with storage_errors(path), open(path, "a+b", buffering=0) as file:
        if sys.platform != "win32":
            fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
        end = _end_of_whole_lines(file)
        file.truncate(end)
        _write_whole(file, line.encode("utf-8"), end)
        os.fsync(file.fileno())


def require_appendable(path: Path) -> None:
    """Raise an OSError, whose message says what to do, unless a file can be made or appended to."""
    with storage_errors(path):
        if path.exists():
            open(path, "ab").close()
        else:
            with partial(path):
                pass


def read_jsonl(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read the rows of a JSON-lines file.

    Args:
        path: The file. A last line torn by a crash (no line end, not JSON) is left out.

    Raises:
        ValueError: any other line is not a JSON object; the message gives the line number.
    """
    rows = []
    lines = Path(path).read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = _parse_row(line)
        if row is not None:
            rows.append(row)
        elif number < len(lines):
            raise ValueError(
                f"{os.fspath(path)}, line {number}: expected one JSON object, got {line[:80]!r}; "
                "restore the file, or delete this line if the row can be spared"
            )
    return rows


def _parse_row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _end_of_whole_lines(file: Any) -> int:
    """Byte position after the last complete row; a row that lacks only its line end is given
    one."""
    size: int = file.seek(0, os.SEEK_END)
    tail, start = b"", size
    while start and b"\n" not in tail:
        step = min(start, 65536)
        start -= step
        file.seek(start)
        tail = file.read(step) + tail
    last = tail.rpartition(b"\n")[2]
    if not last:
        return size
    if _parse_row(last) is None:
        return size - len(last)
    _write_whole(file, b"\n", size)
    return size + 1


def _write_whole(file: Any, data: bytes, end: int) -> None:
    """Write all of `data` at the end of the file, or cut the file back to `end` and raise."""
    view = memoryview(data)
    try:
        while view:
            view = view[file.write(view) :]
    except BaseException:
        file.truncate(end)
        raise
