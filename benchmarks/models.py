"""Every model side by side: parameters, training throughput and milliseconds of an acting step."""

import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.acting import fresh_policy, pool, timed
from benchmarks.configurations import DEMO
from benchmarks.rows import Measurement
from benchmarks.training import learner_of
from rate.acting.actor import Actor
from rate.dataset import BatchReader, Dataset, Sampler
from rate.models import config_class, names
from rate.models.backbone import ModelConfig
from rate.training.update import Learner

SIZES = "defaults, T-Maze, batch 64"


def measure(quick: bool) -> Iterator[Measurement]:
    """One value of each kind for every model, on one thread; `quick` takes fewer turns."""
    torch.set_num_threads(1)
    models = {name: config_class(name)() for name in names()}
    for name, config in models.items():
        yield Measurement("models", name, SIZES, parameters(config), "parameters")
    with tempfile.TemporaryDirectory() as folder:
        dataset = DEMO.dataset(Path(folder))
        for name, value in throughput(models, dataset, turns=2 if quick else 5).items():
            yield Measurement("models", name, SIZES, value, "real steps/s in training")
    for batch in (1, 100):
        for name, config in models.items():
            value = acting(config, batch, segments=2 if quick else 10)
            yield Measurement("models", name, SIZES, value, f"ms/step, {batch} at once")


def parameters(config: ModelConfig) -> int:
    """Trainable numbers of a policy for T-Maze."""
    return sum(parameter.numel() for parameter in fresh_policy(config).parameters())


def throughput(models: dict[str, ModelConfig], dataset: Dataset, turns: int) -> dict[str, float]:
    """Median real environment steps per second of behaviour cloning, models by turns on the same
    batches."""
    recipe = DEMO.recipe(dataset)
    updates = {}
    for name, config in models.items():
        policy = fresh_policy(config).train()
        sampler = Sampler(dataset.lengths, DEMO.batch_size, config.window, "first", seed=0)
        reader = BatchReader(dataset, [sampler], 1 + turns, 16)
        own = type(recipe)(dataset=recipe.dataset, model=config, batch_size=DEMO.batch_size)
        updates[name] = partial(_updated, learner_of(policy, own), reader)
    speeds: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(1 + turns):
        for name, update in updates.items():
            started = time.process_time()
            steps = update(turn)
            speeds[name].append(steps / (time.process_time() - started))
    return {name: float(np.median(values[1:])) for name, values in speeds.items()}


def _updated(learner: Learner, reader: BatchReader, turn: int) -> int:
    """Read and train on a batch; returns its real steps."""
    batch = reader[turn]
    learner.update(batch)
    return int(batch.lengths.sum())


def acting(config: ModelConfig, batch: int, segments: int) -> float:
    """Mean milliseconds of a step for `batch` environments at once, over whole segments from the
    fourth on."""
    actor, observations, rewards = (
        Actor(fresh_policy(config), 1.0),
        pool(batch),
        np.zeros(batch, np.float32),
    )
    actor.reset(batch)
    length = config.segment_length
    for index in range(3 * length):
        actor.act(observations[index % len(observations)], rewards)
    steps = range(3 * length, (3 + segments) * length)
    seconds = [
        timed(partial(actor.act, observations[step % len(observations)], rewards)) for step in steps
    ]
    typical = np.median(np.reshape(seconds, (segments, length)), 0)
    return 1e3 * float(typical.mean())
