"""LeRobot's format, written by the library and by hand as LeRobot 2 and 3 lay it out."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from dataset.recordings import ACTION_SPACES, IMAGE, recorded
from gymnasium import spaces

from rate.cli import main
from rate.dataset import Dataset, DatasetError, open_dataset, write_dataset
from rate.dataset.export_lerobot import export_lerobot
from rate.dataset.importers import import_dataset

arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
av = pytest.importorskip("av")

ROBOT = spaces.Dict(
    {"front": spaces.Box(0, 255, (8, 6, 3), np.uint8), "state": spaces.Box(-10.0, 10.0, (3,))}
)
LENGTHS = (5, 3, 7)


def robot(folder: Path, actions: str = "box") -> Dataset:
    episodes = recorded(LENGTHS, ROBOT, ACTION_SPACES[actions])
    return write_dataset(folder / "ours", episodes, ROBOT, ACTION_SPACES[actions])


def assert_same_steps(ours: Dataset, theirs: Dataset) -> None:
    assert theirs.lengths.tolist() == ours.lengths.tolist()
    for index in range(len(ours)):
        one, other = ours.episode(index), theirs.episode(index)
        assert sorted(one.observations) == sorted(
            path.replace("images.", "") for path in other.observations
        )
        for path, leaf in other.observations.items():
            np.testing.assert_array_equal(
                one.observations[path.replace("images.", "")][:-1], leaf[:-1]
            )
        for name in ("actions", "rewards", "terminations", "truncations"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("actions", sorted(ACTION_SPACES))
def test_what_is_exported_is_imported_to_the_byte(tmp_path: Path, actions: str) -> None:
    ours = robot(tmp_path, actions)
    words = ["data", "export", str(ours.path), "--format", "lerobot", "--output"]
    assert main([*words, str(tmp_path / "theirs")]) == 0
    assert (
        main(["data", "import", str(tmp_path / "theirs"), "--output", str(tmp_path / "again")]) == 0
    )
    again = open_dataset(tmp_path / "again")
    assert_same_steps(ours, again)
    assert again.card["provenance"]["format"] == "lerobot"
    assert again.card["provenance"]["lossy_images"] is False


def test_an_export_has_what_lerobot_reads(tmp_path: Path) -> None:
    folder = export_lerobot(robot(tmp_path), tmp_path / "theirs", fps=10)
    info = json.loads((folder / "meta" / "info.json").read_text())
    assert (info["codebase_version"], info["total_episodes"], info["total_frames"]) == (
        "v3.0",
        3,
        15,
    )
    assert info["features"]["observation.images.front"]["shape"] == [8, 6, 3]
    steps = parquet.read_table(folder / "data" / "chunk-000" / "file-000.parquet")
    assert steps.column("index").to_pylist() == list(range(15))
    assert steps.column("timestamp").to_pylist()[5:8] == pytest.approx([0.0, 0.1, 0.2])
    assert set(steps.column_names) == set(info["features"])
    rows = parquet.read_table(folder / "meta" / "episodes" / "chunk-000" / "file-000.parquet")
    assert rows.column("dataset_from_index").to_pylist() == [0, 5, 8]
    assert rows.column("dataset_to_index").to_pylist() == [5, 8, 15]
    stats = json.loads((folder / "meta" / "stats.json").read_text())
    states = np.concatenate([steps.column("observation.state").combine_chunks().flatten()]).reshape(
        15, 3
    )
    np.testing.assert_allclose(stats["observation.state"]["mean"], states.mean(0), rtol=1e-5)
    assert np.shape(stats["observation.images.front"]["std"]) == (3, 1, 1)


def test_long_data_are_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rate.dataset.export_lerobot.FILE_BYTES", 300)
    monkeypatch.setattr("rate.dataset.export_lerobot._FILES", 2)
    ours = robot(tmp_path)
    folder = export_lerobot(ours, tmp_path / "theirs")
    files = sorted(path.relative_to(folder).as_posix() for path in folder.glob("data/*/*"))
    assert files == [
        "data/chunk-000/file-000.parquet",
        "data/chunk-000/file-001.parquet",
        "data/chunk-001/file-000.parquet",
    ]
    assert_same_steps(ours, import_dataset(folder, tmp_path / "again"))


def film(path: Path, frames: np.ndarray, fps: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        stream.bit_rate = 8_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def filmed(folder: Path, version: int) -> np.ndarray:
    """A recording of a person, with videos and without rewards; returns its brightness by step."""
    fps, total = 10, sum(LENGTHS)
    brightness = np.linspace(20, 230, total).astype(np.uint8)
    frames = np.broadcast_to(brightness[:, None, None, None], (total, 64, 48, 3))
    image = {"dtype": "video", "shape": [64, 48, 3], "names": ["height", "width", "channels"]}
    info = {
        "codebase_version": {2: "v2.1", 3: "v3.0"}[version],
        "fps": fps,
        "chunks_size": 1000,
        "features": {
            "observation.images.front": image,
            "observation.state": {"dtype": "float32", "shape": [2], "names": None},
            "action": {"dtype": "float32", "shape": [2], "names": None},
        },
    }
    (folder / "meta").mkdir(parents=True)
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    numbers = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    pairs = np.arange(2 * total, dtype=np.float32).reshape(total, 2)
    table = arrow.table(
        {
            "observation.state": pairs.tolist(),
            "action": (pairs / 100).tolist(),
            "episode_index": numbers,
        }
    )
    data = folder / "data" / "chunk-000"
    data.mkdir(parents=True)
    starts = np.cumsum([0, *LENGTHS])
    key = "observation.images.front"
    if version == 2:
        for index, (start, stop) in enumerate(pairwise(starts)):
            parquet.write_table(
                table.slice(start, stop - start), data / f"episode_{index:06d}.parquet"
            )
            film(
                folder / "videos" / "chunk-000" / key / f"episode_{index:06d}.mp4",
                frames[start:stop],
                fps,
            )
        return brightness
    parquet.write_table(table, data / "file-000.parquet")
    film(folder / "videos" / key / "chunk-000" / "file-000.mp4", frames, fps)
    rows = [
        {
            "episode_index": index,
            f"videos/{key}/chunk_index": 0,
            f"videos/{key}/file_index": 0,
            f"videos/{key}/from_timestamp": starts[index] / fps,
        }
        for index in range(len(LENGTHS))
    ]
    place = folder / "meta" / "episodes" / "chunk-000"
    place.mkdir(parents=True)
    parquet.write_table(arrow.Table.from_pylist(rows), place / "file-000.parquet")
    return brightness


@pytest.mark.parametrize("version", [2, 3])
def test_videos_and_recordings_without_rewards(tmp_path: Path, version: int) -> None:
    brightness = filmed(tmp_path / "theirs", version)
    with pytest.warns(UserWarning, match=r"no next\.reward"):
        ours = import_dataset(tmp_path / "theirs", tmp_path / "ours")
    assert ours.lengths.tolist() == list(LENGTHS)
    assert ours.card["provenance"]["lossy_images"] is True
    seen = np.concatenate(
        [ours.episode(index).observations["images.front"][:-1] for index in range(len(LENGTHS))]
    )
    # The loss of this compression, of plain pictures.
    np.testing.assert_allclose(seen.mean((1, 2, 3)), brightness, atol=6)
    assert ours.returns.tolist() == [0, 0, 0]
    assert all(ours.episode(index).truncations[-1] for index in range(len(LENGTHS)))


def no_info(folder: Path) -> None:
    (folder / "meta" / "info.json").write_text('{"codebase_version": "v3.0"}')


def newer(folder: Path) -> None:
    file = folder / "meta" / "info.json"
    file.write_text(file.read_text().replace('"v3.0"', '"v9.0"'))


def no_data(folder: Path) -> None:
    shutil.rmtree(folder / "data")


def cut(folder: Path) -> None:
    file = folder / "data" / "chunk-000" / "file-000.parquet"
    file.write_bytes(file.read_bytes()[:-100])


def link(folder: Path) -> None:
    file = folder / "data" / "chunk-000" / "file-000.parquet"
    file.rename(folder.parent / "elsewhere.parquet")
    file.symlink_to(folder.parent / "elsewhere.parquet")


def wrong_size(folder: Path) -> None:
    file = folder / "meta" / "info.json"
    info = json.loads(file.read_text())
    info["features"]["observation.images.front"]["shape"] = [8, 7, 3]
    file.write_text(json.dumps(info))


@pytest.mark.parametrize("damage", [no_info, newer, no_data, cut, link, wrong_size])
def test_damage_is_one_sentence(tmp_path: Path, damage) -> None:
    folder = export_lerobot(robot(tmp_path), tmp_path / "theirs")
    damage(folder)
    with pytest.raises(DatasetError, match="theirs") as refused:
        import_dataset(folder, tmp_path / "again")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "again").exists()


def test_a_film_that_is_too_short_is_damage(tmp_path: Path) -> None:
    filmed(tmp_path / "theirs", 2)
    file = next((tmp_path / "theirs").glob("videos/*/*/episode_000002.mp4"))
    film(file, np.zeros((3, 64, 48, 3), np.uint8), 10)
    with pytest.raises(DatasetError, match="3 frames of episode 2"):
        import_dataset(tmp_path / "theirs", tmp_path / "ours")


def test_images_of_other_channels_and_a_folder_that_exists_are_refused(tmp_path: Path) -> None:
    space = spaces.Box(0, 255, (9, 9, 4), np.uint8)
    ours = write_dataset(tmp_path / "four", recorded([3], space), space, ACTION_SPACES["discrete"])
    with pytest.raises(DatasetError, match="1 or 3 channels"):
        export_lerobot(ours, tmp_path / "theirs")
    plain = write_dataset(
        tmp_path / "plain", recorded([3], IMAGE), IMAGE, ACTION_SPACES["discrete"]
    )
    with pytest.raises(DatasetError, match="exists already"):
        export_lerobot(plain, tmp_path / "plain")
