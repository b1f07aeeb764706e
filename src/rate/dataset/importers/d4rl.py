"""HDF5 files of all steps in a row, as D4RL and d3rlpy 1 write them."""

from collections.abc import Iterator
from pathlib import Path

from rate.dataset.importers import ImportOptions, Recording
from rate.dataset.importers._files import hdf5_arrays, hdf5_layout, known, open_hdf5
from rate.dataset.importers._recording import recording
from rate.dataset.importers._steps import Stream

DESCRIPTION = (
    "D4RL's or d3rlpy 1's HDF5 file: observations, actions, rewards and marks of ends of all "
    "steps in a row"
)


def recognises(path: Path) -> bool:
    """Whether it is an HDF5 file that no other format claims."""
    return hdf5_layout(path) == "d4rl"


def read(path: Path, options: ImportOptions) -> Recording:
    """Read a file of arrays; a trailing piece without an end is an episode that was cut.

    Raises:
        DatasetError: The file is damaged or points outside itself, an array is missing or of
            another length, or nothing marks the ends of episodes.
    """

    def streams() -> Iterator[Stream]:
        with open_hdf5(path) as file:
            yield Stream(path, hdf5_arrays(file, known(options.episode_ends)))

    return recording(path, streams, options, {"format": "d4rl"})
