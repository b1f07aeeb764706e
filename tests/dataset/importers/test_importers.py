"""Recordings of others as datasets, in files of the real formats, and back to Minari."""

import json
import os
from pathlib import Path

import h5py
import minari
import numpy as np
import pytest
from gymnasium import spaces

from rate.dataset import DatasetError, write_dataset
from rate.dataset.export_minari import export_minari
from rate.dataset.importers import ImportOptions, formats, import_dataset
from rate.episode import Episode


def flags(steps):
    """True at the last step, and nowhere."""
    ends = np.arange(steps) == steps - 1
    return ends, np.zeros(steps, bool)


def image_episode(seed, steps=5, side=32):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (steps + 1, side, side, 3), np.uint8)
    return Episode(
        {"observation": images}, rng.integers(0, 3, steps), np.ones(steps), *flags(steps), seed=seed
    )


def image_dataset(path):
    given = spaces.Box(0, 255, (32, 32, 3), np.uint8), spaces.Discrete(3)
    return write_dataset(path, (image_episode(seed) for seed in range(3)), *given)


def same(ours, theirs):
    """Whether two datasets hold the same numbers."""
    assert ours.content_hash == theirs.content_hash
    for index in range(len(ours)):
        for name, leaf in ours.episode(index).observations.items():
            assert leaf.tobytes() == theirs.episode(index).observations[name].tobytes()
    return True


def refused(tmp_path, path, message, **options):
    """An import that fails with a message and leaves nothing behind."""
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(DatasetError, match=message):
        import_dataset(path, tmp_path / "new" / "out", **options)
    assert sorted(os.listdir(tmp_path)) == before


# Minari


@pytest.mark.parametrize("data_format", ["hdf5", "arrow"])
@pytest.mark.parametrize("by", ["folder", "data", "id"])
def test_minari_round_trip_is_exact_to_the_byte(tmp_path, monkeypatch, data_format, by):
    ours = image_dataset(tmp_path / "ours")
    folder = export_minari(ours, tmp_path / "minari", "made/images-v0", data_format=data_format)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    back = import_dataset(
        {"folder": folder, "data": folder / "data", "id": "made/images-v0"}[by], tmp_path / "back"
    )
    assert same(ours, back)
    assert back.arrays["seeds"].tolist() == [0, 1, 2]
    assert not back.card["provenance"]["lossy_images"]


STRUCTURED = {
    "dict": spaces.Dict(
        {
            "camera": spaces.Box(0, 255, (33, 32, 3), np.uint8),
            "hand": spaces.Dict({"x": spaces.Box(-1, 1)}),
        }
    ),
    "tuple": spaces.Tuple([spaces.Discrete(3), spaces.MultiDiscrete([2, 4])]),
    "vector": spaces.Box(-np.inf, np.inf, (3,), np.float64),
}


@pytest.mark.parametrize("data_format", ["hdf5", "arrow"])
@pytest.mark.parametrize("kind", STRUCTURED)
def test_others_read_with_minari_what_is_exported(tmp_path, monkeypatch, data_format, kind):
    from rate.spaces import flatten

    space, action = STRUCTURED[kind], spaces.Box(-1, 1, (2,))
    space.seed(0)
    action.seed(0)
    samples = [flatten(space, space.sample()) for _ in range(5)]
    observations = {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}
    actions = np.stack([action.sample() for _ in range(4)])
    episode = Episode(observations, actions, np.arange(4), *flags(4)[::-1], seed=11)
    ours = write_dataset(tmp_path / "ours", [episode, episode], space, action)
    export_minari(ours, tmp_path / "minari", "made/here-v3", data_format=data_format)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    assert list(minari.list_local_datasets()) == ["made/here-v3"]
    theirs = minari.load_dataset("made/here-v3")
    assert theirs.observation_space == space
    assert theirs.action_space == action
    assert (theirs.total_episodes, theirs.total_steps) == (2, 8)
    found = theirs[1]
    for name, leaf in flatten(space, found.observations).items():
        assert leaf.tobytes() == observations[name].tobytes()
    assert found.actions.tobytes() == actions.tobytes()
    assert found.rewards.tolist() == [0, 1, 2, 3]
    assert found.truncations.tolist() == [False, False, False, True]
    assert same(ours, import_dataset("made/here-v3", tmp_path / "back"))


