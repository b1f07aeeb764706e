"""D4RL's HDF5 files: one long recording, whose episodes end at terminals or at timeouts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rate.dataset import DatasetError
from rate.dataset.importers import ImportOptions, Recording, require
from rate.dataset.importers._infer import readable, space_of
from rate.episode import Episode
from rate.spaces import PLAIN, as_leaf

DESCRIPTION = (
    "D4RL's HDF5 file: observations, actions, rewards, terminals and timeouts of all steps in a row"
)

CHUNK = 65536
"""Steps read at a time while looking for ends and deriving spaces."""

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_NEEDED = ("observations", "actions", "rewards", "terminals")
_OPTIONAL = ("timeouts", "next_observations")
_ADVICE = "it is no sound HDF5 file of D4RL; fetch it again"


def recognises(path: Path) -> bool:
    """Whether it is a file with HDF5's signature."""
    try:
        with path.open("rb") as file:
            return file.read(len(_SIGNATURE)) == _SIGNATURE
    except OSError:
        return False


def read(path: Path, options: ImportOptions) -> Recording:
    """Read a D4RL file; a trailing piece without an end is an episode that was cut.

    The observation after an episode's last action is its entry in `next_observations`; a file
    without them has none, and the last observation is repeated. That is right only for models that
    never look at it (fact `final_observation`).

    Raises:
        DatasetError: The file is damaged, or a field is missing or of another length.
    """
    with readable(path, _ADVICE), require("h5py").File(path, "r") as file:
        _check(path, file)
        ends = _ends(file)
        seen, actions = _chunks(file["observations"]), _chunks(file["actions"])
        observed = options.observation_space or space_of(seen, f"{path}: observations")
        acted = options.action_space or space_of(actions, f"{path}: actions")
        final = "recorded" if "next_observations" in file else "repeated"
        ignored = sorted(set(file) - {*_NEEDED, *_OPTIONAL})

    def episodes() -> Iterator[Episode]:
        with require("h5py").File(path, "r") as file:
            for start, stop in zip([0, *ends[:-1]], ends, strict=True):
                with readable(path, f"look at steps {start} to {stop - 1}"):
                    episode = _episode(file, start, stop, observed, acted)
                yield episode

    facts = {"format": "d4rl", "final_observation": final, "ignored": ignored}
    return Recording(observed, acted, episodes, len(ends), facts)


def _check(path: Path, file: Any) -> None:
    for name in _NEEDED:
        if not getattr(file.get(name), "shape", ()):
            raise DatasetError(
                f"{path}: no array {name!r}, got {sorted(file)}; D4RL files hold "
                + ", ".join(_NEEDED)
            )
    steps = len(file["rewards"])
    for name in (*_NEEDED, *_OPTIONAL):
        if name in file and len(file[name]) != steps:
            raise DatasetError(
                f"{path}: {name} has {len(file[name])} entries, but there are {steps} rewards"
            )
    if not steps:
        raise DatasetError(f"{path} holds no step; give a file with at least one")


def _chunks(array: Any) -> Iterator[np.ndarray]:
    for start in range(0, len(array), CHUNK):
        yield np.asarray(array[start : start + CHUNK])


def _ends(file: Any) -> list[int]:
    steps = len(file["rewards"])
    ends: set[int] = {steps}
    for name in ("terminals", "timeouts"):
        for number, chunk in enumerate(_chunks(file[name]) if name in file else ()):
            ends.update((np.flatnonzero(chunk.reshape(-1)) + number * CHUNK + 1).tolist())
    return sorted(ends)


def _episode(file: Any, start: int, stop: int, observed: Any, acted: Any) -> Episode:
    seen = np.asarray(file["observations"][start:stop])
    last = file["next_observations"][stop - 1 : stop] if "next_observations" in file else seen[-1:]
    timeouts = file["timeouts"][start:stop] if "timeouts" in file else np.zeros(stop - start)
    return Episode(
        {PLAIN: as_leaf(observed, np.concatenate([seen, last]))},
        as_leaf(acted, np.asarray(file["actions"][start:stop])),
        np.asarray(file["rewards"][start:stop]).reshape(-1),
        np.asarray(file["terminals"][start:stop]).reshape(-1).astype(bool),
        np.asarray(timeouts).reshape(-1).astype(bool),
    )
