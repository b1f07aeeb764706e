"""Policies act where spaces differ from their data's in bounds and width, and nowhere else."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from rate.acting.actor import Actor
from rate.acting.rollout import rollout
from rate.models.mlp import Config
from rate.models.policy import Policy
from rate.tasks.task import Task, differing_space, success

UNBOUNDED = spaces.Box(-np.inf, np.inf, (3,))
CHOICE = spaces.Discrete(3)


class Random(gymnasium.Env[Any, Any]):
    """Observes at random, and takes nothing but actions of its space."""

    def __init__(self, observations: Any, actions: Any) -> None:
        self.observation_space, self.action_space = observations, actions

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), action
        return self.observation_space.sample(), 1.0, False, False, {}


def task_of(observations: Any, actions: Any) -> Task:
    def make() -> Random:
        return Random(observations, actions)

    return Task("random", make, 6, 1.0, success, "success", "random")


def agent_of(observations: Any, actions: Any) -> Actor:
    return Actor(Policy(observations, actions, Config(segment_length=3, width=8)), 1.0)


OBSERVATIONS: dict[str, tuple[Any, Any]] = {
    "bounds of CartPole": (UNBOUNDED, spaces.Box(-4.8, 4.8, (3,))),
    "bounds of the data": (spaces.Box(-0.5, 0.5, (3,)), spaces.Box(-1.0, 1.0, (3,))),
    "wider numbers": (UNBOUNDED, spaces.Box(-np.inf, np.inf, (3,), np.float64)),
    "narrower numbers": (UNBOUNDED, spaces.Box(-1, 1, (3,), np.float16)),
    "bytes read as choices": (spaces.MultiDiscrete([256] * 3), spaces.Box(0, 255, (3,), np.uint8)),
    "flags read as choices": (spaces.MultiDiscrete([2] * 3), spaces.MultiBinary(3)),
    "choices read as numbers": (spaces.Box(0, 9, (3,), np.int64), spaces.MultiDiscrete([5] * 3)),
    "picture": (spaces.Box(0, 9, (5, 5, 3), np.uint8), spaces.Box(0, 255, (5, 5, 3), np.uint8)),
    "parts": (
        spaces.Dict(b=spaces.Discrete(5), a=UNBOUNDED),
        spaces.Dict(a=spaces.Box(-1, 1, (3,), np.float64), b=spaces.Discrete(4)),
    ),
}
ACTIONS: dict[str, tuple[Any, Any]] = {
    "fewer choices": (spaces.Discrete(2), spaces.Discrete(3)),
    "any number": (spaces.Box(-np.inf, np.inf, (2,)), spaces.Box(-0.01, 0.01, (2,))),
    "wider numbers": (spaces.Box(-1, 1, (2,)), spaces.Box(-0.1, 0.1, (2,), np.float64)),
    "whole numbers": (spaces.Box(-9, 9, (2,), np.int64), spaces.Box(0, 1, (2,), np.int8)),
    "choices as numbers": (spaces.MultiDiscrete([3, 3]), spaces.Box(0, 2, (2,), np.uint8)),
    "flags": (spaces.MultiDiscrete([2, 2]), spaces.MultiBinary(2)),
}


@pytest.mark.parametrize(("trained", "offered"), OBSERVATIONS.values(), ids=OBSERVATIONS)
def test_observations_of_other_bounds_and_width_are_acted_upon(trained: Any, offered: Any) -> None:
    assert differing_space(agent_of(trained, CHOICE), task_of(offered, CHOICE)) is None
    agent, same = agent_of(trained, CHOICE), task_of(offered, CHOICE)
    for num_envs in (1, 3):
        episodes = list(rollout(agent, same, range(3), num_envs=num_envs))
        assert [len(episode.rewards) for episode in episodes] == [6, 6, 6]


@pytest.mark.parametrize(("trained", "offered"), ACTIONS.values(), ids=ACTIONS)
def test_actions_lie_in_the_space_of_the_environment(trained: Any, offered: Any) -> None:
    agent = agent_of(UNBOUNDED, trained)
    episodes = list(rollout(agent, task_of(UNBOUNDED, offered), range(3)))
    assert episodes[0].actions.dtype == offered.dtype
    # What an agent remembers is what was done.
    np.testing.assert_allclose(agent.actions, [one.actions[-1] for one in episodes], rtol=1e-6)


def test_what_a_policy_has_not_learned_is_named() -> None:
    agent = agent_of(spaces.Discrete(445), CHOICE)
    with pytest.raises(ValueError, match=r"not learned .* Discrete\(445\)"):
        list(rollout(agent, task_of(spaces.Discrete(50_000), CHOICE), range(3)))


@pytest.mark.parametrize(
    ("observations", "actions", "message"),
    [
        (spaces.Box(-1, 1, (4,)), CHOICE, "shapes"),
        (spaces.MultiBinary(3), CHOICE, "whole"),
        (UNBOUNDED, spaces.Discrete(2), "more than"),
        (UNBOUNDED, spaces.Discrete(3, start=1), "more than"),
        (UNBOUNDED, spaces.MultiDiscrete([3]), "shapes"),
    ],
)
def test_other_spaces_are_refused(observations: Any, actions: Any, message: str) -> None:
    agent, task = agent_of(UNBOUNDED, CHOICE), task_of(observations, actions)
    difference = differing_space(agent, task)
    assert difference is not None
    assert message in difference[-1]
    with pytest.raises(ValueError, match=message):
        list(rollout(agent, task, range(2)))
