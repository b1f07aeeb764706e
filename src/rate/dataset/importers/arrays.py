"""NumPy's arrays, in a `.npz` or a folder of `.npy`: all steps in a row, or padded episodes."""

import itertools
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from rate.dataset import DatasetError
from rate.dataset.card import CARD
from rate.dataset.importers import ImportOptions, Recording
from rate.dataset.importers._infer import load_npz, readable, space_of
from rate.episode import Episode
from rate.spaces import PLAIN, as_leaf, flatten, leaves

DESCRIPTION = (
    "a .npz, or a folder of .npy, of observations, actions, rewards and flags: [N, ...], or [E, "
    "T, ...] with lengths"
)
_ENDS = {
    "terminations": ("terminations", "terminals", "dones"),
    "truncations": ("truncations", "timeouts"),
}
_ADVICE = "give arrays of plain numbers"


def recognises(path: Path) -> bool:
    """Whether it is a `.npz`, or a folder of `.npy`, with observations, actions and rewards."""
    if path.is_dir():
        names = {file.stem if file.is_file() else file.name for file in path.iterdir()}
        return {"observations", "actions", "rewards"} <= names and not (path / CARD).exists()
    try:
        with zipfile.ZipFile(path) as file:
            names = {name.removesuffix(".npy").partition("/")[0] for name in file.namelist()}
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return False
    return {"observations", "actions", "rewards"} <= names


def read(path: Path, options: ImportOptions) -> Recording:
    """Read arrays; leaves of observations are named `observations/<leaf>`.

    Arrays of a folder are memory-mapped, others are held in memory.

    Terminations may be called terminals or dones, truncations timeouts. In [E, T, ...] episodes are
    as long as `lengths` or `mask` say, else T. There is no observation after an episode's last
    action: the last one is repeated. That is right only for models that never look at it (fact
    `final_observation`). Other arrays are ignored (fact `ignored`).

    Raises:
        DatasetError: A file is damaged or holds Python objects, or an array is missing or has a
            wrong shape.
    """
    arrays = _folder(path) if path.is_dir() else load_npz(path)
    with readable(path, _ADVICE):
        fields = _fields(path, arrays)
        slices = _slices(path, fields, arrays)
        observed = options.observation_space or _observation_space(fields, slices)
        actions = (fields["actions"][part] for part in slices)
        acted = options.action_space or space_of(actions, f"{path}: actions")

    def episodes() -> Iterator[Episode]:
        for number, part in enumerate(slices):
            with readable(path, f"look at episode {number}"):
                parts = {name: array[part] for name, array in fields.items()}
                episode = _episode(parts, observed, acted)
            yield episode

    known = {*fields, "mask", "lengths", *itertools.chain(*_ENDS.values())}
    ignored = sorted(set(arrays) - known)
    facts = {"format": "arrays", "final_observation": "repeated", "ignored": ignored}
    return Recording(observed, acted, episodes, len(slices), facts)


def _folder(path: Path) -> dict[str, np.ndarray]:
    with readable(path, _ADVICE):
        files = sorted(path.rglob("*.npy"))
        names = [file.relative_to(path).with_suffix("").as_posix() for file in files]
        arrays = [np.load(file, mmap_mode="r", allow_pickle=False) for file in files]
        return dict(zip(names, arrays, strict=True))


def _fields(path: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    fields = {name: arrays[name] for name in arrays if name.partition("/")[0] == "observations"}
    missing = [name for name in ("actions", "rewards") if name not in arrays]
    if missing or not fields:
        raise DatasetError(
            f"{path}: got {sorted(arrays)}; observations, actions and rewards are needed"
        )
    fields |= {"actions": arrays["actions"], "rewards": arrays["rewards"]}
    for name, spellings in _ENDS.items():
        recorded = [arrays[spelling] for spelling in spellings if spelling in arrays]
        fields[name] = (recorded or [np.zeros(fields["rewards"].shape)])[0].astype(bool)
    shape = fields["rewards"].shape
    for name, array in fields.items():
        if array.shape[: len(shape)] != shape or len(shape) not in (1, 2) or not array.size:
            raise DatasetError(
                f"{path}: {name} is {array.shape}, rewards are {shape}; all begin with [N] or "
                "[E, T]"
            )
    return fields


def _slices(
    path: Path, fields: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]
) -> list[Any]:
    shape = fields["rewards"].shape
    if len(shape) == 1:
        over = np.flatnonzero(fields["terminations"] | fields["truncations"]) + 1
        ends = sorted({*over.tolist(), shape[0]})
        return [slice(start, stop) for start, stop in zip([0, *ends[:-1]], ends, strict=True)]
    lengths = np.full(shape[0], shape[1])
    if "lengths" in arrays:
        lengths = arrays["lengths"]
    elif "mask" in arrays:
        mask = arrays["mask"].astype(bool)
        lengths = mask.sum(-1)
        if mask.shape != shape or (mask != (np.arange(shape[1]) < lengths[:, None])).any():
            raise DatasetError(
                f"{path}: mask must be {shape}, true for an episode's first steps and for no other"
            )
    whole = lengths.shape == shape[:1] and lengths.dtype.kind in "iu"
    if not whole or (lengths < 1).any() or (lengths > shape[1]).any():
        raise DatasetError(
            f"{path}: lengths must be {shape[0]} whole numbers from 1 to {shape[1]}, got {lengths}"
        )
    return [(index, slice(0, int(length))) for index, length in enumerate(lengths)]


def _observation_space(fields: Mapping[str, np.ndarray], slices: list[Any]) -> gymnasium.Space[Any]:
    found = {
        name.partition("/")[2]: space_of((array[part] for part in slices), name)
        for name, array in fields.items()
        if name.partition("/")[0] == "observations"
    }
    return found[""] if "" in found else gymnasium.spaces.Dict(found)


def _episode(
    parts: Mapping[str, np.ndarray], observed: gymnasium.Space[Any], acted: gymnasium.Space[Any]
) -> Episode:
    seen = {
        name.partition("/")[2] or PLAIN: np.concatenate([array, array[-1:]])
        for name, array in parts.items()
        if name.partition("/")[0] == "observations"
    }
    expected = leaves(observed)
    if set(seen) != set(expected):
        raise ValueError(
            f"observations have the leaves {sorted(seen)}, the space has {sorted(expected)}"
        )
    cast = {name: flatten(space, seen[name])[PLAIN] for name, space in expected.items()}
    ends = parts["terminations"], parts["truncations"]
    return Episode(cast, as_leaf(acted, parts["actions"]), parts["rewards"], *ends)