@pytest.mark.filterwarnings("ignore::UserWarning")  # about an author and the like
def test_images_that_minari_kept_as_jpeg_are_said_to_be_lossy(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    episode = image_episode(0)
    buffer = minari.data_collector.EpisodeBuffer(
        id=0,
        observations=episode.observations["observation"],
        actions=list(episode.actions),
        rewards=[1.0] * 5,
        terminations=[False] * 5,
        truncations=[False] * 4 + [True],
        infos={},
    )
    space = spaces.Box(0, 255, (32, 32, 3), np.uint8)
    minari.create_dataset_from_buffers(
        "jpeg-v0", [buffer], observation_space=space, action_space=spaces.Discrete(3)
    )
    found = import_dataset("jpeg-v0", tmp_path / "out")
    assert found.card["provenance"]["lossy_images"]
    assert (
        found.episode(0).observations["observation"] != episode.observations["observation"]
    ).any()


def test_a_minari_folder_cannot_have_an_environment_made(tmp_path):
    """Without a space in its metadata Minari calls whatever entry point they name."""
    folder = export_minari(image_dataset(tmp_path / "ours"), tmp_path / "minari", "made/images-v0")
    file = folder / "data" / "metadata.json"
    metadata = json.loads(file.read_text())
    del metadata["action_space"]
    kwargs = {"exist_ok": False, "name": str(tmp_path / "ran")}
    metadata["env_spec"] = json.dumps(
        {"id": "Evil-v0", "entry_point": "os:makedirs", "kwargs": kwargs}
    )
    file.write_text(json.dumps(metadata))
    refused(tmp_path, folder, "state no action_space")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("data_format", ["hdf5", "arrow"])
def test_paths_may_be_relative(tmp_path, monkeypatch, data_format):
    ours = image_dataset(tmp_path / "ours")
    monkeypatch.chdir(tmp_path)
    folder = export_minari(ours, "minari", "made/images-v0", data_format=data_format)
    assert folder == Path("minari/made/images-v0")
    assert same(ours, import_dataset(folder, "again"))
    monkeypatch.chdir(folder / "data")
    assert same(ours, import_dataset(".", tmp_path / "here"))


@pytest.mark.parametrize(
    "dataset_id", ["images", "../images-v0", "/images-v0", "a/b c-v0", "images-v0/.."]
)
def test_ids_that_minari_cannot_have_are_refused(tmp_path, dataset_id):
    with pytest.raises(DatasetError, match="namespace/name-v0"):
        export_minari(image_dataset(tmp_path / "ours"), tmp_path / "minari", dataset_id)
    assert os.listdir(tmp_path) == ["ours"]


def test_an_export_is_complete_or_not_there(tmp_path):
    ours = image_dataset(tmp_path / "ours")
    np.save(ours.path / "actions.npy", ours.arrays["actions"][:7])  # the second episode fails
    with pytest.raises(ValueError, match="actions"):
        export_minari(ours, tmp_path / "minari", "made/images-v0")
    assert not list((tmp_path / "minari").rglob("*images*"))
    folder = export_minari(image_dataset(tmp_path / "again"), tmp_path / "minari", "made/images-v0")
    with pytest.raises(DatasetError, match="exists already"):
        export_minari(ours, tmp_path / "minari", "made/images-v0")
    assert folder.is_dir()


def test_a_minari_dataset_with_fewer_episodes_than_it_says_is_damaged(tmp_path):
    folder = export_minari(image_dataset(tmp_path / "ours"), tmp_path / "minari", "made/images-v0")
    with h5py.File(folder / "data" / "main_data.hdf5", "a") as file:
        del file["episode_2"]
    refused(tmp_path, folder, "images-v0 cannot be read")


# D4RL


def d4rl_file(path, **changes):
    steps = 10
    arrays = {
        "observations": np.arange(2 * steps, dtype=np.float32).reshape(steps, 2),
        "actions": np.linspace(-1, 1, steps, dtype=np.float32)[:, None],
        "rewards": np.ones(steps, np.float32),
        "terminals": np.arange(steps) == 2,
        "timeouts": np.arange(steps) == 6,
        **changes,
    }
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            if array is not None:
                file[name] = array
        file["infos/qpos"] = np.zeros((steps, 3))
    return path


def test_d4rl_splits_at_terminals_and_timeouts(tmp_path):
    dataset = import_dataset(d4rl_file(tmp_path / "data.hdf5"), tmp_path / "out")
    assert dataset.lengths.tolist() == [3, 4, 3]
    assert dataset.episode(0).terminations[-1]
    assert dataset.episode(1).truncations[-1]
    assert not dataset.episode(2).terminations.any()
    assert not dataset.episode(2).truncations.any()
    assert dataset.episode(1).observations["observation"][:, 0].tolist() == [6, 8, 10, 12, 12]
    assert dataset.card["provenance"]["ignored"] == ["infos"]
    assert dataset.card["provenance"]["final_observation"] == "repeated"


def test_d4rl_knows_what_followed_where_it_was_recorded(tmp_path):
    following = np.full((10, 2), -5.0, ">f8")
    dataset = import_dataset(
        d4rl_file(tmp_path / "data.hdf5", next_observations=following, timeouts=None),
        tmp_path / "out",
    )
    assert dataset.lengths.tolist() == [3, 7]
    assert dataset.episode(0).observations["observation"][-1].tolist() == [-5, -5]
    assert dataset.card["provenance"]["final_observation"] == "recorded"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rewards": None}, "no array 'rewards'"),
        ({"rewards": np.float32(1)}, "no array 'rewards'"),
        ({"actions": np.zeros((9, 1))}, "actions: 9 entries, but 10 rewards need 10"),
        ({"observations": np.full((10, 2), np.nan)}, "NaN.*look at steps 0 to 2"),
        ({"observations": np.array([b"text"] * 10)}, "observations are numbers of the kinds"),
        (
            {
                name: np.zeros((0, 1))
                for name in ("observations", "actions", "rewards", "terminals", "timeouts")
            },
            "no step|no array",
        ),
    ],
)
def test_d4rl_files_that_do_not_fit_are_refused(tmp_path, changes, message):
    refused(tmp_path, d4rl_file(tmp_path / "data.hdf5", **changes), message)


