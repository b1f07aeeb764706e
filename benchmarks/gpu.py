"""Training and acting on an accelerator: whole updates as graphs, precisions, memory, launches.

`python -m benchmarks gpu` measures on CUDA where there is a device, else at small sizes on the CPU.
What fails is printed with its traceback, and the others go on.
"""

import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import lightning_fabric
import numpy as np
import torch

from benchmarks import accelerator
from benchmarks.acting import fresh_policy, pool
from benchmarks.configurations import DEMO, RELEASED, Configuration
from benchmarks.rows import Measurement
from benchmarks.training import policy_for, sampler_of
from rate.acting.actor import Actor
from rate.dataset import BatchReader, Dataset, cached, open_dataset, write_dataset
from rate.episode import Episode
from rate.models.rate import Config
from rate.recipe import OptimiserConfig
from rate.runs.checkpoint import load_state, save_state
from rate.training.graph import Graphs
from rate.training.update import Learner, WindowLoss, adamw

CUDA = torch.cuda.is_available()
DEVICE = torch.cuda.get_device_name() if CUDA else "cpu"
SECONDS, TURNS, BATCHES = (0.5, 3, 12) if CUDA else (0.0, 1, 2)
"""Shortest time and number of turns that a variant is measured, and batches that it cycles over."""

SMALL = Configuration(
    "small",
    Config(layers=1, width=16, head_width=8, memory_tokens=2, segment_length=4),
    batch_size=8,
    optimiser=OptimiserConfig(),
)
IMAGES = Configuration(
    "images",
    Config(layers=6, width=256, heads=8, head_width=32, feed_forward=512, valve_heads=8),
    batch_size=64,
    optimiser=OptimiserConfig(),
)


@dataclass(frozen=True)
class Variant:
    """One way to take updates."""

    graph: bool
    precision: Any = "32-true"
    tf32: bool = False
    times: int = 1
    """Batches of the configuration in one batch."""


EAGER = "eager, float32"
VARIANTS = {
    EAGER: Variant(False),
    "eager, bf16": Variant(False, "bf16-mixed"),
    "graph, float32": Variant(True),
    "graph, TF32": Variant(True, tf32=True),
    "graph, bf16": Variant(True, "bf16-mixed"),
    "graph, bf16, batch x 16": Variant(True, "bf16-mixed", times=16),
}


