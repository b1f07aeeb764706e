import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from recordings import ACTIONS, VECTOR, recorded

from rate.dataset import DatasetError, open_dataset, read, write_dataset
from rate.dataset.validate import validate
from rate.dataset.verified import MEMORY

SPACE = spaces.Dict({"camera": spaces.Box(0, 255, (2, 2, 1), np.uint8), "state": VECTOR})
FILES = 10


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "data", recorded([2, 3], SPACE), SPACE, ACTIONS).path


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read in full from now on."""
    names: list[str] = []
    before = read._stored

    def stored(file: Path, array: np.ndarray) -> Any:
        names.append(file.name)
        return before(file, array)

    monkeypatch.setattr(read, "_stored", stored)
    return names


def flip(file: Path) -> None:
    """Change the last byte, as `write_bytes` and editors do, and keep the size."""
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_a_freshly_written_dataset_is_not_hashed(folder: Path, hashed: list[str]) -> None:
    open_dataset(folder)
    assert hashed == []


def test_another_copy_is_hashed_once(folder: Path, tmp_path: Path, hashed: list[str]) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    open_dataset(copy)
    assert len(hashed) == FILES
    open_dataset(copy)
    assert len(hashed) == FILES


def test_validation_always_hashes(folder: Path, hashed: list[str]) -> None:
    validate(folder)
    assert len(hashed) == FILES
    open_dataset(folder, trust_memory=False)
    assert len(hashed) == 2 * FILES


@pytest.mark.parametrize("number", range(FILES))
def test_a_byte_changed_right_after_writing_is_found(folder: Path, number: int) -> None:
    file = sorted(path for path in folder.rglob("*.npy"))[number]
    flip(file)
    with pytest.raises(DatasetError, match=file.name):
        open_dataset(folder)
    with pytest.raises(DatasetError, match=file.name):
        open_dataset(folder)


def test_a_change_with_the_old_time_put_back_is_found(folder: Path) -> None:
    file = folder / "rewards.npy"
    state = file.stat()
    flip(file)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    with pytest.raises(DatasetError, match=r"rewards.npy"):
        open_dataset(folder)


def test_a_file_that_was_replaced_is_found(folder: Path, tmp_path: Path) -> None:
    file = folder / "rewards.npy"
    other = Path(shutil.copy2(file, tmp_path / "other"))
    flip(other)
    shutil.copystat(file, other)
    os.replace(other, file)
    with pytest.raises(DatasetError, match=r"rewards.npy"):
        open_dataset(folder)


def test_a_file_that_was_touched_is_hashed_again_and_remembered(
    folder: Path, hashed: list[str]
) -> None:
    os.utime(folder / "rewards.npy")
    open_dataset(folder)
    open_dataset(folder)
    assert len(hashed) == FILES


def test_another_card_is_not_covered(folder: Path, tmp_path: Path, hashed: list[str]) -> None:
    other = write_dataset(
        tmp_path / "other", recorded([2, 3], SPACE), SPACE, ACTIONS, provenance={"by": "another"}
    )
    shutil.copy(other.path / "card.json", folder / "card.json")
    open_dataset(folder)
    assert len(hashed) == FILES


DAMAGE = ["", "{", "[]", "null", "7", "[" * 10**5, '{"files": {}}', '{"card_hash": 1, "files": 3}']


@pytest.mark.parametrize("content", [*DAMAGE, "\xff", "changed"])
def test_a_damaged_memory_counts_as_none(folder: Path, content: str, hashed: list[str]) -> None:
    memory = folder / MEMORY
    if content == "changed":
        state = json.loads(memory.read_text())
        state["files"]["rewards.npy"][0] += 1
        content = json.dumps(state)
    memory.write_bytes(content.encode("latin-1"))
    open_dataset(folder)
    assert len(hashed) == FILES
    open_dataset(folder)
    assert len(hashed) == FILES


def test_a_memory_that_cannot_be_written_is_no_error(folder: Path, hashed: list[str]) -> None:
    (folder / MEMORY).unlink()
    (folder / MEMORY).mkdir()  # stands for a read-only folder, which root may write
    open_dataset(folder)
    open_dataset(folder)
    assert len(hashed) == 2 * FILES
    assert not list(folder.glob("*.partial"))


def test_damage_is_not_remembered(folder: Path) -> None:
    (folder / MEMORY).unlink()
    flip(folder / "rewards.npy")
    for _ in range(2):
        with pytest.raises(DatasetError, match=r"rewards.npy"):
            open_dataset(folder)
    assert not (folder / MEMORY).exists()
