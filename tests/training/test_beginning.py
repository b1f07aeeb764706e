"""What training begins with: a recipe's file, another run's weights, more updates, more seeds."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import rate
from rate.cli import main
from rate.launch.seeds import train_seeds
from rate.recipe import OptimiserConfig
from rate.runs.checkpoint import read_tensors
from rate.runs.folder import Run, RunError, read_recipe
from rate.storage.files import read_jsonl

ONE = {"threads": 1, "accelerator": "cpu"}
QUICK = ["--threads", "1", "--accelerator", "cpu"]


def weights(path: Path) -> dict[str, torch.Tensor]:
    return read_tensors(path)[0]


def assert_equal(first: Path, second: Path) -> None:
    own, other = weights(first), weights(second)
    assert own.keys() == other.keys()
    assert all(torch.equal(own[name], other[name]) for name in own)


def test_a_finished_run_is_prolonged(tiny, tmp_path):
    constant = OptimiserConfig(decay="none", warmup=1)
    short = rate.train(tiny(updates=4, optimiser=constant), tmp_path / "short", **ONE)
    whole = rate.train(tiny(updates=7, optimiser=constant), tmp_path / "whole", **ONE)
    rate.resume(short, updates=7)
    assert_equal(short / "last.safetensors", whole / "last.safetensors")
    run = Run(short)
    assert [row["update"] for row in run.metrics()] == list(range(1, 8))
    assert run.recipe() == Run(whole).recipe()
    [before] = run.provenance()["prolonged"]
    assert before["updates"] == 4
    with pytest.raises(RunError, match=r"has 7 updates, and cannot be cut to 5: give more"):
        rate.resume(short, updates=5)


def test_a_run_begins_with_the_weights_of_another(tiny, trained, tmp_path):
    still = tiny(updates=1, optimiser=OptimiserConfig(learning_rate=0.0), start_from=str(trained))
    assert_equal(rate.train(still, tmp_path / "r", **ONE) / "last.safetensors",
                 trained / "last.safetensors")  # fmt: skip
    fresh = replace(still, start_from="")
    assert fresh.hash != still.hash
    wide = tiny(width=24, start_from=str(trained))
    with pytest.raises(RunError, match=r"start_from .* has another model"):
        rate.train(wide, tmp_path / "wide", **ONE)
    assert not (tmp_path / "wide" / "recipe.json").exists()


def test_weights_that_changed_meanwhile_are_refused(tiny, trained, tmp_path):
    before = tmp_path / "before"
    shutil.copytree(trained, before)
    run = rate.train(tiny(updates=2, start_from=str(before)), tmp_path / "r", **ONE)
    (run / "training.safetensors").unlink()  # as if it was killed before its first checkpoint
    other = rate.train(tiny(updates=1), tmp_path / "other", seed=5, **ONE)
    shutil.copy(other / "last.safetensors", before / "last.safetensors")
    with pytest.raises(RunError, match="has changed since the run began with it"):
        rate.resume(run)


def test_the_newest_checkpoints_are_kept(tiny, tmp_path):
    recipe = tiny(updates=5, checkpoint_every=1, keep_checkpoints=2)
    run = Run(rate.train(recipe, tmp_path / "r", **ONE))
    assert run.kept_checkpoints() == [4, 5]
    assert_equal(run.checkpoint("update-5"), run.checkpoint("last"))
    assert recipe.hash == replace(recipe, keep_checkpoints=0).hash


def test_a_recipe_file_trains_with_options_that_replace_its_own(trained, tmp_path, capsys):
    for source in (trained, trained / "recipe.json"):
        run = tmp_path / source.name
        words = ["--updates", "2", "--optimiser.learning-rate", "0.005", "--model.dropout", "0.25"]
        assert main(["train", "--recipe", str(source), "--run", str(run), *words, *QUICK]) == 0
        made, given = Run(run).recipe(), Run(trained).recipe()
        assert (made.updates, made.optimiser.learning_rate, made.model.dropout) == (2, 0.005, 0.25)
        model = replace(given.model, dropout=0.25)
        optimiser = replace(given.optimiser, learning_rate=0.005)
        assert made == replace(given, updates=2, optimiser=optimiser, model=model)
    assert main(["train", "lstm", "--recipe", str(trained), "--run", str(tmp_path / "x")]) == 2
    assert "the recipe is of the model rate" in capsys.readouterr().err


def test_damaged_recipes_are_refused(trained, tmp_path):
    data = json.loads((trained / "recipe.json").read_text())
    for change in ({"updates": "many"}, {"unknown": 1}, {"model": {"name": "os:getcwd"}}):
        path = tmp_path / "recipe.json"
        path.write_text(json.dumps({**data, **change}))
        with pytest.raises(ValueError, match=r"recipe\.json"):
            read_recipe(path)
    with pytest.raises(RunError, match="is no recipe"):
        read_recipe(tmp_path / "missing.json")


@pytest.mark.slow
def test_several_seeds_are_trained_side_by_side(tiny, tmp_path):
    folder = tmp_path / "runs"
    runs = train_seeds(tiny(updates=3), folder, seeds=(0, 2), jobs=2)
    assert [Run(run).provenance()["seed"] for run in runs] == [0, 2]
    alone = rate.train(tiny(updates=3), tmp_path / "alone", seed=2, **ONE)
    assert_equal(alone / "last.safetensors", runs[1] / "last.safetensors")
    before = [(run / "last.safetensors").stat().st_mtime_ns for run in runs]
    assert train_seeds(tiny(updates=3), folder, seeds=(0, 2, 3))[:2] == runs
    assert before == [(run / "last.safetensors").stat().st_mtime_ns for run in runs]
    rate.report(folder)
    assert "1 seed" not in (folder / "report.md").read_text()
    assert read_jsonl(folder / "seeds-0-2.jsonl")


def test_seeds_on_the_command_line(tiny, recall, tmp_path):
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(tiny(updates=2).to_json()))
    words = ["--recipe", str(recipe), "--run", str(tmp_path / "runs"), "--seeds", "1", "4", *QUICK]
    assert main(["train", *words]) == 0
    seeds = [Run(tmp_path / "runs" / f"seed-{seed}").provenance()["seed"] for seed in (1, 4)]
    assert seeds == [1, 4]
    with pytest.raises(ValueError, match="name at least one, and none twice"):
        train_seeds(tiny(), tmp_path / "twice", seeds=(1, 1))
