"""Opening a dataset: arrays are memory-mapped, and damage is an error that names the file."""

import hashlib
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from rate import spaces
from rate.dataset.card import (
    CARD,
    RECOVER,
    ArrayLayout,
    DatasetError,
    array_header,
    array_layouts,
    read_card,
)
from rate.dataset.frames import SharedFrames
from rate.dataset.image_statistics import statistics_shape
from rate.dataset.shards import (
    Folders,
    allow_open_files,
    joined_arrays,
    joined_card,
    shards_of,
)
from rate.dataset.summary import lengths_summary, returns_summary
from rate.dataset.verified import is_verified, present_state, remember
from rate.episode import Episode
from rate.storage.untrusted import inside

CHUNK_BYTES = 2**24
SMALLEST_SCALE = 1e-6
FILES_OF_A_SHARD = 64
"""Files of one folder that are open at most in a dataset of usual spaces."""
MOMENTS = ("mean", "std", "min", "max")
"""Statistics in a card; leaves of numbers have the first two, images all."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Recorded episodes in a folder, open for reading; `open_dataset` makes one."""

    path: Path
    """The folder; of several shards the one that holds them, or the first."""
    card: dict[str, Any] = field(repr=False)
    """What `card.json` says."""
    observation_space: gymnasium.Space[Any]
    """Space of the observations."""
    action_space: gymnasium.Space[Any]
    """Space of the actions."""
    arrays: Mapping[str, Any] = field(repr=False)
    """Memory-mapped arrays by name, read-only; images come through `SharedFrames`."""
    shards: tuple[Path, ...] = ()
    """Folders of the shards, if there are several."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process maps the files itself; it is not sent what they hold.
        return open_dataset, (self.shards or self.path, False)

    def __len__(self) -> int:
        """Number of episodes."""
        return int(self.card["episodes"])

    @property
    def steps(self) -> int:
        """Number of steps of all episodes together."""
        return int(self.card["steps"])

    @property
    def content_hash(self) -> str:
        """Hash that identifies the recorded data, wherever it is stored and whatever its provenance
        says."""
        return str(self.card["content_hash"])

    @cached_property
    def lengths(self) -> np.ndarray:
        """Steps of each episode, [episodes] int64."""
        lengths: np.ndarray = np.diff(self.arrays["episode_offsets"])
        return lengths

    @cached_property
    def returns(self) -> np.ndarray:
        """Undiscounted return of each episode, [episodes] float32."""
        returns: np.ndarray = self.arrays["returns_to_go"][self.arrays["episode_offsets"][:-1]]
        return returns

    @property
    def return_scale(self) -> float:
        """Largest absolute return, which brings returns into [-1, 1]; 1 if all returns are zero."""
        largest = float(np.abs(self.returns).max())
        return largest if largest >= SMALLEST_SCALE else 1.0

    @cached_property
    def normalisation(self) -> dict[str, tuple[np.ndarray, ...]]:
        """Statistics of each leaf but categories, float32.

        Of numbers: mean and standard deviation, 1 where nothing varies. Of images: mean, standard
        deviation, minimum and maximum, by component or by channel (`statistics_shape`).
        """
        result: dict[str, tuple[np.ndarray, ...]] = {}
        for path, moments in self.card["normalisation"].items():
            mean, std, *limits = (
                np.array(moments[key], np.float32) for key in MOMENTS if key in moments
            )
            if not spaces.is_image(self.observation_leaves[path]):
                limits, std = [], np.where(std < SMALLEST_SCALE, np.float32(1), std)
            result[path] = (mean, std, *limits)
        return result

    def episode(self, index: int) -> Episode:
        """An episode, copied out of the files.

        Args:
            index: Which one; negative indices count from the end.

        Raises:
            IndexError: there is no such episode.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(
                f"episode {index} of a dataset of {len(self)} episodes; allowed are 0 to "
                f"{len(self) - 1}"
            )
        index %= len(self)
        start, stop = (int(offset) for offset in self.arrays["episode_offsets"][index : index + 2])
        steps = {
            name: self.arrays[name][start:stop].copy()
            for name in ("actions", "rewards", "terminations", "truncations")
        }
        # Each earlier episode holds one observation more than it has steps.
        rows = slice(start + index, stop + index + 1)
        observations = {
            path: self.arrays[f"observations/{path}"][rows].copy()
            for path in self.observation_leaves
        }
        seed = int(self.arrays["seeds"][index])
        return Episode(observations, **steps, seed=None if seed < 0 else seed)

    @cached_property
    def observation_leaves(self) -> dict[str, gymnasium.Space[Any]]:
        """Leaf spaces of the observations by path."""
        return spaces.leaves(self.observation_space)


