"""Runs readers on damaged samples, one after another, in a process with limits of time and memory.

The input of a format, a seed and a number is always the same. Reading it must give data, or one
exception of the format's kinds whose text is one printable line.
"""

import contextlib
import importlib
import io
import itertools
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
from typing import Any, NamedTuple

FORMATS = "tests.fuzz.formats"
"""The module whose FORMATS are tried."""


class Limits(NamedTuple):
    """Limits of one input."""

    seconds: int = 10
    """Processor time."""
    wall_seconds: int = 60
    """Time on the clock."""
    bytes: int = 2 << 30
    """Memory beyond what the process had before."""


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


LIMITS = Limits()


def fuzz(
    work: Path,
    names: Sequence[str],
    count: int,
    *,
    seed: int = 0,
    seconds: float = float("inf"),
    formats: str = FORMATS,
    limits: Limits = LIMITS,
) -> Iterator[Outcome]:
    """Outcomes of `count` inputs, of these formats in turn.

    Args:
        work: Folder for samples, inputs, and inputs that failed.
        names: The formats; one that is named twice has twice as many inputs.
        count: Number of inputs.
        seed: Seed of the damage.
        seconds: Time to stop after, whatever the count; starting the first process does not count.
        formats: The module that defines the formats.
        limits: Limits of one input.
    """
    worker: _Worker | None = None
    tried: Counter[str] = Counter()
    begun = 0.0
    try:
        for name in itertools.islice(itertools.cycle(names), count):
            worker = worker or _Worker(work, formats, limits)
            begun = begun or time.monotonic()
            if time.monotonic() > begun + seconds:
                break
            outcome = worker.outcome(f"{name}-{tried[name]}", seed)
            tried[name] += 1
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

    def __init__(self, work: Path, formats: str, limits: Limits) -> None:
        self.work, self.limits = work, limits
        self.pipe, theirs = SERVER.Pipe()
        arguments = theirs, work, formats, limits
        self.process = SERVER.Process(target=_serve, args=arguments)
        self.process.start()
        theirs.close()
        self.pipe.recv()  # it is ready

    def outcome(self, name: str, seed: int) -> Outcome:
        self.pipe.send((name, seed))
        try:
            if self.pipe.poll(self.limits.wall_seconds):
                return Outcome(name, *self.pipe.recv())
            kind, detail = "hang", f"no end after {self.limits.wall_seconds} s"
        except (EOFError, ConnectionResetError):
            self.process.join(10)
            code = self.process.exitcode
            kind, detail = "hang" if code == -signal.SIGXCPU else "crash", f"ended with {code}"
        _keep(self.work, name, detail)
        return Outcome(name, kind, detail)

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _serve(pipe: Connection, work: Path, formats: str, limits: Limits) -> None:
    """Body of a worker."""
    import torch

    forms = importlib.import_module(formats).FORMATS
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    os.environ |= {"MINARI_DATASETS_PATH": str(work / "none"), "HOME": str(work / "home")}
    os.environ.pop("WANDB_API_KEY", None)
    shutil.rmtree(work / "inputs", ignore_errors=True)
    pipe.send("ready")
    while True:
        try:
            name, seed = pipe.recv()
        except EOFError:
            return
        form = forms[name.rpartition("-")[0]]
        owner = next(other for other, one in forms.items() if one.make is form.make)
        sound, folder = work / "samples" / owner, work / "inputs" / name
        if not sound.exists():
            sound.mkdir(parents=True)
            form.make(sound)
        if name.endswith("-0"):  # what is sound is read
            shutil.copytree(sound, _new(folder))
            form.check(folder)
        shutil.copytree(sound, _new(folder))
        form.mutate(folder, random.Random(f"{seed} {name}"))
        shutil.copytree(folder, _new(work / "kept"))
        kind, detail = _read(form, folder, limits)
        beside = [path.name for path in (work / "inputs").iterdir() if path.name != name]
        if kind in ("data", "refused") and beside:
            kind, detail = "escaped", f"wrote {beside}"
        shutil.rmtree(work / "inputs")
        if kind not in ("data", "refused"):
            _keep(work, name, detail)
        pipe.send((kind, detail))


def _keep(work: Path, name: str, detail: str) -> None:
    """Keep an input that failed, with what became of it."""
    if (work / "kept").exists():
        (work / "kept").rename(_new(work / "failed" / name))
        (work / "failed" / name / "outcome.log").write_text(detail, errors="replace")


def _new(path: Path) -> Path:
    """A path that does not exist, in a folder that does."""
    shutil.rmtree(path, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _read(form: Any, folder: Path, limits: Limits) -> tuple[str, str]:
    """Read an input within the limits."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + 1 + limits.seconds
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_DATA, (_allocated() + limits.bytes, resource.RLIM_INFINITY))
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            form.read(folder)
    except BaseException as error:
        text = "".join(traceback.format_exception(error))
        if "MemoryError" in text or "allocate memory" in text or "Unable to allocate" in text:
            return "memory", text
        if type(error) not in form.kinds:
            return "wrong", text
        if not str(error).isprintable() or not 10 < len(str(error)) <= form.longest:
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
