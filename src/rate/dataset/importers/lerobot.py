"""LeRobot's datasets, version 3 and 2: Parquet files, with images in them or in videos beside them.

The files are read without that library. Names of features become leaves: `observation.state` is
`state`, `observation.images.front` is `images.front`, `action` the action. Rewards are
`next.reward`; recordings of people have none, and get zeros.
"""

import io
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rate.dataset import DatasetError
from rate.dataset.importers import ImportOptions, Recording, require
from rate.dataset.importers._files import check_growth, readable
from rate.dataset.importers._recording import recording
from rate.dataset.importers._steps import Stream
from rate.storage.untrusted import inside

DESCRIPTION = "LeRobot's dataset, version 3 or 2: a folder with meta/info.json, data/ and videos/"

_INFO = ("meta", "info.json")
_MARKS = {
    "next.reward": "rewards",
    "next.done": "terminations",
    "next.terminated": "terminations",
    "next.truncated": "truncations",
}
_IMAGES = ("image", "video")
_FILE = re.compile(r"(?:file-\d+|episode_\d+)\.parquet")


def recognises(path: Path) -> bool:
    """Whether it is a folder with the facts that LeRobot writes."""
    file = path / "meta" / "info.json"
    try:
        return file.is_file() and b'"codebase_version"' in file.read_bytes()[: 2**20]
    except OSError:
        return False


def read(path: Path, options: ImportOptions) -> Recording:
    """Read a folder, in the order of its episodes.

    An episode whose last step is `next.done` is terminated, and otherwise truncated. Images of
    videos are those that were recorded up to the loss of their compression (fact `lossy_images`).

    Raises:
        DatasetError: The folder is damaged, or of another version.
        ModuleNotFoundError: pyarrow, or PyAV for videos, is not installed.
    """
    with readable(path, "fetch it again"):
        info = _info(path)
        features = _features(info)
        videos = [name for name, one in features.items() if one["dtype"] == "video"]
        facts = {
            "format": "lerobot",
            "version": info["codebase_version"],
            "fps": info.get("fps"),
            "lossy_images": bool(videos),
        }
        if "next.reward" not in features:
            facts["warnings"] = ["there is no next.reward: all rewards are 0"]
        require("pyarrow", "lerobot")
        for _name in videos[:1]:
            require("av", "lerobot")

    def streams() -> Iterator[Stream]:
        with readable(path, "fetch it again"):
            starts = _starts(path, info) if videos else {}
            for number, columns in _episodes(path, set(features)):
                where = f"episode {number}"
                arrays = _arrays(columns, features)
                steps = len(columns["episode_index"])
                for name in videos:
                    shape = (steps, *features[name]["size"])
                    arrays[_renamed(name)] = _film(path, info, name, number, starts, shape)
                yield Stream(path, arrays, where, closed=True)

    return recording(path, streams, options, facts)


def _info(path: Path) -> dict[str, Any]:
    info = json.loads(inside(path, *_INFO, error=DatasetError).read_text(encoding="utf-8"))
    version = str(info.get("codebase_version") if isinstance(info, dict) else None)
    if not re.match(r"v[23]\.", version):
        raise DatasetError(f"{path} has version {version[:20]!r}; versions 2 and 3 are read")
    return info


def _features(info: Mapping[str, Any]) -> dict[str, Any]:
    """What is read, with the size [H, W, C] of images."""
    found = {}
    for name, feature in info["features"].items():
        known = name.split(".")[0] in ("observation", "action") or name in _MARKS
        if known and feature["dtype"] != "string":
            found[name] = {"dtype": feature["dtype"], "shape": tuple(feature["shape"])}
            if feature["dtype"] in _IMAGES:
                found[name]["size"] = _size(feature)
    return found


def _size(feature: Mapping[str, Any]) -> tuple[int, ...]:
    shape, names = tuple(feature["shape"]), feature.get("names") or ()
    if len(shape) == 3 and (str(names[:1]).find("channel") >= 0 or shape[0] in (1, 3) != shape[2]):
        return (*shape[1:], shape[0])
    return shape


def _renamed(name: str) -> str:
    """The name by which the importers know a feature."""
    if name in _MARKS:
        return _MARKS[name]
    role, _, leaf = name.partition(".")
    return f"{role}s/{leaf}" if leaf else f"{role}s"


