import hashlib
import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recordings import (
    ACTION_SPACES,
    ACTIONS,
    IMAGE,
    OBSERVATIONS,
    VECTOR,
    assert_equal,
    memory_dataset,
    recorded,
    repeating,
)

from rate.dataset import (
    Dataset,
    DatasetError,
    open_dataset,
    split,
    write_dataset,
)
from rate.dataset.card import array_header, array_layouts, read_card, seal
from rate.episode import Episode, returns_to_go
from rate.spaces import leaves
from rate.storage.folders import LockedError


def repaired(path: Path, **changes: Any) -> None:
    """Rewrite a card with changes and fresh hashes, as a writer with bad intentions would."""
    card = json.loads((path / "card.json").read_text())
    for key in ("format", "format_version", "content_hash", "card_hash"):
        del card[key]
    (path / "card.json").write_text(seal({**card, **changes}))


def rehashed(path: Path) -> None:
    """Give the card the hashes of the arrays as they are now."""
    card = json.loads((path / "card.json").read_text())
    for record in card["arrays"].values():
        array = np.load(path / record["file"], allow_pickle=False)
        record["sha256"] = hashlib.sha256(array.tobytes()).hexdigest()
    repaired(path, arrays=card["arrays"])


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return write_dataset(tmp_path / "data", recorded([1, 7, 3, 12, 4]), VECTOR, ACTIONS)


# Writing and reading


@pytest.mark.parametrize("action_space", ACTION_SPACES.values(), ids=ACTION_SPACES.keys())
@pytest.mark.parametrize("observation_space", OBSERVATIONS.values(), ids=OBSERVATIONS.keys())
def test_what_is_written_is_read(
    tmp_path: Path, observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any]
) -> None:
    episodes = recorded([3, 1, 5], observation_space, action_space)
    provenance = {"expert": "random", "seeds": [1, 2]}
    given_back = write_dataset(
        tmp_path / "data",
        iter(episodes),
        observation_space,
        action_space,
        task="toy/3",
        provenance=provenance,
    )
    for dataset in (given_back, open_dataset(tmp_path / "data")):
        assert (dataset.observation_space, dataset.action_space) == (
            observation_space,
            action_space,
        )
        assert (dataset.card["task"], dataset.card["provenance"]) == ("toy/3", provenance)
        assert (len(dataset), dataset.steps, dataset.path) == (3, 9, tmp_path / "data")
        for index, episode in enumerate(episodes):
            assert_equal(dataset.episode(index), episode)
        assert_equal(dataset.episode(-1), episodes[-1])
        np.testing.assert_array_equal(dataset.lengths, [3, 1, 5])
        np.testing.assert_allclose(
            dataset.returns, [episode.total_return for episode in episodes], rtol=1e-6
        )
        sums = np.concatenate([returns_to_go(episode.rewards) for episode in episodes])
        np.testing.assert_array_equal(dataset.arrays["returns_to_go"], sums)
    assert os.listdir(tmp_path) == ["data"]


def test_whole_numbers_without_statistics_are_those_of_earlier_versions(tmp_path: Path) -> None:
    space = spaces.Box(0, 10**6, (2,), np.int64)
    dataset = write_dataset(tmp_path / "data", recorded([4, 9], space), space, ACTIONS)
    assert set(dataset.normalisation) == {"observation"}
    repaired(tmp_path / "data", normalisation={})
    assert open_dataset(tmp_path / "data").normalisation == {}


def test_there_is_no_episode_beyond_the_last(dataset: Dataset) -> None:
    for index in (5, -6):
        with pytest.raises(IndexError, match="allowed are 0 to 4"):
            dataset.episode(index)


