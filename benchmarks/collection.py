"""Recording episodes of images: peak memory and speed, each in a process of its own."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.pixels import STEPS
from benchmarks.rows import Measurement

EPISODES, SLOW_EPISODES, QUICK = 250, 20, 30


def measure(quick: bool) -> Iterator[Measurement]:
    """Peak memory of all processes together, and steps per second, with one worker and with two."""
    episodes = QUICK if quick else EPISODES
    size = episodes * (STEPS + 1) * 64 * 64 * 3 / 2**20
    fast, slow = (
        f"{count} episodes of {STEPS:,} steps, 64 x 64 x 3, {cost}"
        for count, cost in ((episodes, "no cost of a step"), (SLOW_EPISODES, "1 ms a step"))
    )
    for workers in (1, 2):
        name = "1 worker" if workers == 1 else f"{workers} workers"
        peak, speed = collect(episodes, workers, 0)
        yield Measurement("collection", name, fast, peak, "MiB at most", peak / size)
        yield Measurement("collection", name, fast, speed, "steps/s")
        if not quick:
            _, speed = collect(SLOW_EPISODES, workers, 1)
            yield Measurement("collection", name, slow, speed, "steps/s")


def collect(episodes: int, workers: int, milliseconds: int) -> tuple[float, float]:
    """Collect in a new process; peak memory in MiB and steps per second."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.pixels", folder]
        done = subprocess.run(
            [*command, str(episodes), str(workers), str(milliseconds)],
            cwd=Path(__file__).parents[1],
            check=True,
            capture_output=True,
            text=True,
        )
    peak, speed = json.loads(done.stdout.splitlines()[-1])
    return peak, speed
