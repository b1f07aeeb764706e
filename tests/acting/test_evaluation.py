import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import rate
import rate.acting.evaluation
from rate.acting.actor import Actor
from rate.acting.evaluation import Protocol
from rate.acting.rollout import Outcome
from rate.cli import main
from rate.models.sampling import Sampling
from rate.runs.checkpoint import load_policy
from rate.runs.folder import Run, RunError
from rate.storage.files import read_jsonl
from rate.system.compute import Compute
from rate.tasks.lookup import find

FIELDS = {
    "experiment",
    "variant",
    "checkpoint",
    "recipe",
    "dataset",
    "seed",
    "task",
    "metric",
    "reference",
    "x",
    "value",
    "standard_error",
    "episodes",
    "scores",
    "cues",
    "steps",
    "actions",
    "first_seed",
    "target_return",
    "update",
    "training_commit",
    "commit",
    "packages",
    "device",
    "seconds",
    "date",
}


@pytest.fixture
def run(trained, tmp_path) -> Path:
    return Path(
        shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("scores.jsonl"))
    )


@pytest.mark.parametrize("sample", [False, True])
def test_scores_do_not_depend_on_how_many_episodes_run_side_by_side(sample, run):
    scores = {
        num_envs: rate.evaluate(run, ["recall/30"], episodes=20, num_envs=num_envs, sample=sample)[
            0
        ]["scores"]
        for num_envs in (1, 3, 8, 100)
    }
    assert scores[1] == scores[3] == scores[8] == scores[100]
    assert 0 < np.mean(scores[1]) < 1


def test_the_k_th_episode_has_the_k_th_seed(run):
    everything = rate.evaluate(run, ["recall/12"], episodes=10, sample=True)[0]
    rest = rate.evaluate(run, ["recall/12"], episodes=6, first_seed=4, sample=True)[0]
    assert everything["scores"][4:] == rest["scores"]
    assert everything["cues"][4:] == rest["cues"]


def test_sampled_actions_are_those_of_their_seeds_and_differ_from_greedy_ones(run):
    sampled, again = (
        rate.evaluate(run, ["recall/12"], episodes=40, sample=True)[0] for _ in range(2)
    )
    greedy = rate.evaluate(run, ["recall/12"], episodes=40)[0]
    assert sampled["scores"] == again["scores"] != greedy["scores"]
    assert (sampled["actions"], greedy["actions"]) == ("sampled", "greedy")


def test_a_row_is_not_repeated_and_goes_where_it_is_asked_for(run, tmp_path):
    tasks, scores, elsewhere = ["recall/12", "recall/24"], run / "scores.jsonl", tmp_path / "rows"
    rate.evaluate(run, tasks[:1], episodes=2)
    before = scores.read_bytes()
    rate.evaluate(run, tasks[:1], episodes=2, output=elsewhere)
    assert scores.read_bytes() == before
    assert len(read_jsonl(elsewhere)) == 1
    rate.evaluate(run, tasks, episodes=2)  # as after an evaluation that was stopped
    assert scores.read_bytes().startswith(before)
    assert [row["task"] for row in read_jsonl(scores)] == tasks
    for other in ({"first_seed": 2}, {"target_return": 2.0}, {"sample": True}, {"episodes": 3}):
        rows = len(read_jsonl(scores))
        rate.evaluate(run, tasks[:1], **{"episodes": 2, **other})
        assert len(read_jsonl(scores)) == rows + 1, other


@pytest.mark.parametrize("place", ["missing/rows.jsonl", "run"])
def test_rows_are_tried_for_writing_before_anything_is_played(place, run, tmp_path, monkeypatch):
    monkeypatch.setattr(rate.acting.evaluation, "_play", lambda *_: pytest.fail("played"))
    with pytest.raises(OSError, match=r"^cannot write .+: .+"):
        rate.evaluate(run, ["recall/12"], episodes=2, output=tmp_path / place)


def test_rows_have_the_documented_fields_and_are_appended(run):
    rows = rate.evaluate(
        run, ["recall/12", "recall/24"], episodes=8, labels={"variant": "mine", "note": "extra"}
    )
    rows += rate.evaluate(run, ["recall/12"], episodes=1, checkpoint="best", first_seed=5)
    assert read_jsonl(Run(run).scores_file) == json.loads(json.dumps(rows))
    assert [set(row) - {"note"} for row in rows] == [FIELDS] * 3
    assert [row["first_seed"] for row in rows] == [0, 0, 5]
    assert [row["target_return"] for row in rows] == [1.0] * 3
    first, second, third = rows
    assert (first["task"], first["x"], first["steps"], first["episodes"]) == (
        "recall/12",
        12,
        96,
        8,
    )
    assert (second["x"], second["steps"], second["variant"], second["note"]) == (
        24,
        192,
        "mine",
        "extra",
    )
    assert first["value"] == np.mean(first["scores"])
    assert first["standard_error"] == pytest.approx(np.std(first["scores"], ddof=1) / np.sqrt(8))
    assert (third["variant"], third["checkpoint"], third["standard_error"]) == ("run", "best", 0.0)
    assert first["recipe"] == json.loads((run / "recipe.json").read_text())["hash"]
    assert (first["metric"], first["seed"], first["update"], first["device"]) == (
        "success",
        0,
        6,
        "cpu",
    )