def test_statistics_are_those_of_all_observations(tmp_path: Path) -> None:
    whole = {"count": ACTIONS, "whole": spaces.Box(0, 10**6, (2,), np.int64), "image": IMAGE}
    flags = {"flags": spaces.MultiBinary([2, 3]), "lamp": spaces.Box(0, 1, (), bool)}
    space = spaces.Dict({"state": VECTOR, "constant": spaces.Box(0.0, 9.0, (1,)), **whole, **flags})
    episodes = recorded([4, 9, 2], space)
    for episode in episodes:
        episode.observations["constant"][:] = 7
    dataset = write_dataset(tmp_path / "data", episodes, space, ACTIONS)
    everything = np.concatenate([episode.observations["state"] for episode in episodes])
    assert set(dataset.normalisation) == {"state", "constant", "whole", "flags", "lamp", "image"}
    flags = np.concatenate([episode.observations["flags"] for episode in episodes])
    np.testing.assert_allclose(dataset.normalisation["flags"][0], flags.mean(0), rtol=1e-4)
    counts = np.concatenate([episode.observations["whole"] for episode in episodes])
    np.testing.assert_allclose(dataset.normalisation["whole"][1], counts.std(0), rtol=1e-4)
    mean, std = dataset.normalisation["state"]
    assert mean.dtype == std.dtype == np.float32
    np.testing.assert_allclose(mean, everything.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(std, everything.std(0), rtol=1e-4)
    assert [float(number[0]) for number in dataset.normalisation["constant"]] == [7, 1]
    returns = [episode.total_return for episode in episodes]
    assert dataset.card["returns"]["mean"] == pytest.approx(np.mean(returns), abs=1e-6)
    assert dataset.card["returns"]["quantiles"]["0.5"] == pytest.approx(
        np.median(returns), abs=1e-6
    )
    assert dataset.card["lengths"] == {"min": 2, "max": 9, "mean": 5}
    assert dataset.return_scale == pytest.approx(np.abs(returns).max(), rel=1e-6)


def test_statistics_keep_small_spreads_around_large_means(tmp_path: Path) -> None:
    space = spaces.Box(-np.inf, np.inf, (1,), np.float64)
    episodes = recorded([50] * 20, space)
    for number, episode in enumerate(episodes):
        episode.observations["observation"][:] = 1e9 + np.sin(number * 51 + np.arange(51))[:, None]
    dataset = write_dataset(tmp_path / "data", episodes, space, ACTIONS)
    expected = np.sin(np.arange(20 * 51)).std()
    assert dataset.card["normalisation"]["observation"]["std"][0] == pytest.approx(
        expected, rel=1e-6
    )


def test_returns_of_zero_have_scale_one(tmp_path: Path) -> None:
    episode = recorded([3])[0]
    episode.rewards[:] = 0
    assert write_dataset(tmp_path / "data", [episode], VECTOR, ACTIONS).return_scale == 1.0


def test_the_content_hash_is_that_of_the_data(tmp_path: Path) -> None:
    one = write_dataset(
        tmp_path / "one", recorded([3, 4]), VECTOR, ACTIONS, provenance={"date": "today"}
    )
    two = write_dataset(
        tmp_path / "two", recorded([3, 4]), VECTOR, ACTIONS, provenance={"date": "tomorrow"}
    )
    other = write_dataset(tmp_path / "other", recorded([3, 4], seed=1), VECTOR, ACTIONS)
    assert one.content_hash == two.content_hash != other.content_hash


def test_episodes_are_not_kept_in_memory(tmp_path: Path) -> None:
    alive: list[weakref.ref[Episode]] = []

    def stream() -> Iterator[Episode]:
        for _ in range(10):
            episode = recorded([5])[0]
            alive.append(weakref.ref(episode))
            yield episode
            del episode
            assert sum(reference() is not None for reference in alive) <= 1

    assert len(write_dataset(tmp_path / "data", stream(), VECTOR, ACTIONS)) == 10


def test_a_read_only_dataset_can_be_read(dataset: Dataset) -> None:
    for file in dataset.path.rglob("*"):
        os.chmod(file, 0o555 if file.is_dir() else 0o444)
    assert len(open_dataset(dataset.path)) == 5
    with pytest.raises(ValueError, match="read-only"):
        dataset.arrays["rewards"][0] = 1


@pytest.mark.parametrize("shape", [(1,), (10**7, 3), (0, 84, 84, 3), (5, *[10**6] * 20)])
@pytest.mark.parametrize("dtype", ["|b1", "|u1", "<i8", "<f4"])
def test_headers_are_those_of_numpy(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    with open(tmp_path / "header", "w+b") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": dtype, "fortran_order": False, "shape": shape}
        )
        file.seek(0)
        assert array_header(np.dtype(dtype), shape) == file.read()


# Refusals


def test_an_existing_folder_is_not_overwritten(dataset: Dataset, tmp_path: Path) -> None:
    def never() -> Iterator[Episode]:
        pytest.fail("an episode was recorded in vain")
        yield

    with pytest.raises(DatasetError, match="already exists"):
        write_dataset(dataset.path, never(), VECTOR, ACTIONS)
    assert len(open_dataset(dataset.path)) == 5
    (tmp_path / "empty").mkdir()
    write_dataset(tmp_path / "empty", recorded([2]), VECTOR, ACTIONS)


def test_two_writers_do_not_mix(tmp_path: Path) -> None:
    def interrupted() -> Iterator[Episode]:
        yield recorded([2])[0]
        with pytest.raises(LockedError, match=rf"by process {os.getpid()} on .+ since 2\d{{3}}-"):
            write_dataset(tmp_path / "data", recorded([4]), VECTOR, ACTIONS)

    write_dataset(tmp_path / "data", interrupted(), VECTOR, ACTIONS)
    assert open_dataset(tmp_path / "data").steps == 2
    assert os.listdir(tmp_path) == ["data"]


def test_a_folder_that_came_meanwhile_is_kept(tmp_path: Path) -> None:
    def interrupted() -> Iterator[Episode]:
        yield recorded([2])[0]
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "mine").touch()

    with pytest.raises(DatasetError, match="already exists"):
        write_dataset(tmp_path / "data", interrupted(), VECTOR, ACTIONS)
    assert os.listdir(tmp_path) == ["data"]


