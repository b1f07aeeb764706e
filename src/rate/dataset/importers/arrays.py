"""NumPy's arrays, in a `.npz` or a folder of `.npy`: all steps in a row, or padded episodes."""

import zipfile
from pathlib import Path

from rate.dataset.card import CARD
from rate.dataset.importers import ImportOptions, Recording
from rate.dataset.importers._files import known, npy_arrays, npz_arrays
from rate.dataset.importers._recording import recording
from rate.dataset.importers._roles import place
from rate.dataset.importers._steps import Stream

DESCRIPTION = (
    "a .npz, or a folder of .npy, of observations, actions, rewards and marks of ends: [N, ...], "
    "or [E, T, ...] with lengths"
)


def recognises(path: Path) -> bool:
    """Whether it is a `.npz`, or a folder of `.npy`, with observations, actions and rewards."""
    try:
        if path.is_dir():
            files = (file.relative_to(path).with_suffix("") for file in path.rglob("*.npy"))
            names = [file.as_posix() for file in files if not (path / CARD).exists()]
        else:
            with zipfile.ZipFile(path) as file:
                names = [name.removesuffix(".npy") for name in file.namelist()]
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return False
    roles = {found.role for name in names if (found := place(name))}
    return {"observations", "actions", "rewards"} <= roles


def read(path: Path, options: ImportOptions) -> Recording:
    """Read arrays; leaves of observations are named `observations/<leaf>`.

    Arrays of a folder are memory-mapped, others are held in memory. In [E, T, ...] episodes are as
    long as `lengths` or `mask` say, else T; in [T, E, ...] with `n_envs`, each column holds the
    steps of one environment. The observation after an episode's last action is that of
    `next_observations`, or a further one among the observations of each episode; without either,
    the last one is repeated, which is right only for models that never look at it (fact
    `final_observation`).

    Raises:
        DatasetError: A file is damaged or holds Python objects, an array is missing or has a wrong
            shape, or nothing marks the ends of episodes.
    """

    load, used = npy_arrays if path.is_dir() else npz_arrays, known(options.episode_ends)
    return recording(path, lambda: [Stream(path, load(path, used))], options, {"format": "arrays"})