def test_the_number_of_threads_can_be_chosen_and_no_other_name_is_taken(run):
    assert rate.evaluate(run, ["recall/12"], episodes=2, threads=2)[0]["episodes"] == 2
    assert torch.get_num_threads() == 2
    with pytest.raises(TypeError, match=r"no option 'thread_count'; options are accelerator, .*"):
        rate.evaluate(run, ["recall/12"], thread_count=2)


def test_options_may_be_given_as_a_protocol(run):
    protocol = Protocol(episodes=3, first_seed=2, labels={"note": "extra"})
    [row] = rate.evaluate(run, ["recall/12"], protocol, Compute("cpu"), first_seed=4)
    assert (row["episodes"], row["note"]) == (3, "extra")
    assert row["scores"] == rate.evaluate(run, ["recall/12"], episodes=7)[0]["scores"][4:]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tasks": ["tmaze/90"]}, ValueError, r"observation space Box.* but tmaze/90 has Box"),
        (
            {"tasks": ["recall-multidiscrete/4"]},
            ValueError,
            "but recall-multidiscrete/4 has MultiDiscrete",
        ),
        ({"tasks": ["recall/12", "recall-image/4"]}, ValueError, "but recall-image/4 has"),
        ({"tasks": ["recal/12"]}, ValueError, "Did you mean 'recall/12'"),
        ({"checkpoint": "first"}, ValueError, "it must be last, best, both, or"),
        ({"episodes": 0}, ValueError, "episodes must be at least 1, but 0 was given"),
        ({"num_envs": 0}, ValueError, "num_envs must be at least 1, but 0 was given"),
        ({"first_seed": -1}, ValueError, "first_seed must be at least 0, but -1 was given"),
        ({"workers": 0}, ValueError, "workers must be at least 1, but 0 was given"),
        ({"accelerator": "abacus"}, ValueError, "accelerator must be one of auto"),
    ],
)
def test_what_cannot_be_evaluated_is_said_and_writes_nothing(options, error, message, run):
    with pytest.raises(error, match=message):
        rate.evaluate(run, **{"tasks": ["recall/12"], "episodes": 2, **options})
    assert not (Run(run).scores_file).exists()


def test_a_folder_without_a_run_is_said(tmp_path):
    with pytest.raises(RunError, match=r"is not a run: it has no recipe.json"):
        rate.evaluate(tmp_path, ["recall/12"])


def test_a_damaged_recipe_is_said(run):
    (run / "recipe.json").write_text("{")
    with pytest.raises(RunError, match=r"unreadable recipe.json"):
        rate.evaluate(run, ["recall/12"])


def acts(actor: Actor, observations: np.ndarray) -> list[np.ndarray]:
    """Outputs [n, outputs] for each of the observations [steps, n, ...]; rewards are zero but for
    step 2."""
    outputs = []
    for step, values in enumerate(observations):
        outputs.append(actor.outputs(values, np.full(len(values), float(step == 2))).numpy())
        actor.actions = np.full(len(values), step % 2)
    return outputs


@pytest.mark.parametrize("moment", [1, 4, 6])
def test_a_row_reset_alone_begins_anew_and_leaves_the_others_alone(moment, trained):
    policy, _ = load_policy(trained)
    space = find("recall/12").observation_space
    space.seed(0)
    observations = np.array([[space.sample() for _ in range(3)] for _ in range(11)])

    undisturbed, mixed, fresh = (Actor(policy, 1.0) for _ in range(3))
    undisturbed.reset(3)
    mixed.reset(3)
    fresh.reset(1)
    expected = acts(undisturbed, observations)
    before = acts(mixed, observations[:moment])
    mixed.reset(rows=np.array([1]))
    for step in range(moment, 11):
        rewards = np.array([step == 2, 0.0, step == 2], float)
        outputs = mixed.outputs(observations[step], rewards).numpy()
        alone = fresh.outputs(observations[step, 1:2], np.zeros(1)).numpy()
        mixed.actions, fresh.actions = np.full(3, step % 2), np.full(1, step % 2)
        np.testing.assert_allclose(outputs[[0, 2]], expected[step][[0, 2]], atol=1e-5)
        np.testing.assert_allclose(outputs[1], alone[0], atol=1e-5)
    np.testing.assert_allclose(before, expected[:moment])


