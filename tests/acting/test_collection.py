"""Recording: the same data whoever plays, written as it is played, in little memory."""

import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

import rate
from rate.acting.rollout import rollout
from rate.tasks.gym.make import RandomAgent
from rate.tasks.lookup import find
from rate.tasks.task import RECORDING_BYTES, Task, success

CONTENTS = {
    ("recall/12", 300): "7d79f9cd73f7e251c6d21eef65b2c79153cd5511827cc418db465005caa3f86b",
    ("tmaze-uniform/90", 300): "6db6e7e74a14064f4c00a454e09e845700e49901000f25dc4ce80b08977b2a4e",
    ("minigrid-memory/11", 60): "16adab843432ab0b04ee1ac3c3be81bfd65ed13a89e2cf38df238e0872f1542d",
    ("recall-dict/9", 20): "2606df1c9abb85046d79a59cb65ead05764de551ae7d5cfcd51ce5f8a01b60cd",
    ("recall-image/9", 20): "3a6da84818dc083f77f2bd13d1df920bf4f696565bfaf396c32229abebff4fcf",
}


@pytest.mark.parametrize(("task", "episodes"), CONTENTS)
def test_data_stays_what_it_was(task, episodes, tmp_path):
    """Published results rest on data that anyone can record again."""
    data = rate.collect(task, tmp_path / "data", episodes=episodes)
    assert data.content_hash == CONTENTS[task, episodes]


@pytest.mark.parametrize("lengths", [None, (10, 20)])
def test_data_depends_neither_on_num_envs_nor_on_the_number_of_workers(lengths, tmp_path):
    kinds = [(1, None), (1, 1), (1, 7), (2, None), (2, 5), (3, 250)]
    data = [
        rate.collect(
            "tmaze-uniform/30",
            tmp_path / f"{workers}-{num_envs}",
            episodes=40,
            seed=3,
            num_envs=num_envs,
            workers=workers,
            lengths=lengths,
        )
        for workers, num_envs in kinds
    ]
    assert len({dataset.content_hash for dataset in data}) == 1


def test_environments_of_gymnasium_are_recorded_alike_by_several_workers(tmp_path):
    task = "gym:CartPole-v1,expert=random"
    hashes = {
        rate.collect(task, tmp_path / str(workers), episodes=30, workers=workers).content_hash
        for workers in (1, 2)
    }
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"episodes": 0}, "episodes must be at least 1, but 0 was given"),
        ({"num_envs": 0}, "num_envs must be at least 1, but 0 was given"),
        ({"num_envs": 0, "workers": 2}, "num_envs must be at least 1, but 0 was given"),
        ({"workers": 0}, "workers must be at least 1, but 0 was given"),
        ({"lengths": (9, 3)}, r"lengths are \(9, 3\)"),
    ],
)
def test_what_cannot_be_recorded_is_said_and_writes_nothing(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        rate.collect("recall/4", tmp_path / "data", **{"episodes": 2, **options})
    assert not list(tmp_path.iterdir())


class Noise:
    """A batch of noisy images in which the episode of seed k ends after `lengths[k]` steps; counts
    the steps that it takes."""

    observation_space = spaces.Box(0, 255, (32, 32, 3), np.uint8)
    action_space = spaces.Discrete(2)

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths, self.elapsed = lengths, 0

    def reset(self, seeds: Sequence[int]) -> Any:
        self.ends = np.array([self.lengths[seed] for seed in seeds])
        self.random, self.step_of_wave = np.random.default_rng(0), 0
        return self._frames()

    def step(self, actions: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
        self.elapsed += 1
        self.step_of_wave += 1
        over = self.ends == self.step_of_wave
        return self._frames(), np.zeros(len(over), np.float32), over, np.zeros_like(over)

    def _frames(self) -> np.ndarray:
        shape = (len(self.ends), *self.observation_space.shape)
        return self.random.integers(0, 256, shape, np.uint8)


def noise_task(lengths: Sequence[int]) -> tuple[Task, Noise]:
    environments = Noise(lengths)
    return Task(
        name="noise",
        environment=lambda: None,  # type: ignore[arg-type,return-value]
        horizon=max(lengths),
        target_return=None,
        score=success,
        metric="success",
        description="Noise",
        batch=lambda: environments,
    ), environments


def test_an_episode_is_yielded_when_it_and_those_before_it_are_over():
    lengths = [3, 5, 2, 9, 4, 4, 8]
    task, environments = noise_task(lengths)
    agent = RandomAgent(environments.action_space)
    elapsed = []
    for seed, episode in enumerate(rollout(agent, task, range(7), num_envs=5)):
        assert (episode.seed, len(episode)) == (seed, lengths[seed])
        elapsed.append(environments.elapsed)
    assert elapsed == [3, 5, 5, 9, 9, 9 + 4, 9 + 8]


def test_memory_is_taken_by_the_episodes_of_a_wave_and_one_more():
    episode = 255 * 32 * 32 * 3
    task, environments = noise_task([254] * 24)
    agent = RandomAgent(environments.action_space)
    tracemalloc.start()
    try:
        for _ in rollout(agent, task, range(24), num_envs=6):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8.5 * episode


def test_rows_that_have_ended_take_no_memory():
    task, environments = noise_task([1] * 30 + [1000])
    agent = RandomAgent(environments.action_space)
    tracemalloc.start()
    try:
        assert len(list(rollout(agent, task, range(31), num_envs=31))) == 31
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (31 * 128 + 2.5 * 1000) * 32 * 32 * 3


def test_fewer_environments_are_recorded_together_where_episodes_are_large():
    recall = find("recall/12")
    assert recall.recording_num_envs() == recall.num_envs == 250
    images = find("recall-image/1000")
    count = images.recording_num_envs()
    assert count * 1001 * 16 * 16 * 3 <= RECORDING_BYTES < (count + 1) * 1001 * 16 * 16 * 3
    assert replace(images, horizon=10**7).recording_num_envs() == 1
    assert find("gym:CartPole-v1").recording_num_envs() == 16
