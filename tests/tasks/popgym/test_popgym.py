"""POPGym: every task is acted in and learned from, and every expert is as good as recorded."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from conftest import MODEL, RECIPE

from rate.acting.actor import Actor
from rate.acting.rollout import rollout
from rate.dataset import write_dataset
from rate.experiments import find as find_experiment
from rate.recipe import Recipe
from rate.runs.checkpoint import load_policy
from rate.storage.files import read_jsonl
from rate.tasks.lookup import find
from rate.tasks.popgym import GAMES, PUZZLES, REACTIVE, SIZES, PlayingAgent, names
from rate.tasks.popgym.bandits import boundary, indices
from rate.tasks.task import Task
from rate.training import train

pytest.importorskip("popgym")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

EXPERTS = Path(__file__).parents[3] / "results" / "popgym-experts.jsonl"
every_task = pytest.mark.parametrize("name", names())


@pytest.fixture(autouse=True)
def mazelib(request: pytest.FixtureRequest) -> None:
    """POPGym has labyrinths only where mazelib is installed, which has no wheel for Python 3.14."""
    if "Labyrinth" in request.node.name:
        pytest.importorskip("mazelib")


def short(name: str, steps: int) -> Task:
    return replace(find(f"popgym/{name}"), horizon=steps)


class Random:
    """Draws actions from the space."""

    def __init__(self, space: gymnasium.Space[Any]) -> None:
        self.space = space

    def reset(self, batch: int, seeds: Sequence[int] | None = None) -> None:
        self.space.seed(0)

    def act(
        self, observations: Any, rewards: np.ndarray, forced: np.ndarray | None = None
    ) -> np.ndarray:
        return np.stack([np.asarray(self.space.sample()) for _ in rewards])


def test_there_are_33_puzzles_and_15_reactive_tasks() -> None:
    assert (len(PUZZLES) * 3, len(REACTIVE) * 3, len(set(names()))) == (33, 15, 48)


@every_task
def test_every_task_trains_one_step_and_its_policy_acts(name: str, tmp_path: Path) -> None:
    task = short(name, 14)
    assert task.expert is not None
    episodes = rollout(task.expert(), task, range(3))
    write_dataset(
        tmp_path / "data", episodes, task.observation_space, task.action_space, task=task.name
    )
    recipe: Recipe = replace(
        RECIPE, dataset=str(tmp_path / "data"), model=MODEL, updates=1, batch_size=2
    )
    run = train(recipe, tmp_path / "run", accelerator="cpu", threads=1)
    policy, _ = load_policy(run / "last.safetensors")
    episode = next(rollout(Actor(policy, 1.0), task, [0]))
    assert task.action_space.contains(episode.actions[0])


@every_task
def test_an_episode_ends_by_itself_within_the_horizon(name: str) -> None:
    task = find(f"popgym/{name}")
    longer = replace(task, horizon=task.horizon + 10)
    for episode in rollout(Random(task.action_space), longer, range(2)):
        assert len(episode) <= task.horizon


@every_task
def test_the_expert_is_as_good_as_recorded(name: str) -> None:
    recorded = {row["task"]: row for row in read_jsonl(EXPERTS) if row["variant"] == "expert"}[
        f"popgym/{name}"
    ]
    task = find(f"popgym/{name}")
    assert task.expert is not None
    scores = [episode.total_return for episode in rollout(task.expert(), task, range(3))]
    np.testing.assert_allclose(scores, recorded["scores"][:3], atol=0.01)
    assert recorded["value"] > task.reference["chance"]
    assert task.reference["expert"] == pytest.approx(recorded["value"], abs=0.005)


def test_a_wrong_name_is_answered_with_what_is_close() -> None:
    with pytest.raises(ValueError, match="did you mean 'RepeatPreviousEasy'"):
        find("popgym/RepeatPreviosEasy")


def test_experts_take_no_imposed_actions() -> None:
    task = find("popgym/RepeatFirstEasy")
    assert task.expert is not None
    agent = task.expert()
    assert isinstance(agent, PlayingAgent)
    agent.reset(2)
    with pytest.raises(ValueError, match="leave out the prompt"):
        agent.act(np.array([0, 1]), np.zeros(2, np.float32), np.array([0, 0]))


def test_an_arm_that_is_known_better_has_less_to_learn_from_it() -> None:
    few, many = indices(np.array([1.0, 50.0]), np.array([1.0, 50.0]), rate=0.01)
    assert few > many > 0.5


def test_more_is_paid_for_what_there_is_more_time_to_use() -> None:
    values = boundary(np.linspace(0.21, 100, 5000))
    assert (np.diff(values) > -0.02).all()  # its pieces do not quite meet
    assert values[-1] > values[0] > 0


def test_the_experiment_has_every_task_and_runs_sixteen_unless_asked() -> None:
    experiment = find_experiment("popgym")
    assert len(experiment.evaluations) == len(GAMES) * len(SIZES)
    usual = experiment.narrowed()
    assert (len(usual.variants), len(usual.evaluations), len(usual.data)) == (80, 16, 16)
    one = experiment.narrowed(["gru"], ["popgym/MineSweeperHard"])
    assert list(one.variants) == ["gru-MineSweeperHard"]
    assert list(one.data) == ["MineSweeperHard"]
    with pytest.raises(ValueError, match="unknown tasks"):
        experiment.narrowed(tasks=["popgym/Chess"])