def test_the_return_asked_for_is_lowered_by_what_was_received(trained):
    actor = rate.load_agent(trained)
    space = find("recall/12").observation_space
    actor.reset(2)
    for step in range(6):
        actor.act(np.stack([space.sample()] * 2), np.array([0.25 * step, 0.0]))
    # The reward of a row's first step belongs to nothing and is left out.
    np.testing.assert_allclose(actor.returns_to_go, [1 - 0.25 * sum(range(1, 6)), 1.0])


def test_rows_name_the_group_of_every_episode():
    task = replace(find("recall/6"), group=lambda seed: "ab"[seed % 2])
    played = [Outcome(seed, 1.0, 6) for seed in (4, 5, 7)]
    row = rate.acting.evaluation._scored(task, played)
    assert row["groups"] == ["a", "b", "b"]
    assert "groups" not in rate.acting.evaluation._scored(find("recall/6"), played)


def test_actions_are_drawn_from_the_likeliest_at_a_temperature():
    logits = np.array([[0.0, 1.0, 2.0, 5.0, 5.0]], np.float32)
    narrowed = Sampling(temperature=0.5, top_k=1).narrowed(logits, [3, 2])
    np.testing.assert_array_equal(narrowed, [[-np.inf, -np.inf, 4.0, 10.0, -np.inf]])
    np.testing.assert_array_equal(Sampling(top_k=9).narrowed(logits, [3, 2]), logits)
    assert str(Sampling(0.5, 3)) == "sampled at temperature 0.5 from the 3 likeliest"
    with pytest.raises(ValueError, match="temperature"):
        Sampling(temperature=0.0)


def test_among_one_action_nothing_is_drawn(run):
    greedy, narrow, cold, free = (
        rate.evaluate(run, ["recall/12"], episodes=8, **options)[0]
        for options in (
            {},
            {"sample": True, "top_k": 1},
            {"sample": True, "temperature": 1e-3},
            {"sample": True},
        )
    )
    assert narrow["scores"] == cold["scores"] == greedy["scores"]
    assert free["actions"] == "sampled"
    assert narrow["actions"] == "sampled from the 1 likeliest"
    with pytest.raises(ValueError, match="add sample"):
        rate.evaluate(run, ["recall/12"], top_k=2)


def test_both_checkpoints_side_by_side(run):
    rows = rate.evaluate(run, ["recall/12"], episodes=4, checkpoint="both")
    assert [row["checkpoint"] for row in rows] == ["last", "best"]
    with pytest.raises(ValueError, match="must be last, best, both, or one that was kept"):
        rate.evaluate(run, ["recall/12"], checkpoint="newest")
    with pytest.raises(ValueError, match=r"there is no checkpoint .*update-7"):
        rate.evaluate(run, ["recall/12"], checkpoint="update-7")


def test_a_score_gates_the_exit_status(run, capsys):
    words = ["evaluate", str(run), "--tasks", "recall/12", "--episodes", "4"]
    assert main([*words, "--at-least", "-100"]) == 0
    assert main([*words, "--at-least", "1e9"]) == 1
    assert "is below 1e+09" in capsys.readouterr().err


def test_a_folder_stands_for_the_runs_in_it(run, tmp_path, capsys):
    folder = tmp_path / "seeds"
    for seed in (0, 1):
        shutil.copytree(run, folder / f"seed-{seed}")
    words = ["--tasks", "recall/12", "--episodes", "4"]
    assert main(["evaluate", str(folder), *words]) == 0
    shown = capsys.readouterr().out
    for seed in (0, 1):
        (row,) = Run(folder / f"seed-{seed}").scores()
        assert row["variant"] == f"seed-{seed}"
        assert f"seed-{seed}:" in shown
    assert main(["evaluate", str(tmp_path / "none"), *words]) == 2
    assert "is not a run" in capsys.readouterr().err


def test_several_target_returns_are_drawn_against_what_is_obtained(run, capsys):
    words = ["evaluate", str(run), "--tasks", "recall/12", "--episodes", "4"]
    assert main([*words, "--target-return", "-1", "0", "0.5"]) == 0
    assert "target-return.png" in capsys.readouterr().out
    numbers = json.loads((run / "target-return.json").read_text())
    assert [point["asked"] for point in numbers["points"]] == [-1, 0, 0.5]
    assert {point["task"] for point in numbers["points"]} == {"recall/12"}
    assert list(numbers["quantiles"]) == ["0.05", "0.5", "0.95", "1.0"]
    assert (run / "target-return.png").read_bytes().startswith(b"\x89PNG")
    assert [row["target_return"] for row in Run(run).scores()] == [-1, 0, 0.5]
