"""A dataset of several shards, larger than memory: peak memory of writing, verifying, validating,
reading an epoch and training, each in a process with less room.

`python -m benchmarks large` takes 4 GB in the folder for temporary files; `python -m
benchmarks.large_dataset 20` takes 20 and prints its measurements without recording them, `--record`
records them.
"""

import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from gymnasium import spaces

from benchmarks.rows import Measurement, record
from benchmarks.training import resident_peak
from rate.dataset import Dataset, Sampler, open_dataset, read_windows, write_dataset
from rate.episode import Episode

GIGABYTES, QUICK = 4.0, 0.5
ROOM = 2**30
"""Bytes of memory of its own that a process may have, less than the images take; pages of mapped
files do not count."""

SHARD = 4.0
"""Gigabytes of a shard at most; there are at least two."""
READ = 2e9
"""Bytes of an epoch that are read to measure how fast that is."""

SPACE, ACTIONS = spaces.Box(0, 255, (3, 64, 112), np.uint8), spaces.Discrete(5)
STEPS = 90


def measure(quick: bool) -> Iterator[Measurement]:
    """Peak memory in each stage, and the size of the dataset beside it."""
    yield from stages(QUICK if quick else GIGABYTES)


def stages(gigabytes: float) -> Iterator[Measurement]:
    """Run each stage in a process of its own, on one dataset that is removed at the end."""
    configuration = f"{gigabytes:g} GB of images, {ROOM / 2**30:g} GiB of memory allowed"
    with tempfile.TemporaryDirectory() as folder:
        for stage in STAGES:
            command = [
                sys.executable,
                "-m",
                "benchmarks.large_dataset",
                stage,
                folder,
                str(gigabytes),
            ]
            here, alone = (
                Path(__file__).parents[1],
                {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
            done = subprocess.run(
                command,
                cwd=here,
                env={**os.environ, **alone},
                check=True,
                capture_output=True,
                text=True,
            )
            own, resident, seconds, size, facts = json.loads(done.stdout.splitlines()[-1])
            yield Measurement(
                "large", f"{stage}: own memory", configuration, own, "MiB", own / size
            )
            yield Measurement(
                "large",
                f"{stage}: resident, mapped files included",
                configuration,
                resident,
                "MiB",
                resident / size,
            )
            yield Measurement("large", f"{stage}: time", configuration, seconds, "s")
            for unit, value in facts.items():
                yield Measurement("large", f"{stage}: speed", configuration, value, unit)
            if stage == "generate":
                yield Measurement("large", "dataset", configuration, size, "MiB")


def generate(folder: Path, gigabytes: float) -> None:
    """Write episodes of noise, in which no frame repeats, as a stream, into shards."""
    count = max(2, math.ceil(gigabytes / SHARD))
    for shard in range(count):
        write_noise(folder / "data" / f"{shard:03}", gigabytes / count, SPACE, shard)


def write_noise(path: Path, gigabytes: float, space: spaces.Box, seed: int = 0) -> Dataset:
    """A dataset of so many bytes, of episodes of `STEPS` steps whose frames are noise."""
    random = np.random.default_rng(seed)
    size = int(np.prod(space.shape))
    count = max(1, round(gigabytes * 1e9 / ((STEPS + 1) * size)))

    def episodes() -> Iterator[Episode]:
        last = np.arange(STEPS) == STEPS - 1
        for _ in range(count):
            frames = np.frombuffer(random.bytes((STEPS + 1) * size), np.uint8)
            seen = {"observation": frames.reshape(STEPS + 1, *space.shape)}
            yield Episode(
                seen, random.integers(0, 5, STEPS), random.random(STEPS), last & False, last
            )

    return write_dataset(path, episodes(), space, ACTIONS)


def verify(folder: Path, gigabytes: float) -> None:
    """Read the whole dataset to compare hashes."""
    open_dataset(folder / "data", trust_memory=False)


def validate(folder: Path, gigabytes: float) -> None:
    """Read all of it again, for what `rate data validate` says."""
    from rate.dataset.validate import findings

    findings(open_dataset(folder / "data", verify=False))


def epoch(folder: Path, gigabytes: float) -> None:
    """Plan a whole epoch, which must hold every step of every shard once, and read the first part
    of its windows, in their random order."""
    data = open_dataset(folder / "data", verify=False)
    sampler = Sampler(data.lengths, 64, 60, "stride", seed=0)
    offsets, windows = data.arrays["episode_offsets"], int((-(-data.lengths // 60)).sum())
    seen, counted, read, started = np.zeros(data.steps, np.uint8), 0, 0, 0.0
    reading = 0.0
    for update in range(sampler.batches_per_epoch):
        plan = sampler.plan(update)[: windows - counted]
        counted += len(plan)
        starts = offsets[plan.episodes] + plan.starts
        for start, length in zip(starts, plan.lengths, strict=True):
            seen[start : start + length] += 1
        if read < READ:
            started = time.perf_counter()
            batch = read_windows(data, plan)
            reading += time.perf_counter() - started
            read += sum(leaf.nbytes for leaf in batch.observations.values())
    assert (seen == 1).all(), "an epoch must hold every step once"
    FACTS["MB/s"] = read / 1e6 / reading


FACTS: dict[str, float] = {}
"""Further measurements of a stage, by unit."""


def train(folder: Path, gigabytes: float) -> None:
    """Train a small RATE for a few updates."""
    from rate.models.rate import Config
    from rate.recipe import Recipe
    from rate.training import train

    model = Config(
        width=32,
        layers=1,
        heads=2,
        head_width=16,
        memory_tokens=2,
        valve_heads=2,
        segment_length=30,
        segments=3,
    )
    recipe = Recipe(str(folder / "data"), model, updates=5, batch_size=16, micro_batch=4)
    train(recipe, folder / "run", accelerator="cpu", threads=1)


STAGES: dict[str, Callable[[Path, float], None]] = {
    "generate": generate,
    "verify": verify,
    "validate": validate,
    "epoch": epoch,
    "train": train,
}


class OwnMemory(threading.Thread):
    """Watches the greatest amount of memory that is this process's own (RssAnon); pages of mapped
    files can be taken away."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self.over = 0, threading.Event()

    def run(self) -> None:
        """Look a hundred times a second."""
        while not self.over.wait(0.01):
            lines = Path("/proc/self/status").read_text().splitlines()
            own = int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) * 1024
            self.peak = max(self.peak, own)


def _run(stage: str, folder: str, gigabytes: str) -> None:
    """What a process started by `stages` does: prints its peaks in MiB, its seconds and the size of
    the dataset in MiB."""
    import torch

    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_DATA, (ROOM, ROOM))
    memory, start = OwnMemory(), time.perf_counter()
    memory.start()
    STAGES[stage](Path(folder), float(gigabytes))
    seconds = time.perf_counter() - start
    memory.over.set()
    size = sum(file.stat().st_size for file in (Path(folder) / "data").rglob("*.npy")) / 2**20
    print(json.dumps([memory.peak / 2**20, resident_peak(), seconds, size, FACTS]))


if __name__ == "__main__":
    if len(sys.argv) == 2 or sys.argv[2:] == ["--record"]:
        for measurement in stages(float(sys.argv[1])):
            print(measurement, flush=True)
            if sys.argv[2:]:
                record(measurement)
    else:
        _run(*sys.argv[1:])
