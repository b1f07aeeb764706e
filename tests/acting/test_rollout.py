from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest

from rate.acting.rollout import Serial, outcomes, rollout
from rate.episode import Episode
from rate.tasks.lookup import find
from rate.tasks.task import Task


class Wanderer:
    """Acts at random, every row from the generator of its own seed; remembers what it was told and
    what it did."""

    def __init__(self, actions: int) -> None:
        self.actions = actions

    def reset(self, batch: int, seeds: Sequence[int] | None = None) -> None:
        assert seeds is not None
        assert len(seeds) == batch
        self.generators = [np.random.default_rng(seed) for seed in seeds]
        self.rewards: list[np.ndarray] = []
        self.forced: list[np.ndarray | None] = []

    def act(
        self, observations: Any, rewards: np.ndarray, forced: np.ndarray | None = None
    ) -> np.ndarray:
        self.rewards.append(rewards)
        self.forced.append(forced)
        chosen = np.array([generator.integers(self.actions) for generator in self.generators])
        return chosen if forced is None else forced


class Countdown(gymnasium.Env[Any, Any]):
    """Counts its steps and never ends by itself before `seed` steps; ends once and refuses to be
    stepped further."""

    observation_space = gymnasium.spaces.Dict(
        {
            "count": gymnasium.spaces.Box(0, 1000, (1,), np.float32),
            "side": gymnasium.spaces.Discrete(2),
        }
    )
    action_space = gymnasium.spaces.Discrete(3)
    closed = 0
    made = 0

    def __init__(self) -> None:
        type(self).made += 1

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        assert seed is not None
        self.limit, self.count = seed, 0
        return self._value(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.count < self.limit, "an ended environment was stepped"
        self.count += 1
        return self._value(), float(action), self.count == self.limit, False, {}

    def close(self) -> None:
        type(self).closed += 1

    def _value(self) -> Any:
        return {"count": np.array([self.count], np.float32), "side": self.limit % 2}


@pytest.fixture
def countdown() -> Task:
    Countdown.closed = Countdown.made = 0
    return Task("countdown", Countdown, 6, 1.0, "Counts")


def assert_same(first: Episode, second: Episode) -> None:
    assert first.seed == second.seed
    for path, leaf in first.observations.items():
        np.testing.assert_array_equal(leaf, second.observations[path])
    for name in ("actions", "rewards", "terminations", "truncations"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@pytest.mark.parametrize(
    "name", ["tmaze/8", "tmaze-uniform/9", "aar-segments/15x3", "recall-dict/4"]
)
def test_episodes_do_not_depend_on_how_many_are_played_at_once(name: str) -> None:
    task = find(name)
    agent = Wanderer(int(task.action_space.n))  # type: ignore[attr-defined]
    seeds = [5, 3, 100, 0, 8, 9, 10, 11, 12, 5]
    alone = list(rollout(agent, task, seeds, num_envs=1))
    assert [episode.seed for episode in alone] == seeds
    for num_envs in (3, 8, 100):
        for first, second in zip(
            alone, rollout(agent, task, seeds, num_envs=num_envs), strict=True
        ):
            assert_same(first, second)


@pytest.mark.parametrize("name", ["tmaze/8", "tmaze-uniform/9", "aar/6", "recall-tuple/4"])
def test_the_batch_form_gives_the_episodes_of_the_environment(name: str) -> None:
    task = find(name)
    assert task.batch is not None
    actions = int(task.action_space.n)  # type: ignore[attr-defined]
    pairs = zip(
        rollout(Wanderer(actions), task, range(20)),
        rollout(Wanderer(actions), replace(task, batch=None), range(20)),
        strict=True,
    )
    for batched, serial in pairs:
        assert_same(batched, serial)


@pytest.mark.parametrize("num_envs", [1, 4, 100])
def test_outcomes_are_those_of_the_episodes(num_envs: int) -> None:
    task = find("tmaze/3")
    episodes = list(rollout(Wanderer(4), task, range(50)))
    results = list(outcomes(Wanderer(4), task, range(50), num_envs=num_envs))
    assert [(result.seed, result.total_return, result.length) for result in results] == [
        (episode.seed, episode.total_return, len(episode)) for episode in episodes
    ]
    assert 0 < sum(task.score(result.total_return, result.length) for result in results) < 50


def test_episodes_keep_their_final_observation_and_end_once(countdown: Task) -> None:
    for episode, steps in zip(rollout(Wanderer(3), countdown, [3, 1, 5]), [3, 1, 5], strict=True):
        assert len(episode) == steps
        assert episode.observations["count"].tolist() == [[count] for count in range(steps + 1)]
        assert episode.observations["side"].tolist() == [steps % 2] * (steps + 1)
        assert episode.terminations.tolist() == [False] * (steps - 1) + [True]
        assert not episode.truncations.any()
        assert episode.actions.dtype == np.int64
        np.testing.assert_array_equal(episode.rewards, episode.actions)


def test_the_horizon_truncates(countdown: Task) -> None:
    shorter, equal, longer = rollout(Wanderer(3), countdown, [5, 6, 50])
    assert [len(episode) for episode in (shorter, equal, longer)] == [5, 6, 6]
    assert [bool(episode.truncations[-1]) for episode in (shorter, equal, longer)] == [
        False,
        False,
        True,
    ]
    assert [bool(episode.terminations[-1]) for episode in (shorter, equal, longer)] == [
        True,
        True,
        False,
    ]
    assert [result.length for result in outcomes(Wanderer(3), countdown, [5, 6, 50])] == [5, 6, 6]


def test_an_ended_environment_is_not_stepped_and_all_are_closed(countdown: Task) -> None:
    assert len(list(rollout(Wanderer(3), countdown, [1, 6, 2, 4, 3], num_envs=2))) == 5
    assert (Countdown.made, Countdown.closed) == (2, 2)


def test_environments_are_closed_when_the_reader_stops_early(countdown: Task) -> None:
    stream = rollout(Wanderer(3), countdown, [1, 6, 2], num_envs=2)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert Countdown.closed == Countdown.made == 2


def test_the_agent_is_told_the_rewards_of_the_step_before(countdown: Task) -> None:
    agent = Wanderer(3)
    (episode,) = rollout(agent, countdown, [5])
    assert agent.rewards[0].dtype == np.float32
    np.testing.assert_array_equal(np.concatenate(agent.rewards), [0, *episode.rewards[:-1]])


def test_the_prompt_is_imposed_and_then_the_agent_is_free(countdown: Task) -> None:
    task = replace(countdown, prompt=lambda seeds: np.array([[seed % 3, 2] for seed in seeds]))
    agent = Wanderer(3)
    episodes = list(rollout(agent, task, [3, 4, 5, 6]))
    assert [episode.actions[:2].tolist() for episode in episodes] == [
        [0, 2],
        [1, 2],
        [2, 2],
        [0, 2],
    ]
    assert [forced is None for forced in agent.forced] == [False, False] + [True] * 4


def test_an_agent_that_ignores_the_prompt_is_refused() -> None:
    class Stubborn(Wanderer):
        def act(
            self, observations: Any, rewards: np.ndarray, forced: np.ndarray | None = None
        ) -> np.ndarray:
            return np.full(len(rewards), 2)

    with pytest.raises(ValueError, match="imposes the actions"):
        next(rollout(Stubborn(3), find("aar/5"), range(3)))


def test_an_agent_must_act_in_every_row() -> None:
    class Short(Wanderer):
        def act(
            self, observations: Any, rewards: np.ndarray, forced: np.ndarray | None = None
        ) -> np.ndarray:
            return np.zeros(1, np.int64)

    with pytest.raises(ValueError, match="each of 3 rows"):
        next(rollout(Short(4), find("tmaze/5"), range(3)))


def test_an_agent_may_use_its_array_again(countdown: Task) -> None:
    class Counter(Wanderer):
        def reset(self, batch: int, seeds: Sequence[int] | None = None) -> None:
            self.buffer = np.full(batch, -1)

        def act(
            self, observations: Any, rewards: np.ndarray, forced: np.ndarray | None = None
        ) -> np.ndarray:
            self.buffer += 1
            return self.buffer

    assert [episode.actions.tolist() for episode in rollout(Counter(3), countdown, [2, 3])] == [
        [0, 1],
        [0, 1, 2],
    ]


def test_progress_counts_the_steps_of_waves(countdown: Task) -> None:
    counts: list[int] = []
    list(outcomes(Wanderer(3), countdown, [2, 5, 3], num_envs=2, progress=counts.append))
    assert sum(counts) == 5 + 3


def test_no_seeds_give_no_episodes(countdown: Task) -> None:
    assert list(rollout(Wanderer(3), countdown, [])) == []
    assert list(outcomes(Wanderer(3), countdown, [])) == []


def test_fewer_than_one_at_a_time_is_refused(countdown: Task) -> None:
    with pytest.raises(ValueError, match="num_envs must be at least 1, but 0 was given"):
        next(rollout(Wanderer(3), countdown, [1], num_envs=0))


def test_serial_follows_gymnasiums_batch_structure(countdown: Task) -> None:
    serial = Serial(countdown.environment)
    values = serial.reset([4, 3, 2])
    assert values["count"].shape == (3, 1)
    assert values["side"].tolist() == [0, 1, 0]
    values = serial.reset([7, 9])
    assert values["side"].tolist() == [1, 1]
    values, rewards, terminations, truncations = serial.step(np.array([2, 0]))
    assert values["count"].tolist() == [[1], [1]]
    assert (rewards.tolist(), rewards.dtype) == ([2, 0], np.float32)
    assert terminations.dtype == truncations.dtype == bool
    serial.close()