def open_dataset(path: Folders, verify: bool = True, trust_memory: bool = True) -> Dataset:
    """Open a dataset: a folder, or shards, whose episodes follow one another.

    Args:
        path: The folder; or several folders, or one that holds them, see `shards.py`.
        verify: Also read every array once, to compare it with its hash and with the spaces. Without
            it only structure is checked: the card, and the dtype, shape and size of each file.
        trust_memory: Not to read arrays again that passed before and did not change since.

    Raises:
        DatasetError: a file is missing, truncated, altered, not an array of numbers, or does not
        fit the card.
    """
    folders = shards_of(path)
    if len(folders) == 1:
        return _open_folder(folders[0], verify, trust_memory)
    allow_open_files(FILES_OF_A_SHARD * len(folders))
    shards = [_open_folder(folder, verify, trust_memory) for folder in folders]
    first, card = shards[0], joined_card([shard.card for shard in shards], folders)
    arrays = joined_arrays([shard.arrays for shard in shards])
    place = Path(path) if isinstance(path, str | os.PathLike) else folders[0]
    joined = Dataset(
        place, card, first.observation_space, first.action_space, arrays, tuple(folders)
    )
    card["lengths"] = lengths_summary(joined.lengths)
    card["returns"] = returns_summary(joined.returns.astype(np.float64))
    return joined


def _open_folder(path: Path, verify: bool, trust_memory: bool) -> Dataset:
    """Open a dataset of one folder."""
    card = read_card(path, verify)
    observation_space, action_space, layouts = _layouts(path / CARD, card)
    arrays: dict[str, Any] = {}
    for name, layout in layouts.items():
        count = _frames(card["arrays"][name]) if layout.per == "frame" else 0
        shape = layout.shape(card["episodes"], card["steps"], count)
        _check_record(path / CARD, name, card["arrays"][name], layout, shape)
        file = inside(path, *layout.file.split("/"), error=DatasetError)
        arrays[name] = _map_array(file, layout.dtype, shape)
    _check_offsets(path / layouts["episode_offsets"].file, arrays["episode_offsets"], card["steps"])
    _check_normalisation(path / CARD, card["normalisation"], layouts)
    if verify:
        state = present_state(path, card)
        if not (trust_memory and is_verified(path, state)):
            for name, layout in layouts.items():
                sha256 = card["arrays"][name].get("sha256")
                _verify(path / layout.file, arrays[name], layout, name, sha256)
            _check_ends(path, arrays, layouts)
            _check_frame_numbers(path, arrays, layouts)
            remember(path, state)
    for leaf in _images(layouts):
        frames = arrays.pop(f"frames/{leaf}")
        arrays[f"observations/{leaf}"] = SharedFrames(frames, arrays[f"observations/{leaf}"])
    return Dataset(path, card, observation_space, action_space, arrays)


def _layouts(
    file: Path, card: Mapping[str, Any]
) -> tuple[gymnasium.Space[Any], gymnasium.Space[Any], dict[str, ArrayLayout]]:
    """Spaces of observations and of actions, and the layouts of the arrays that they need."""
    try:
        observation_space, action_space = (
            spaces.from_json(card[key]) for key in ("observation_space", "action_space")
        )
        layouts = array_layouts(observation_space, action_space)
    except ValueError as error:
        raise DatasetError(f"{file}: {error}; {RECOVER}") from error
    if set(card["arrays"]) != set(layouts):
        raise DatasetError(
            f"{file} lists the arrays {sorted(card['arrays'])}, its spaces need {sorted(layouts)}; "
            f"{RECOVER}"
        )
    if min(card["episodes"], card["steps"]) < 1:
        raise DatasetError(
            f"{file} counts {card['episodes']} episodes and {card['steps']} steps; {RECOVER}"
        )
    return observation_space, action_space, layouts


def _images(layouts: Mapping[str, ArrayLayout]) -> list[str]:
    """Paths of the leaves that are images."""
    return [name.partition("/")[2] for name, layout in layouts.items() if layout.per == "frame"]


def _frames(record: Any) -> int:
    """Distinct frames that a record counts, at least 1: a damaged record then fails its check."""
    try:
        return max(1, int(record["shape"][0]))
    except (KeyError, IndexError, TypeError, ValueError):
        return 1


def _check_record(
    card: Path, name: str, record: Any, layout: ArrayLayout, shape: tuple[int, ...]
) -> None:
    expected = {"file": layout.file, "dtype": layout.dtype.str, "shape": list(shape)}
    if not isinstance(record, dict) or {key: record.get(key) for key in expected} != expected:
        raise DatasetError(
            f"{card}: its spaces and counts need {name!r} to be {expected}, it says "
            f"{record}; {RECOVER}"
        )