# NumPy


def test_arrays_in_a_row_and_in_a_block(tmp_path):
    row = {
        "observations/a": np.zeros((6, 2), np.float32),
        "actions": np.arange(6) % 2,
        "rewards": np.ones(6),
    }
    np.savez(tmp_path / "row.npz", **row, dones=np.arange(6) % 3 == 2, extra=np.zeros(3))
    found = import_dataset(tmp_path / "row.npz", tmp_path / "a")
    assert found.lengths.tolist() == [3, 3]
    assert found.card["provenance"]["ignored"] == ["extra"]
    block = {
        "observations": np.zeros((2, 4, 2)),
        "actions": np.arange(8).reshape(2, 4) % 2,
        "rewards": np.ones((2, 4)),
    }
    block["actions"][1, 2:] = -10  # padding
    np.savez(tmp_path / "block.npz", **block, lengths=np.array([4, 2]))
    found = import_dataset(tmp_path / "block.npz", tmp_path / "b")
    assert found.lengths.tolist() == [4, 2]
    assert found.action_space == spaces.Discrete(2)
    np.savez(tmp_path / "mask.npz", **block, mask=np.arange(4) < np.array([[4], [2]]))
    assert same(found, import_dataset(tmp_path / "mask.npz", tmp_path / "c"))


