"""Files that are either complete or absent: atomic writes, and JSON lines that survive a kill."""

import errno
import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
    errno.ENAMETOOLONG: "the name is too long for this file system; choose a shorter one",
}


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
        reason = _REASONS.get(error.errno or 0)
        if reason is None:
            raise
        raise OSError(error.errno, f"cannot write {os.fspath(path)}: {reason}") from error


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
    data = content.encode("utf-8") if isinstance(content, str) else content
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    with storage_errors(path):
        try:
            with open(partial, "xb") as file:
                file.write(data)
                synchronise(file)
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        synchronise_folder(path.parent)


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
