"""Every command may be killed or stopped at any moment: it then ends at once, with its workers, and
the same command again comes to the same end as one that nothing disturbed."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from test_survival import finish, start

from rate.runs.checkpoint import read_tensors
from rate.storage.files import read_jsonl

PASSING = {"card_hash", "hash", "date", "seconds", "selection_seconds", "commit", "mtime"}
"""What is another thing each time."""


@dataclass(frozen=True)
class Verb:
    """A command, and what it leaves."""

    words: str
    """The command line; {data}, {run} and {arrays} are given, {out} is the folder to write in."""
    made: str
    """Pattern of the files in that folder that must be the same."""
    workers: int = 0
    """Processes besides the first one."""
    longer: dict[str, str] = field(default_factory=dict)
    """What makes it take long enough to be stopped."""


VERBS = {
    "collect": Verb(
        "collect tmaze-uniform/30 --output {out}/data --workers 2 --episodes 300",
        "data/**/*",
        2,
        {"300": "300000"},
    ),
    "import": Verb("data import {arrays} --output {out}/data --episodes 300", "data/**/*"),
    "export": Verb("data export {data} --output {out}", "**/*.json"),
    "train": Verb(
        "train rate --dataset {data} --run {out}/run --threads 1 --updates 40 --batch-size 8 "
        "--checkpoint-every 4 --selection.every 10 --selection.task recall/12 --eval-workers 2 "
        "--loader-workers 2 --model.segment-length 4 --model.width 16 --model.layers 1",
        "run/*",
        4,
        {"--updates 40": "--updates 40000"},
    ),
    "evaluate": Verb(
        "evaluate {out}/run --tasks recall/12 recall/24 recall/48 --episodes 8",
        "run/scores.jsonl",
        2,
        {"--episodes 8": "--workers 2 --episodes 80000"},
    ),
    "inspect": Verb("inspect {out}/run --episodes 2", "run/inspection.json", 0, {"2": "20000"}),
    "validate": Verb("data validate {data}", ""),
    "report": Verb("report {out}/run", "run/summary.json"),
    "reproduce": Verb("reproduce demo --smoke --output {out}/demo --jobs 2", "demo/rows.jsonl", 2),
}


@pytest.fixture(scope="module")
def given(recall: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What the commands read."""
    arrays = tmp_path_factory.mktemp("arrays") / "data.npz"
    steps = 20_000
    rng = np.random.default_rng(0)
    np.savez(
        arrays,
        observations=rng.normal(size=(steps, 4)).astype(np.float32),
        actions=rng.integers(0, 3, steps),
        rewards=rng.normal(size=steps).astype(np.float32),
        terminals=np.arange(steps) % 50 == 49,
    )
    return {"data": recall, "run": trained, "arrays": arrays}


def words(name: str, given: dict[str, Path], out: Path, *, long: bool = False) -> list[str]:
    """The command line, in a folder that holds what it needs."""
    if name in ("evaluate", "inspect", "report") and not (out / "run").exists():
        shutil.copytree(given["run"], out / "run")
    verb, places = VERBS[name], {**given, "out": out}
    text = verb.words.format(**places)
    for short, more in verb.longer.items() if long else ():
        text = text.replace(short, more)
    if name == "train" and (out / "run" / "recipe.json").exists():
        return ["train", "--resume", str(out / "run")]
    return text.split()


def lasting(value: Any) -> Any:
    """JSON data without what passes."""
    if isinstance(value, dict):
        return {key: lasting(part) for key, part in value.items() if key not in PASSING}
    return [lasting(part) for part in value] if isinstance(value, list) else value


def state(name: str, out: Path) -> dict[str, Any]:
    """What a command has made, by file."""
    hidden = [path for path in out.rglob(".*") if path.name != ".lock"]
    assert not hidden, hidden
    made: dict[str, Any] = {}
    for path in sorted(out.glob(VERBS[name].made)):
        kept = path.relative_to(out).as_posix()
        if path.suffix == ".jsonl":
            made[kept] = lasting(read_jsonl(path))
        elif path.suffix == ".safetensors":
            tensors, header = read_tensors(path)
            numbers = {key: tensor.numpy().tobytes() for key, tensor in tensors.items()}
            made[kept] = {**numbers, "header": header}
        elif path.suffix == ".json":
            text = path.read_text(encoding="utf-8").replace(str(out), "")
            made[kept] = lasting(json.loads(text))
        elif path.is_file() and path.name not in ("verified", "report.html"):
            made[kept] = path.read_bytes()
    assert made
    return made


