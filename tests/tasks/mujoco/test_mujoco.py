"""MuJoCo tasks, their normalised scores, and the linear policies that own data come from."""

import json
from itertools import islice

import gymnasium
import numpy as np
import pytest

from rate.acting.rollout import rollout
from rate.tasks.lookup import find
from rate.tasks.mujoco import D4RL, POLICIES, References, qualities, searched
from rate.tasks.mujoco.linear import Linear, LinearAgent, read_policies
from rate.tasks.mujoco.search import (
    SETTINGS,
    Normaliser,
    Settings,
    main,
    measured,
    play,
    search,
    spaced,
)

pytest.importorskip("mujoco")

OWN = sorted(path.stem for path in POLICIES.glob("*.json"))
every_own = pytest.mark.parametrize("key", OWN)


def test_every_mujoco_environment_of_gymnasium_is_a_task():
    newest = [
        spec
        for spec in gymnasium.registry.values()
        if str(spec.entry_point).startswith("gymnasium.envs.mujoco.") and spec.version == 5
    ]
    assert len(newest) >= 11
    for spec in newest:
        task = find(f"mujoco/{spec.name}")
        assert task.horizon == spec.max_episode_steps
        assert task.metric == ("d4rl-score" if spec.name in D4RL else "return")
    made = find("mujoco/Reacher-v4").environment()
    assert made.spec is not None
    assert made.spec.id == "Reacher-v4"
    with pytest.raises(ValueError, match=r"they are Ant, HalfCheetah, .*, each of them with a"):
        find("mujoco/Cheetah")


@pytest.mark.parametrize("name", ["HalfCheetah", "Hopper", "Walker2d"])
def test_scores_are_0_at_random_and_100_at_the_expert(name):
    random, expert = D4RL[name]
    task = find(f"mujoco/{name}")
    assert task.score(random, 1) == 0
    assert task.score(expert, 1) == pytest.approx(100)


@every_own
def test_own_scores_are_0_at_random_and_100_at_the_best_own_policy(key):
    own, _ = searched(key) or pytest.fail(key)
    task = find(f"mujoco/{key},metric=own-score")
    assert task.score(own.random, 1) == 0
    assert task.score((own.random + own.expert) / 2, 1) == pytest.approx(50)


@every_own
def test_the_policies_have_the_returns_that_their_file_says(key):
    """Numbers of another machine may differ in the last digit, and episodes then part."""
    facts, policies = read_policies(POLICIES / f"{key}.json")
    assert facts["environment"] == key
    environment = gymnasium.make(key)
    for policy in (policies[0], policies[-1]):
        returns = [play(environment, policy, 10_000_000 + seed)[0] for seed in range(3)]
        error = max(policy.standard_deviation, 0.02 * abs(policy.mean_return))
        assert np.mean(returns) == pytest.approx(policy.mean_return, abs=3 * error)


@every_own
def test_data_come_in_several_qualities(key):
    _, policies = searched(key) or pytest.fail(key)
    chosen = qualities(policies)
    [medium], [expert] = chosen["medium"], chosen["expert"]
    assert 0.25 * expert.mean_return < medium.mean_return < 0.65 * expert.mean_return
    assert chosen["medium-expert"] == [medium, expert]
    assert medium in chosen["medium-replay"]
    assert len(chosen["medium-replay"]) >= 3
    assert all(one.mean_return <= medium.mean_return for one in chosen["medium-replay"])


def test_an_episode_of_a_mixture_is_of_the_policy_that_its_seed_draws():
    task = find("mujoco/Hopper")
    space = task.action_space
    assert isinstance(space, gymnasium.spaces.Box)
    policies = [Linear(np.zeros((3, 11)), np.full(3, level)) for level in (-0.5, 0.5)]
    agent = LinearAgent(policies, space, 0.1)
    played = [episode.actions for episode in rollout(agent, task, range(30))]
    levels = np.array([actions.mean() for actions in played])
    assert set(np.sign(levels)) == {-1, 1}
    assert np.abs(np.abs(levels) - 0.5).max() < 0.1
    spread = np.concatenate([actions - np.sign(actions.mean()) / 2 for actions in played])
    assert spread.std() == pytest.approx(0.1, rel=0.1)
    assert len({actions.tobytes() for actions in played}) == 30
    quiet = LinearAgent(policies[:1], space, 0.0)
    [episode] = rollout(quiet, task, [0])
    assert np.all(episode.actions == -0.5)


def test_the_search_finds_better_policies_and_writes_them(tmp_path):
    main(["Hopper", "--minutes", "0.01", "--every", "0.1", "--output", str(tmp_path / "found")])
    facts, policies = read_policies(tmp_path / "found")
    assert (facts["environment"], facts["search"]["directions"]) == ("Hopper-v5", 8)
    assert 5 < facts["random_return"] < 40
    assert policies == sorted(policies, key=lambda one: one.mean_return)
    assert policies[-1].mean_return > policies[0].mean_return > 0
    stated = json.loads((tmp_path / "found").read_text())["policies"]
    assert [one["mean_return"] for one in stated] == [one.mean_return for one in policies]


def test_the_search_comes_to_hop():
    environment, settings = gymnasium.make("Hopper-v5"), SETTINGS["Hopper"]
    way = list(islice(search(environment, settings, 1), 11))
    first, last = (measured(environment, way[index][0], 3).mean_return for index in (0, -1))
    assert last > 1.4 * first > 0


def test_a_search_is_determined_by_its_seed():
    found = []
    for seed in (0, 0, 1):
        environment = gymnasium.make("Hopper-v5")
        way = islice(search(environment, Settings(2, 1, 0.02, 0.03), seed), 3)
        found.append(list(way)[-1])
    np.testing.assert_array_equal(found[0][0].weights, found[1][0].weights)
    assert found[0][1] == found[1][1]
    assert not np.array_equal(found[0][0].weights, found[2][0].weights)


def test_normalisation_becomes_a_part_of_the_policy():
    generator, normaliser = np.random.default_rng(0), Normaliser(4)
    seen = generator.normal([1, 2, 3, 4], [0.5, 1, 2, 0], (50, 4))
    for part in np.split(seen, [3, 20]):
        normaliser.add(part)
    weights = generator.normal(size=(2, 4))
    policy = normaliser.linear(weights)
    expected = (seen[:, :3] - seen[:, :3].mean(0)) / seen[:, :3].std(0) @ weights[:, :3].T
    np.testing.assert_allclose(seen @ policy.weights.T + policy.bias, expected, atol=1e-9)


def test_policies_that_are_kept_are_spread_over_their_returns():
    way = [Linear(np.zeros((1, 1)), np.zeros(1), mean) for mean in (0, 1, 2, 50, 99, 100)]
    assert [one.mean_return for one in spaced(way, 3)] == [0, 50, 100]


def test_references_give_the_formula_of_d4rl():
    assert References(-20.0, 80.0).score(30.0, 7) == 50