def _episodes(path: Path, names: set[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Columns of one episode after the other, as Arrow arrays."""
    arrow, parquet = require("pyarrow"), require("pyarrow.parquet")
    pending: list[Any] = []
    for file in _parquets(path, "data"):
        opened = parquet.ParquetFile(file)
        check_growth(file, _bytes(opened.metadata))
        columns_read = [name for name in opened.schema_arrow.names if name in names]
        for batch in opened.iter_batches(1024, columns=[*columns_read, "episode_index"]):
            numbers = batch.column("episode_index").to_numpy()
            cuts = [0, *np.flatnonzero(np.diff(numbers)) + 1, len(numbers)]
            for start, stop in itertools.pairwise(cuts):
                part = batch.slice(start, stop - start)
                if pending and _number(pending[-1]) != _number(part):
                    yield _number(pending[0]), _joined(arrow, pending)
                    pending = []
                pending.append(part)
    if pending:
        yield _number(pending[0]), _joined(arrow, pending)


def _number(batch: Any) -> int:
    return int(batch.column("episode_index")[0].as_py())


def _joined(arrow: Any, batches: list[Any]) -> dict[str, Any]:
    table = arrow.Table.from_batches(batches)
    return {name: table.column(name).combine_chunks() for name in table.column_names}


def _bytes(metadata: Any) -> int:
    groups = (metadata.row_group(index) for index in range(metadata.num_row_groups))
    return sum(int(group.total_byte_size) for group in groups)


def _parquets(path: Path, part: str) -> list[Path]:
    folders = sorted(inside(path, part, error=DatasetError).iterdir())
    files = [
        inside(path, part, folder.name, file.name, error=DatasetError)
        for folder in folders
        if folder.is_dir()
        for file in sorted(folder.iterdir())
        if _FILE.fullmatch(file.name)
    ]
    if not files:
        raise DatasetError(f"{path} has no Parquet files in {part}/chunk-*: fetch it again")
    return files


def _arrays(columns: Mapping[str, Any], features: Mapping[str, Any]) -> dict[str, Any]:
    """NumPy arrays of an episode by the importers' names."""
    steps, arrays = len(columns["episode_index"]), {}
    for name, column in columns.items():
        if name == "episode_index":
            continue
        feature = features[name]
        if feature["dtype"] == "image":
            arrays[_renamed(name)] = _pictures(column, feature["size"], name)
        else:
            flat = np.asarray(_flat(column).to_numpy(zero_copy_only=False))
            shape = feature["shape"] if feature["shape"] != (1,) or _nested(column) else ()
            arrays[_renamed(name)] = flat.reshape(steps, *shape)
    arrays.setdefault("rewards", np.zeros(steps, np.float32))
    if not {"terminations", "truncations"} & set(arrays):
        arrays["truncations"] = np.ones(steps, bool)
    for role in ("terminations", "truncations"):
        if role in arrays:
            arrays[role] = np.asarray(arrays[role]).reshape(steps)[-1]
    return arrays


def _nested(column: Any) -> bool:
    return "list" in str(column.type)


def _flat(column: Any) -> Any:
    while _nested(column):
        column = column.flatten()
    return column


def _pictures(column: Any, size: tuple[int, ...], name: str) -> np.ndarray:
    """Images [n, H, W, C] that are encoded in a column of files."""
    image = require("PIL.Image", "lerobot")
    pictures = np.empty((len(column), *size), np.uint8)
    for row, entry in enumerate(column):
        with image.open(io.BytesIO(entry["bytes"].as_py()), formats=["PNG", "JPEG"]) as picture:
            if picture.size != size[1::-1]:
                raise DatasetError(f"{name} has a picture of {picture.size}, not {size[1::-1]}")
            mode = {1: "L", 3: "RGB", 4: "RGBA"}[size[2]]
            pictures[row] = np.asarray(picture.convert(mode)).reshape(size)
    return pictures


def _starts(path: Path, info: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """Of version 3, where each episode lies in the videos."""
    if str(info["codebase_version"]).startswith("v2"):
        return {}
    parquet, rows = require("pyarrow.parquet"), {}
    for file in _parquets_of_episodes(path):
        opened = parquet.ParquetFile(file)
        check_growth(file, _bytes(opened.metadata))
        names = [name for name in opened.schema_arrow.names if name.startswith("videos/")]
        for row in opened.read(columns=[*names, "episode_index"]).to_pylist():
            rows[int(row["episode_index"])] = row
    return rows


def _parquets_of_episodes(path: Path) -> list[Path]:
    return _parquets(inside(path, "meta", error=DatasetError), "episodes")


def _film(
    path: Path,
    info: Mapping[str, Any],
    name: str,
    number: int,
    starts: Mapping[int, Mapping[str, Any]],
    shape: tuple[int, ...],
) -> np.ndarray:
    """Frames [n, H, W, C] of an episode in a video."""
    if starts:
        row = starts[number]
        chunk, part = (int(row[f"videos/{name}/{what}_index"]) for what in ("chunk", "file"))
        begin = float(row[f"videos/{name}/from_timestamp"])
        places = ("videos", name, f"chunk-{chunk:03d}", f"file-{part:03d}.mp4")
    else:
        chunk, begin = number // int(info.get("chunks_size", 1000)), 0.0
        places = ("videos", f"chunk-{chunk:03d}", name, f"episode_{number:06d}.mp4")
    file, half = inside(path, *places, error=DatasetError), 0.5 / float(info["fps"])
    frames = np.empty(shape, np.uint8)
    with require("av", "lerobot").open(str(file)) as container:
        stream = container.streams.video[0]
        if (stream.codec_context.height, stream.codec_context.width) != shape[1:3]:
            raise DatasetError(f"{file} has frames of another size than {shape[1:3]}")
        container.seek(int(begin / stream.time_base), stream=stream)
        found = (frame for frame in container.decode(stream) if frame.time > begin - half)
        for row_number, frame in zip(range(shape[0]), found, strict=False):
            frames[row_number] = frame.to_ndarray(format="rgb24")
        if shape[0] and row_number + 1 != shape[0]:
            raise DatasetError(f"{file} has {row_number + 1} frames of episode {number}")
    return frames
