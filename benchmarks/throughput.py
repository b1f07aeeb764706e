"""Where the time of training on pixels goes: reading windows, the encoder of images, and the rest,
which is attention, memory, head and optimiser; processor time of one core."""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

from benchmarks.rows import Measurement
from benchmarks.training import learner_of
from rate.dataset import BatchReader, Dataset, Sampler, write_dataset
from rate.episode import Episode
from rate.models.policy import Policy
from rate.models.rate import Config
from rate.recipe import Recipe
from rate.segment import Segment

KINDS = ("compact", "nature", "impala")
SPACE, ACTIONS = gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8), gymnasium.spaces.Discrete(6)
BATCH, EPISODES, STEPS = 4, 6, 180


def measure(quick: bool) -> Iterator[Measurement]:
    """Milliseconds a window of 3 x 30 frames that do not repeat, per encoder."""
    torch.set_num_threads(1)
    repeats = 2 if quick else 5
    with tempfile.TemporaryDirectory() as folder:
        dataset = write_dataset(Path(folder) / "data", episodes(), SPACE, ACTIONS)
        for kind in KINDS:
            yield from parts(dataset, kind, repeats)


def parts(dataset: Dataset, kind: str, repeats: int) -> Iterator[Measurement]:
    """The parts of an update with one encoder."""
    config = replace(Config(), encoder=kind)
    recipe = Recipe(str(dataset.path), config, batch_size=BATCH)
    torch.manual_seed(0)
    policy = Policy(SPACE, ACTIONS, config, dataset.normalisation, dataset.return_scale)
    learner = learner_of(policy, recipe)
    sampler = Sampler(dataset.lengths, BATCH, config.window, "stride", seed=0)
    reader = BatchReader(dataset, [sampler], repeats + 1, BATCH)
    spent: dict[str, list[float]] = {"data": [], "encoder": [], "update": []}
    for update in range(repeats + 1):  # the first one warms up
        data, batch = timed(lambda update=update: reader[update])
        (part,) = batch.parts
        encoder, _ = timed(lambda part=part: encoded(policy, part))
        whole, _ = timed(lambda batch=batch: learner.update(batch))
        for name, seconds in (("data", data), ("encoder", encoder), ("update", whole)):
            spent[name].append(1e3 * seconds / BATCH)
    values = {name: float(np.median(times[1:])) for name, times in spent.items()}
    values["attention and the rest"] = values.pop("update") - values["encoder"]
    for name, value in values.items():
        label = f"windows of {config.window} frames of 64x64x3, batch {BATCH}"
        yield Measurement("pixels", f"{kind}: {name}", label, value, "ms/window")


def encoded(policy: Policy, part: Segment) -> None:
    """The encoder forward and backward on all frames of a part, and nothing else."""
    policy.encoders["observation"](part.observations).square().sum().backward()
    policy.zero_grad(set_to_none=True)


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Processor time in seconds, and what the function returns."""
    started = time.process_time()
    result = function()
    return time.process_time() - started, result


def episodes() -> Iterator[Episode]:
    """Episodes of noise, in which no frame repeats."""
    random = np.random.default_rng(0)
    for _ in range(EPISODES):
        last = np.arange(STEPS) == STEPS - 1
        yield Episode(
            {"observation": random.integers(0, 256, (STEPS + 1, 64, 64, 3), np.uint8)},
            random.integers(0, 6, STEPS),
            random.random(STEPS).astype(np.float32),
            last,
            last & False,
        )