def changed(index: int, **changes: Any) -> list[Episode]:
    """Three episodes, one with fields replaced after its own checks, as a careless caller can."""
    episodes = recorded([3, 3, 3])
    for name, value in changes.items():
        object.__setattr__(episodes[index], name, value)
    return episodes


@pytest.mark.parametrize(
    ("episodes", "message"),
    [
        ([], "no episode"),
        (changed(1, observations={"camera": np.zeros((4, 3))}), r"episode 1: it has the arrays"),
        (
            changed(2, observations={"observation": np.zeros((4, 2), np.float32)}),
            "episode 2: .*shape",
        ),
        (
            changed(0, observations={"observation": np.full((4, 3), 11.0)}),
            "episode 0: .*outside the space",
        ),
        (changed(1, observations={"observation": np.full((4, 3), np.nan)}), "episode 1: .*NaN"),
        (changed(1, actions=np.array([0, 1, 3])), "episode 1: actions: 1 of 3 numbers are outside"),
        (changed(1, actions=np.array([0.5, 1, 2])), "episode 1: actions: dtype is float64"),
        (changed(1, actions=np.zeros((3, 1), np.int64)), "episode 1: actions: shape"),
        (changed(1, rewards=np.full(3, 3e38, np.float32)), "episode 1: returns-to-go"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    tmp_path: Path, episodes: list[Episode], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        write_dataset(tmp_path / "new" / "data", episodes, VECTOR, ACTIONS)
    assert os.listdir(tmp_path) == []


def test_numbers_too_large_to_normalise_are_refused(tmp_path: Path) -> None:
    space = spaces.Box(-np.inf, np.inf, (3,), np.float64)
    episode = recorded([3])[0]
    episode.observations["observation"] = np.array([[1e200] * 3, [-1e200] * 3] * 2)
    with pytest.raises(DatasetError, match="too large to be normalised"):
        write_dataset(tmp_path / "data", [episode], space, ACTIONS)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("observation_space", "action_space", "message"),
    [
        (spaces.Text(3), ACTIONS, "supported are"),
        (VECTOR, spaces.Dict({"a": ACTIONS}), "actions must be one array"),
        (VECTOR, spaces.Tuple([ACTIONS, ACTIONS]), "actions must be one array"),
    ],
)
def test_spaces_that_cannot_be_stored_are_refused(
    tmp_path: Path,
    observation_space: gymnasium.Space[Any],
    action_space: gymnasium.Space[Any],
    message: str,
) -> None:
    with pytest.raises(DatasetError, match=message):
        write_dataset(tmp_path / "data", recorded([2]), observation_space, action_space)


@pytest.mark.parametrize("provenance", [{"a": object()}, {"a": float("nan")}, {"a": np.zeros(2)}])
def test_provenance_must_be_plain(tmp_path: Path, provenance: dict[str, Any]) -> None:
    with pytest.raises(DatasetError, match="provenance may hold only"):
        write_dataset(tmp_path / "data", recorded([2]), VECTOR, ACTIONS, provenance=provenance)


# Interruptions and full disks

WRITER = """
import sys
import numpy as np
from gymnasium import spaces
from rate.dataset import write_dataset
from rate.episode import Episode

def stream():
    for number in range(int(sys.argv[2])):
        print(number, flush=True)
        ends = np.zeros(100, bool)
        seen = {"observation": np.zeros((101, 3), np.float32)}
        yield Episode(seen, np.zeros(100, int), np.zeros(100), ends, ends)

write_dataset(sys.argv[1], stream(), spaces.Box(-1.0, 1.0, (3,)), spaces.Discrete(3))
"""


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, FileNotFoundError])
def test_an_interrupted_writer_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def stream() -> Iterator[Episode]:
        yield from recorded([4, 4])
        raise error("from the environment")

    with pytest.raises(error, match="from the environment"):
        write_dataset(tmp_path / "new" / "data", stream(), VECTOR, ACTIONS)
    assert os.listdir(tmp_path) == []


