"""Who writes where: locks, what killed processes leave, and folders that appear whole."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from rate.storage.files import atomic_write, partial
from rate.storage.folders import LockedError, lock, new_folder, require_writable, writing

WRITER = """
import sys, time
from pathlib import Path
from rate.storage.files import partial
from rate.storage.folders import new_folder, writing
kind, path = sys.argv[1], Path(sys.argv[2])
context = {
    "run": lambda: writing(path),
    "dataset": lambda: new_folder(path),
    "file": lambda: partial(path),
    "folder": lambda: partial(path, folder=True),
}[kind]()
with context as written:
    if kind in ("dataset", "folder"):
        (written / "half").write_text("half")
    print("ready", flush=True)
    time.sleep(100)
"""


def writer(kind: str, path: Path) -> subprocess.Popen[str]:
    """Another process that writes there and does not end by itself."""
    command = [sys.executable, "-c", WRITER, kind, str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.mark.parametrize(("kind", "write"), [("run", writing), ("dataset", new_folder)])
def test_a_second_writer_is_told_who_the_first_is(kind, write, tmp_path):
    process = writer(kind, tmp_path / "x")
    message = rf"x is being written by process {process.pid} on .+ since \d{{4}}-.+: wait until"
    with pytest.raises(LockedError, match=message), write(tmp_path / "x"):
        pass
    kill(process)
    with write(tmp_path / "x"):
        pass
    assert sorted(os.listdir(tmp_path)) == ["x"]
    assert not os.listdir(tmp_path / "x")


def test_a_lock_is_waited_for_while_its_owner_dies(tmp_path):
    process = writer("run", tmp_path)
    os.kill(process.pid, signal.SIGSTOP)
    subprocess.Popen(
        [sys.executable, "-c", f"import os, time; time.sleep(0.5); os.kill({process.pid}, 9)"]
    )
    with writing(tmp_path):
        pass
    kill(process)


def test_a_forked_process_keeps_no_lock(tmp_path):
    with lock(tmp_path / "lock", "it"):
        child = os.fork()
        if not child:
            time.sleep(20)
            os._exit(0)
    with lock(tmp_path / "lock", "it"):
        pass
    assert psutil.Process(child).is_running()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(kind, tmp_path):
    dead, living = (writer(kind, tmp_path / name) for name in ("dead", "living"))
    (tmp_path / ".video.partial").touch()  # of another program
    kill(dead)
    atomic_write(tmp_path / "other", "content")
    names = sorted(os.listdir(tmp_path))
    assert [name for name in names if "living" in name]
    assert not [name for name in names if "dead" in name]
    assert {".video.partial", "other"} < set(names)
    kill(living)
    with partial(tmp_path / "other"):
        pass
    assert sorted(os.listdir(tmp_path)) == [".video.partial", "other"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a" / "b" / "data"

    def interrupted() -> None:
        with new_folder(path) as written:
            (written / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not os.listdir(tmp_path)
    with new_folder(path) as written:
        (written / "whole").touch()
        assert not path.exists()
    assert os.listdir(path) == ["whole"]
    assert os.listdir(path.parent) == ["data"]
    with pytest.raises(FileExistsError, match="already exists"), new_folder(path):
        pass


def test_a_link_in_place_of_a_lock_is_not_followed(tmp_path):
    (tmp_path / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="there is a symbolic link"), writing(tmp_path):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_is_tried_for_writing(tmp_path):
    require_writable(tmp_path / "new")
    assert not os.listdir(tmp_path / "new")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"^cannot write .+file/new: a part of the path is a file"):
        require_writable(tmp_path / "file" / "new")
