"""What every dataset folder holds: the layout of its arrays, and the card that describes them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

import gymnasium
import numpy as np

from rate import spaces
from rate.storage.untrusted import inside

FORMAT, FORMAT_VERSION = "rate-dataset", 2
CARD = "card.json"
RECOVER = "restore the folder from a copy, or collect the data again"

_KEYS: dict[str, type | tuple[type, ...]] = {
    "task": (str, type(None)),
    "provenance": dict,
    "observation_space": dict,
    "action_space": dict,
    "episodes": int,
    "steps": int,
    "lengths": dict,
    "returns": dict,
    "normalisation": dict,
    "arrays": dict,
    "content_hash": str,
}


class DatasetError(ValueError):
    """A dataset is damaged, or episodes cannot be made into one."""


class ArrayLayout(NamedTuple):
    """Layout of one array."""

    file: str
    """Its file in the folder."""
    dtype: np.dtype[Any]
    """Type of its numbers."""
    row_shape: tuple[int, ...]
    """Shape of a row."""
    per: Literal["episode", "step", "observation", "boundary", "frame"]
    """What it has a row for; a boundary lies between episodes, and a frame is a distinct image."""
    space: gymnasium.Space[Any] | None = None
    """Space of its rows, if they have one."""

    @property
    def standardised(self) -> bool:
        """Whether it holds observed numbers or flags, but neither choices nor images."""
        if self.per != "observation" or not isinstance(
            self.space, gymnasium.spaces.Box | gymnasium.spaces.MultiBinary
        ):
            return False
        return not spaces.is_image(self.space)

    def shape(self, episodes: int, steps: int, frames: int = 0) -> tuple[int, ...]:
        """Shape of the array in a dataset of that size.

        Args:
            episodes: Number of episodes.
            steps: Steps of all episodes.
            frames: Distinct images of the leaf, if the array holds these.
        """
        rows = {
            "episode": episodes,
            "step": steps,
            "observation": steps + episodes,
            "boundary": episodes + 1,
        }
        rows["frame"] = frames
        return (rows[self.per], *self.row_shape)


def array_layouts(
    observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any]
) -> dict[str, ArrayLayout]:
    """Layouts by array name.

    An observation leaf is named "observations/" and its path. Images are stored once each as
    "frames/" and the path; their "observations/" are numbers of frames.

    File names are derived from the spaces, never read from the card, so that a card cannot point
    outside its folder.

    Args:
        observation_space: Space of the observations.
        action_space: Space of the actions.

    Raises:
        DatasetError: a space is unsupported, or actions have structure.
    """
    try:
        observation_leaves, action_leaves = (
            spaces.leaves(observation_space),
            spaces.leaves(action_space),
        )
    except ValueError as error:
        raise DatasetError(f"the spaces do not fit into a dataset: {error}") from error
    if list(action_leaves.values()) != [action_space]:
        raise DatasetError(
            f"actions must be one array, got the action space {action_space}; make one of its "
            "parts by rate.spaces.joined and join"
        )
    layouts = {
        f"observations/{path}": _of_space(
            f"observations/{quote(path, safe='')}.npy", leaf, "observation"
        )
        for path, leaf in observation_leaves.items()
    }
    for path, leaf in observation_leaves.items():
        if spaces.is_image(leaf):
            name = quote(path, safe="")
            layouts[f"frames/{path}"] = _of_space(f"frames/{name}.npy", leaf, "frame")
            layouts[f"observations/{path}"] = ArrayLayout(
                f"observations/{name}.npy", np.dtype("<i8"), (), "observation"
            )
    layouts["actions"] = _of_space("actions.npy", action_space, "step")
    for name in ("rewards", "returns_to_go"):
        layouts[name] = ArrayLayout(f"{name}.npy", np.dtype("<f4"), (), "step")
    for name in ("terminations", "truncations"):
        layouts[name] = ArrayLayout(f"{name}.npy", np.dtype(bool), (), "step")
    layouts["episode_offsets"] = ArrayLayout("episode_offsets.npy", np.dtype("<i8"), (), "boundary")
    layouts["seeds"] = ArrayLayout("seeds.npy", np.dtype("<i8"), (), "episode")
    return layouts


def array_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """The bytes before the data of a `.npy` file, format version 1.0, as NumPy writes them.

    Space is left for a first dimension of 21 digits, so that an array can grow in place, and the
    data begin at a multiple of 64 bytes. Datasets hold these bytes exactly, so that reading one
    evaluates nothing in its files.

    Args:
        dtype: Type of the array's numbers.
        shape: Its shape.
    """
    text = f"{{'descr': {dtype.str!r}, 'fortran_order': False, 'shape': {shape}, }}"
    longest = len(text) + 21 - len(str(shape[0]))
    length = -(-(10 + longest + 1) // 64) * 64
    return (
        b"\x93NUMPY\x01\x00"
        + (length - 10).to_bytes(2, "little")
        + text.ljust(length - 11).encode()
        + b"\n"
    )


def seal(card: Mapping[str, Any]) -> str:
    """The card as text, with its format and two hashes added.

    `content_hash` identifies the recorded data: it covers the spaces and the dtype, shape and
    SHA-256 of every array. `card_hash` covers all the rest of the card as well, and so reveals
    damage to it.

    Args:
        card: Everything but the format and the hashes.
    """
    identity = ("dtype", "shape", "sha256")
    arrays = {
        name: {key: record[key] for key in identity} for name, record in card["arrays"].items()
    }
    content = [card["observation_space"], card["action_space"], arrays]
    sealed = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **card,
        "content_hash": _hash(content),
    }
    return json.dumps({**sealed, "card_hash": _hash(sealed)}, indent=1, allow_nan=False) + "\n"


def read_card(folder: Path, verify: bool = True) -> dict[str, Any]:
    """Read and check the card of a dataset folder.

    Args:
        folder: The folder of the dataset.
        verify: Also compare the card with its own hash.

    Raises:
        DatasetError: the card is missing, not a card, from a later version, or damaged.
    """
    path = inside(folder, CARD, error=DatasetError)
    try:
        card = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DatasetError(
            f"{path} is missing: {folder} is not a dataset; write one with `rate collect`"
        ) from error
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be read: {error.strerror}; check its permissions"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is not JSON ({error}); {RECOVER}") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise DatasetError(
            f"{path} is not the card of a dataset (its format is not {FORMAT!r}); {RECOVER}"
        )
    version = card.get("format_version")
    if version != FORMAT_VERSION:
        newer = isinstance(version, int) and version > FORMAT_VERSION
        advice = "take a newer release of this library" if newer else RECOVER
        raise DatasetError(
            f"{path} has format version {version!r}, this release reads {FORMAT_VERSION}; {advice}"
        )
    if verify and _hash(
        {key: value for key, value in card.items() if key != "card_hash"}
    ) != card.get("card_hash"):
        raise DatasetError(
            f"{path} does not match its own hash: it was damaged or edited; {RECOVER}"
        )
    for key, kinds in _KEYS.items():
        if not isinstance(card.get(key), kinds):
            raise DatasetError(f"{path}: {key!r} is missing or of the wrong type; {RECOVER}")
    return card


def _of_space(
    file: str, space: gymnasium.Space[Any], per: Literal["step", "observation", "frame"]
) -> ArrayLayout:
    shape = tuple(int(size) for size in space.shape or ())
    return ArrayLayout(file, np.dtype(space.dtype).newbyteorder("<"), shape, per, space)


def _hash(data: Any) -> str:
    # Keys keep their order: the order of a Dict space's keys is part of the space.
    return hashlib.sha256(json.dumps(data, separators=(",", ":")).encode()).hexdigest()
