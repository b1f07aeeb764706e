"""Evaluation on recorded data: the numbers are those of acting with the recorded actions."""

import shutil

import numpy as np
import pytest

import rate
from rate.acting.actor import Actor
from rate.acting.recorded import Steps, summary
from rate.cli import main
from rate.runs.folder import Run
from rate.storage.files import read_jsonl


def replayed(run, dataset, episodes):
    """Log-likelihood and correctness of each step, by acting with the recorded actions."""
    policy, _ = rate.load_policy(run)
    data, found = rate.open_dataset(dataset), []
    for index in episodes:
        episode = data.episode(index)
        actor = Actor(policy, float(episode.rewards.sum()))
        actor.reset(1)
        for step, action in enumerate(episode.actions):
            before = episode.rewards[step - 1 : step] if step else np.zeros(1)
            observation = episode.observations["observation"][step][None]
            outputs = actor.outputs(observation, before)
            likely = outputs.log_softmax(-1)[0, int(action)]
            found.append((step, float(likely), float(outputs.argmax() == int(action))))
            actor.actions = np.array([action])
    return np.array(found)


@pytest.fixture
def run(trained, tmp_path):
    """A copy of a finished run."""
    return shutil.copytree(trained, tmp_path / "run")


def test_numbers_are_those_of_acting_with_the_recorded_actions(run, recall):
    row = rate.evaluate_recorded(run, recall, episodes=12, held_out=False, threads=1)
    expected = replayed(run, recall, range(12))
    assert row["steps"] == len(expected)
    assert row["log_likelihood"] == pytest.approx(expected[:, 1].mean(), abs=1e-5)
    assert row["accuracy"] == pytest.approx(expected[:, 2].mean())
    for part in row["by_distance"]:
        here = (part["from"] <= expected[:, 0]) & (expected[:, 0] <= part["to"])
        assert part["steps"] == here.sum()
        assert part["log_likelihood"] == pytest.approx(expected[here, 1].mean(), abs=1e-5)
    length = Run(run).recipe().model.segment_length
    assert [part["from"] for part in row["by_position"]] == list(range(len(row["by_position"])))
    assert sum(part["steps"] for part in row["by_position"]) == row["steps"]
    assert row["by_position"][-1]["to"] == length - 1
    assert not row["held_out"]
    assert rate.evaluate_recorded(run, recall, threads=1)["episodes"] < 12
    rows = read_jsonl(Run(run).recorded_file)
    assert [row["held_out"] for row in rows] == [False, True]


def test_the_command_shows_steps_of_the_episode(run, recall, capsys):
    assert main(["evaluate", str(run), "--dataset", str(recall), "--threads", "1"]) == 0
    shown = capsys.readouterr().out
    assert "calibration error" in shown
    assert "held-out episodes" in shown


def test_data_of_other_spaces_are_refused(trained, tmp_path, capsys):
    rate.collect("tmaze-uniform/9", tmp_path / "other", episodes=2)
    assert main(["evaluate", str(trained), "--dataset", str(tmp_path / "other")]) == 2
    assert "was trained for the observation space" in capsys.readouterr().err


def test_a_calibration_compares_confidence_and_accuracy():
    confidence = np.array([0.55, 0.55, 0.95, 0.95], np.float32)
    zeros = np.zeros(4, int)
    steps = Steps("log_likelihood", np.zeros(4), np.array([1.0, 0, 1, 1]), confidence,
                  np.arange(4), zeros, zeros)  # fmt: skip
    row = summary(steps)
    assert [one["steps"] for one in row["calibration"]] == [2, 2]
    assert row["calibration_error"] == pytest.approx(0.05)


def test_real_actions_have_a_squared_error(tmp_path):
    task = "gym:Pendulum-v1,horizon=12,expert=random"
    rate.collect(task, tmp_path / "data", episodes=4)
    config = rate.config_class("gru")(segment_length=4, width=16, hidden=16)
    recipe = rate.Recipe(dataset=str(tmp_path / "data"), model=config, updates=2)
    run = rate.train(recipe, tmp_path / "run", threads=1, accelerator="cpu")
    row = rate.evaluate_recorded(run, tmp_path / "data", held_out=False)
    assert row["squared_error"] > 0
    assert "calibration" not in row
