"""What every task family must keep; families are found, so a new one is tested without new code."""

import importlib.util
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from rate.acting.rollout import rollout
from rate.episode import Episode
from rate.spaces import check_leaf, flatten, from_json, leaves, to_json
from rate.tasks.lookup import discover, families, find
from rate.tasks.task import Agent, Task

LEAST = {"vizdoom-two-colors": 4.0, "mujoco": 0.0}
"""Scores that experts reach in the example of a family, where that is shorter or harder than what
known scores are of."""


def installed(family: str) -> bool:
    return all(
        importlib.util.find_spec(module) is not None for module in discover()[family].modules
    )


@pytest.fixture(params=discover())
def task(request: pytest.FixtureRequest) -> Task:
    if not installed(request.param):
        pytest.skip(f"{request.param} needs the extra {discover()[request.param].extra}")
    return find(f"{request.param}/{discover()[request.param].example}")


class Replay:
    """Takes recorded actions [steps, n, ...], the last of them for ever, and what is imposed."""

    def __init__(self, actions: np.ndarray) -> None:
        self.actions = actions

    def reset(self, batch: int, seeds: Sequence[int] | None = None) -> None:
        self.time = -1

    def act(
        self, observations: Any, rewards: np.ndarray, forced: np.ndarray | None = None
    ) -> np.ndarray:
        self.time = min(self.time + 1, len(self.actions) - 1)
        return self.actions[self.time] if forced is None else forced


def random_actions(task: Task, rows: int) -> np.ndarray:
    space = task.action_space
    space.seed(0)
    steps = min(task.horizon, 50)
    return np.array([[space.sample() for _ in range(rows)] for _ in range(steps)])


def expert_episodes(task: Task, seeds: Sequence[int]) -> list[Episode]:
    if task.expert is None:
        pytest.skip("the task has no expert")
    return list(rollout(task.expert(), task, seeds))


