import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rate.storage.files import append_jsonl, atomic_write, read_jsonl


def with_small_disk(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a script that can write no file above 4 kB, as on a disk that fills up."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, preexec_fn=limit, timeout=60)


@pytest.mark.parametrize("content", ["größer\n", b"\x00\xff", "", b""])
def test_written_content_is_read_back(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "file"
    atomic_write(path, "old")
    atomic_write(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert os.listdir(tmp_path) == ["file"]


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing.*create the folder"):
        atomic_write(tmp_path / "missing" / "file", "text")


def test_read_only_folder_is_named(read_only_folder: Path) -> None:
    with pytest.raises(PermissionError, match="may write to"):
        atomic_write(read_only_folder / "file", "text")
    with pytest.raises(PermissionError, match="may write to"):
        append_jsonl(read_only_folder / "rows.jsonl", {"a": 1})


def test_full_disk_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic_write(path, "old")
    script = (
        "import sys; from rate.storage.files import atomic_write as write; "
        "write(sys.argv[1], b'x' * 10**6)"
    )
    result = with_small_disk(script, path)
    assert "OSError" in result.stderr
    assert "cannot write" in result.stderr
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_full_disk_takes_back_the_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append_jsonl(path, {"a": 1})
    script = (
        "import sys; from rate.storage.files import append_jsonl as write; "
        "write(sys.argv[1], {'text': 'x' * 10**5})"
    )
    result = with_small_disk(script, path)
    assert "cannot write" in result.stderr
    assert path.read_bytes() == b'{"a": 1}\n'


def test_interrupted_replacement_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    atomic_write(path, "old")

    def interrupted(*names: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        atomic_write(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


ROWS = st.lists(
    st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.floats(allow_nan=False)),
    max_size=4,
)


@settings(deadline=None)
@given(
    rows=ROWS.map(
        lambda rows: [row for row in rows if float("inf") not in map(abs_number, row.values())]
    )
)
def test_rows_are_read_back(rows: list[dict[str, object]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.touch()
        for row in rows:
            append_jsonl(path, row)
        assert read_jsonl(path) == rows


def abs_number(value: object) -> object:
    return abs(value) if isinstance(value, float) else value


@settings(deadline=None)
@given(cut=st.integers(0, 40))
def test_a_torn_line_is_left_out_and_the_next_row_is_whole(cut: int) -> None:
    rows = [{"update": 1, "loss": 0.5}, {"update": 2, "note": "ü"}]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        for row in rows:
            append_jsonl(path, row)
        whole = path.read_bytes()
        path.write_bytes(whole[: max(0, len(whole) - cut)])
        survived = read_jsonl(path)
        assert survived == rows[: len(survived)]
        append_jsonl(path, {"update": 3})
        assert read_jsonl(path) == [*survived, {"update": 3}]
        assert all(json.loads(line) for line in path.read_bytes().splitlines())


def test_a_long_torn_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append_jsonl(path, {"a": 1})
    with open(path, "ab") as file:
        file.write(b'{"text": "' + b"x" * 200_000)
    append_jsonl(path, {"a": 2})
    assert read_jsonl(path) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("line", ["{broken", "[1]", "3", "[" * 100_000])
def test_damage_before_the_last_line_is_an_error(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n' + line + '\n{"a": 2}\n')
    with pytest.raises(ValueError, match="line 2"):
        read_jsonl(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"x"])
def test_a_row_that_json_cannot_hold_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(ValueError, match="may hold only"):
        append_jsonl(tmp_path / "rows.jsonl", {"a": value})
    assert not (tmp_path / "rows.jsonl").exists()


def test_processes_append_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    script = (
        "import sys; from rate.storage.files import append_jsonl\n"
        "for i in range(50): append_jsonl(sys.argv[1], {'writer': int(sys.argv[2]), 'row': i})"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", script, str(path), str(index)])
        for index in range(3)
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    rows = read_jsonl(path)
    assert len(rows) == 150
    for writer in range(3):
        assert [row["row"] for row in rows if row["writer"] == writer] == list(range(50))
