"""A dataset whose arrays lie in memory, or on the device that learns from them."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from rate.dataset.frames import SharedFrames
from rate.dataset.read import Dataset

Cache = Literal["auto", "device", "memory", "off"]

SHARE = 0.25
"""A dataset is put on a device by itself if it takes at most this part of the free memory there."""


class OnDevice:
    """An array on a device, of which rows are taken as a tensor.

    Args:
        array: The array, which is copied.
        device: Where it lies.
    """

    def __init__(self, array: np.ndarray, device: torch.device) -> None:
        self.tensor = torch.from_numpy(np.array(array)).to(device)
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """The `rows` of the array, on the host."""
        return self.take(np.array(rows)).cpu().numpy()

    def take(self, rows: np.ndarray, axis: int = 0) -> Tensor:
        """The `rows` of the array, in their shape."""
        return self.tensor[torch.from_numpy(rows).to(self.tensor.device, non_blocking=True)]


def cached(dataset: Dataset, where: Cache, device: torch.device) -> Dataset:
    """The dataset with what windows are read from in another place.

    Args:
        dataset: Memory-mapped arrays.
        where: "device", "memory", "off", or "auto": on a GPU if that has the memory, else off.
        device: Where training computes.
    """
    if where == "auto":
        where = "device" if device.type == "cuda" and _fits(dataset, device) else "off"
    if where == "off":
        return dataset

    def copied(array: np.ndarray) -> Any:
        return np.array(array) if where == "memory" else OnDevice(array, device)

    arrays: dict[str, Any] = {}
    for name, array in dataset.arrays.items():
        if isinstance(array, SharedFrames):
            arrays[name] = SharedFrames(copied(array.frames), np.array(array.numbers))
        elif name in ("episode_offsets", "seeds"):
            arrays[name] = array
        else:
            arrays[name] = copied(array)
    return replace(dataset, arrays=arrays)


def _fits(dataset: Dataset, device: torch.device) -> bool:
    arrays = (getattr(array, "frames", array) for array in dataset.arrays.values())
    free, _ = torch.cuda.mem_get_info(device)
    return sum(array.nbytes for array in arrays) <= SHARE * free
