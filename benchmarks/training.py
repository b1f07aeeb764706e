"""Real environment steps per second in training, and peak memory, against the textbook baseline."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import lightning_fabric
import numpy as np
import torch

from benchmarks import naive
from benchmarks.configurations import CONFIGURATIONS, DEMO, RELEASED, Configuration
from benchmarks.rows import Measurement
from rate.dataset import Batch, BatchReader, Dataset, Sampler, read_windows
from rate.models.policy import Policy
from rate.recipe import Recipe
from rate.training.update import Learner, WindowLoss, adamw

Update = Callable[[int], int]
"""Train on the batch with the given index and return its real steps; padding never counts."""


def measure(quick: bool) -> Iterator[Measurement]:
    """All training measurements; `quick` leaves the released sizes out."""
    with tempfile.TemporaryDirectory() as folder:
        for configuration in (DEMO,) if quick else (DEMO, RELEASED):
            dataset = configuration.dataset(Path(folder))
            yield from peak_memory(configuration, dataset)
            yield from throughput(configuration, dataset)


def throughput(
    configuration: Configuration, dataset: Dataset, repeats: int = 3
) -> Iterator[Measurement]:
    """Median real steps per second of every variant with the thread count that suits it best.

    The variants train on the same batches by turns, so that whatever else the machine does slows
    down all of them; a ratio is the median of the ratios within a turn. Two turns warm up and
    choose the thread counts: one, or all.
    """
    updates = {name: variant(configuration, dataset) for name, variant in VARIANTS.items()}
    trials = {
        threads: _turn(updates, dict.fromkeys(updates, threads), 0)
        for threads in {1, os.cpu_count() or 1}
    }
    threads = {name: max(trials, key=lambda count: trials[count][name]) for name in updates}
    turns = [_turn(updates, threads, 1 + repeat) for repeat in range(repeats)]
    for name in updates:
        ratio = (
            None
            if name == "naive"
            else float(np.median([turn[name] / turn["naive"] for turn in turns]))
        )
        value = float(np.median([turn[name] for turn in turns]))
        yield Measurement(
            "training", name, configuration.name, value, "real steps/s", ratio, threads[name]
        )


def _turn(updates: dict[str, Update], threads: dict[str, int], index: int) -> dict[str, float]:
    """Real steps per second of every variant on one batch."""
    speeds = {}
    for name, update in updates.items():
        torch.set_num_threads(threads[name])
        started = time.perf_counter()
        steps = update(index)
        speeds[name] = steps / (time.perf_counter() - started)
    return speeds


def peak_memory(
    configuration: Configuration, dataset: Dataset, updates: int = 2
) -> Iterator[Measurement]:
    """Largest resident memory of a fresh process after a few updates: in all, and what training
    added to the imports."""
    peaks = {}
    for name in VARIANTS:
        command = [
            sys.executable,
            "-m",
            "benchmarks.training",
            name,
            configuration.name,
            str(dataset.path),
            str(updates),
        ]
        done = subprocess.run(
            command, cwd=Path(__file__).parents[1], check=True, capture_output=True, text=True
        )
        peaks[name] = json.loads(done.stdout.splitlines()[-1])
    for name, (before, after) in peaks.items():
        naive_before, naive_after = peaks["naive"]
        grown, total = (after - before) / (naive_after - naive_before), after / naive_after
        ratios = (None, None) if name == "naive" else (grown, total)
        yield Measurement(
            "memory", name, configuration.name, after - before, "MiB added", ratios[0]
        )
        yield Measurement("memory", name, configuration.name, after, "MiB in all", ratios[1])


def ours(configuration: Configuration, dataset: Dataset, per_segment: bool = False) -> Update:
    """The library's update on batches that it reads itself."""
    recipe, update = configuration.recipe(dataset), learner(configuration, dataset, per_segment)
    reader = BatchReader(dataset, [sampler_of(configuration, dataset)], recipe.updates, 16)
    return lambda index: update(reader[index])


def learner(
    configuration: Configuration,
    dataset: Dataset,
    per_segment: bool = False,
    accelerator: str = "cpu",
) -> Callable[[Batch], int]:
    """The library's update of a batch; by default its own rule, one optimiser step per window with
    the gradient through memory. Returns the real steps."""
    policy = policy_for(configuration, dataset)
    recipe = configuration.recipe(dataset)
    if per_segment:
        recipe = replace(recipe, bptt_segments=1, update_per_segment=True)
    run = learner_of(policy, recipe, accelerator)

    def update(batch: Batch) -> int:
        run.update(batch)
        return int(batch.lengths.sum())

    return update


def learner_of(policy: Policy, recipe: Recipe, accelerator: str = "cpu") -> Learner:
    """What takes the library's updates of a policy."""
    fabric = lightning_fabric.Fabric(accelerator=accelerator, devices=1)
    module = WindowLoss(policy)
    loss, optimiser = fabric.setup(module, adamw(module, recipe.optimiser))
    return Learner(fabric, loss, policy, module.objective, optimiser, recipe, seed=0)


def ours_per_segment(configuration: Configuration, dataset: Dataset) -> Update:
    """The library's update by the baseline's rule: memory detached and an optimiser step after each
    segment."""
    return ours(configuration, dataset, per_segment=True)


def textbook(configuration: Configuration, dataset: Dataset) -> Update:
    """The baseline's update."""
    policy = naive.NaivePolicy(policy_for(configuration, dataset))
    optimiser = naive.adamw(policy, configuration.optimiser)
    sampler, clip = sampler_of(configuration, dataset), configuration.optimiser.gradient_clip

    def update(index: int) -> int:
        windows = sampler.plan(index)
        window = naive.padded(read_windows(dataset, windows), configuration.model.window)
        naive.update(policy, optimiser, window, clip)
        return int(windows.lengths.sum())

    return update


VARIANTS = {"naive": textbook, "ours": ours, "ours, update per segment": ours_per_segment}


def policy_for(configuration: Configuration, dataset: Dataset) -> Policy:
    """A fresh policy for the data."""
    torch.manual_seed(0)
    spaces = dataset.observation_space, dataset.action_space
    return Policy(*spaces, configuration.model, dataset.normalisation, dataset.return_scale)


def sampler_of(configuration: Configuration, dataset: Dataset) -> Sampler:
    """The same batches for every variant."""
    window = configuration.model.window
    return Sampler(dataset.lengths, configuration.batch_size, window, "first", seed=0)


def resident_peak() -> float:
    """Largest resident memory of this process so far, MiB.

    getrusage would count the parent process, too, because its figure survives fork and exec on
    Linux.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def _measure_own_memory(variant: str, configuration: str, dataset: str, updates: str) -> None:
    """What a process started by `peak_memory` does: prints its peaks before the model is built and
    after the updates."""
    torch.set_num_threads(1)
    sizes = CONFIGURATIONS[configuration]
    data = sizes.dataset(Path(dataset).parent)
    before = resident_peak()
    update = VARIANTS[variant](sizes, data)
    for index in range(int(updates)):
        update(index)
    print(json.dumps([before, resident_peak()]))


if __name__ == "__main__":
    _measure_own_memory(*sys.argv[1:])
