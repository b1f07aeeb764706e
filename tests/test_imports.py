"""Recordings of others as datasets, in files of the real formats."""

import h5py
import numpy as np
import pytest
from gymnasium import spaces

from rate.dataset import DatasetError, write_dataset
from rate.episode import Episode
from rate.exports import export_minari
from rate.imports import import_dataset


def image_episode(seed, steps=5):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (steps + 1, 8, 8, 3), np.uint8)
    ends = np.arange(steps) == steps - 1
    return Episode({"observation": images}, rng.integers(0, 3, steps), np.ones(steps), ends, ~ends & ends)


@pytest.mark.parametrize("data_format", ["hdf5", "arrow"])
def test_images_survive_minari_byte_for_byte(tmp_path, data_format):
    episodes = [image_episode(seed) for seed in range(3)]
    given = spaces.Box(0, 255, (8, 8, 3), np.uint8), spaces.Discrete(3)
    ours = write_dataset(tmp_path / "ours", iter(episodes), *given, task=None, provenance={})
    folder = export_minari(ours, tmp_path / "minari", "made/images-v0", data_format=data_format)
    back = import_dataset(folder, tmp_path / "back")
    for index, episode in enumerate(episodes):
        assert (back.episode(index).observations["observation"] == episode.observations["observation"]).all()
        assert (back.episode(index).actions == episode.actions).all()


def test_d4rl_splits_at_terminals_and_timeouts(tmp_path):
    with h5py.File(tmp_path / "data.hdf5", "w") as file:
        file["observations"] = np.arange(20, dtype=np.float32).reshape(10, 2)
        file["actions"] = np.zeros((10, 1), np.float32)
        file["rewards"] = np.ones(10, np.float32)
        file["terminals"] = np.arange(10) == 2
        file["timeouts"] = np.arange(10) == 6
    dataset = import_dataset(tmp_path / "data.hdf5", tmp_path / "out")
    assert dataset.lengths.tolist() == [3, 4, 3]
    assert dataset.episode(0).terminations[-1]
    assert dataset.episode(1).truncations[-1]
    assert not dataset.episode(2).terminations.any()
    assert not dataset.episode(2).truncations.any()


def test_arrays_in_a_row_and_in_a_block(tmp_path):
    row = {"observations/a": np.zeros((6, 2), np.float32), "actions": np.arange(6) % 2, "rewards": np.ones(6)}
    np.savez(tmp_path / "row.npz", **row, dones=np.arange(6) % 3 == 2)
    assert import_dataset(tmp_path / "row.npz", tmp_path / "a").lengths.tolist() == [3, 3]
    block = {"observations": np.zeros((2, 4, 2)), "actions": np.arange(8).reshape(2, 4) % 2, "rewards": np.ones((2, 4))}
    np.savez(tmp_path / "block.npz", **block, lengths=np.array([4, 2]))
    assert import_dataset(tmp_path / "block.npz", tmp_path / "b").lengths.tolist() == [4, 2]


@pytest.mark.parametrize(("name", "file_format"), [("cut.hdf5", "d4rl"), ("cut.npz", "arrays"), ("cut", "minari")])
def test_damaged_files_are_speaking_errors(tmp_path, name, file_format):
    (tmp_path / name).write_bytes(b"\x89HDF\r\n\x1a\n cut")
    with pytest.raises(DatasetError, match=name):
        import_dataset(tmp_path / name, tmp_path / "out", file_format=file_format)