def _map_array(file: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
    """Memory-map a `.npy` file whose header must be the expected one and is never evaluated."""
    expected = array_header(dtype, shape)
    try:
        with open(file, "rb") as stream:
            start = stream.read(len(expected))
            size = stream.seek(0, os.SEEK_END)
    except FileNotFoundError as error:
        raise DatasetError(f"{file} is missing; {RECOVER}") from error
    except OSError as error:
        raise DatasetError(
            f"{file} cannot be read: {error.strerror}; check its permissions"
        ) from error
    if start != expected:
        header = start[10:].partition(b"\n")[0].strip()
        raise DatasetError(
            f"{file} begins with {header!r}, not with an array of {dtype.str} {shape}; {RECOVER}"
        )
    bytes_needed = len(expected) + math.prod(shape) * dtype.itemsize
    if size != bytes_needed:
        raise DatasetError(f"{file} has {size} bytes, its array takes {bytes_needed}; {RECOVER}")
    return np.asarray(np.memmap(file, dtype, "r", len(expected), shape))


def _verify(file: Path, array: np.ndarray, layout: ArrayLayout, name: str, sha256: Any) -> None:
    """Read a file once, to compare it with its hash, and its values with the space."""
    digest, wrong = hashlib.sha256(), ""
    for chunk in _stored(file, array):
        digest.update(chunk.reshape(-1).view(np.uint8).data)
        try:
            if layout.space is not None and not wrong:
                spaces.check_leaf(layout.space, chunk, name)
        except ValueError as error:
            wrong = f"{file}: {error}; {RECOVER}"
        if layout.dtype.kind == "f" and not wrong and not np.isfinite(chunk).all():
            wrong = f"{file} holds NaN or infinity; {RECOVER}"
    if digest.hexdigest() != sha256:
        raise DatasetError(
            f"{file} does not match its hash in {CARD}: its content has changed; {RECOVER}"
        )
    if wrong:
        raise DatasetError(wrong)


def _stored(file: Path, array: np.ndarray) -> Iterator[np.ndarray]:
    """Consecutive rows of about `CHUNK_BYTES`, read and not mapped: pages of a mapping would stay
    in the memory of this process."""
    rows = max(1, CHUNK_BYTES // max(1, array[:1].nbytes))
    with open(file, "rb") as stream:
        stream.seek(len(array_header(array.dtype, array.shape)))
        for start in range(0, len(array), rows):
            numbers = np.fromfile(stream, array.dtype, array[start : start + rows].size)
            yield numbers.reshape(-1, *array.shape[1:])


def _check_offsets(file: Path, offsets: np.ndarray, steps: int) -> None:
    if offsets[0] != 0 or offsets[-1] != steps or not (np.diff(offsets) > 0).all():
        raise DatasetError(f"{file} must rise from 0 to the {steps} steps of the card; {RECOVER}")


def _check_normalisation(
    card: Path, normalisation: dict[str, Any], layouts: Mapping[str, ArrayLayout]
) -> None:
    # Cards of earlier versions have none of whole numbers, flags and images.
    required, expected = set(), {}
    for name, layout in layouts.items():
        path = name.partition("/")[2]
        if layout.standardised:
            expected[path] = (2, *layout.row_shape)
            required |= {path} if layout.dtype.kind == "f" else set()
        elif layout.per != "step" and layout.space and spaces.is_image(layout.space):
            shape = layout.row_shape
            expected[path] = (4, *statistics_shape(shape))
    try:
        given = {
            path: np.array([moments[key] for key in MOMENTS[: expected[path][0]]], np.float64)
            for path, moments in normalisation.items()
            if path in expected
        }
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DatasetError(f"{card}: 'normalisation' is damaged ({error}); {RECOVER}") from error
    fits = required <= given.keys() == normalisation.keys() and all(
        array.shape == expected[path] and np.isfinite(array).all() for path, array in given.items()
    )
    if not fits or any((array[1] < 0).any() for array in given.values()):
        needed = {path: shape[1:] for path, shape in expected.items()}
        raise DatasetError(
            f"{card}: 'normalisation' needs finite means and stds of the shapes {needed}; {RECOVER}"
        )


def _check_ends(
    folder: Path, arrays: Mapping[str, np.ndarray], layouts: Mapping[str, ArrayLayout]
) -> None:
    """No episode may end before its last step, whatever the hashes say."""
    last = arrays["episode_offsets"][1:] - 1
    for name in ("terminations", "truncations"):
        if np.count_nonzero(arrays[name]) != np.count_nonzero(arrays[name][last]):
            raise DatasetError(
                f"{folder / layouts[name].file} ends an episode before its last step; {RECOVER}"
            )


def _check_frame_numbers(
    folder: Path, arrays: Mapping[str, np.ndarray], layouts: Mapping[str, ArrayLayout]
) -> None:
    for leaf in _images(layouts):
        numbers, frames = arrays[f"observations/{leaf}"], arrays[f"frames/{leaf}"]
        if not (numbers.min() >= 0 and numbers.max() < len(frames)):
            file = folder / layouts[f"observations/{leaf}"].file
            raise DatasetError(f"{file} names frames that do not exist; {RECOVER}")
