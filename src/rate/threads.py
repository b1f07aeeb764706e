"""How many threads to compute with: measured on the work itself, because more can be slower."""

import os
import time
from collections.abc import Callable

import torch


def fastest(work: Callable[[], object], limit: int | None = None, repeats: int = 2) -> int:
    """The number of threads, among 1, 2, 4, ... up to the cores at hand, with which `work` took the
    least time."""
    limit = limit or len(
        os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    )
    candidates = sorted(
        {limit, *(2**power for power in range(limit.bit_length()) if 2**power <= limit)}
    )
    before = torch.get_num_threads()
    times = {}
    try:
        for threads in candidates:
            torch.set_num_threads(threads)
            work()
            times[threads] = min(_timed(work) for _ in range(repeats))
    finally:
        torch.set_num_threads(before)
    return min(times, key=times.__getitem__)


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