def measure(quick: bool) -> Iterator[Measurement]:
    """All measurements; `quick` leaves the released sizes and images out."""
    print(f"device: {DEVICE}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts: list[Callable[[], Iterator[Measurement]]] = []
        for configuration in ((DEMO,) if quick else (DEMO, RELEASED)) if CUDA else (SMALL,):
            data = partial(configuration.dataset, folder, 1000 if CUDA else 40)
            parts += [
                partial(equality, configuration, data),
                partial(training, configuration, data),
            ]
            if configuration is not RELEASED:  # whose updates hide the reading
                parts.append(partial(feeding, configuration, data))
        for batch in (1, 100, 1024) if CUDA else (1, 4):
            parts.append(partial(acting, batch))
        own = DEMO if CUDA else SMALL
        parts.append(partial(accelerator.drift, own, DEVICE))
        shared = partial(own.dataset, folder, 1000 if CUDA else 40)
        parts.append(lambda: accelerator.sharing(own, shared(), DEVICE))
        if CUDA and not quick:
            parts.append(partial(training, IMAGES, partial(images, folder)))
        for part in parts:
            began = time.perf_counter()
            try:
                yield from part()
            except Exception:  # the device's time is scarce: the other measurements go on
                print(f"failed: {part}")
                traceback.print_exc()
            print(f"{time.perf_counter() - began:.0f} s")
    if not CUDA:
        for what in ("TF32", "peak memory", "launches and synchronisations", "images"):
            print(f"{what:40} not measured: there is no CUDA device")


class Run:
    """A learner on the device, and batches that it cycles over."""

    def __init__(self, configuration: Configuration, dataset: Dataset, variant: Variant) -> None:
        sizes = replace(configuration, batch_size=configuration.batch_size * variant.times)
        self.variant = variant
        self.before = torch.cuda.memory_allocated() if CUDA else 0
        if CUDA:
            torch.cuda.reset_peak_memory_stats()
        self.learner = learner_for(sizes, dataset, variant)
        self.reader = reader = BatchReader(
            dataset,
            [sampler_of(sizes, dataset)],
            10**6,
            sizes.batch_size,
            steps=min(sizes.model.window, int(dataset.lengths.max())) if variant.graph else 0,
        )
        self.takes: Any = Graphs(self.learner, reader) if variant.graph else self.learner
        self.batches = [reader[update] for update in range(max(2, BATCHES // variant.times))]
        if CUDA:
            self.batches = [batch.pin_memory() for batch in self.batches]

    def update(self, count: int) -> tuple[float, int]:
        """Take `count` updates; returns the seconds and the real steps."""
        torch.set_float32_matmul_precision("high" if self.variant.tf32 else "highest")
        steps = 0
        wait()
        started = time.perf_counter()
        for number in range(count):
            batch = self.batches[number % len(self.batches)]
            self.takes.learn(batch)
            steps += int(batch.lengths.sum())
        wait()
        return time.perf_counter() - started, steps


def learner_for(configuration: Configuration, dataset: Dataset, variant: Variant) -> Learner:
    policy = policy_for(configuration, dataset)
    recipe = configuration.recipe(dataset)
    fabric = lightning_fabric.Fabric(
        accelerator="cuda" if CUDA else "cpu", devices=1, precision=variant.precision
    )
    module = WindowLoss(policy)
    loss, optimiser = fabric.setup(module, adamw(module, recipe.optimiser))
    return Learner(fabric, loss, policy, module.objective, optimiser, recipe, seed=0)


def wait() -> None:
    if CUDA:
        torch.cuda.synchronize()


def training(configuration: Configuration, data: Callable[[], Dataset]) -> Iterator[Measurement]:
    """Milliseconds an update and real steps per second of every variant, by turns."""
    dataset, name = data(), f"{configuration.name}, {DEVICE}"
    runs, failed = {}, []
    for variant, how in VARIANTS.items():
        if how.times > 1 and configuration is IMAGES:
            continue
        try:
            run = Run(configuration, dataset, how)
            started = time.perf_counter()
            run.update(len(run.batches))
            first = time.perf_counter() - started
            runs[variant] = run
        except Exception:
            print(f"failed: {variant}, {name}")
            traceback.print_exc()
            failed.append(variant)
            continue
        if CUDA:
            peak = (torch.cuda.max_memory_allocated() - run.before) / 2**20
            yield Measurement("gpu-memory", variant, name, peak, "MiB added")
        yield Measurement("gpu", variant, name, first, "s for the first updates")
        if how.graph:
            padding = 1 - run.takes.real / run.takes.computed
            yield Measurement("gpu", variant, name, padding, "share of padding")
        if CUDA and how.times == 1:
            yield from launches(run, variant, name)
    counts = {
        variant: max(2, min(200, round(SECONDS / max(run.update(2)[0] / 2, 1e-5))))
        for variant, run in runs.items()
    }
    turns = [
        {variant: run.update(counts[variant]) for variant, run in runs.items()}
        for _ in range(TURNS)
    ]
    for variant in runs:
        speeds = [turn[variant][1] / turn[variant][0] for turn in turns]
        times = [turn[variant][0] / counts[variant] for turn in turns]
        plain = [turn[EAGER][1] / turn[EAGER][0] for turn in turns] if EAGER in runs else speeds
        ratio = float(np.median(np.divide(speeds, plain)))
        value = 1e3 * float(np.median(times))
        yield Measurement("gpu", variant, name, value, "ms/update", ratio)
        yield Measurement("gpu", variant, name, float(np.median(speeds)), "real steps/s", ratio)


def feeding(
    configuration: Configuration, data: Callable[[], Dataset], updates: int = 100
) -> Iterator[Measurement]:
    """Milliseconds of an update that reads its batch, from files and from the device."""
    dataset, name = data(), f"{configuration.name}, {DEVICE}"
    for where in ("off", "memory", "device"):
        source = cached(dataset, where, torch.device("cuda" if CUDA else "cpu"))
        run = Run(configuration, source, VARIANTS["graph, float32"])
        run.update(len(run.batches))
        wait()
        started = time.perf_counter()
        for update in range(updates if CUDA else 3):
            run.takes.learn(run.reader[update])
        wait()
        value = 1e3 * (time.perf_counter() - started) / (updates if CUDA else 3)
        yield Measurement("gpu", f"graph, float32, cache {where}", name, value, "ms/update")


def launches(run: Run, variant: str, name: str, updates: int = 3) -> Iterator[Measurement]:
    """Calls of the driver in an update, and the time for which the device is busy."""
    from torch.profiler import ProfilerActivity, profile

    run.update(1)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        run.update(updates)
    counts = dict.fromkeys(("launches", "graph launches", "synchronisations", "copies"), 0)
    busy = 0.0
    for event in profiler.key_averages():
        busy += event.self_device_time_total
        for part, kind in (
            ("LaunchKernel", "launches"),
            ("GraphLaunch", "graph launches"),
            ("StreamSynchronize", "synchronisations"),
            ("cudaMemcpyAsync", "copies"),
        ):
            counts[kind] += event.count if part in event.key else 0
    for kind, count in counts.items():
        yield Measurement("gpu", variant, name, count / updates, f"{kind}/update")
    yield Measurement("gpu", variant, name, busy / updates / 1e3, "ms busy/update")


def equality(
    configuration: Configuration, data: Callable[[], Dataset], updates: int = 6
) -> Iterator[Measurement]:
    """Largest difference of losses: graph and eager without dropout, and a resumed run and the
    uninterrupted one with dropout."""
    dataset, name = data(), f"{configuration.name}, {DEVICE}"
    still = replace(
        configuration, model=replace(configuration.model, dropout=0.0, attention_dropout=0.0)
    )
    losses = [
        totals_of(Run(still, dataset, variant), range(updates))
        for variant in (VARIANTS[EAGER], VARIANTS["graph, float32"])
    ]
    difference = float((losses[0] - losses[1]).abs().max())
    yield Measurement("gpu", "graph, float32", name, difference, "loss beside eager")
    for variant in ("graph, float32", "graph, bf16"):
        whole = Run(configuration, dataset, VARIANTS[variant])
        first = totals_of(whole, range(updates // 2))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "state.safetensors"
            save_state(
                path,
                whole.learner.window_loss.module,
                whole.learner.optimiser,
                update=1,
                best=None,
            )
            rest = totals_of(whole, range(updates // 2, updates))
            again = Run(configuration, dataset, VARIANTS[variant])
            load_state(path, again.learner.window_loss.module, again.learner.optimiser)
            resumed = totals_of(again, range(updates // 2, updates))
        difference = float((rest - resumed).abs().max())
        assert first.isfinite().all()
        yield Measurement("gpu", variant, name, difference, "loss after resuming")


def totals_of(run: Run, updates: range) -> torch.Tensor:
    found = []
    for update in updates:
        torch.manual_seed(update)
        found.append(run.takes.learn(run.batches[update % len(run.batches)]).clone())
    return torch.stack(found).cpu()


def acting(batch: int, steps: int = 300) -> Iterator[Measurement]:
    """Milliseconds of an acting step over whole segments."""
    for configuration in (DEMO, RELEASED) if CUDA else (SMALL,):
        policy = fresh_policy(configuration.model).to("cuda" if CUDA else "cpu")
        observations, rewards = pool(batch), np.zeros(batch, np.float32)
        count = steps if CUDA else 10
        for variant, graph in (("eager", "off"), ("graph", "on")):
            actor = Actor(policy, 1.0, graph=graph)
            actor.reset(batch)
            for step in range(2 * configuration.model.segment_length + 3):
                actor.act(observations[step], rewards)
            wait()
            started = time.perf_counter()
            for step in range(count):
                actor.act(observations[step], rewards)
            wait()
            value = 1e3 * (time.perf_counter() - started) / count
            name = f"{configuration.name}, batch {batch}, {DEVICE}"
            yield Measurement("gpu-acting", variant, name, value, "ms/step")


def images(folder: Path, episodes: int = 96) -> Dataset:
    """Episodes of noise, in which no frame repeats."""
    generator = np.random.default_rng(0)
    path = folder / "images"

    def recorded() -> Iterator[Episode]:
        for _ in range(episodes):
            steps = int(generator.integers(30, 91))
            yield Episode(
                observations={
                    "observation": generator.integers(0, 256, (steps + 1, 64, 64, 3), np.uint8)
                },
                actions=generator.integers(0, 4, steps),
                rewards=np.ones(steps, np.float32),
                terminations=np.arange(steps) == steps - 1,
                truncations=np.zeros(steps, bool),
            )

    space = gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)
    write_dataset(path, recorded(), space, gymnasium.spaces.Discrete(4))
    return open_dataset(path, verify=False)