def test_a_killed_writer_leaves_no_dataset(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "data"), str(10**9)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    for line in writer.stdout:
        if int(line) >= 200:
            break
    writer.send_signal(signal.SIGKILL)
    writer.wait(60)
    writer.stdout.close()
    assert not (tmp_path / "data").exists()
    with pytest.raises(DatasetError, match="missing"):
        open_dataset(tmp_path / "data")
    write_dataset(tmp_path / "data", recorded([2]), VECTOR, ACTIONS)


@pytest.mark.parametrize("episodes", [2, 50, 2000])
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path, episodes: int) -> None:
    """No file may exceed 1000 bytes: the limit strikes when buffers are flushed, at the end or in
    the stream."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    result = subprocess.run(
        [sys.executable, "-c", WRITER, tmp_path / "data", str(episodes)],
        capture_output=True, text=True, preexec_fn=limit, timeout=60,
    )  # fmt: skip
    assert result.returncode == 1
    assert "cannot write" in result.stderr.splitlines()[-1]
    assert os.listdir(tmp_path) == []


def test_a_read_only_folder_is_named(read_only_folder: Path) -> None:
    with pytest.raises(PermissionError, match="may write to"):
        write_dataset(read_only_folder / "data", recorded([2]), VECTOR, ACTIONS)


# Damage


@cache
def sound() -> Path:
    """A small dataset that tests copy and damage."""
    folder = Path(tempfile.mkdtemp())
    space = spaces.Dict({"camera": spaces.Box(0, 255, (2, 2, 1), np.uint8), "state": VECTOR})
    write_dataset(
        folder / "data",
        recorded([2, 3], space),
        space,
        ACTIONS,
        task="toy",
        provenance={"by": "test"},
    )
    return folder / "data"


@pytest.fixture(scope="module", autouse=True)
def no_leftovers() -> Iterator[None]:
    yield
    shutil.rmtree(sound().parent)
    sound.cache_clear()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound(), tmp_path / "copy"))


FILES = [
    "card.json",
    "frames/camera.npy",
    "observations/camera.npy",
    "observations/state.npy",
    "actions.npy",
    "rewards.npy",
    "returns_to_go.npy",
    "terminations.npy",
    "truncations.npy",
    "episode_offsets.npy",
    "seeds.npy",
]
every_file = pytest.mark.parametrize("file", FILES)


def test_the_list_of_files_is_complete() -> None:
    assert sorted(str(file.relative_to(sound())) for file in sound().rglob("*.*")) == sorted(FILES)


@every_file
@pytest.mark.parametrize("verify", [True, False])
def test_a_missing_file_is_named(copy: Path, file: str, verify: bool) -> None:
    (copy / file).unlink()
    with pytest.raises(DatasetError, match=rf"{file} is missing"):
        open_dataset(copy, verify)


@every_file
@pytest.mark.parametrize("verify", [True, False])
def test_a_file_cut_short_anywhere_is_named(copy: Path, file: str, verify: bool) -> None:
    whole = (copy / file).read_bytes()
    # Without its line end, a card is still the same card.
    for size in {*range(0, len(whole) - 1, 7), len(whole) - 2}:
        (copy / file).write_bytes(whole[:size])
        with pytest.raises(DatasetError, match=file):
            open_dataset(copy, verify)


@every_file
def test_a_file_with_more_at_its_end_is_named(copy: Path, file: str) -> None:
    with open(copy / file, "ab") as stream:
        stream.write(b"\0")
    with pytest.raises(DatasetError, match=file):
        open_dataset(copy)


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), file=st.sampled_from(FILES))
def test_any_changed_byte_is_an_error_or_changes_nothing(data: st.DataObject, file: str) -> None:
    """Only bytes without meaning may change unnoticed, such as the last digit of a number that
    reads the same."""
    path = sound() / file
    whole = path.read_bytes()
    offset = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[offset]))
    original = open_dataset(sound())
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(sound(), Path(folder) / "copy"))
        (copy / file).write_bytes(whole[:offset] + bytes([byte]) + whole[offset + 1 :])
        try:
            damaged = open_dataset(copy)
        except DatasetError as error:
            assert file in str(error)  # noqa: PT017 (either outcome is right)
            return
        assert damaged.card == original.card
        for name, array in original.arrays.items():
            assert array[:].tobytes() == damaged.arrays[name][:].tobytes()


@every_file
def test_every_flipped_bit_of_the_data_is_found(copy: Path, file: str) -> None:
    whole = (copy / file).read_bytes()
    for offset in range(128 if file.endswith("npy") else 0, len(whole), 11):
        (copy / file).write_bytes(
            whole[:offset] + bytes([whole[offset] ^ 1 << offset % 8]) + whole[offset + 1 :]
        )
        with pytest.raises(DatasetError, match=file):
            open_dataset(copy)


class Hostile:
    """Unpickling an instance writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@every_file
