"""HDF5 files with a group for each episode, as robomimic and ManiSkill write them."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rate.dataset.importers import ImportOptions, Recording
from rate.dataset.importers._files import (
    episode_groups,
    hdf5_arrays,
    hdf5_layout,
    known,
    open_hdf5,
)
from rate.dataset.importers._recording import recording
from rate.dataset.importers._roles import MARKS, place
from rate.dataset.importers._steps import Stream

DESCRIPTION = (
    "robomimic's HDF5 file, or another with a group for each episode: data/demo_0 with obs, "
    "actions, rewards, dones"
)


def recognises(path: Path) -> bool:
    """Whether it is an HDF5 file with numbered groups that hold actions."""
    return hdf5_layout(path) == "robomimic"


def read(path: Path, options: ImportOptions) -> Recording:
    """Read a file of demonstrations, in the order of their numbers.

    An episode is terminated if its last step is done; done at an earlier step says that the goal is
    reached there, and does not end a demonstration. The name of the environment is kept (fact
    `environment`).

    Raises:
        DatasetError: The file is damaged or points outside itself, or an array is missing or of
            another length.
    """
    with open_hdf5(path) as file:
        facts = {"format": "robomimic", **_environment(file)}

    def streams() -> Iterator[Stream]:
        with open_hdf5(path) as file:
            for name, group in episode_groups(file).items():
                yield Stream(path, _arrays(group, options), name, closed=True)

    return recording(path, streams, options, facts)


def _arrays(group: Any, options: ImportOptions) -> dict[str, Any]:
    """The arrays of an episode; of marks of ends, the last entry."""
    arrays = hdf5_arrays(group, known(options.episode_ends))
    for name, array in arrays.items():
        found = place(name)
        if found and found.role in MARKS and array is not None and array.shape[:1] > (0,):
            arrays[name] = np.asarray(array[len(array) - 1])
    return arrays


def _environment(file: Any) -> dict[str, str]:
    facts: dict[str, str] = {}
    with contextlib.suppress(AttributeError, KeyError, ValueError, TypeError):
        facts["environment"] = str(json.loads(file["data"].attrs["env_args"])["env_name"])
    return facts
