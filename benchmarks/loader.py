"""How long training on images waits for its batches, without loader workers and with two.

`python -m benchmarks loader` takes 5 GB in the folder for temporary files; `python -m
benchmarks.loader 20` takes 20 and prints its measurements without recording them.
"""

import gc
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from gymnasium import spaces

from benchmarks.configurations import Configuration
from benchmarks.large_dataset import write_noise
from benchmarks.rows import Measurement
from benchmarks.training import learner
from rate.dataset import Batch, BatchReader, Loader, Sampler, open_dataset
from rate.models.rate import Config
from rate.recipe import OptimiserConfig

GIGABYTES, QUICK = 5.0, 0.2
UPDATES, QUICK_UPDATES = 20, 3
IMAGES = Configuration("images", Config(), batch_size=16, optimiser=OptimiserConfig())
"""The demo model on batches that a CPU trains on in a second or two."""
SPACE = spaces.Box(0, 255, (64, 64, 3), np.uint8)


def measure(quick: bool) -> Iterator[Measurement]:
    """Seconds in which training waits, and the speed of training and of reading alone."""
    yield from waiting(*((QUICK, QUICK_UPDATES) if quick else (GIGABYTES, UPDATES)))


def waiting(gigabytes: float, updates: int) -> Iterator[Measurement]:
    """Train on a dataset of images that is removed at the end, and read it without training.

    Training takes one thread, or a GPU where there is one.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(1)
    configuration = f"{gigabytes:g} GB of images, demo model, batch {IMAGES.batch_size}"
    with tempfile.TemporaryDirectory() as folder:
        path = write_noise(Path(folder) / "data", gigabytes, SPACE).path
        for workers in (0, 2):
            facts = ("loader", f"{workers} workers, {device}", configuration)
            waited, total, steps = _train(path, updates, workers, device)
            yield Measurement(*facts, waited, "s of waiting", waited / total)
            yield Measurement(*facts, steps / total, "real steps/s")
            _, total, steps = _train(path, updates, workers, "")
            yield Measurement(*facts, steps / total, "real steps/s, reading alone")


def _train(path: Path, updates: int, workers: int, device: str) -> tuple[float, float, int]:
    """Seconds of waiting, seconds in all, and real steps of all updates after the first.

    Without a device batches are only read. Every run reads windows of its own.
    """
    _forget(path)
    dataset = open_dataset(path, verify=False)
    update = learner(IMAGES, dataset, accelerator=device) if device else _count
    window, seed = IMAGES.model.window, 2 * workers + bool(device)
    sampler = Sampler(dataset.lengths, IMAGES.batch_size, window, "random", seed)
    reader = BatchReader(dataset, [sampler], 1 + updates, 16)
    loader = Loader(reader, workers=workers, pin_memory=device == "cuda")
    steps, before, started = 0, 0.0, 0.0
    for batch in loader:
        if batch.update == 0:
            update(batch)
            before, started = loader.seconds_waited, time.perf_counter()
        else:
            steps += update(batch)
    return loader.seconds_waited - before, time.perf_counter() - started, steps


def _count(batch: Batch) -> int:
    return int(batch.lengths.sum())


def _forget(folder: Path) -> None:
    """Drop the files from the system's cache, so that they are read from the disk again."""
    gc.collect()  # what is still mapped would stay
    if hasattr(os, "posix_fadvise"):
        for path in folder.rglob("*.npy"):
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    for measurement in waiting(float(sys.argv[1]), UPDATES):
        print(measurement)