@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("form", ["bare pickle", "object array", "zip of arrays"])
def test_a_pickle_is_never_run(
    copy: Path, tmp_path: Path, file: str, verify: bool, form: str
) -> None:
    bait = tmp_path / "executed"
    objects = np.array([Hostile(bait)] * len(np.load(sound() / "actions.npy")), dtype=object)
    with open(copy / file, "wb") as stream:
        if form == "bare pickle":
            pickle.dump(Hostile(bait), stream)
        elif form == "object array":
            np.lib.format.write_array(stream, objects, allow_pickle=True)
        else:
            np.savez(stream, objects)
    with pytest.raises(DatasetError, match=file):
        open_dataset(copy, verify)
    assert not bait.exists()


@pytest.mark.parametrize(
    ("file", "array", "message"),
    [
        ("actions.npy", np.zeros(5, np.float32), "<f4"),
        ("actions.npy", np.zeros(6, np.int64), r"\(6,\)"),
        ("actions.npy", np.zeros(5, ">i8"), ">i8"),
        ("observations/state.npy", np.asfortranarray(np.zeros((7, 3), np.float32)), "begins with"),
        ("rewards.npy", np.zeros((5, 1), np.float32), r"\(5, 1\)"),
        ("rewards.npy", np.zeros(5, "S4"), "S4"),
        ("rewards.npy", np.zeros(5, [("a", "<f4")]), "begins with"),
    ],
)
@pytest.mark.parametrize("verify", [True, False])
def test_another_array_is_refused(
    copy: Path, file: str, array: np.ndarray, message: str, verify: bool
) -> None:
    np.save(copy / file, array)
    with pytest.raises(DatasetError, match=rf"{file}.*{message}"):
        open_dataset(copy, verify)


