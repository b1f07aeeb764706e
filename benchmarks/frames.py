"""Images of a grid world, which repeat: what it saves to store and to encode every distinct frame
once."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np

from benchmarks.configurations import Configuration
from benchmarks.rows import Measurement
from benchmarks.training import Update, _turn, ours
from rate.acting.collection import collect
from rate.dataset import Dataset, loader, open_dataset
from rate.models.rate import Config
from rate.recipe import OptimiserConfig

GRID = Configuration(
    "Minigrid-Memory, RGB, batch 64", Config(), batch_size=64, optimiser=OptimiserConfig()
)
TASK, EPISODES, QUICK = "minigrid-memory-rgb/41x96", 500, 100


def measure(quick: bool) -> Iterator[Measurement]:
    """Size of the data on disk and training throughput, beside those of a frame per observation."""
    with tempfile.TemporaryDirectory() as folder:
        collect(
            TASK, Path(folder) / "data", episodes=QUICK if quick else EPISODES, lengths=(60, 90)
        )
        dataset = open_dataset(Path(folder) / "data")
        yield from storage(dataset)
        yield from throughput(dataset, repeats=1 if quick else 3)


def storage(dataset: Dataset) -> Iterator[Measurement]:
    """Bytes of the observations in the dataset's folder, and of as many frames as there are
    observations."""
    images = dataset.arrays["observations/observation"]
    stored = images.frames.nbytes + images.numbers.nbytes
    every = int(np.prod(images.shape)) * images.dtype.itemsize
    yield Measurement("frames", "a frame per observation", GRID.name, every / 2**20, "MiB on disk")
    yield Measurement(
        "frames", "each frame once", GRID.name, stored / 2**20, "MiB on disk", every / stored
    )


def throughput(dataset: Dataset, repeats: int) -> Iterator[Measurement]:
    """Real steps per second of the same updates, by turns in one process on one thread; the first
    turn warms up."""
    updates = {
        "a frame per observation": every_frame(ours(GRID, dataset)),
        "each frame once": ours(GRID, dataset),
    }
    turns = [_turn(updates, dict.fromkeys(updates, 1), index) for index in range(1 + repeats)][1:]
    for name in updates:
        value = float(np.median([turn[name] for turn in turns]))
        ratio = float(np.median([turn[name] / turn["a frame per observation"] for turn in turns]))
        yield Measurement(
            "frames", name, GRID.name, value, "real steps/s", None if ratio == 1 else ratio
        )


def every_frame(update: Update) -> Update:
    """The update with batches that never look whether frames are alike."""

    def plain(index: int) -> int:
        with patch.object(loader, "SharedFrames", ()):
            return update(index)

    return plain
