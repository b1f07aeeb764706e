"""What the machine can do to a command: a full disk, no git, no home, no memory, numbers that leave
their range. Each is one sentence, and nothing half written is left."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import rate
import rate.cli
from rate.cli import describe, main
from rate.runs.checkpoint import load_policy

COMMANDS = {
    "collect": "collect recall/12 --episodes 20 --output {out}/data",
    "import": "data import {out}/arrays.npz --output {out}/data",
    "export-hdf5": "data export {data} --output {out}/minari --data-format hdf5",
    "export-arrow": "data export {data} --output {out}/minari --data-format arrow",
    "train": "train rate --dataset {data} --run {out}/new --updates 2 --threads 1",
    "evaluate": "evaluate {out}/run --tasks recall/12 --episodes 300 --threads 1",
    "inspect": "inspect {out}/run --episodes 2",
    "report": "report {out}/run --output {out}/report",
    "reproduce": "reproduce demo --smoke --output {out}/demo",
}


@pytest.fixture
def out(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "run")
    steps = np.arange(100)
    arrays = {"actions": steps % 2, "rewards": steps * 1.0, "terminals": steps % 10 == 9}
    np.savez(tmp_path / "arrays.npz", observations=steps[:, None] * 1.0, **arrays)
    return tmp_path


def run(words: str, *, largest_file: int | None = None, **environment: str) -> tuple[int, str]:
    """Exit status and output of a command; the largest file it can write stands for a full disk."""

    def limit() -> None:
        if largest_file is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    done = subprocess.run(
        [sys.executable, "-m", "rate", *words.split()],
        preexec_fn=limit,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        env=environment or None,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("name", [*COMMANDS][:4])
def test_a_full_disk_is_said(name, recall, out):
    require_sentence_on_a_full_disk(name, recall, out)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*COMMANDS][4:])
def test_a_full_disk_is_said_by_slow_commands(name, recall, out):
    require_sentence_on_a_full_disk(name, recall, out)


def require_sentence_on_a_full_disk(name: str, recall: Path, out: Path) -> None:
    before = sorted(path for path in out.rglob("*"))
    for largest_file in (0, 1000):
        code, text = run(COMMANDS[name].format(data=recall, out=out), largest_file=largest_file)
        assert code == 2, text
        assert "cannot write" in text
        assert "Traceback" not in text
        assert "Errno" not in text
        assert "partial" not in text
        left = {path for path in out.rglob("*") if path.is_file()} - set(before)
        assert not [path for path in left if path.name.startswith(".")], left
        if name in ("collect", "import", "export-hdf5", "export-arrow"):
            assert sorted(out.rglob("*")) == before


@pytest.mark.parametrize("name", ["collect", "evaluate"])
def test_neither_git_nor_a_home_is_needed(name, recall, out):
    environment = {"PATH": "/nowhere", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    code, text = run(COMMANDS[name].format(data=recall, out=out), **environment)
    assert code == 0, text


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: not enough memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has ..."),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_running_out_of_memory_is_a_sentence_with_advice(error):
    text = describe(error)
    assert text.startswith("memory ran out (")
    assert "--num-envs" in text
    assert "\n" not in text


def test_errors_of_the_operating_system_have_no_number(tmp_path, capsys):
    assert describe(FileNotFoundError(2, "No such file or directory", "a/b")) == (
        "a/b: No such file or directory"
    )
    (tmp_path / "file").touch()
    assert main(f"collect recall/12 --output {tmp_path}/file/data --episodes 2".split()) == 2
    assert "Errno" not in capsys.readouterr().err


def test_a_fault_of_the_library_is_shown_whole(monkeypatch, capsys):
    def fail(*_: object, **__: object) -> None:
        raise KeyError("a fault")

    monkeypatch.setattr(rate.cli, "_run", fail)
    assert main(["report", "somewhere"]) == 1
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "please report it" in shown


@pytest.mark.parametrize("rate_of_learning", [1e30, 1e38])
def test_a_run_that_diverges_keeps_its_last_good_checkpoint(rate_of_learning, tiny, tmp_path):
    recipe = tiny(
        optimiser=rate.OptimiserConfig(learning_rate=rate_of_learning, gradient_clip=0, warmup=1)
    )
    with pytest.raises(FloatingPointError, match=r"lower optimiser\.learning_rate"):
        rate.train(recipe, tmp_path / "run", threads=1, accelerator="cpu")
    for path in (tmp_path / "run").glob("*.safetensors"):
        if path.name != "training.safetensors":
            policy, _ = load_policy(path)
            assert all(part.isfinite().all() for part in policy.state_dict().values())
    with pytest.raises(FloatingPointError, match=r"lower optimiser\.learning_rate"):
        rate.resume(tmp_path / "run")