def assert_equal(first: Episode, second: Episode) -> None:
    for path, leaf in first.observations.items():
        np.testing.assert_array_equal(leaf, second.observations[path])
    for name in ("actions", "rewards", "terminations", "truncations"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_the_name_leads_to_the_task(task: Task) -> None:
    assert find(task.name).name == task.name
    assert task.description
    assert any(pattern.startswith(task.name.partition("/")[0] + "/") for pattern in families())


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_gymnasium_accepts_the_environment(task: Task) -> None:
    environment = task.environment().unwrapped
    check_env(environment, skip_render_check=True)
    environment.close()


def test_spaces_can_be_stored(task: Task) -> None:
    for space in (task.observation_space, task.action_space):
        assert from_json(to_json(space)) == space


def test_same_seed_is_the_same_episode(task: Task) -> None:
    agent = Replay(random_actions(task, 1))
    assert_equal(*(next(rollout(agent, task, [7])) for _ in range(2)))


def test_an_episode_does_not_depend_on_the_one_before(task: Task) -> None:
    agent = Replay(random_actions(task, 1))
    _, second = rollout(agent, task, [3, 7], num_envs=1)
    assert_equal(second, next(rollout(agent, task, [7])))


def test_the_batch_equals_single_environments(task: Task) -> None:
    if task.batch is None:
        pytest.skip("the task has no batch form")
    seeds = [5, 4, 11, 100]
    agents: list[Callable[[], Agent]] = [lambda: Replay(random_actions(task, 4))]
    for make in agents + ([task.expert] if task.expert else []):
        pairs = zip(
            rollout(make(), task, seeds),
            rollout(make(), replace(task, batch=None), seeds),
            strict=True,
        )
        for batched, single in pairs:
            assert_equal(batched, single)


def test_episodes_lie_in_the_spaces(task: Task) -> None:
    for episode in rollout(Replay(random_actions(task, 4)), task, range(4)):
        for path, space in leaves(task.observation_space).items():
            check_leaf(space, episode.observations[path], path)
        check_leaf(task.action_space, episode.actions, "actions")
        assert len(episode) <= task.horizon


def test_the_expert_reaches_its_score(task: Task) -> None:
    episodes = expert_episodes(task, range(20))
    scores = [task.score(episode.total_return, len(episode)) for episode in episodes]
    family = task.name.partition("/")[0]
    assert np.mean(scores) >= LEAST.get(family, task.reference.get("expert", 1.0))
    assert all(episode.terminations[-1] or episode.truncations[-1] for episode in episodes)


def test_experts_by_name_act_by_the_seed_alone(task: Task) -> None:
    """Those of a mixed quality draw it from the seed, so a collection is the same however it is
    split among processes."""
    for quality in task.experts:
        named = find(f"{task.name},expert={quality}")
        assert named.expert is not None
        short = replace(named, horizon=min(task.horizon, 40))
        together = list(rollout(named.expert(), short, range(4)))
        [alone] = rollout(named.expert(), short, [2])
        assert_equal(together[2], alone)
    offered = ", ".join(map(repr, [*task.experts, "random"]))
    with pytest.raises(ValueError, match=f"no expert 'nobody': give {offered}"):
        find(f"{task.name},expert=nobody")


def test_further_metrics_are_asked_for_by_name(task: Task) -> None:
    for metric in (task.metric, "return", *task.metrics):
        named = find(f"{task.name},metric={metric}")
        assert named.metric == metric
        assert np.isfinite(named.score(1.0, 1))
    with pytest.raises(ValueError, match=f"must be one of {task.metric}"):
        find(f"{task.name},metric=luck")


def test_a_success_scores_1_and_a_failure_0(task: Task) -> None:
    if task.cue is None or task.metric != "success":
        pytest.skip("the task does not say what success depends on")
    for seed in (0, 2, 7_000_000):
        assert {task.cue(seed), task.cue(seed + 1)} == {0, 1}
        right, wrong = expert_episodes(task, [seed, seed + 1])
        assert task.score(right.total_return, len(right)) == 1
        # The actions that solve one episode are wrong where the other cue was given.
        failed = next(rollout(Replay(wrong.actions[:, None]), task, [seed]))
        assert task.score(failed.total_return, len(failed)) == 0


def test_cues_are_balanced(task: Task) -> None:
    if task.cue is None:
        pytest.skip("the task has no cue")
    for first in (0, 1_000_000, 2_000_000):
        counts = Counter(task.cue(seed) for seed in range(first, first + 100))
        assert len(counts) > 1
        assert len(set(counts.values())) == 1


def test_what_follows_the_cue_does_not_reveal_it(task: Task) -> None:
    """No entry of what an expert acts on after the first step differs between cues by more than
    chance."""
    if task.cue is None:
        pytest.skip("the task has no cue")
    episodes = expert_episodes(task, range(400))
    labels = np.array([task.cue(episode.seed or 0) for episode in episodes])
    features = np.array([after_the_cue(episode) for episode in episodes])
    groups = [features[labels == label] for label in np.unique(labels)]
    for group in groups[1:]:
        difference = np.abs(group.mean(axis=0) - groups[0].mean(axis=0))
        error = np.sqrt(group.var(axis=0) / len(group) + groups[0].var(axis=0) / len(groups[0]))
        assert (difference <= 4.5 * error + 1e-6).all()


def after_the_cue(episode: Episode) -> np.ndarray:
    """Mean over time of every entry between the first and the final observation, and its last
    value."""
    inner = [
        leaf[1:-1].reshape(len(leaf) - 2, -1).astype(np.float64)
        for leaf in episode.observations.values()
    ]
    return np.concatenate([part for leaf in inner for part in (leaf.mean(axis=0), leaf[-1])])


def test_the_prompt_is_one_row_of_actions_per_seed(task: Task) -> None:
    if task.prompt is None:
        pytest.skip("the task has no prompt")
    prompt = task.prompt(range(6))
    assert len(prompt) == 6
    assert 1 <= prompt.shape[1] <= task.horizon
    check_leaf(task.action_space, prompt, "prompt")
    np.testing.assert_array_equal(prompt[4:], task.prompt([4, 5]))


def test_observations_have_one_structure(task: Task) -> None:
    environment = task.environment()
    value, _ = environment.reset(seed=0)
    assert list(flatten(task.observation_space, value)) == list(leaves(task.observation_space))
    environment.close()


@pytest.mark.parametrize("key", discover())
def test_a_name_that_is_almost_right_is_answered_with_the_right_one(key: str) -> None:
    family = discover()[key]
    size = family.example
    with pytest.raises(ValueError, match="Did you mean") as error:
        find(f"{key}s/{size}" if f"{key}s" not in discover() else f"{key}ss/{size}")
    assert f"{key}/{family.pattern}" in str(error.value)


@pytest.mark.parametrize("key", [key for key in discover() if installed(key)])
def test_a_size_that_makes_no_sense_is_answered_with_an_example(key: str) -> None:
    for name in (key, f"{key}/-1", f"{key}/no such size"):
        with pytest.raises(ValueError, match="is not a task") as error:
            find(name)
        assert f"{key}/{discover()[key].example}" in str(error.value)
