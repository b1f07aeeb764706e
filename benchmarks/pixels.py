"""An environment of noisy images, in which no frame repeats, and a process that records it.

`python -m benchmarks.pixels FOLDER EPISODES WORKERS MILLISECONDS` prints the peak memory of all
processes in MiB and the steps per second. It imports no more than a recording needs, because each
worker imports it.
"""

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import psutil

STEPS = 1_000
TASK = f"benchmarks.pixels:Noise,horizon={STEPS},expert=random,environment.milliseconds="


class Noise(gymnasium.Env[Any, Any]):
    """Shows new noise at every step, determined by the seed, and never ends by itself.

    A step takes `milliseconds` of processor time, and a few microseconds for the noise.
    """

    observation_space = gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(4)

    def __init__(self, milliseconds: float = 0.0) -> None:
        self.seconds = milliseconds / 1000

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self._frame(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        over = time.thread_time() + self.seconds
        while time.thread_time() < over:
            pass
        return self._frame(), float(action == 0), False, False, {}

    def _frame(self) -> np.ndarray:
        noise = np.frombuffer(self.np_random.bytes(64 * 64 * 3), np.uint8)
        return noise.reshape(64, 64, 3)


class Peaks(threading.Thread):
    """Watches the peak resident memory (VmHWM) of this process and of all that it starts."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.bytes: dict[int, int] = {}

    def run(self) -> None:
        """Look twenty times a second."""
        this = psutil.Process()
        while not self.over.wait(0.05):
            for process in (this, *this.children(recursive=True)):
                self._look(process.pid)

    def _look(self, pid: int) -> None:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            return
        for line in lines:
            if line.startswith("VmHWM"):
                self.bytes[pid] = int(line.split()[1]) * 1024


def _run(folder: str, episodes: str, workers: str, milliseconds: str) -> None:
    import rate

    peaks, started = Peaks(), time.perf_counter()
    peaks.start()
    task, output = TASK + milliseconds, Path(folder) / "data"
    data = rate.collect(task, output, episodes=int(episodes), workers=int(workers))
    seconds = time.perf_counter() - started
    peaks.over.set()
    peaks.join()
    print(json.dumps([sum(peaks.bytes.values()) / 2**20, data.steps / seconds]))


if __name__ == "__main__":
    _run(*sys.argv[1:])
