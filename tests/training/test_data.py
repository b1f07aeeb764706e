"""What training sees of the data when nothing is said about windows."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from gymnasium import spaces

import rate
from rate.cli import main
from rate.dataset import Sampler, open_dataset, write_dataset
from rate.episode import Episode
from rate.models import mlp
from rate.recipe import OptimiserConfig, Recipe
from rate.runs.folder import Run, RunError
from rate.storage.files import read_jsonl
from rate.training.data import describe, fill_in

WINDOW = mlp.Config().window
CPU = {"threads": 1, "accelerator": "cpu"}


def record(folder, lengths):
    """Episodes of lamps, whose rule turns round half-way: the action repeats the lamp, and later
    names the other one."""
    generator = np.random.default_rng(0)
    episodes = []
    for length in lengths:
        lamp = generator.integers(0, 2, length + 1).astype(np.float32)
        late = (np.arange(length + 1) >= length // 2).astype(np.float32)
        episodes.append(
            Episode(
                observations={"observation": np.stack([lamp, late], 1)},
                actions=(lamp != late)[:-1].astype(np.int64),
                rewards=np.ones(length, np.float32),
                terminations=np.eye(1, length, length - 1, bool)[0],
                truncations=np.zeros(length, bool),
            )
        )
    box = spaces.Box(0, 1, (2,), np.float32)
    return write_dataset(folder, episodes, box, spaces.Discrete(2))


@pytest.mark.parametrize("longest", [1, 10, WINDOW])
def test_episodes_that_fit_into_a_window_are_taken_whole(tmp_path, longest):
    data = record(tmp_path / "data", [longest, 1, longest])
    recipe = fill_in(Recipe(str(tmp_path / "data"), mlp.Config()), data)
    assert (recipe.sampling, recipe.target_return) == ("first", longest)
    sampler = Sampler(data.lengths, 2, WINDOW, "first", 0)
    assert "100% of the steps are seen" in describe(recipe, data, [sampler])


@pytest.mark.parametrize("longest", [WINDOW + 1, 10 * WINDOW])
def test_longer_episodes_are_not_cut_to_their_beginnings(tmp_path, longest):
    data = record(tmp_path / "data", [5, longest])
    recipe = Recipe(str(tmp_path / "data"), mlp.Config())
    assert fill_in(recipe, data).sampling == "stride"
    asked = replace(recipe, sampling="first", target_return=0.0)
    assert fill_in(asked, data) == asked
    sampler = Sampler(data.lengths, 2, WINDOW, "first", 0)
    line = describe(asked, data, [sampler])
    assert f"{(5 + WINDOW) / (5 + longest):.0%} of the steps are seen" in line
    assert f"nothing behind step {WINDOW} is learned" in line
    full = Sampler(data.lengths, 2, WINDOW, "full", 0)
    line = describe(replace(asked, sampling="full"), data, [full])
    assert f"{longest / (5 + longest):.0%} of the steps are seen" in line
    assert "1 of 2 episodes are shorter than a window and left out" in line


def test_what_happens_late_in_long_episodes_is_learned_and_validated(tmp_path, capsys):
    record(tmp_path / "data", [4 * WINDOW] * 20)
    options = ["--updates", "60", "--batch-size", "16", "--optimiser.learning-rate", "0.01"]
    place = ["--dataset", str(tmp_path / "data"), "--run", str(tmp_path / "run")]
    assert main(["train", "mlp", *place, *options, "--threads", "1", "--accelerator", "cpu"]) == 0
    assert "sampling stride: 100% of the steps are seen" in capsys.readouterr().err
    last = read_jsonl(tmp_path / "run" / "metrics.jsonl")[-1]
    assert last["accuracy"] > 0.99
    assert last["validation_accuracy"] > 0.99
    agent = rate.load_agent(tmp_path / "run")
    agent.reset(4)
    observations = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)
    assert agent.act(observations, np.zeros(4)).tolist() == [0, 1, 1, 0]


def test_a_single_episode_says_which_option_trains_on_it(tmp_path, capsys):
    record(tmp_path / "data", [4 * WINDOW])
    command = ["train", "mlp", "--dataset", str(tmp_path / "data"), "--run", str(tmp_path / "run")]
    command += ["--updates", "1", "--threads", "1", "--accelerator", "cpu"]
    assert main(command) == 2
    advice = "--selection.fraction 0"
    assert advice in " ".join(capsys.readouterr().err.split())
    assert main([*command, *advice.split()]) == 0


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """A run of relative paths that has stopped early."""
    monkeypatch.chdir(tmp_path)
    record("a/data", [8] * 6)
    recipe = Recipe("a/data", mlp.Config(), updates=4, optimiser=OptimiserConfig(warmup=2))
    rate.train(recipe, "a/run", **CPU)
    for file in ("last.safetensors", "training.safetensors"):
        (tmp_path / "a" / "run" / file).unlink()
    (tmp_path / "a" / "run" / "metrics.jsonl").write_text("")
    return tmp_path


def test_run_and_data_that_were_moved_together_are_found(begun, monkeypatch):
    (begun / "a").rename(begun / "b")
    rate.training.resume("b/run")
    assert Run("b/run").checkpoint("last").exists()


def test_a_run_goes_on_from_another_working_directory(begun, monkeypatch):
    monkeypatch.chdir(begun / "a")
    assert main(["train", "--resume", "run"]) == 0


def test_data_that_was_moved_alone_is_named(begun, capsys):
    (begun / "a" / "data").rename(begun / "elsewhere")
    with pytest.raises(RunError, match="with --dataset"):
        rate.training.resume("a/run")
    record("other", [8] * 5)
    with pytest.raises(RunError, match="its content is"):
        rate.training.resume("a/run", dataset="other")
    assert main(["train", "--resume", "a/run", "--dataset", "elsewhere"]) == 0
    assert open_dataset("elsewhere").content_hash == Run("a/run").provenance()["dataset"]
    shutil.rmtree("elsewhere")
