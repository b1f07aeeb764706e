"""What a deployed agent is given is checked, in every form that a loop of one's own may have."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from rate.acting.actor import Actor
from rate.models.mlp import Config as MlpConfig
from rate.models.policy import Policy
from rate.models.rate import Config
from rate.spaces import SpaceError

BOX = spaces.Box(-1, 1, (4,), np.float32)
SPACES: dict[str, gymnasium.Space[Any]] = {
    "box": BOX,
    "number": spaces.Box(-1, 1, (), np.float64),
    "discrete": spaces.Discrete(5, start=-1),
    "several": spaces.MultiDiscrete([3, 4]),
    "image": spaces.Box(0, 255, (8, 8, 3), np.uint8),
    "dict": spaces.Dict({"side": spaces.Discrete(2), "camera": spaces.Tuple((BOX, BOX))}),
}
ACTIONS = {
    "discrete": spaces.Discrete(3),
    "several": spaces.MultiDiscrete([2, 3]),
    "box": spaces.Box(-1, 1, (2,), np.float32),
}
every_space = pytest.mark.parametrize("name", SPACES)


def agent(space: gymnasium.Space[Any] = BOX, action: str = "discrete", **options: Any) -> Actor:
    torch.manual_seed(0)
    config = Config(segment_length=3, width=16, heads=2, head_width=8)
    return Actor(Policy(space, ACTIONS[action], config), 1.0, **options)


def stacked(space: gymnasium.Space[Any], values: list[Any]) -> Any:
    """A batch in the structure of the space."""
    if isinstance(space, spaces.Dict):
        return {key: stacked(part, [value[key] for value in values]) for key, part in space.items()}
    if isinstance(space, spaces.Tuple):
        columns = zip(*values, strict=True)
        return tuple(stacked(part, list(value)) for part, value in zip(space, columns, strict=True))
    return np.stack(values)


def mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """A value with a function applied to its leaves."""
    if isinstance(value, dict):
        return {key: mapped(function, part) for key, part in value.items()}
    return tuple(mapped(function, p) for p in value) if type(value) is tuple else function(value)


@every_space
@pytest.mark.parametrize("action", ACTIONS)
def test_one_environment_needs_no_batch_axis(name: str, action: str) -> None:
    space = SPACES[name]
    space.seed(0)
    values = [space.sample() for _ in range(8)]
    batched, single = agent(space, action), agent(space, action)
    batched.reset(1)
    single.reset()
    for value, reward in zip(values, np.linspace(0, 1, 8), strict=True):
        expected = batched.act(stacked(space, [value]), np.array([reward]))
        chosen = single.act(value, reward)
        assert chosen.shape == ACTIONS[action].shape
        np.testing.assert_array_equal(chosen, expected[0])
    forced = ACTIONS[action].sample()
    np.testing.assert_array_equal(single.act(values[0], 0.0, forced), forced)


def test_the_target_return_can_begin_anew_with_each_segment() -> None:
    """Segments of three steps; rows may stand at different steps of theirs."""
    kept, restarted = agent(), agent(restart_return=True)
    asked = []
    for actor in (kept, restarted):
        actor.reset(2)
        found = []
        for step in range(8):
            if step == 2:
                actor.reset(rows=[1])
            actor.act(np.zeros((2, 4), np.float32), np.full(2, 0.25))
            found.append(actor.returns_to_go.tolist())
        asked.append(np.array(found).T)
    np.testing.assert_allclose(asked[0][0], 1 - 0.25 * np.arange(8))
    np.testing.assert_allclose(asked[0][1], [1, 0.75, *(1 - 0.25 * np.arange(6))])
    np.testing.assert_allclose(asked[1][0], [1, 0.75, 0.5] * 2 + [1, 0.75])
    np.testing.assert_allclose(asked[1][1], [1, 0.75] + [1, 0.75, 0.5] * 2)


@every_space
@pytest.mark.parametrize(
    "form", [lambda leaf: leaf.tolist(), torch.as_tensor, lambda leaf: leaf.astype(leaf.dtype)]
)
def test_lists_and_tensors_are_taken_as_arrays(name: str, form: Callable[[Any], Any]) -> None:
    space = SPACES[name]
    space.seed(0)
    batch = stacked(space, [space.sample(), space.sample()])
    one, other = agent(space), agent(space)
    one.reset(2)
    other.reset(2)
    rewards = np.array([0.5, 0.0], np.float32)
    for _ in range(4):
        expected = one.act(batch, rewards)
        np.testing.assert_array_equal(other.act(mapped(form, batch), form(rewards)), expected)


def test_a_tensor_with_a_gradient_and_a_half_precision_tensor_are_taken() -> None:
    actor = agent()
    actor.reset(2)
    actor.act(torch.zeros(2, 4, requires_grad=True), torch.zeros(2, dtype=torch.bfloat16))


@pytest.mark.parametrize(
    "mask",
    [[True, False, True], np.array([True, False, True]), torch.tensor([True, False, True])],
)
def test_a_mask_chooses_the_rows_that_its_numbers_do(mask: Any) -> None:
    observations = np.random.default_rng(0).uniform(-1, 1, (9, 3, 4)).astype(np.float32)
    by_mask, by_number = agent(), agent()
    for actor, rows in ((by_mask, mask), (by_number, [0, 2])):
        actor.reset(3)
        for step, batch in enumerate(observations):
            actor.act(batch, np.full(3, 0.1))
            if step == 4:
                actor.reset(rows=rows)
    np.testing.assert_array_equal(by_mask.steps, [4, 9, 4])
    np.testing.assert_array_equal(by_mask.returns_to_go, by_number.returns_to_go)
    for name, tensor in by_mask.stream.tensors.items():
        assert torch.equal(tensor, by_number.stream[name])


@pytest.mark.parametrize("rows", [[], np.zeros(3, bool), np.zeros(0, np.int64)])
def test_no_row_may_begin(rows: Any) -> None:
    actor = agent()
    actor.reset(3)
    actor.act(np.zeros((3, 4), np.float32), np.zeros(3))
    actor.reset(rows=rows)
    np.testing.assert_array_equal(actor.steps, [1, 1, 1])


@pytest.mark.parametrize(
    "rows",
    [
        [3],
        [-1],
        [0, 0],
        [True],
        [True, False],
        [0, 1, 1],
        [0.5],
        ["a"],
        [[0]],
        np.eye(3, dtype=bool),
    ],
)
def test_rows_that_are_none_are_refused(rows: Any) -> None:
    actor = agent()
    actor.reset(3)
    with pytest.raises(ValueError, match=r"rows are .* 3 rows under way"):
        actor.reset(rows=rows)


def test_before_a_reset_there_is_nothing_to_act_in() -> None:
    with pytest.raises(ValueError, match=r"no episode has begun: call reset\(\) before act\(\)"):
        agent().act(np.zeros((1, 4), np.float32), np.zeros(1))
    with pytest.raises(ValueError, match="there are 0 rows under way"):
        agent().reset(rows=[0])


@pytest.mark.parametrize("batch", [0, -1, 1.5, "2", None])
def test_a_batch_is_a_whole_number_of_rows(batch: Any) -> None:
    with pytest.raises(ValueError, match="batch must be a whole number of rows"):
        agent().reset(batch)


@pytest.mark.parametrize("seeds", [[1], [1, 2, 3], 7, []])
def test_every_row_has_a_seed(seeds: Any) -> None:
    with pytest.raises(ValueError, match="2 rows begin: give a list of one seed each"):
        agent(sample=True).reset(2, seeds)


@pytest.mark.parametrize(
    "observations",
    [
        np.zeros((3, 4), np.float32),
        np.zeros(4, np.float32),
        np.zeros((2, 5), np.float32),
        np.zeros((2, 4, 1), np.float32),
        np.full((2, 4), np.nan, np.float32),
        np.full((2, 4), np.inf),
        np.full((2, 4), 1.5, np.float32),
        np.full((2, 4), "a"),
        np.full((2, 4), 1j),
        [[0, 0, 0, 0], [0, 0]],
        None,
        "text",
        {"observation": np.zeros((2, 4))},
    ],
    ids=repr,
)
def test_observations_outside_the_space_are_refused_and_change_nothing(observations: Any) -> None:
    actor = agent()
    actor.reset(2)
    with pytest.raises(SpaceError, match=r"^observations"):
        actor.act(observations, np.zeros(2))
    assert actor.steps.tolist() == [0, 0]


@pytest.mark.parametrize(
    "rewards",
    [0.0, [0.0], [0.0] * 3, [np.nan, 0], [0, np.inf], ["a", "b"], None, [None, 0.0], [[0, 0]]],
)
def test_rewards_are_one_finite_number_a_row(rewards: Any) -> None:
    actor = agent()
    actor.reset(2)
    actor.act(np.zeros((2, 4), np.float32), np.zeros(2))
    with pytest.raises(SpaceError, match=r"^rewards are"):
        actor.act(np.zeros((2, 4), np.float32), rewards)
    assert (actor.steps.tolist(), actor.returns_to_go.tolist()) == ([1, 1], [1.0, 1.0])


@pytest.mark.parametrize("forced", [[3, 0], [0], [0.5, 0.5], None, [[0, 0]]])
def test_imposed_actions_lie_in_their_space(forced: Any) -> None:
    actor = agent()
    actor.reset(2)
    if forced is None:
        assert actor.act(np.zeros((2, 4), np.float32), np.zeros(2), forced).shape == (2,)
        return
    with pytest.raises(SpaceError, match=r"^forced actions"):
        actor.act(np.zeros((2, 4), np.float32), np.zeros(2), forced)


@pytest.mark.parametrize("action", ACTIONS)
def test_a_policy_that_overflows_is_found(action: str) -> None:
    space = spaces.Box(-np.inf, np.inf, (4,), np.float32)
    torch.manual_seed(0)
    actor = Actor(Policy(space, ACTIONS[action], MlpConfig(segment_length=3, width=16)), 1.0)
    actor.reset(2)
    with pytest.raises(ValueError, match=r"the policy puts out .* too large"):
        actor.act(np.full((2, 4), 3e38, np.float32), np.zeros(2))


def test_checks_can_be_left_out() -> None:
    actor = agent(check=False)
    actor.reset(2)
    assert actor.act(np.full((2, 4), 1.5, np.float32), np.zeros(2)).shape == (2,)


def test_what_an_agent_returns_is_the_callers() -> None:
    actor = agent(action="box")
    actor.reset(1)
    first = actor.act(np.zeros(4, np.float32), 0.0)
    first += 100
    assert np.abs(actor.actions).max() <= 1


@pytest.mark.parametrize("target_return", [np.nan, np.inf])
def test_the_return_asked_for_is_a_number(target_return: float) -> None:
    with pytest.raises(ValueError, match="target_return must be a finite number"):
        Actor(agent().policy, target_return)