@pytest.mark.parametrize(
    ("file", "row", "value", "message"),
    [
        ("observations/state.npy", 1, np.nan, "NaN"),
        ("observations/state.npy", 1, 11.0, "outside the space"),
        ("actions.npy", 2, 3, "outside the space"),
        ("rewards.npy", 0, np.inf, "NaN or infinity"),
        ("returns_to_go.npy", 4, np.nan, "NaN or infinity"),
        ("terminations.npy", 0, True, "before its last step"),
        ("truncations.npy", 2, True, "before its last step"),
    ],
)
def test_wrong_values_under_right_hashes_are_found(
    copy: Path, file: str, row: int, value: Any, message: str
) -> None:
    array = np.load(copy / file)
    array[row] = value
    np.save(copy / file, array)
    rehashed(copy)
    with pytest.raises(DatasetError, match=rf"{file}.*{message}"):
        open_dataset(copy)


@pytest.mark.parametrize("offsets", [[0, 0, 5], [0, 5, 2], [1, 2, 5], [0, 2, 6], [0, -1, 5]])
def test_offsets_that_do_not_rise_to_the_end_are_found_without_hashes(
    copy: Path, offsets: list[int]
) -> None:
    np.save(copy / "episode_offsets.npy", np.array(offsets))
    with pytest.raises(DatasetError, match=r"episode_offsets.npy must rise"):
        open_dataset(copy, verify=False)


def test_images_are_stored_once_each(tmp_path: Path) -> None:
    episodes = [repeating(5, 60), repeating(5, 30)]
    dataset = write_dataset(tmp_path / "data", episodes, IMAGE, ACTIONS)
    for found, episode in zip((dataset.episode(0), dataset.episode(1)), episodes, strict=True):
        assert_equal(found, episode)
    stored = np.load(tmp_path / "data" / "frames" / "observation.npy")
    assert len(stored) == 5 == len(np.unique(stored.reshape(5, -1), axis=0))


def test_a_writer_that_has_forgotten_a_frame_stores_it_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("rate.dataset.frames.REMEMBERED", 2)
    episode = repeating(5, 60)
    dataset = write_dataset(tmp_path / "data", [episode], IMAGE, ACTIONS)
    assert 5 < len(np.load(tmp_path / "data" / "frames" / "observation.npy")) < 61
    assert_equal(dataset.episode(0), episode)


def test_numbers_of_frames_that_do_not_exist_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "data"
    write_dataset(path, [repeating(5, 60)], IMAGE, ACTIONS)
    numbers = np.load(path / "observations" / "observation.npy")
    numbers[7] = 5
    card = json.loads((path / "card.json").read_text())
    record = card["arrays"]["observations/observation"]
    header = array_header(numbers.dtype, numbers.shape)
    (path / "observations" / "observation.npy").write_bytes(header + numbers.tobytes())
    record["sha256"] = hashlib.sha256(numbers.tobytes()).hexdigest()
    (path / "card.json").write_text(
        seal({key: card[key] for key in card if "hash" not in key and "format" not in key})
    )
    with pytest.raises(DatasetError, match="names frames that do not exist"):
        open_dataset(path)


