"""Export to LeRobot's format, version 3: Parquet files, images in them as PNG, byte for byte."""

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rate.dataset import Dataset, DatasetError
from rate.dataset.importers import require
from rate.images import channel_axis
from rate.spaces import PLAIN, is_image, leaves
from rate.storage.files import storage_errors
from rate.storage.folders import new_folder
from rate.values import Positive, checks_arguments

FILE_BYTES = 100 * 2**20
"""Size from which on a file of steps is followed by another one."""
_FILES = 1000
"""Files in a folder ("chunk")."""


@checks_arguments
def export_lerobot(dataset: Dataset, output: str | Path, *, fps: Positive = 30) -> Path:
    """Write a dataset as one of LeRobot's, version 3; it is read without a simulator.

    The folder appears complete or not at all; one file of steps is held in memory at a time. The
    observation behind the last step of an episode has no place in the format and is left out.

    Args:
        dataset: The dataset; its folder on the command line.
        output: Folder to write, which must not exist.
        fps: Steps per second, which LeRobot's timestamps are made of.

    Returns:
        The folder.

    Raises:
        DatasetError: The folder exists, or an image has neither 1 nor 3 channels.
        ModuleNotFoundError: pyarrow or Pillow is not installed.
        OSError: The disk is full or read-only; the message says which.
    """
    for module in ("pyarrow", "pyarrow.parquet", "PIL.Image"):
        require(module, "lerobot")
    folder, features = Path(output), _features(dataset)
    try:
        with new_folder(folder) as written, storage_errors(folder):
            rows: list[dict[str, Any]] = []
            statistics = {name: _Statistics() for name in features}
            for number, episodes in enumerate(_parts(dataset, features)):
                for name, feature in features.items():
                    for _, arrays in episodes:
                        statistics[name].add(arrays[name], feature["dtype"] == "image")
                rows += _write_steps(written, dataset, number, episodes, features, fps)
            _write_episodes(written, rows)
            _write_facts(written, dataset, features, statistics, fps)
    except FileExistsError as error:
        raise DatasetError(f"{folder} exists already: give another folder or remove it") from error
    return folder


def _features(dataset: Dataset) -> dict[str, dict[str, Any]]:
    """LeRobot's features: name, type and shape, and the leaf that each is made of."""
    found: dict[str, dict[str, Any]] = {}
    for path, space in leaves(dataset.observation_space).items():
        image, leaf = is_image(space), path.replace("/", ".")
        plain = "image" if image else "state"
        name = f"observation.{'images.' if image and path != PLAIN else ''}"
        name += plain if path == PLAIN else leaf
        found[name] = {"leaf": path, **_described(space, image)}
    found["action"] = {"leaf": None, **_described(dataset.action_space, False)}
    for name, kind in (
        ("next.reward", "float32"),
        ("next.done", "bool"),
        ("next.truncated", "bool"),
    ):
        found[name] = {"leaf": None, "dtype": kind, "shape": [1], "names": None}
    return found


def _described(space: Any, image: bool) -> dict[str, Any]:
    shape = list(space.shape or [1])
    if not image:
        return {"dtype": str(np.dtype(space.dtype)), "shape": shape, "names": None}
    if channel_axis(tuple(shape)) == 0:
        shape = [*shape[1:], shape[0]]
    if shape[2] not in (1, 3):
        raise DatasetError(
            f"LeRobot's pictures have 1 or 3 channels, but {shape[2]} are recorded: export to "
            "Minari instead"
        )
    return {"dtype": "image", "shape": shape, "names": ["height", "width", "channels"]}


def _parts(
    dataset: Dataset, features: Mapping[str, Any]
) -> Iterator[list[tuple[int, dict[str, np.ndarray]]]]:
    """Episodes as arrays by feature, as many as fit into a file."""
    part: list[tuple[int, dict[str, np.ndarray]]] = []
    size = 0
    for index in range(len(dataset)):
        part.append((index, _arrays(dataset.episode(index), features)))
        size += sum(array.nbytes for array in part[-1][1].values())
        if size > FILE_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _arrays(episode: Any, features: Mapping[str, Any]) -> dict[str, np.ndarray]:
    steps = len(episode)
    arrays = {
        "action": episode.actions,
        "next.reward": episode.rewards,
        "next.done": episode.terminations,
        "next.truncated": episode.truncations,
    }
    for name, feature in features.items():
        if feature["leaf"] is not None:
            array = np.asarray(episode.observations[feature["leaf"]][:steps])
            if feature["dtype"] == "image" and list(array.shape[1:]) != feature["shape"]:
                array = array.transpose(0, 2, 3, 1)
            arrays[name] = array
    return {
        name: np.asarray(array).reshape(steps, *features[name]["shape"])
        for name, array in arrays.items()
    }


