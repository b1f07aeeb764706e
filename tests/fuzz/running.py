"""Runs readers on damaged samples, one after another, in a process with limits of time and memory.

The input of a format, a seed and a number is always the same. Reading it must give data, or one
exception of the format's kinds whose text is one printable line.
"""

import contextlib
import io
import multiprocessing
import os
import random
import resource
import shutil
import signal
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

SECONDS, WALL_SECONDS, BYTES, LONGEST = 10, 60, 2 << 30, 600
"""Limits of one input: processor time, time on the clock, memory, and letters of a message."""

OUTCOMES = ("data", "refused", "wrong", "hang", "memory", "crash", "escaped")

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.fuzz.formats", "rate.training", "rate.acting", "minari"])


class Outcome(NamedTuple):
    """What became of an input."""

    name: str
    """Format and number."""
    kind: str
    """One of `OUTCOMES`."""
    detail: str
    """What was raised, with its traceback if it was wrong."""

    @property
    def failed(self) -> bool:
        return self.kind not in ("data", "refused")


def fuzz(
    work: Path, names: Sequence[str], count: int, *, seed: int = 0, until: float = float("inf")
) -> Iterator[Outcome]:
    """Outcomes of `count` inputs, of each format in turn.

    Args:
        work: Folder for samples, inputs, and inputs that failed.
        names: The formats.
        count: Number of inputs.
        seed: Seed of the damage.
        until: Time on the monotonic clock at which to stop, whatever the count.
    """
    worker: _Worker | None = None
    try:
        for number in range(count):
            if time.monotonic() > until:
                break
            worker = worker or _Worker(work)
            name = f"{names[number % len(names)]}-{number // len(names)}"
            outcome = worker.outcome(name, seed)
            if outcome.kind in ("hang", "crash", "memory"):
                worker.stop()
                worker = None
            yield outcome
    finally:
        if worker is not None:
            worker.stop()


def table(outcomes: Sequence[Outcome]) -> str:
    """Counts by format and kind."""
    counts = Counter((one.name.rpartition("-")[0], one.kind) for one in outcomes)
    names = sorted({name for name, _ in counts})
    rows = [["format", *OUTCOMES]]
    rows += [[name, *(str(counts[name, kind]) for kind in OUTCOMES)] for name in names]
    totals = Counter(one.kind for one in outcomes)
    rows.append(["total", *(str(totals[kind]) for kind in OUTCOMES)])
    return "\n".join(f"{row[0]:16}" + "".join(f"{cell:>9}" for cell in row[1:]) for row in rows)


class _Worker:
    """A process that reads inputs, until one of them ends it."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.pipe, theirs = SERVER.Pipe()
        self.process = SERVER.Process(target=_serve, args=(theirs, work), daemon=True)
        self.process.start()
        theirs.close()

    def outcome(self, name: str, seed: int) -> Outcome:
        self.pipe.send((name, seed))
        try:
            if self.pipe.poll(WALL_SECONDS + 60 * (not (self.work / "ready").exists())):
                return Outcome(name, *self.pipe.recv())
            kind, detail = "hang", f"no end after {WALL_SECONDS} s"
        except (EOFError, ConnectionResetError):
            self.process.join(10)
            code = self.process.exitcode
            kind, detail = "hang" if code == -signal.SIGXCPU else "crash", f"ended with {code}"
        with contextlib.suppress(OSError):
            (self.work / "inputs" / name).rename(_new(self.work / "failed" / name))
        return Outcome(name, kind, detail)

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _serve(pipe: Connection, work: Path) -> None:
    """Body of a worker."""
    import torch

    from tests.fuzz.formats import FORMATS

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    os.environ |= {"MINARI_DATASETS_PATH": str(work / "none"), "HOME": str(work / "home")}
    os.environ.pop("WANDB_API_KEY", None)
    work.mkdir(parents=True, exist_ok=True)
    (work / "ready").touch()
    while True:
        try:
            name, seed = pipe.recv()
        except EOFError:
            return
        form = FORMATS[name.rpartition("-")[0]]
        owner = next(other for other, one in FORMATS.items() if one.make is form.make)
        sample = work / "samples" / owner
        folder = _new(work / "inputs" / name)
        if not sample.exists():
            sample.mkdir(parents=True)
            form.make(sample)
        if name.endswith("-0"):  # what is sound is read
            shutil.copytree(sample, folder)
            form.read(folder)
            shutil.rmtree(folder)
        shutil.copytree(sample, folder)
        form.mutate(folder, random.Random(f"{seed} {name}"))
        kept = _new(work / "kept")
        shutil.copytree(folder, kept)
        kind, detail = _read(form, folder)
        if kind in ("data", "refused") and _outside(work, name):
            kind, detail = "escaped", f"wrote {_outside(work, name)}"
        shutil.rmtree(folder)
        if kind not in ("data", "refused"):
            kept.rename(_new(work / "failed" / name))
            (work / "failed" / name / "outcome.log").write_text(detail, errors="replace")
        else:
            shutil.rmtree(kept)
        pipe.send((kind, detail))


def _new(path: Path) -> Path:
    """A path that does not exist, in a folder that does."""
    shutil.rmtree(path, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _outside(work: Path, name: str) -> list[str]:
    """What lies beside the input that was not there before."""
    return [path.name for path in (work / "inputs").iterdir() if path.name != name]


def _read(form: "object", folder: Path) -> tuple[str, str]:
    """Read an input within the limits."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + 1 + SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_DATA, (_allocated() + BYTES, resource.RLIM_INFINITY))
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            form.read(folder)  # type: ignore[attr-defined]
    except BaseException as error:
        text = "".join(traceback.format_exception(error))
        if "MemoryError" in text or "allocate memory" in text or "Unable to allocate" in text:
            return "memory", text
        if type(error) not in form.kinds:  # type: ignore[attr-defined]
            return "wrong", text
        if not str(error).isprintable() or not 10 < len(str(error)) - len(str(folder)) < LONGEST:
            return "wrong", f"not one printable line: {str(error)!r}\n{text}"
        return "refused", f"{type(error).__name__}: {error}"
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return "data", ""


def _allocated() -> int:
    """Private memory of this process, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmData:")[2].split()[0]) << 10
