"""Encoders of images: milliseconds that 1000 frames take forward and backward, on one core."""

import time
from collections.abc import Iterator

import gymnasium
import numpy as np
import torch

from benchmarks.rows import Measurement
from rate.models.encoders import encoder

SHAPES = ((64, 64, 3), (7, 7, 3))
KINDS = ("nature", "impala", "identity")
WIDTH, FRAMES = 64, 1000


def measure(quick: bool) -> Iterator[Measurement]:
    """Parameters and time of every kind for a picture and a grid; `quick` takes fewer turns."""
    torch.set_num_threads(1)
    for shape in SHAPES:
        space = gymnasium.spaces.Box(0, 255, shape, np.uint8)
        images = torch.randint(256, (FRAMES, *shape), dtype=torch.uint8)
        encoders = {kind: encoder(space, WIDTH, kind=kind) for kind in KINDS}
        spent: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for _ in range(1 + (2 if quick else 7)):
            for kind, encode in encoders.items():
                spent[kind].append(milliseconds(encode, images))
        values = {kind: float(np.median(times[1:])) for kind, times in spent.items()}
        name = f"{'x'.join(map(str, shape))}, width {WIDTH}"
        for kind, encode in encoders.items():
            count = sum(parameter.numel() for parameter in encode.parameters())
            yield Measurement("encoders", kind, name, count, "parameters")
            ratio = None if kind == "nature" else values[kind] / values["nature"]
            yield Measurement("encoders", kind, name, values[kind], "ms/1000 frames", ratio)


def milliseconds(encode: torch.nn.Module, images: torch.Tensor) -> float:
    """Processor time of one pass forward and backward."""
    started = time.process_time()
    encode(images).square().sum().backward()
    return 1e3 * (time.process_time() - started)
