"""Minigrid-Memory against the package `minigrid`: same cells, same view, same frames, same
rewards."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rate.acting.evaluation import _scored
from rate.acting.rollout import outcomes, rollout
from rate.reporting.protocol import latest
from rate.storage.files import read_jsonl
from rate.tasks.lookup import find
from rate.tasks.minigrid_memory import (
    BALL,
    EMPTY,
    KEY,
    TILE,
    UNSEEN,
    VIEW,
    WALL,
    MinigridMemories,
    default_time_limit,
)

OBJECTS = {0: UNSEEN, 1: EMPTY, 2: WALL, 5: KEY, 6: BALL}  # the package's numbers


def twin(ours: MinigridMemories, row: int) -> Any:
    """The package's environment in the state that a row of ours begins with."""
    from minigrid.core.world_object import Ball, Key
    from minigrid.envs.memory import MemoryEnv

    things = {KEY: Key, BALL: Ball}
    theirs = MemoryEnv(
        size=ours.size,
        max_steps=ours.reward_limit,
        agent_view_size=VIEW,
        random_length=ours.random_hallway,
        tile_size=TILE,
    )
    draws = iter(
        [int(ours.end[row]), int(ours.x[row])] if ours.random_hallway else [int(ours.x[row])]
    )
    pairs = [things[int(ours.cue[row])], ([Key, Ball] if ours.upper[row] == KEY else [Ball, Key])]
    elements = iter(pairs)
    theirs._rand_int = lambda low, high: next(draws)  # type: ignore[method-assign]
    theirs._rand_elem = lambda iterable: next(elements)  # type: ignore[method-assign]
    theirs.reset()
    return theirs


def seen(theirs: Any) -> np.ndarray:
    """The package's view [3, 3] in our order and numbers: rows from far to near."""
    numbers = theirs.gen_obs()["image"][:, :, 0].T
    return np.vectorize(OBJECTS.get)(numbers)


@pytest.mark.parametrize(
    ("size", "random_hallway"), [(7, True), (9, False), (11, True), (21, True), (13, False)]
)
def test_dynamics_are_those_of_the_package(size: int, random_hallway: bool) -> None:
    pytest.importorskip("minigrid")
    ours = MinigridMemories(size, random_hallway)
    rgb = MinigridMemories(size, random_hallway, "rgb")
    random = np.random.default_rng(size)
    ends = 0
    for seed in range(40):
        observation = ours.reset([seed])
        frames = rgb.reset([seed])
        theirs = twin(ours, 0)
        expert = find(f"minigrid-memory/{size}").expert
        assert expert is not None
        agent: Any = expert()
        agent.reset(1, [seed])
        rewards = np.zeros(1, np.float32)
        for step in range(200):
            np.testing.assert_array_equal(observation[0].argmax(-1), seen(theirs))
            np.testing.assert_array_equal(frames[0], theirs.get_pov_render(TILE))
            choice = agent.act(observation, rewards)
            # The expert's path with detours, which reach all corners of the grid and both ends.
            action = choice if random.random() < 0.8 else random.integers(3, size=1)
            agent._heading = (
                agent._heading + (action == 1) - (action == 0) - (choice == 1) + (choice == 0)
            ) % 4
            observation, rewards, terminations, _ = ours.step(action)
            frames = rgb.step(action)[0]
            _, reward, terminated, _, _ = theirs.step(int(action[0]))
            assert (bool(terminations[0]), float(rewards[0])) == (
                terminated,
                pytest.approx(reward),
            ), (seed, step)
            if terminated:
                ends += 1
                break
    assert ends > 20


@pytest.mark.parametrize("family", ["minigrid-memory", "minigrid-memory-rgb"])
def test_the_expert_goes_back_to_look(family: str) -> None:
    if family.endswith("rgb"):
        pytest.importorskip("minigrid")
    task = find(f"{family}/21")
    assert task.expert is not None
    episodes = list(rollout(task.expert(), task, range(200)))
    assert all(episode.total_return > 0 for episode in episodes)
    assert (
        np.mean([episode.actions[0] != 2 for episode in episodes]) > 0.8
    )  # turns about, unless it sees the object at once


def test_rows_hold_returns_beside_success() -> None:
    task = find("minigrid-memory/11")
    assert task.expert is not None
    played = list(outcomes(task.expert(), task, range(4)))
    row = _scored(task, played)
    assert (row["value"], row["scores"]) == (1.0, [1.0] * 4)
    assert row["returns"] == pytest.approx(
        [1 - 0.9 * outcome.length / 845 for outcome in played], abs=1e-6
    )


def test_rewards_fall_over_845_steps_or_over_the_time_limit() -> None:
    released, paper = find("minigrid-memory/41x96"), find("minigrid-memory-paper/41x96")
    for task, limit in ((released, 845), (paper, 96)):
        assert task.horizon == 96
        for episode in rollout(task.expert(), task, range(20)):  # type: ignore[misc]
            assert episode.total_return == pytest.approx(1 - 0.9 * len(episode) / limit, rel=1e-6)


def test_the_time_limit_allows_the_longest_path() -> None:
    for size in (11, 41, 501):
        task = find(f"minigrid-memory-fixed/{size}")
        assert task.horizon == default_time_limit(size) >= 500
        episodes = rollout(task.expert(), task, range(20))  # type: ignore[misc]
        assert all(episode.total_return > 0 for episode in episodes)


def test_what_the_page_about_fidelity_says_of_the_expert() -> None:
    def play(name: str, count: int = 100) -> tuple[np.ndarray, np.ndarray]:
        task = find(name)
        expert: Any = task.expert
        episodes = list(rollout(expert(), task, range(count), num_envs=count))
        return np.array([e.total_return for e in episodes]), np.array([len(e) for e in episodes])

    assert play("minigrid-memory/41x96")[0].mean() == pytest.approx(0.956, abs=5e-4)
    assert play("minigrid-memory-paper/41x96")[0].mean() == pytest.approx(0.610, abs=5e-4)
    returns, lengths = play("minigrid-memory/41x96", 1000)
    assert (returns > 0).all()
    assert ((lengths >= 60) & (lengths <= 90)).mean() == pytest.approx(0.135)
    assert (play("minigrid-memory/501x500")[0] > 0).mean() == pytest.approx(0.60)
    assert (play("minigrid-memory/501")[0] > 0).all()
    assert (default_time_limit(245), default_time_limit(247), default_time_limit(501)) == (
        500,
        504,
        1012,
    )


def test_what_the_page_of_results_says_of_mistakes() -> None:
    results = Path(__file__).parents[2] / "results"
    rows = latest(read_jsonl(results / "minigrid-memory.jsonl"))
    mistakes, beside = 0, 0
    for row in rows:
        if row["variant"] == "rate" and row["x"] <= 91:
            grids = MinigridMemories(row["x"])
            grids.reset(range(row["episodes"]))
            wrong = np.array(row["scores"]) < 1
            mistakes, beside = mistakes + wrong.sum(), beside + (wrong & (grids.x <= 2)).sum()
    text = (
        f"Of RATE's {mistakes} mistakes up to 91 cells {beside} are on starts in the two columns "
        "beside the object"
    )
    assert text in " ".join((results / "minigrid-memory.md").read_text().split())


@pytest.mark.parametrize("size", ["40", "5", "x", "41x0", "41x", "-3", ""])
def test_impossible_sizes_are_refused(size: str) -> None:
    with pytest.raises(ValueError, match="is not a task"):
        find(f"minigrid-memory/{size}")
