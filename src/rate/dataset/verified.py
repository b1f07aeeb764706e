"""Remembers that a dataset's files were compared with their hashes, until one of them changes.

The memory is the file `verified` in the dataset's folder. It belongs to one card and holds size,
times of change and inode of every array, so a copied, replaced or edited file is compared anew. A
memory that is damaged or of another form counts as none.
"""

import contextlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rate.storage.files import atomic_write
from rate.storage.untrusted import inside

MEMORY = "verified"
RESOLUTION = 20_000_000
"""Nanoseconds after which another change of a file shows in its time of change."""


def present_state(folder: Path, card: Mapping[str, Any]) -> dict[str, Any]:
    """The card and the files as they are now, in terms that any later change of a file alters.

    Waits a moment if a file has only just changed, because a second change within it would not
    show.

    Raises:
        OSError: a file is missing.
    """
    state = _state(folder, card)
    age = time.time_ns() - max(changed for _, changed, *_ in state["files"].values())
    if 0 <= age < RESOLUTION:
        time.sleep((RESOLUTION - age) / 1e9)
        state = _state(folder, card)
    return state


def is_verified(folder: Path, state: Mapping[str, Any]) -> bool:
    """Whether exactly this state is remembered as right."""
    try:
        return bool(json.loads(inside(folder, MEMORY).read_bytes()) == state)
    except (OSError, ValueError, RecursionError):
        return False


def remember(folder: Path, state: Mapping[str, Any]) -> None:
    """Remember that a state is right, if the folder can be written."""
    with contextlib.suppress(OSError):
        atomic_write(folder / MEMORY, json.dumps(state, indent=1) + "\n")


def _state(folder: Path, card: Mapping[str, Any]) -> dict[str, Any]:
    files = {}
    for record in card["arrays"].values():
        file = os.stat(folder / record["file"])
        times = [file.st_mtime_ns, file.st_ctime_ns]
        files[record["file"]] = [file.st_size, *times, file.st_ino]
    return {"card_hash": card.get("card_hash"), "files": files}