CAMERA = {"type": "Box", "dtype": "uint8", "shape": [2, 2, 1], "low": 0, "high": 255}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"observation_space": CAMERA}, "lists the arrays"),
        (
            {"observation_space": {"type": "Dict", "spaces": {"camera": CAMERA, "state": CAMERA}}},
            "lists the arrays",
        ),
        ({"observation_space": {"type": "Magic"}}, "unknown kind of space"),
        ({"action_space": {"type": "Tuple", "spaces": [CAMERA]}}, "actions must be one array"),
        (
            {"action_space": {"type": "Discrete", "n": 3, "start": 0, "dtype": "int32"}},
            "need 'actions'",
        ),
        ({"steps": 6}, "need 'observations/camera'"),
        ({"steps": 10**30}, "need 'observations/camera'"),
        ({"episodes": 0, "steps": 0}, "counts 0 episodes"),
        ({"episodes": "2"}, "'episodes' is missing or of the wrong type"),
        ({"normalisation": {}}, "'normalisation' needs"),
        ({"normalisation": {"state": {"mean": [0, 0], "std": [1, 1]}}}, "'normalisation' needs"),
        (
            {"normalisation": {"state": {"mean": [0, 0, 0], "std": [1, 1, -1]}}},
            "'normalisation' needs",
        ),
        ({"normalisation": {"state": [1]}}, "'normalisation' is damaged"),
    ],
)
@pytest.mark.parametrize("verify", [True, False])
def test_a_card_that_contradicts_itself_is_refused(
    copy: Path, changes: dict[str, Any], message: str, verify: bool
) -> None:
    repaired(copy, **changes)
    with pytest.raises(DatasetError, match=rf"card.json.*{message}"):
        open_dataset(copy, verify)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not the card"),
        ('{"format": "other"}', "not the card"),
        ('{"format": "rate-dataset", "format_version": 3}', "version 3.*newer release"),
        ('{"format": "rate-dataset", "format_version": "1"}', "version '1'"),
        ('{"format": "rate-dataset", "format_version": 1}', "version 1, .*reads 2"),
        ('{"format": "rate-dataset", "format_version": 2}', "hash"),
    ],
)
def test_a_card_of_another_kind_is_refused(copy: Path, text: str, message: str) -> None:
    (copy / "card.json").write_text(text)
    with pytest.raises(DatasetError, match=message):
        open_dataset(copy)


def test_a_folder_that_is_no_dataset_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "file"):
        with pytest.raises(DatasetError, match="is not a dataset; write one"):
            open_dataset(path)


def test_a_card_cannot_point_outside_its_folder(copy: Path) -> None:
    card = read_card(copy)
    card["arrays"]["actions"]["file"] = "../actions.npy"
    repaired(copy, arrays=card["arrays"])
    with pytest.raises(DatasetError, match="need 'actions'"):
        open_dataset(copy)


def test_file_names_of_strange_leaves_stay_inside(tmp_path: Path) -> None:
    space = spaces.Dict(dict.fromkeys(("..", "../up", "", "a b", "ü", "CON:", "x" * 100), VECTOR))
    layouts = array_layouts(space, ACTIONS)
    folder = tmp_path / "data"
    assert all(
        (folder / layout.file).resolve().is_relative_to(folder) for layout in layouts.values()
    )
    dataset = write_dataset(folder, recorded([2], space), space, ACTIONS)
    assert list(dataset.episode(0).observations) == list(leaves(space))


# Splitting


@given(fraction=st.floats(0, 0.99), seed=st.integers(0, 100))
def test_a_split_is_a_partition(fraction: float, seed: int) -> None:
    dataset = memory_dataset((1, 2, 3, 4, 5, 6, 7))
    training, validation = split(dataset, fraction, seed)
    assert sorted([*training, *validation]) == list(range(7))
    assert len(training) >= 1
    assert len(validation) >= (fraction > 0)
    again = split(dataset, fraction, seed)
    assert np.array_equal(training, again[0])
    assert np.array_equal(validation, again[1])


def test_a_split_refuses() -> None:
    with pytest.raises(ValueError, match=r"selection\.fraction is 1"):
        split(memory_dataset((3, 4)), 1.0, 0)
    with pytest.raises(ValueError, match="one episode"):
        split(memory_dataset((3,)), 0.5, 0)
    training, validation = split(memory_dataset((3,)), 0.0, 0)
    assert (list(training), list(validation)) == ([0], [])
