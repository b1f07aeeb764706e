"""Dopamine's replay buffers: every byte of what was recorded, a bounded part of it at a time."""

import gzip
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from rate.dataset import DatasetError
from rate.dataset.importers import ImportOptions, import_dataset

SIDE = 12
TYPES = {
    "observation": np.uint8,
    "action": np.int32,
    "reward": np.float32,
    "terminal": np.uint8,
}


@dataclass
class Recorder:
    """A replay buffer as Dopamine fills, and Agarwal et al. log it: a ring with three zero
    transitions before each episode, saved whenever all but one of its places are new."""

    folder: Path
    capacity: int
    added: int = 0
    saved: int = 0
    store: dict = field(default_factory=dict)

    def __post_init__(self):
        shapes = {"observation": (SIDE, SIDE)}
        for name, kind in TYPES.items():
            self.store[name] = np.full((self.capacity, *shapes.get(name, ())), 7).astype(kind)
        self.store["terminal"][:] = 0

    def add(self, **transition):
        if not self.added or self.store["terminal"][(self.added - 1) % self.capacity]:
            for _ in range(3):
                self._add(dict.fromkeys(TYPES, 0))
        self._add(transition)

    def _add(self, transition):
        for name, value in transition.items():
            self.store[name][self.added % self.capacity] = value
        self.added += 1
        if self.added % self.capacity == self.capacity - 1:
            self.save()

    def save(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        arrays = {f"$store$_{name}": array for name, array in self.store.items()}
        arrays |= {"add_count": np.array(self.added), "invalid_range": np.zeros(5)}
        for name, array in arrays.items():
            with gzip.open(self.folder / f"{name}_ckpt.{self.saved}.gz", "wb", 1) as file:
                np.save(file, array, allow_pickle=False)
        self.saved += 1


def record(folder, episodes, capacity, longest=20, seed=0):
    """Episodes through a recorder; what was recorded, by episode."""
    generator, recorder, made = np.random.default_rng(seed), Recorder(folder, capacity), []
    for _ in range(episodes):
        steps = int(generator.integers(2, longest))
        episode = {
            "observation": generator.integers(1, 256, (steps, SIDE, SIDE), np.uint8),
            "action": generator.integers(0, 4, steps),
            "reward": generator.integers(-1, 2, steps).astype(np.float32),
            "terminal": np.arange(steps) == steps - 1,
        }
        made.append(episode)
        for row in range(steps):
            recorder.add(**{name: array[row] for name, array in episode.items()})
    return made, recorder


def is_end_of(part, whole):
    """Whether an imported episode is a recorded one, or what followed its beginning."""
    first = len(whole["reward"]) - len(part)
    return first >= 0 and all(
        np.asarray(ours).tobytes() == theirs[first:].astype(np.asarray(ours).dtype).tobytes()
        for ours, theirs in (
            (part.observations["observation"][:-1, 0], whole["observation"]),
            (part.actions, whole["action"]),
            (part.rewards, whole["reward"]),
        )
    )


def test_a_buffer_that_is_not_full_is_read_to_the_byte(tmp_path):
    made, recorder = record(tmp_path / "replay_logs", 8, 500)
    recorder.save()
    data = import_dataset(tmp_path, tmp_path / "out")
    assert data.observation_space == spaces.Box(0, 255, (1, SIDE, SIDE), np.uint8)
    assert data.action_space == spaces.Discrete(4)
    assert len(data) == 8
    for number, whole in enumerate(made):
        episode = data.episode(number)
        assert len(episode) == len(whole["reward"])
        assert is_end_of(episode, whole)
        assert episode.terminations[-1]
        # None is recorded after the last action.
        last = episode.observations["observation"]
        np.testing.assert_array_equal(last[-1], last[-2])
    assert data.returns.tolist() == [whole["reward"].sum() for whole in made]
    assert data.card["provenance"]["final_observation"] == "repeated"


@pytest.mark.parametrize("layout", ["", "replay_logs", "1/replay_logs"])
def test_consecutive_buffers_are_read_to_the_byte(tmp_path, layout):
    made, recorder = record(tmp_path / "Pong" / layout, 60, 200)
    assert recorder.saved >= 3
    data = import_dataset(tmp_path / "Pong", tmp_path / "out")
    number, cut = 0, 0
    for episode in map(data.episode, range(len(data))):
        while not is_end_of(episode, made[number]):
            number += 1
        cut += len(episode) < len(made[number]["reward"])
        number += 1
    # Only the episode that a buffer ends in loses its beginning or, in the last one, its end.
    assert cut <= recorder.saved - 1
    assert number >= 60 - 8
    assert len(data) >= number - 1


def test_the_middle_of_a_ring_is_no_episode(tmp_path):
    """A buffer that was saved after a lap and a half: old and new transitions lie side by side."""
    made, recorder = record(tmp_path / "logs", 24, 10_000)
    recorder.saved, capacity = 0, 150
    ring = Recorder(tmp_path / "ring", capacity)
    ring.save = lambda: None
    for whole in made:
        for row in range(len(whole["reward"])):
            ring.add(**{name: array[row] for name, array in whole.items()})
    assert ring.added > capacity
    Recorder.save(ring)
    data = import_dataset(tmp_path / "ring", tmp_path / "out")
    found = [
        next((number for number, whole in enumerate(made) if is_end_of(episode, whole)), None)
        for episode in map(data.episode, range(len(data)))
    ]
    assert None not in found
    assert len(set(found)) == len(found) > 3


def test_trajectories_are_sampled_from_all_buffers(tmp_path):
    made, recorder = record(tmp_path / "logs", 160, 400)
    assert recorder.saved >= 4
    options = ImportOptions(transitions=500, sampling_seed=1)
    data = import_dataset(tmp_path / "logs", tmp_path / "out", options=options)
    assert 500 <= data.steps < 500 + 11 * 20
    whole = import_dataset(tmp_path / "logs", tmp_path / "all")
    assert whole.steps > 1200
    order = [
        next(number for number, one in enumerate(made) if is_end_of(episode, one))
        for episode in map(data.episode, range(len(data)))
    ]
    gaps = np.diff(order)
    assert order == sorted(order)
    assert (gaps == 1).sum() > (gaps > 1).sum() > 0, "runs of trajectories, from several buffers"
    again = import_dataset(tmp_path / "logs", tmp_path / "again", options=options)
    assert again.content_hash == data.content_hash
    other = ImportOptions(transitions=500, sampling_seed=2)
    assert (
        import_dataset(tmp_path / "logs", tmp_path / "other", options=other).content_hash
        != data.content_hash
    )
    every = ImportOptions(transitions=10**9)
    assert import_dataset(tmp_path / "logs", tmp_path / "every", options=every).steps == whole.steps


def damaged(tmp_path, name, change):
    _, recorder = record(tmp_path / "logs", 4, 500)
    recorder.save()
    path = tmp_path / "logs" / f"{name}_ckpt.0.gz"
    with gzip.open(path) as file:
        array = np.load(file, allow_pickle=False)
    with gzip.open(path, "wb") as file:
        np.save(file, change(array))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("$store$_terminal", lambda a: a[:-1], "has the shape"),
        ("$store$_terminal", lambda a: a + 2, "is no flag"),
        ("$store$_observation", lambda a: a[:, 0], "expected grey images"),
        ("$store$_observation", lambda a: a.astype(float), "expected grey images"),
        ("$store$_action", lambda a: a[:, None], "has the shape"),
        ("$store$_reward", lambda a: a * np.nan, "NaN"),
        ("$store$_terminal", lambda a: a * 0, "no trajectory whose end"),
        ("add_count", lambda a: np.array(0), "expected one number of"),
        ("add_count", lambda a: np.array([1.5]), "expected one number of"),
    ],
)
def test_damaged_buffers_are_named(tmp_path, name, change, message):
    damaged(tmp_path, name, change)
    with pytest.raises(DatasetError, match=message) as caught:
        import_dataset(tmp_path / "logs", tmp_path / "out")
    assert str(tmp_path / "logs") in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_cut_and_missing_files_are_named(tmp_path):
    record(tmp_path / "logs", 40, 200)
    file = tmp_path / "logs" / "$store$_observation_ckpt.0.gz"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match=r"observation_ckpt.0.gz"):
        import_dataset(tmp_path / "logs", tmp_path / "out")
    file.write_bytes(whole)
    (tmp_path / "logs" / "$store$_reward_ckpt.1.gz").unlink()
    with pytest.raises(DatasetError, match=r"reward_ckpt.1.gz is missing"):
        import_dataset(tmp_path / "logs", tmp_path / "out")


PEAK = """
import re, sys
from pathlib import Path
from rate.dataset.importers import read
print(sum(map(len, read(sys.argv[1]).episodes())))
print(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says it there")
def test_memory_is_flat_in_the_number_of_buffers(tmp_path):
    """Of reading; writing remembers the hashes of up to a million frames."""
    peaks = []
    for count in (2, 12):
        folder = tmp_path / f"{count}"
        _, recorder = record(folder, 27 * count + 3, 20_000, longest=1500)
        assert recorder.saved >= count - 1
        command = [sys.executable, "-c", PEAK, str(folder)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        steps, peak = map(int, done.stdout.split())
        assert steps > 12_000 * count
        peaks.append(peak / 1024)
    assert abs(peaks[1] - peaks[0]) < 6, peaks
