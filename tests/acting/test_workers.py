"""Acting in several processes changes how long it takes, and nothing else."""

import shutil
from pathlib import Path

import pytest

import rate
from rate.acting.workers import Acting, play, ticks
from rate.storage.files import read_jsonl
from rate.system.compute import Compute
from rate.system.processes import Processes
from rate.tasks.lookup import find


@pytest.fixture
def run(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_scores_do_not_depend_on_the_number_of_workers(run):
    noise = rate.Corruption("memory", 0.7)
    for options in ({}, {"sample": True}, {"corruption": noise}):
        alone, shared = (
            [
                row["scores"]
                for row in rate.evaluate(
                    run, ["recall/12", "recall/24"], episodes=9, workers=workers, **options
                )
            ]
            for workers in (1, 2)
        )
        assert alone == shared


def test_what_a_worker_cannot_play_is_said_in_its_words(run):
    acting = Acting(run / "first.safetensors", "recall/12", compute=Compute("cpu"))
    with (
        Processes(2) as processes,
        pytest.raises(ValueError, match=r"there is no checkpoint .*first.safetensors"),
    ):
        list(play(processes, acting, range(4)))


def test_the_best_checkpoint_is_chosen_by_the_same_scores_in_several_processes(tiny, tmp_path):
    recipe = tiny(updates=4)
    selection = type(recipe.selection)(every=2, episodes=5, task="recall/12")
    recipe = tiny(updates=4, selection=selection)
    chosen = []
    for workers in (1, 2):
        run = rate.train(
            recipe, tmp_path / str(workers), threads=1, eval_workers=workers, accelerator="cpu"
        )
        rows = [row for row in read_jsonl(run / "metrics.jsonl") if "selection_score" in row]
        assert all(0 < row["selection_seconds"] <= rows[-1]["seconds"] for row in rows)
        assert not list(run.glob(".*"))
        chosen.append([row["selection_score"] for row in rows])
    assert chosen[0] == chosen[1]


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_adds_up(workers, run):
    acting, moved, task = Acting(run / "last.safetensors", "recall/12"), [], find("recall/12")
    with Processes(workers) as processes:
        results = play(processes, acting, range(5), num_envs=2, progress=moved.append)
        assert [result.seed for result in results] == list(range(5))
        assert sum(moved) == ticks(processes, 5, task, 2)
