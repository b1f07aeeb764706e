"""Acting steps of an exported policy in onnxruntime, beside the same policy in PyTorch."""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.acting import fresh_policy, pool, timed
from benchmarks.configurations import DEMO, RELEASED
from benchmarks.rows import Measurement
from rate.acting.actor import Actor
from rate.exporting import export
from rate.exporting.example import Agent
from rate.models.backbone import ModelConfig
from rate.runs.checkpoint import save_policy


def measure(quick: bool) -> Iterator[Measurement]:
    """Milliseconds of a step on one thread; `quick` measures the small sizes alone."""
    torch.set_num_threads(1)
    yield from side_by_side("demo", DEMO.model)
    if not quick:
        yield from side_by_side("released", RELEASED.model)


def side_by_side(name: str, config: ModelConfig, segments: int = 20) -> Iterator[Measurement]:
    """Mean milliseconds of a step over whole segments, boundaries included, by turns.

    At each step of the segment the median over the segments counts.
    """
    policy, length = fresh_policy(config), config.segment_length
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "last.safetensors"
        save_policy(checkpoint, policy, 1.0)
        made = export(checkpoint, Path(folder) / "exported")
        agent = Agent(made, threads=1)
    for batch in (1, 100):
        observations, rewards = pool(batch), np.zeros(batch, np.float32)
        actors = Actor(policy, 1.0), agent
        for actor in actors:
            actor.reset(batch)
        seconds = np.empty((2, (1 + segments) * length))
        for index in range(seconds.shape[1]):
            for which in (0, 1) if (index + index // length) % 2 else (1, 0):
                act = partial(actors[which].act, observations[index % len(observations)], rewards)
                seconds[which, index] = timed(act)
        parts = seconds.reshape(2, 1 + segments, length)[:, 1:]  # the first one warms up
        eager, exported = np.median(parts, 1).mean(-1).tolist()
        place = f"{name}, batch {batch}"
        yield Measurement("exported", "PyTorch", place, 1e3 * eager, "ms/step")
        yield Measurement(
            "exported", "onnxruntime", place, 1e3 * exported, "ms/step", exported / eager
        )