def _write_steps(
    folder: Path,
    dataset: Dataset,
    number: int,
    episodes: list[tuple[int, dict[str, np.ndarray]]],
    features: Mapping[str, Any],
    fps: int,
) -> list[dict[str, Any]]:
    """Write a file of steps; returns what is to be said of its episodes."""
    arrow = require("pyarrow", "lerobot")
    chunk, file = divmod(number, _FILES)
    tables, rows = [], []
    first = int(dataset.arrays["episode_offsets"][episodes[0][0]])
    for index, arrays in episodes:
        steps = len(arrays["action"])
        columns = {name: _column(arrays[name], feature) for name, feature in features.items()}
        frames = np.arange(steps)
        columns |= {
            "timestamp": arrow.array((frames / fps).astype(np.float32)),
            "frame_index": arrow.array(frames),
            "episode_index": arrow.array(np.full(steps, index)),
            "index": arrow.array(frames + first),
            "task_index": arrow.array(np.zeros(steps, np.int64)),
        }
        tables.append(arrow.table(columns))
        rows.append(
            {
                "episode_index": index,
                "tasks": [_TASK],
                "length": steps,
                "data/chunk_index": chunk,
                "data/file_index": file,
                "dataset_from_index": first,
                "dataset_to_index": first + steps,
                "meta/episodes/chunk_index": 0,
                "meta/episodes/file_index": 0,
            }
        )
        first += steps
    table = arrow.concat_tables(tables)
    place = folder / "data" / f"chunk-{chunk:03d}"
    place.mkdir(parents=True, exist_ok=True)
    require("pyarrow.parquet").write_table(table, place / f"file-{file:03d}.parquet")
    return rows


def _column(array: np.ndarray, feature: Mapping[str, Any]) -> Any:
    arrow = require("pyarrow", "lerobot")
    if feature["dtype"] == "image":
        image, rows = require("PIL.Image", "lerobot"), []
        for picture in array:
            buffer = io.BytesIO()
            image.fromarray(picture.squeeze()).save(buffer, "PNG")
            rows.append({"bytes": buffer.getvalue(), "path": None})
        kind = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
        return arrow.array(rows, kind)
    if feature["shape"] == [1]:
        return arrow.array(array.reshape(-1))
    column = arrow.array(array.reshape(-1))
    for side in reversed(feature["shape"]):
        column = arrow.FixedSizeListArray.from_arrays(column, side)
    return column


def _write_episodes(folder: Path, rows: list[dict[str, Any]]) -> None:
    arrow = require("pyarrow", "lerobot")
    place = folder / "meta" / "episodes" / "chunk-000"
    place.mkdir(parents=True)
    parquet = require("pyarrow.parquet", "lerobot")
    parquet.write_table(arrow.Table.from_pylist(rows), place / "file-000.parquet")


_TASK = "act"
"""What LeRobot calls a task, an instruction in words."""


def _write_facts(
    folder: Path,
    dataset: Dataset,
    features: Mapping[str, Any],
    statistics: Mapping[str, "_Statistics"],
    fps: int,
) -> None:
    arrow, parquet = require("pyarrow", "lerobot"), require("pyarrow.parquet", "lerobot")
    described = {
        name: {key: value for key, value in feature.items() if key != "leaf"}
        for name, feature in features.items()
    }
    one = {"shape": [1], "names": None}
    described["timestamp"] = {"dtype": "float32", **one}
    for name in ("frame_index", "episode_index", "index", "task_index"):
        described[name] = {"dtype": "int64", **one}
    info = {
        "codebase_version": "v3.0",
        "robot_type": None,
        "total_episodes": len(dataset),
        "total_frames": dataset.steps,
        "total_tasks": 1,
        "chunks_size": _FILES,
        "data_files_size_in_mb": FILE_BYTES >> 20,
        "video_files_size_in_mb": 0,
        "fps": fps,
        "splits": {"train": f"0:{len(dataset)}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
        "features": described,
    }
    meta = folder / "meta"
    (meta / "info.json").write_text(json.dumps(info, indent=4), encoding="utf-8")
    found = {name: one.to_json() for name, one in statistics.items()}
    (meta / "stats.json").write_text(json.dumps(found, indent=4), encoding="utf-8")
    index = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [],
        "pandas_version": "2.0.0",
    }
    tasks = arrow.table({"task_index": [0], "task": [_TASK]})
    tasks = tasks.replace_schema_metadata({"pandas": json.dumps(index)})
    parquet.write_table(tasks, meta / "tasks.parquet")


class _Statistics:
    """Range, mean and deviation of a feature; of images by channel, of values from 0 to 1."""

    def __init__(self) -> None:
        self.count, self.image = 0, False
        self.total: Any = 0.0
        self.squares: Any = 0.0
        self.least: Any = np.inf
        self.most: Any = -np.inf

    def add(self, array: np.ndarray, image: bool) -> None:
        """Take the steps of an episode into account."""
        values = array.astype(np.float64) / (255 if image else 1)
        axes = (0, 1, 2) if image else (0,)
        self.count += len(array) * (int(np.prod(array.shape[1:3])) if image else 1)
        self.total, self.squares = (
            self.total + values.sum(axes),
            self.squares + (values**2).sum(axes),
        )
        self.least = np.minimum(self.least, values.min(axes))
        self.most = np.maximum(self.most, values.max(axes))
        self.image = image

    def to_json(self) -> dict[str, Any]:
        """LeRobot's names and shapes."""
        mean = np.asarray(self.total) / self.count
        deviation = np.sqrt(np.maximum(np.asarray(self.squares) / self.count - mean**2, 0))
        shape = (-1, 1, 1) if self.image else (-1,)
        found = {"min": self.least, "max": self.most, "mean": mean, "std": deviation}
        shaped = {name: np.reshape(one, shape).tolist() for name, one in found.items()}
        return {**shaped, "count": [self.count]}
