"""Several runs on one card, and what bfloat16 does to memory over many acting steps.

`python -m benchmarks.accelerator 100000` measures the latter alone, with or without a card.
"""

import multiprocessing
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch

from benchmarks.acting import fresh_policy, pool
from benchmarks.configurations import DEMO, Configuration
from benchmarks.rows import Measurement, record, render
from rate.acting.actor import Actor
from rate.dataset import Dataset, open_dataset

CUDA = torch.cuda.is_available()
PROCESSES = (1, 2, 4, 8) if CUDA else (1, 2)
"""How many runs share the card."""
SECONDS = 10.0 if CUDA else 0.2
"""How long their updates are counted."""
STEPS = 100_000 if CUDA else 300
"""Acting steps over which memory may drift."""


def sharing(configuration: Configuration, dataset: Dataset, device: str) -> Iterator[Measurement]:
    """Updates per second of k processes together, each with a run of its own on the same card."""
    alone = 0.0
    for count in PROCESSES:
        speed = together(configuration, dataset, count)
        alone = alone or speed
        name = f"{configuration.name}, {device}"
        ratio = speed / alone
        yield Measurement("gpu-sharing", f"processes: {count}", name, speed, "updates/s", ratio)


def together(configuration: Configuration, dataset: Dataset, count: int) -> float:
    """Updates per second of `count` processes, which begin at the same time."""
    # CUDA cannot be used in a forked process; without it a fork saves the imports.
    context: Any = multiprocessing.get_context("spawn" if CUDA else "fork")
    start, results = context.Barrier(count), context.Queue()
    given = configuration, str(dataset.path), start, results
    processes = [context.Process(target=_count_updates, args=given) for _ in range(count)]
    for process in processes:
        process.start()
    speeds = [results.get(timeout=300) for _ in processes]
    for process in processes:
        process.join()
    return sum(speeds)


def _count_updates(configuration: Configuration, path: str, start: Any, results: Any) -> None:
    """Body of a process: updates per second, of the captured update where there is CUDA."""
    from benchmarks.gpu import VARIANTS, Run

    torch.set_num_threads(1)
    run = Run(configuration, open_dataset(path, verify=False), VARIANTS["graph, float32"])
    run.update(len(run.batches))
    start.wait(300)
    count, began = 0, time.perf_counter()
    while (seconds := time.perf_counter() - began) < SECONDS:
        run.update(4)
        count += 4
    results.put(count / seconds)


def drift(configuration: Configuration, device: str, steps: int = STEPS) -> Iterator[Measurement]:
    """Memory and outputs in bfloat16 beside float32, for the same observations and actions.

    The policy has its first weights, and one row acts in one episode all the time. Memory's
    difference is its norm as a share of memory's own; that of actions is how often the most likely
    one is the same.
    """
    policy = fresh_policy(configuration.model).to("cuda" if CUDA else "cpu").eval()
    observations, rewards = pool(1), np.zeros(1, np.float32)
    actors = [Actor(policy, 1.0, graph="on") for _ in range(2)]
    for actor in actors:
        actor.reset(1)
    same = np.zeros(steps, bool)
    marks = {steps // 100, steps // 10, steps}
    for step in range(steps):
        outputs = []
        for actor, low in zip(actors, (False, True), strict=True):
            with precision(low):
                outputs.append(actor.outputs(observations[step % len(observations)], rewards))
        chosen = [output.float().argmax(-1).cpu().numpy() for output in outputs]
        same[step] = (chosen[0] == chosen[1]).all()
        for actor in actors:
            actor.actions = chosen[0]
        if step + 1 in marks:
            name = f"{configuration.name}, {device}, {step + 1} steps"
            difference = _difference(*(_memory(actor) for actor in actors))
            yield Measurement("gpu-drift", "bf16", name, difference, "share of memory")
            agreement = float(same[: step + 1].mean())
            yield Measurement("gpu-drift", "bf16", name, agreement, "share of equal actions")


def precision(low: bool) -> AbstractContextManager[Any]:
    """Products in bfloat16, or everything in float32."""
    if not low:
        return nullcontext()
    # Casts that are remembered would not be captured.
    return torch.autocast("cuda" if CUDA else "cpu", torch.bfloat16, cache_enabled=False)


def _memory(actor: Actor) -> torch.Tensor:
    """What a row remembers of earlier segments."""
    assert actor.graphed is not None
    memory = actor.graphed.steps.tensors["memory_tokens"]
    assert memory.dtype == torch.float32, memory.dtype
    return memory


def _difference(expected: torch.Tensor, actual: torch.Tensor) -> float:
    return float((actual - expected).norm() / expected.norm())


if __name__ == "__main__":
    torch.set_num_threads(1)
    for measurement in drift(DEMO, "cuda" if CUDA else "cpu", int(sys.argv[1])):
        print(measurement, flush=True)
        record(measurement)
    render()
