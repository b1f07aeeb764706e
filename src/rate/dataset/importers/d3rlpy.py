"""d3rlpy 2's HDF5 files, with numbered arrays for each episode."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rate.dataset.importers import ImportOptions, Recording
from rate.dataset.importers._files import hdf5_arrays, hdf5_layout, open_hdf5
from rate.dataset.importers._recording import recording
from rate.dataset.importers._steps import Stream

DESCRIPTION = "d3rlpy 2's HDF5 file: observations_0, actions_0, rewards_0, terminated_0 and so on"

_NUMBERED = re.compile(r"([a-z_]+?)_(\d+)(?:_(\d+))?")


def recognises(path: Path) -> bool:
    """Whether it is an HDF5 file with arrays of an episode 0."""
    return hdf5_layout(path) == "d3rlpy"


def read(path: Path, options: ImportOptions) -> Recording:
    """Read a file of episodes; several observations are leaves 0, 1 and so on.

    d3rlpy records no observation after an episode's last action. An episode that was not terminated
    was truncated.

    Raises:
        DatasetError: The file is damaged or points outside itself, or an array is missing or of
            another length.
    """

    def streams() -> Iterator[Stream]:
        with open_hdf5(path) as file:
            arrays = hdf5_arrays(file, lambda name: _NUMBERED.fullmatch(name) is not None)
            episodes: dict[int, dict[str, Any]] = {}
            for name, array in arrays.items():
                if found := _NUMBERED.fullmatch(name):
                    leaf = f"{found[1]}/{found[3]}" if found[3] else found[1]
                    episodes.setdefault(int(found[2]), {})[leaf] = array
            for number in sorted(episodes):
                yield Stream(path, episodes[number], f"episode {number}", closed=True)

    return recording(path, streams, options, {"format": "d3rlpy"})
