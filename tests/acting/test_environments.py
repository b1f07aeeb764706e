"""What an environment returns is checked, and what goes wrong in it is one sentence."""

import threading
import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

import rate
from rate.acting.environments import Stepping
from rate.acting.rollout import outcomes, rollout
from rate.cli import main
from rate.models.mlp import Config
from rate.tasks.gym.make import RandomAgent
from rate.tasks.gym.vector import Vectorised
from rate.tasks.task import Task, success
from tests.acting import faulty
from tests.acting.faulty import ENDS, ERRORS, HANGS, OBSERVATIONS, REWARDS, SHARING, Faulty, Mine

SEEDS = [5, 7, 8]
QUICK = Stepping(step_timeout=0.3)


def task_of(maker: Any, name: str = "mine", **fields: Any) -> Task:
    return Task(name, maker, 9, 1.0, success, "success", "Goes wrong", **fields)


def played(task: Task, stepping: Stepping = Stepping(), num_envs: int = 3) -> list[Any]:
    agent = RandomAgent(Faulty.action_space)
    return list(rollout(agent, task, SEEDS, num_envs=num_envs, stepping=stepping))


FAULTS = {
    "observation": OBSERVATIONS,
    "reward": REWARDS,
    "end": ENDS,
    "raises": ERRORS,
    "returned": ["four", "none", "text"],
}
EVERY = [f"{kind}/{which}" for kind, all_ in FAULTS.items() for which in all_]


@pytest.mark.parametrize("fault", EVERY)
def test_a_fault_in_a_step_is_one_sentence(fault: str) -> None:
    task = task_of(lambda: Faulty(fault))
    with pytest.raises(
        ValueError, match=r"^mine failed in step 2 of the episode of seed 5: "
    ) as told:
        played(task)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("fault", [name for name in EVERY if name[0] in "or" and name[2] != "w"])
def test_a_fault_in_a_reset_is_one_sentence(fault: str) -> None:
    if fault.startswith("returned"):
        return
    with pytest.raises(ValueError, match=r"^mine failed in reset\(seed=5\): "):
        played(task_of(lambda: Faulty(fault, at=0)))


def test_an_environment_that_cannot_be_made_says_so() -> None:
    with pytest.raises(ValueError, match=r"mine failed in being made: SystemExit: 3 \(.*faulty.py"):
        played(task_of(faulty.quits))


def test_ctrl_c_is_the_users() -> None:
    with pytest.raises(KeyboardInterrupt):
        played(task_of(lambda: Faulty("interrupt")))


@pytest.mark.parametrize("hang", HANGS)
@pytest.mark.parametrize(("at", "place"), [(2, "step 2 of the episode of"), (0, r"reset\(")])
def test_an_environment_that_hangs_is_interrupted(hang: str, at: int, place: str) -> None:
    began = time.monotonic()
    with pytest.raises(
        ValueError, match=rf"^mine has not returned from {place}.* after 0.3 s: .*step_timeout"
    ):
        played(task_of(lambda: Faulty(f"hangs/{hang}", at)), QUICK)
    assert time.monotonic() - began < 5


def test_the_limit_is_one_of_a_step_and_not_of_a_wave() -> None:
    class Slow(Faulty):
        def step(self, action: Any) -> Any:
            time.sleep(0.05)
            return super().step(action)

    assert len(played(task_of(Slow), QUICK)) == 3  # 15 steps, of 0.75 s in all


def test_in_a_thread_environments_are_played_without_a_limit() -> None:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend(played(task_of(Faulty), QUICK)))
    thread.start()
    thread.join()
    assert len(found) == 3


def test_an_environment_that_fails_in_close_is_a_warning() -> None:
    class Open(Faulty):
        def close(self) -> None:
            raise RuntimeError("stuck")

    with pytest.warns(UserWarning, match="mine failed in close: RuntimeError: stuck"):
        assert len(played(task_of(Open))) == 3


def test_checks_can_be_left_out() -> None:
    task = task_of(lambda: Faulty("observation/outside"))
    assert len(played(task, Stepping(check=False))) == 3


class Vector:
    """Faulty environments as one vector environment."""

    def __init__(self, fault: str, at: int = 2) -> None:
        self.fault, self.at = fault, at

    def __call__(self) -> Vectorised:
        return Vectorised("mine", lambda: SyncVectorEnv([lambda: Faulty(self.fault, self.at)] * 3))


@pytest.mark.parametrize(
    "fault", ["observation/outside", "observation/nan", "reward/nan", "raises/exit"]
)
def test_a_fault_in_a_batch_is_one_sentence(fault: str) -> None:
    task = task_of(lambda: Faulty(fault), batch=Vector(fault))
    with pytest.raises(ValueError, match=r"^mine failed in step 2 of the episodes? of seeds? 5"):
        played(task)


def test_a_batch_that_hangs_is_interrupted() -> None:
    with pytest.raises(ValueError, match=r"^mine has not returned from step 2 .* after 0.3 s"):
        played(task_of(Faulty, batch=Vector("hangs/sleep")), QUICK)


class Wrong(RandomAgent):
    """Returns one action in every row."""

    def __init__(self, action: Any) -> None:
        self.action = action

    def reset(self, batch: int, seeds: Sequence[int] | None = None) -> None:
        self.batch = batch

    def act(self, observations: Any, rewards: Any, forced: Any = None) -> np.ndarray:
        return np.array([self.action] * self.batch)


@pytest.mark.parametrize("action", [2, -1, 0.5, np.nan, "a", None, [0, 1]])
def test_actions_outside_their_space_are_refused(action: Any) -> None:
    with pytest.raises(
        ValueError, match=r"^the agent failed in step 1 of the episode of seed 5: actions"
    ):
        list(outcomes(Wrong(action), task_of(Faulty), SEEDS))


@pytest.mark.parametrize("kind", SHARING)
def test_environments_that_share_something_are_played_one_at_a_time(kind: str) -> None:
    task = task_of(SHARING[kind], f"shares {kind}")
    with pytest.warns(UserWarning, match=r"cannot be stepped side by side.*one at a time"):
        together = played(task)
    assert [len(episode) for episode in together] == [3 if kind == "wrapped" else 5] * 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        played(task)  # said once


def test_environments_that_share_nothing_that_changes_are_played_together() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        together, alone = played(task_of(Mine, "own")), played(task_of(Mine, "own"), num_envs=1)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(
            one.observations["observation"], other.observations["observation"]
        )


HERE = "tests.acting.faulty:Faulty,horizon=9"


@pytest.mark.parametrize("fault", ["raises/exit", "observation/column", "hangs/sleep"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_commands_that_play_say_so_and_fail(
    fault: str, workers: str, tmp_path: Any, capsys: Any
) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    rate.collect(f"{HERE},expert=random", data, episodes=8)
    model = Config(segment_length=5, segments=1, width=8)
    rate.train(rate.Recipe(dataset=str(data), model=model, updates=1), run)
    wrong = f"{HERE},environment.fault={fault},environment.at=3"
    limits = ["--workers", workers, "--step-timeout", "2"]
    where = "has not returned from" if fault.startswith("hangs") else "failed in"
    for words in (
        ["evaluate", str(run), "--tasks", wrong, "--episodes", "4"],
        [
            "collect",
            wrong,
            "--expert",
            "random",
            "--episodes",
            "4",
            "--output",
            str(tmp_path / "x"),
        ],
    ):
        capsys.readouterr()
        assert main([*words, *limits]) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert where in said
        assert "step 3 of the episode of seed" in said
        assert "Traceback" not in said
    assert not (tmp_path / "x").exists()
