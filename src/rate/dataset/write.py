"""Writing a dataset: episodes stream to the disk, and the folder appears complete or not at all."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from rate import spaces
from rate.dataset.card import CARD, ArrayLayout, DatasetError, array_header, array_layouts, seal
from rate.dataset.frames import FrameNumbers
from rate.dataset.image_statistics import ImageStatistics
from rate.dataset.read import Dataset, open_dataset
from rate.dataset.summary import lengths_summary, returns_summary
from rate.dataset.verified import present_state, remember
from rate.episode import Episode, returns_to_go
from rate.spaces import LeafChecker
from rate.storage.files import atomic_write, storage_errors, synchronise
from rate.storage.folders import new_folder


def write_dataset(
    path: str | os.PathLike[str],
    episodes: Iterable[Episode],
    observation_space: gymnasium.Space[Any],
    action_space: gymnasium.Space[Any],
    *,
    task: str | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Dataset:
    """Write episodes to a new dataset folder and open it; one episode is held in memory at a time.

    The folder gets its name only once it is complete and flushed to the disk. On an error, or
    Ctrl-C, nothing is left; what a killed process leaves, a hidden folder
    `.<name>.<random>.partial` beside it, the next one removes.

    Args:
        path: The new folder.
        episodes: What was recorded.
        observation_space: Space of the observations.
        action_space: Space of the actions.
        task: Name of the task that was recorded, if it has one.
        provenance: Where the data comes from, as JSON data; kept in the card.

    Raises:
        DatasetError: the folder exists, there is no episode, or an episode does not fit the spaces.
        LockedError: another process is writing the folder.
        OSError: the disk is full or read-only; the message says which.
    """
    path = Path(path)
    layouts = array_layouts(observation_space, action_space)
    facts = {
        "task": task,
        "provenance": _plain(dict(provenance or {})),
        "observation_space": spaces.to_json(observation_space),
        "action_space": spaces.to_json(action_space),
    }
    try:
        with new_folder(path) as folder:
            facts |= _write_arrays(folder, episodes, layouts)
            atomic_write(folder / CARD, seal(facts))
    except FileExistsError as error:
        raise DatasetError(str(error)) from error
    dataset = open_dataset(path, verify=False)
    remember(path, present_state(path, dataset.card))  # it was hashed while it was written
    return dataset


def _write_arrays(
    folder: Path, episodes: Iterable[Episode], layouts: Mapping[str, ArrayLayout]
) -> dict[str, Any]:
    """Stream the episodes into array files; returns what the card says about them."""
    moments = {name: _Moments() for name, layout in layouts.items() if layout.standardised}
    frame_numbers = {
        name.partition("/")[2]: FrameNumbers()
        for name, layout in layouts.items()
        if layout.per == "frame"
    }
    images = {path: ImageStatistics(layouts[f"frames/{path}"].row_shape) for path in frame_numbers}
    checks = {
        name: LeafChecker(layout.space, name)
        for name, layout in layouts.items()
        if layout.space is not None
    }
    lengths, returns = [], []
    with ExitStack() as stack:
        files = {
            name: stack.enter_context(_ArrayFile(folder, layout))
            for name, layout in layouts.items()
        }
        files["episode_offsets"].append(np.zeros(1, np.int64))
        for index, episode in enumerate(episodes):
            arrays = _arrays(episode, checks, f"episode {index}")
            lengths.append(len(episode))
            returns.append(arrays["returns_to_go"][0])
            arrays["episode_offsets"] = np.array([files["actions"].rows + len(episode)])
            for path, numbers in frame_numbers.items():
                images[path].add(arrays[f"frames/{path}"])
                arrays[f"observations/{path}"], arrays[f"frames/{path}"] = numbers.add(
                    arrays[f"frames/{path}"]
                )
            for name, array in arrays.items():
                files[name].append(array)
            for name, statistics in moments.items():
                statistics.add(arrays[name])
        if not lengths:
            raise DatasetError("there is no episode to write; give at least one")
        records = {name: file.finish() for name, file in files.items()}
    return {
        "episodes": len(lengths),
        "steps": sum(lengths),
        "lengths": lengths_summary(np.array(lengths)),
        "returns": returns_summary(np.array(returns, np.float64)),
        "normalisation": {
            **{name.removeprefix("observations/"): m.result(name) for name, m in moments.items()},
            **{path: part.result() for path, part in images.items()},
        },
        "arrays": records,
    }


def _arrays(
    episode: Episode, checks: Mapping[str, LeafChecker], what: str
) -> dict[str, np.ndarray]:
    """The rows that an episode adds to each array, checked against the spaces."""
    recorded = {
        f"{'frames' if f'frames/{path}' in checks else 'observations'}/{path}": leaf
        for path, leaf in episode.observations.items()
    }
    recorded["actions"] = episode.actions
    if set(recorded) != set(checks):
        raise DatasetError(
            f"{what}: it has the arrays {sorted(recorded)}, the spaces need {sorted(checks)}"
        )
    arrays = {}
    try:
        for name, check in checks.items():
            arrays[name] = check(recorded[name], (len(episode) + (name != "actions"),))
        arrays["returns_to_go"] = returns_to_go(episode.rewards)
    except ValueError as error:
        raise DatasetError(f"{what}: {error}") from error
    for name in ("rewards", "terminations", "truncations"):
        arrays[name] = getattr(episode, name)
    arrays["seeds"] = np.array([-1 if episode.seed is None else episode.seed], np.int64)
    return arrays


class _ArrayFile:
    """A `.npy` file that grows by rows and is hashed on the way; its header is completed last."""

    def __init__(self, folder: Path, layout: ArrayLayout) -> None:
        self.path, self.layout, self.rows = folder / layout.file, layout, 0
        self.digest = hashlib.sha256()
        with storage_errors(self.path):
            self.path.parent.mkdir(exist_ok=True)
            self.file = open(self.path, "xb")  # noqa: SIM115 (closed by __exit__)
            self.file.write(self._header())

    def __enter__(self) -> "_ArrayFile":
        return self

    def __exit__(self, *exception: object) -> None:
        # Buffered rows that no longer fit on the disk are given up with the whole folder when an
        # error led here.
        try:
            self.file.close()
        except OSError:
            if exception[0] is None:
                raise

    def append(self, rows: np.ndarray) -> None:
        data = np.ascontiguousarray(rows, self.layout.dtype).reshape(-1).view(np.uint8).data
        self.digest.update(data)
        with storage_errors(self.path):
            self.file.write(data)
        self.rows += len(rows)

    def finish(self) -> dict[str, Any]:
        """Complete the header, flush to the disk, and return the array's record for the card."""
        with storage_errors(self.path):
            self.file.seek(0)
            self.file.write(self._header())
            synchronise(self.file)
        shape = [self.rows, *self.layout.row_shape]
        record = {"file": self.layout.file, "dtype": self.layout.dtype.str, "shape": shape}
        return {**record, "sha256": self.digest.hexdigest()}

    def _header(self) -> bytes:
        return array_header(self.layout.dtype, (self.rows, *self.layout.row_shape))


class _Moments:
    """Mean and standard deviation, in float64, of rows that arrive in parts.

    Chan, Golub and LeVeque (1983).
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: np.ndarray = np.zeros(())
        self.squares: np.ndarray = np.zeros(())

    def add(self, rows: np.ndarray) -> None:
        total = self.count + len(rows)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = rows.mean(0, dtype=np.float64)
            change = mean - self.mean
            self.squares = (
                self.squares
                + ((rows - mean) ** 2).sum(0)
                + change**2 * (self.count * len(rows) / total)
            )
        self.mean = self.mean + change * (len(rows) / total)
        self.count = total

    def result(self, what: str) -> dict[str, Any]:
        std = np.sqrt(self.squares / self.count)
        if not max(np.abs(self.mean).max(), std.max()) < np.finfo(np.float32).max:
            raise DatasetError(
                f"{what}: the numbers are too large to be normalised in float32; rescale them"
            )
        return {"mean": self.mean.tolist(), "std": std.tolist()}


def _plain(provenance: dict[str, Any]) -> Any:
    try:
        return json.loads(json.dumps(provenance, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise DatasetError(
            "provenance may hold only text, booleans, None, finite numbers, lists and dicts "
            f"({error}): {provenance!r}"
        ) from error