def disturbed(name: str, given: dict[str, Path], folder: Path, kills: int, seed: int) -> int:
    """Kill a command again and again, let it come to its end, and compare that; returns how often
    it was killed."""
    moments = random.Random(seed)
    quiet, out = folder / "quiet", folder / "disturbed"
    quiet.mkdir(parents=True)
    out.mkdir()
    started = time.monotonic()
    code, text = finish(words(name, given, quiet), folder / "output.txt")
    assert code == 0, text
    duration, killed = time.monotonic() - started, 0
    for _ in range(kills):
        process = start(words(name, given, out), folder / "output.txt")
        process.join(moments.uniform(0, duration))
        killed += process.exitcode is None
        process.kill()
        process.join()
        if name in ("collect", "import", "export"):  # it refuses what is complete
            for path in out.glob("[!.]*"):
                shutil.rmtree(path)
    code, text = finish(words(name, given, out), folder / "output.txt")
    assert code == 0, text
    assert state(name, out) == state(name, quiet), f"moments drawn from {seed}"
    return killed


KILLED = ["collect", "import", "export", "train", "evaluate", "reproduce"]


@pytest.mark.parametrize("name", ["import", "export", "evaluate"])
def test_a_killed_command_comes_to_the_same_end(name, given, tmp_path):
    disturbed(name, given, tmp_path, kills=3, seed=random.SystemRandom().randrange(2**32))


@pytest.mark.slow
def test_a_hundred_kills(given, tmp_path):
    seed = random.SystemRandom().randrange(2**32)
    killed = dict.fromkeys(KILLED, 0)
    round_ = 0
    while sum(killed.values()) < 100:
        for name in KILLED:
            folder = tmp_path / f"{name}-{round_}"
            killed[name] += disturbed(name, given, folder, kills=10, seed=seed + round_)
            shutil.rmtree(folder)
        round_ += 1
    sys.stderr.write(f"killed: {killed}, moments drawn from {seed}\n")


def handles(process: psutil.Popen, number: int) -> bool:
    """Whether a process of Linux handles a signal itself."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    [mask] = [line.split()[1] for line in text.splitlines() if line.startswith("SigCgt")]
    return bool(int(mask, 16) >> (number - 1) & 1)


def runs(process: psutil.Process) -> bool:
    """Whether a process has not ended. One that has is a zombie until its parent asks for its
    status, which the first process of a container may do seconds later."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def stopped(name: str, number: int, given: dict[str, Path], out: Path) -> float:
    """Stop a command in the midst of its work; returns the seconds until all its processes are
    gone."""
    command = [sys.executable, "-m", "rate", *words(name, given, out, long=True)]
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with psutil.Popen(command, start_new_session=True, text=True, **streams) as process:
        until = time.monotonic() + 120
        while not (
            handles(process, signal.SIGTERM)
            and len(process.children(recursive=True)) >= VERBS[name].workers
        ):
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < until
            time.sleep(0.01)
        time.sleep(random.uniform(0, 1) if VERBS[name].longer else 0)
        family = [process, *process.children(recursive=True)]
        sent = time.monotonic()
        process.send_signal(number)
        while (alive := [one for one in family if runs(one)]) and time.monotonic() < sent + 10:
            time.sleep(0.01)
        seconds = time.monotonic() - sent
        for one in alive:
            one.kill()
        process.wait(10)
        output = process.stdout.read()
    assert not alive, f"{alive} are alive after 10 s: {output}"
    assert process.returncode == 128 + number, output
    assert "Traceback" not in output
    assert f"rate {words(name, given, out)[0]}: " in output
    return seconds


ONLY_LINUX = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")


@ONLY_LINUX
@pytest.mark.parametrize(
    ("name", "number"),
    [("collect", signal.SIGINT), ("evaluate", signal.SIGTERM), ("reproduce", signal.SIGINT)],
)
def test_a_stopped_command_ends_with_its_workers(name, number, given, tmp_path):
    stopped(name, number, given, tmp_path)


@ONLY_LINUX
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_command_ends_within_two_seconds(number, given, tmp_path):
    seconds = {
        name: [stopped(name, number, given, tmp_path / f"{name}-{again}") for again in range(3)]
        for name in VERBS
    }
    for name, measured in seconds.items():
        sys.stderr.write(f"{name}: {', '.join(f'{one:.2f}' for one in measured)} s\n")
    assert max(one for measured in seconds.values() for one in measured) < 2
