"""A run that is killed, interrupted, or out of disk, again and again, ends as if nothing had
happened."""

import contextlib
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch

import rate
from rate.cli import main
from rate.runs.checkpoint import read_tensors
from rate.runs.folder import RunError
from rate.storage.files import read_jsonl

UPDATES = 200
# Processes are forked from a server that has imported everything, so that starting one costs almost
# nothing.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    ["rate.training", "rate.cli", "rate.models.rate", "torch.optim", "torch._dynamo"]
)


def options(recall: Path, run: Path) -> list[str]:
    sizes = {
        "segment-length": 4,
        "segments": 3,
        "width": 16,
        "layers": 1,
        "head-width": 8,
        "memory-tokens": 2,
    }
    text = (
        f"train rate --dataset {recall} --run {run} --seed 3 --threads 1 --updates {UPDATES} "
        "--batch-size 8 "
    )
    text += "--checkpoint-every 4 --selection.every 10 --optimiser.warmup 10 "
    return (text + " ".join(f"--model.{name} {value}" for name, value in sizes.items())).split()


def command(
    arguments: list[str], output: Path, largest_file: int | None = None, user: int | None = None
) -> None:
    """Body of a process: the command line, its output in a file."""
    torch.set_num_threads(1)
    with open(output, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if largest_file:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    if user is not None and os.geteuid() == 0:
        os.seteuid(user)
    sys.exit(main(arguments))


def start(
    arguments: list[str], output: Path, **limits: int | None
) -> multiprocessing.process.BaseProcess:
    process = SERVER.Process(target=command, args=(arguments, output), kwargs=limits)
    process.start()
    return process


def finish(arguments: list[str], output: Path, **limits: int | None) -> tuple[int | None, str]:
    """Exit status and output of a process that runs to its end."""
    process = start(arguments, output, **limits)
    process.join(300)
    return process.exitcode, output.read_text()


def arguments_for(recall: Path, run: Path) -> list[str]:
    """Resume a run if it has begun, else begin it."""
    return (
        ["train", "--resume", str(run)] if (run / "recipe.json").exists() else options(recall, run)
    )


def metrics(run: Path) -> list[dict]:
    rows = read_jsonl(run / "metrics.jsonl")
    return [
        {name: value for name, value in row.items() if not name.endswith("seconds")} for row in rows
    ]


def require_equal(run: Path, reference: Path) -> None:
    assert metrics(run) == metrics(reference)
    for name in ("last", "best", "training"):
        tensors, header = read_tensors(run / f"{name}.safetensors")
        expected, expected_header = read_tensors(reference / f"{name}.safetensors")
        assert header == expected_header
        assert tensors.keys() == expected.keys()
        assert all(torch.equal(tensors[key], expected[key]) for key in tensors), name
    assert not list(run.glob(".*.partial"))


def wait_for(
    path: Path,
    process: multiprocessing.process.BaseProcess | subprocess.Popen,
    seconds: float = 120,
) -> None:
    until = time.monotonic() + seconds
    while not path.exists():
        code = process.poll() if isinstance(process, subprocess.Popen) else process.exitcode
        assert code is None, f"the process ended with {code} before {path} was there"
        assert time.monotonic() < until, f"{path} did not come in {seconds} s"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def uninterrupted(recall, tmp_path_factory):
    """The run that every other must equal."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    code, text = finish(options(recall, folder / "run"), folder / "output.txt")
    assert code == 0, text
    return folder / "run"


@pytest.fixture
def half_way(recall, tmp_path):
    """A run that was asked to stop after its first checkpoint."""
    process = start(options(recall, tmp_path / "run"), tmp_path / "output.txt")
    wait_for(tmp_path / "run" / "training.safetensors", process)
    os.kill(process.pid, signal.SIGTERM)
    process.join(60)
    assert process.exitcode == 143, (tmp_path / "output.txt").read_text()
    assert len(metrics(tmp_path / "run")) < UPDATES
    return tmp_path / "run"


def test_a_run_killed_at_random_moments_ends_like_one_never_interrupted(
    recall, uninterrupted, tmp_path
):
    duration = read_jsonl(uninterrupted / "metrics.jsonl")[-1]["seconds"]
    run, seed = tmp_path / "run", random.SystemRandom().randrange(2**32)
    moments = random.Random(seed)
    killed = 0
    for _ in range(8):
        process = start(arguments_for(recall, run), tmp_path / "output.txt")
        process.join(moments.uniform(0.1, 0.1 + 0.3 * duration))
        killed += process.exitcode is None
        process.kill()
        process.join()
    assert killed >= 2, f"moments drawn from {seed}"
    code, text = finish(arguments_for(recall, run), tmp_path / "output.txt")
    assert code == 0, text
    require_equal(run, uninterrupted)


def test_a_run_killed_while_it_writes_a_checkpoint_keeps_a_whole_one(
    recall, uninterrupted, tmp_path
):
    run = tmp_path / "run"
    torn = 0
    for _ in range(6):
        process = start(arguments_for(recall, run), tmp_path / "output.txt")
        wait_for(run / "training.safetensors", process)
        while process.exitcode is None:
            with contextlib.suppress(FileNotFoundError):
                if any(".safetensors." in entry.name for entry in os.scandir(run)):
                    process.kill()
                    break
        process.join()
        torn += any(run.glob(".*.safetensors.*.partial"))
        for path in run.glob("*.safetensors"):
            read_tensors(path)
    assert torn, "no process was killed in the middle of a write"
    code, text = finish(arguments_for(recall, run), tmp_path / "output.txt")
    assert code == 0, text
    require_equal(run, uninterrupted)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_asked_to_stop_saves_says_how_to_go_on_and_goes_on(
    number, recall, uninterrupted, tmp_path
):
    run = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "rate", *options(recall, run)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    wait_for(run / "training.safetensors", process)
    process.send_signal(number)
    output = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 128 + number, output
    assert f"stopped by {number.name} after update" in output
    assert f"rate train --resume {run}" in output
    assert "Traceback" not in output
    done = len(metrics(run))
    assert 0 < done < UPDATES
    assert read_tensors(run / "last.safetensors")[1]["update"] == done
    code, text = finish(["train", "--resume", str(run)], tmp_path / "output.txt")
    assert code == 0, text
    require_equal(run, uninterrupted)


def test_a_finished_run_is_resumed_to_itself(uninterrupted, tmp_path):
    run = Path(shutil.copytree(uninterrupted, tmp_path / "run"))
    assert rate.resume(run) == run
    require_equal(run, uninterrupted)


def test_a_resumed_run_forgets_what_came_after_its_checkpoint(half_way, uninterrupted, tmp_path):
    with open(half_way / "metrics.jsonl", "a") as file:
        file.write('{"update": 199, "loss": 0.0}\n{"update": 200, "lo')
    code, text = finish(["train", "--resume", str(half_way)], tmp_path / "output.txt")
    assert code == 0, text
    require_equal(half_way, uninterrupted)


def test_two_processes_asked_to_stop_save_and_go_on(recall, tiny, tmp_path):
    run = tmp_path / "run"
    text = (
        f"train rate --dataset {recall} --run {run} --threads 1 --devices 2 --accelerator cpu "
        "--updates 4000 --batch-size 8 --checkpoint-every 5 "
        "--model.segment-length 4 --model.width 16 --model.layers 1"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "rate", *text.split()], stderr=subprocess.PIPE
    )
    wait_for(run / "training.safetensors", process)
    process.terminate()  # only the first process gets the signal
    output = process.communicate(timeout=120)[1].decode()
    assert process.returncode == 143, output
    assert f"continue with `rate train --resume {run}`" in output
    assert read_tensors(run / "last.safetensors")[1]["update"] == len(metrics(run))


def test_a_changed_dataset_is_not_resumed_on(tiny, tmp_path):
    data = tmp_path / "data"
    rate.collect("recall/12", data, episodes=8)
    run = rate.train(tiny(dataset=str(data)), tmp_path / "run", threads=1, accelerator="cpu")
    shutil.rmtree(data)
    rate.collect("recall/12", data, episodes=9)
    with pytest.raises(RunError, match="has changed since"):
        rate.resume(run)


def test_a_full_disk_is_said_and_spares_the_last_checkpoint(half_way, uninterrupted, tmp_path):
    before = {path.name: path.read_bytes() for path in half_way.glob("*.safetensors")}
    size = (half_way / "training.safetensors").stat().st_size
    assert (half_way / "metrics.jsonl").stat().st_size < size - 1000
    code, text = finish(
        ["train", "--resume", str(half_way)], tmp_path / "output.txt", largest_file=size - 1000
    )
    assert code == 2
    assert "exceeds the largest size allowed" in " ".join(text.split())
    assert "Traceback" not in text
    assert not list(half_way.glob(".*.partial"))
    read_tensors(half_way / "last.safetensors")
    assert before["training.safetensors"] == (half_way / "training.safetensors").read_bytes()
    code, text = finish(["train", "--resume", str(half_way)], tmp_path / "output.txt")
    assert code == 0, text
    require_equal(half_way, uninterrupted)


def test_a_read_only_folder_is_said(recall, half_way):
    with tempfile.TemporaryDirectory() as folder:  # one that a user without rights can reach
        os.chmod(folder, 0o755)
        data = shutil.copytree(recall, Path(folder) / "data")
        run = Path(folder) / "run"
        shutil.copytree(half_way, run)
        (run / "recipe.json").write_text(
            (run / "recipe.json").read_text().replace(str(recall), str(data))
        )
        before = {path.name: path.read_bytes() for path in run.iterdir()}
        output = Path(folder) / "output.txt"
        os.chmod(run, 0o555)
        code, text = finish(["train", "--resume", str(run)], output, user=65534)
        assert (code, "permission is denied" in " ".join(text.split())) == (2, True), text
        code, text = finish(options(data, Path(folder) / "run" / "inner"), output, user=65534)
        assert (code, "permission is denied" in " ".join(text.split())) == (2, True), text
        os.chmod(run, 0o755)
        assert before == {path.name: path.read_bytes() for path in run.iterdir()}


def children(parent: int) -> set[int]:
    """Process numbers of all living descendants."""
    found: set[int] = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            number, _, rest = stat.read_text().partition(" (")
            if int(rest.rpartition(") ")[2].split()[1]) in {parent, *found} and " Z " not in rest:
                found.add(int(number))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the processes of Linux")
def test_no_worker_outlives_a_reproduction_that_is_killed(tmp_path):
    arguments = ["reproduce", "demo", "--output", str(tmp_path / "demo"), "--jobs", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "rate", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while (
        len(list((tmp_path / "demo" / "runs").glob("*/recipe.json"))) != 2
        and time.monotonic() < deadline
    ):
        time.sleep(0.2)
    workers = children(process.pid)
    process.kill()
    process.wait()
    assert len(workers) >= 2
    while (
        any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < deadline
    ):
        time.sleep(0.2)
    assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]
