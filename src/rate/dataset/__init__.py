"""A dataset is a folder: memory-mapped `.npy` arrays of recorded episodes and a `card.json` that
describes them.

The arrays hold all episodes one after another: `observations/<leaf>.npy` [steps + episodes, ...],
each episode's final observation included, and for images the number of its frame in
`frames/<leaf>.npy`, where each is stored once; `actions`, `rewards`, `returns_to_go`,
`terminations`, `truncations` [steps, ...]; `episode_offsets` [episodes + 1], where episodes begin
and end, in steps; `seeds` [episodes], -1 where unknown. The card holds spaces, task, provenance,
counts, statistics, and the dtype, shape and SHA-256 of every array. Nothing is ever unpickled. The
file `verified` remembers that the arrays were compared with their hashes, see `verified.py`.
"""

from rate.dataset.cache import Cache, cached
from rate.dataset.card import DatasetError
from rate.dataset.loader import Batch, BatchReader, Loader, read_windows
from rate.dataset.read import Dataset, open_dataset
from rate.dataset.sampler import Sampler, Windows, split, validation_windows
from rate.dataset.write import write_dataset

__all__ = [
    "Batch",
    "BatchReader",
    "Cache",
    "Dataset",
    "DatasetError",
    "Loader",
    "Sampler",
    "Windows",
    "cached",
    "open_dataset",
    "read_windows",
    "split",
    "validation_windows",
    "write_dataset",
]