def test_a_folder_of_arrays_is_the_same_as_one_file_of_them(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "observations/camera": rng.integers(0, 256, (8, 5, 6, 3), np.uint8),
        "observations/body/arm": rng.normal(size=(8, 2)),
        "actions": rng.normal(size=(8, 1)),
        "rewards": rng.normal(size=8),
        "timeouts": np.arange(8) == 3,
        "terminals": np.arange(8) == 7,
    }
    np.savez(tmp_path / "one.npz", **arrays)
    for name, array in arrays.items():
        file = tmp_path / "many" / f"{name}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, array)
    found = import_dataset(tmp_path / "many", tmp_path / "b")
    assert same(found, import_dataset(tmp_path / "one.npz", tmp_path / "a"))
    assert list(found.observation_leaves) == ["body/arm", "camera"]
    assert found.episode(0).truncations[-1]


BLOCK = {
    "observations": np.zeros((2, 4, 2)),
    "actions": np.zeros((2, 4)),
    "rewards": np.zeros((2, 4)),
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lengths": np.array([5, 2])}, "lengths must be 2 whole numbers from 1 to 4"),
        ({"lengths": np.array([2.5, 2])}, "lengths must be"),
        ({"mask": np.array([[0, 1, 1, 1], [1, 1, 1, 1]])}, "mask must be"),
        ({"mask": np.ones(4)}, "block.npz"),
        ({"actions": np.zeros((3, 4))}, r"actions is \(3, 4\), rewards are \(2, 4\)"),
        ({"rewards": np.float64(3)}, "rewards"),
        ({"rewards": np.full((2, 4), np.inf)}, "episode 0"),
        ({"actions": np.array([[{}] * 4] * 2, object)}, "Object arrays cannot be loaded"),
        ({"actions": np.array([["go"] * 4] * 2)}, "actions are numbers of the kinds"),
        ({"actions": np.zeros((2, 4), [("a", "f4")])}, "actions are numbers of the kinds"),
        ({"actions": np.zeros((2, 4), complex)}, "actions are numbers of the kinds"),
        ({"actions": np.arange(8).reshape(2, 4) * 2**60}, "too many categories"),
        ({"observations": np.full((2, 4, 84, 84), 255, np.uint8)}, "an axis for colour"),
        ({"terminals": np.ones((2, 4))}, "before its last step.*look at episode 0"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, changes, message):
    np.savez(tmp_path / "block.npz", **{**BLOCK, **changes}, allow_pickle=True)
    refused(tmp_path, tmp_path / "block.npz", message)


# The authors' files


def write_episodes(folder, count, make):
    folder.mkdir()
    for index in range(count):
        np.savez(folder / f"train_data_{index}.npz", **make(index))
    return folder


def test_vizdoom(tmp_path):
    """Planar bytes, cut after a fixed number of decisions: nothing is done, so all are
    truncated."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 4, 3, 64, 112), np.uint8)
    folder = write_episodes(
        tmp_path / "ViZDoom",
        12,
        lambda index: {
            "obs": images[index],
            "action": np.arange(4) + index % 2,
            "reward": np.full(4, 0.02),
            "done": np.zeros(4, np.int64),
            "is_red": np.float64(index % 2),
        },
    )
    found = import_dataset(folder, tmp_path / "out")
    assert found.observation_space == spaces.Box(0, 255, (3, 64, 112), np.uint8)
    assert found.action_space == spaces.Discrete(5)
    for index in (0, 2, 10, 11):  # in the order of the numbers, not of the letters
        seen = found.episode(index).observations["observation"]
        assert (seen[:-1] == images[index]).all()
        assert (seen[-1] == images[index][-1]).all()
        assert found.episode(index).actions[0] == index % 2
        assert found.episode(index).truncations[-1]
    assert found.card["provenance"]["ignored"] == ["is_red"]


@pytest.mark.parametrize(
    "divided", [lambda image: image.astype(np.float32) / 255, lambda image: image / 255.0]
)
def test_minigrid_images_become_bytes_again_exactly(tmp_path, divided):
    every = np.arange(3 * 84 * 84, dtype=np.int64).reshape(1, 3, 84, 84) % 256
    images = np.concatenate([every, every[:, ::-1]] * 2).astype(np.uint8)
    done = np.arange(4) == 3
    folder = write_episodes(
        tmp_path / "Minigrid",
        2,
        lambda index: {
            "obs": divided(images),
            "action": np.array([0, 1, 2, 3]),
            "reward": done * 0.9,
            "done": done.astype(np.int64),
        },
    )
    found = import_dataset(folder, tmp_path / "out")
    assert found.observation_space == spaces.Box(0, 255, (3, 84, 84), np.uint8)
    assert (found.episode(1).observations["observation"][:-1] == images).all()
    assert found.episode(1).terminations[-1]
    assert found.card["provenance"]["images"] == "bytes that had been divided by 255"


def test_images_of_which_one_is_no_byte_stay_numbers(tmp_path):
    images = np.full((2, 3, 4, 4), 0.2, np.float32)
    other = images + np.float32(0.001)
    folder = write_episodes(
        tmp_path / "real",
        2,
        lambda index: {
            "obs": other if index else images,
            "action": np.arange(2),
            "reward": np.zeros(2),
        },
    )
    found = import_dataset(folder, tmp_path / "out")
    assert found.observation_space.dtype == np.float32
    assert (found.episode(0).observations["observation"] == np.float32(0.2)).all()


def maze_episode(observations, actions, blank=False):
    hot = np.eye(6, dtype=np.float32)[np.arange(actions) % 6]
    if blank:
        hot[0] = 0
    images = np.arange(observations, dtype=np.uint8)[:, None, None, None] + np.zeros(
        (64, 64, 3), np.uint8
    )
    return {"obs": images, "action": hot, "reward": np.arange(actions, dtype=np.float32)}


def test_memory_maze_with_an_observation_more_than_actions(tmp_path):
    folder = write_episodes(tmp_path / "maze", 2, lambda index: maze_episode(11, 10))
    found = import_dataset(folder, tmp_path / "out").episode(0)
    assert found.actions.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]
    assert found.observations["observation"][-1, 0, 0, 0] == 10
    assert found.truncations[-1]


@pytest.mark.parametrize(
    ("blank", "options"), [(True, ImportOptions()), (False, ImportOptions(previous_actions=True))]
)
def test_memory_maze_with_the_actions_that_led_to_observations(tmp_path, blank, options):
    folder = write_episodes(tmp_path / "maze", 2, lambda index: maze_episode(11, 11, blank))
    found = import_dataset(folder, tmp_path / "out", options=options)
    episode = found.episode(0)
    assert found.action_space == spaces.Discrete(6)
    assert episode.actions.tolist() == [1, 2, 3, 4, 5, 0, 1, 2, 3, 4]
    assert episode.rewards.tolist() == list(range(1, 11))
    assert episode.observations["observation"][:, 0, 0, 0].tolist() == list(range(11))
    assert found.card["provenance"]["alignment"] == "moved to the observation before"
    assert found.card["provenance"]["final_observation"] == "recorded"


def test_memory_mazes_of_two_recorders_are_not_mixed(tmp_path):
    folder = write_episodes(tmp_path / "maze", 2, lambda index: maze_episode(11, 11, index == 1))
    refused(tmp_path, folder, "blank in some files and not in others")


def test_memory_maze_as_stored(tmp_path):
    folder = write_episodes(
        tmp_path / "maze", 2, lambda index: maze_episode(11 - index, 11 - index)
    )
    found = import_dataset(folder, tmp_path / "out")
    assert found.lengths.tolist() == [11, 10]
    assert found.card["provenance"]["final_observation"] == "repeated"


def popgym_folder(path, actions, observations=None, count=3):
    steps = len(actions)
    seen = np.ones((steps, 1), np.int64) if observations is None else observations
    last = (np.arange(steps) == steps - 1).astype(int)
    return write_episodes(
        path,
        count,
        lambda index: {"obs": seen, "action": actions, "reward": last / 3, "done": last},
    )


def test_popgym_vectors_and_choices(tmp_path):
    seen = np.arange(6, dtype=np.float32).reshape(3, 1, 2)  # Gym's [T, 1, D]
    found = import_dataset(
        popgym_folder(tmp_path / "a", np.array([0, 2, 1]), seen), tmp_path / "out"
    )
    assert found.observation_space.shape == (2,)
    assert found.action_space == spaces.Discrete(3)
    pendulum = np.array([[-2.0], [0.5], [1.0]])
    assert import_dataset(
        popgym_folder(tmp_path / "b", pendulum), tmp_path / "box"
    ).action_space.shape == (1,)


def test_popgym_rows_and_columns(tmp_path):
    fields = np.array([[0, 7], [7, 0], [3, 4]])
    folder = popgym_folder(tmp_path / "popgym-BattleshipEasy-v0", fields)
    found = import_dataset(folder, tmp_path / "pairs")
    assert found.action_space == spaces.MultiDiscrete([8, 8])
    assert (found.episode(0).actions == fields).all()
    found = import_dataset(
        folder, tmp_path / "numbers", options=ImportOptions(action_space=spaces.Discrete(64))
    )
    assert found.episode(0).actions.tolist() == [7, 56, 28]
    refused(
        tmp_path,
        folder,
        "no board of 36 fields",
        options=ImportOptions(action_space=spaces.Discrete(36)),
    )
    refused(
        tmp_path,
        folder,
        "no board of 63 fields",
        options=ImportOptions(action_space=spaces.Discrete(63)),
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reward": None}, "train_data_1.npz has no array 'rewards'"),
        ({"obs": np.zeros((0, 2))}, "train_data_1.npz.*0 entries, but 3 rewards need 4"),
        ({"reward": np.float64(1)}, "train_data_1.npz has no array 'rewards'"),
        ({"reward": np.zeros(0)}, "train_data_1.npz.*holds no step"),
        ({"obs": np.full((3, 2), np.nan)}, "train_data_1.npz.*NaN"),
        ({"obs": np.zeros((3, 5))}, r"steps have the shapes \(2,\) and \(5,\)"),
        ({"obs": np.zeros((5, 2))}, "train_data_1.npz.*5 entries, but 3 rewards need 4"),
        ({"action": np.zeros((2,), int)}, "train_data_1.npz.*2 entries"),
        ({"action": np.zeros((3,))}, "actions are numbers of the kinds"),
        ({"done": np.array([0, 1, 0])}, "train_data_1.npz.*before its last step"),
        ({"action": np.array([{}] * 3, object)}, "train_data_1.npz.*Object arrays"),
    ],
)
def test_episodes_that_do_not_fit_are_refused(tmp_path, changes, message):
    good = {
        "obs": np.zeros((3, 2)),
        "action": np.arange(3),
        "reward": np.ones(3),
        "done": np.array([0, 0, 1]),
    }
    bad = {name: array for name, array in {**good, **changes}.items() if array is not None}
    folder = write_episodes(tmp_path / "data", 3, lambda index: bad if index == 1 else good)
    refused(tmp_path, folder, message)


# Any format


def written(folder, file_format):
    """A small sound recording of a format: the path to import and the files it consists of."""
    if file_format == "minari":
        path = export_minari(image_dataset(folder / "ours"), folder, "made/images-v0")
        return path, [path / "data" / "main_data.hdf5", path / "data" / "metadata.json"]
    if file_format == "d4rl":
        path = d4rl_file(folder / "data.hdf5")
    elif file_format in ("d3rlpy", "robomimic"):
        path = folder / "data.hdf5"
        with h5py.File(path, "w") as file:
            for name, array in BLOCK.items():
                for index in range(2):
                    numbered = f"{name}_{index}", f"data/demo_{index}/{name}"
                    file[numbered[file_format == "robomimic"]] = array[index]
    elif file_format == "arrays":
        path = folder / "data.npz"
        np.savez_compressed(path, **BLOCK)
    else:
        path = popgym_folder(folder / "data", np.array([0, 2, 1]), count=1)
        return path, [path / "train_data_0.npz"]
    return path, [path]


@pytest.mark.parametrize(
    "file_format", ["arrays", "d3rlpy", "d4rl", "episodes", "minari", "robomimic"]
)
def test_cut_and_changed_files_are_speaking_errors(tmp_path, file_format):
    path, files = written(tmp_path, file_format)
    rng = np.random.default_rng(0)
    for file in files:
        whole = file.read_bytes()
        cuts = [whole[:size] for size in range(0, len(whole), max(1, len(whole) // 60))]
        for _ in range(40):
            changed = bytearray(whole)
            changed[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
            cuts.append(bytes(changed))
        for number, content in enumerate(cuts):
            file.write_bytes(content)
            try:
                import_dataset(
                    path, tmp_path / "out" / f"{file.name}-{number}", file_format=file_format
                )
            except DatasetError as error:
                assert str(path.name) in str(error)  # noqa: PT017 (a change may also mean nothing)
        file.write_bytes(whole)
    import_dataset(path, tmp_path / "sound", file_format=file_format)
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize(
    ("name", "file_format"), [("cut.hdf5", "d4rl"), ("cut.npz", "arrays"), ("cut", "minari")]
)
def test_damaged_files_are_speaking_errors(tmp_path, name, file_format):
    (tmp_path / name).write_bytes(b"\x89HDF\r\n\x1a\n cut")
    with pytest.raises(DatasetError, match=name):
        import_dataset(tmp_path / name, tmp_path / "out", file_format=file_format)


def test_what_is_unknown_is_named_with_what_is_known(tmp_path):
    assert list(formats()) == [
        *("arrays", "d3rlpy", "d4rl", "dopamine", "episodes", "lerobot", "minari", "robomimic"),
        "trajectories",
    ]
    refused(
        tmp_path,
        tmp_path / "nowhere",
        "does not exist.*looks like none of the formats arrays, d3rlpy, d4rl.*--format",
    )
    refused(tmp_path, tmp_path / "nowhere", "no format 'csv'", file_format="csv")
    image_dataset(tmp_path / "ours")
    refused(tmp_path, tmp_path / "ours", "looks like none")
    for name in formats():
        refused(tmp_path, tmp_path / "nowhere", "nowhere", file_format=name)


def test_only_as_many_episodes_as_wished_for(tmp_path):
    found = import_dataset(d4rl_file(tmp_path / "data.hdf5"), tmp_path / "out", episodes=2)
    assert found.lengths.tolist() == [3, 4]


def test_options_for_spaces_are_checked(tmp_path):
    path = d4rl_file(tmp_path / "data.hdf5")
    found = import_dataset(
        path, tmp_path / "out", options=ImportOptions(action_space=spaces.Box(-1, 1, (1,)))
    )
    assert found.action_space == spaces.Box(-1, 1, (1,))
    refused(
        tmp_path,
        path,
        "outside the space",
        options=ImportOptions(action_space=spaces.Box(0, 1, (1,))),
    )


def test_the_path_is_kept(tmp_path):
    path = d4rl_file(tmp_path / "data.hdf5")
    assert Path(import_dataset(path, tmp_path / "out").card["provenance"]["imported"]) == path
