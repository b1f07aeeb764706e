import json

import pytest

import rate
from rate import reproduction
from rate.experiments import freezing
from rate.experiments.outline import Subset
from rate.storage.files import read_jsonl
from rate.system.compute import Compute

OWN = '''
from dataclasses import dataclass
from rate.experiments import Collection, Experiment, Page
from rate.models import gru, mlp, rate
from rate.recipe import OptimiserConfig, Recipe

@dataclass(frozen=True)
class Config(gru.Config):
    """A model of one's own, in the file of the experiment."""

def recipe(model):
    return Recipe(
        dataset="recall", model=model, updates=2, batch_size=4, checkpoint_every=2,
        optimiser=OptimiserConfig(warmup=1),
    )

EXPERIMENT = Experiment(
    data={"recall": Collection("recall/6", 24)},
    variants={"own": recipe(Config(4, 2, 16)), "mlp": recipe(mlp.Config(4, 2, 16))},
    evaluations=("recall/6",),
    seeds=(0, 1),
    episodes=4,
)
PAGE = Page(title="An experiment of one's own", axis="delay")
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    """An experiment in a file, in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_experiment.py").write_text(OWN)
    return tmp_path


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_experiment_and_its_model_may_live_in_a_file(own, jobs):
    folder = rate.reproduce("own_experiment.py", jobs=jobs)
    assert folder.as_posix() == "runs/own-experiment"
    rows = read_jsonl(folder / "rows.jsonl")
    assert {row["experiment"] for row in rows} == {"own-experiment"}
    assert [(row["variant"], row["seed"]) for row in rows] == [
        (variant, seed) for seed in (0, 1) for variant in ("own", "mlp")
    ]
    recipe = json.loads((folder / "runs" / "own-0" / "recipe.json").read_text())
    assert recipe["model"]["name"] == "own_experiment.py:Config"
    text = (folder / "report.md").read_text()
    assert "# An experiment of one's own" in text
    assert "    rate reproduce own_experiment.py\n" in text
    assert "What it shows" not in text


def test_several_experiments_share_what_they_have_in_common(own):
    (own / "other.py").write_text(OWN.replace("one's own", "another"))
    folder = rate.reproduce(["own_experiment.py", "other.py"], "both", seeds=[0], variants=["mlp"])
    (run,) = (folder / "runs").iterdir()
    assert run.name.startswith("mlp-")
    for name in ("own-experiment", "other"):
        assert len(read_jsonl(folder / name / "rows.jsonl")) == 1
        assert f'href="{name}/report.html"' in (folder / "report.html").read_text()
    with pytest.raises(ValueError, match="two experiments have the same name"):
        rate.reproduce(["other.py", "other.py"])
    with pytest.raises(ValueError, match="name an experiment; experiments are: aar"):
        rate.reproduce([])


def test_remarks_are_taken_from_the_results_at_hand_unless_it_is_a_smoke_test(own):
    (own / "results").mkdir()
    (own / "results" / "own-experiment.md").write_text("It was seen.\n")
    path = str(own / "own_experiment.py")
    subset = Subset(seeds=(0,), variants=("mlp",))
    folder = rate.reproduce(path, "plain", subset=subset)
    assert "It was seen." in (folder / "report.md").read_text()
    smoke = rate.reproduce(path, "smoke", subset=subset, smoke=True)
    text = (smoke / "report.md").read_text()
    assert text.startswith("# Smoke test, no result: An experiment of one's own")
    assert "It was seen." not in text


def test_options_by_name_and_threads_of_several_jobs(own, monkeypatch):
    computes = []

    def run_all(pending, jobs, compute, *_):
        computes.append((len(pending), jobs, compute))
        yield from ()

    monkeypatch.setattr(reproduction, "_run_all", run_all)
    rate.reproduce("own_experiment.py", jobs=2, tasks=["recall/6"], accelerator="cpu")
    rate.reproduce("own_experiment.py", jobs=2, threads=3)
    rate.reproduce("own_experiment.py", compute=Compute(devices=2), seeds=[4])
    assert computes == [
        (4, 2, Compute("cpu", threads=1)),
        (4, 2, Compute(threads=3)),
        (2, 1, Compute(devices=2)),
    ]
    with pytest.raises(TypeError, match=r"there is no option 'seed'; options are .*seeds"):
        rate.reproduce("own_experiment.py", seed=1)


def test_what_is_there_is_kept_and_rows_of_another_recipe_are_refused(own):
    command = {"name": "own_experiment.py", "output": "out", "seeds": [0], "variants": ["mlp"]}
    folder = rate.reproduce(**command)
    run = folder / "runs" / "mlp-0"
    before = {path.name: path.stat().st_mtime_ns for path in run.iterdir()}
    rate.reproduce(**command)
    assert {path.name: path.stat().st_mtime_ns for path in run.iterdir()} == before
    with pytest.raises(ValueError, match="made with another recipe"):
        rate.reproduce(**command, smoke=True)


SIZED = (
    OWN.replace("EXPERIMENT = Experiment(", "SMALL = Experiment(").replace(
        '"own": recipe(Config(', '"rate": recipe(rate.Config('
    )
    + """
from dataclasses import replace
EXPERIMENT = replace(
    SMALL,
    target_returns={"recall/6": (0.5, 0.25)},
    fewer_episodes={"recall/6,target_return=0.25": 2},
    sample=True,
    paper=replace(
        SMALL,
        data={"recall": Collection("recall/6", 30)},
        variants={name: replace(one, updates=3) for name, one in SMALL.variants.items()},
        seeds=(5,),
    ),
)
"""
)


def test_every_policy_that_sees_returns_is_asked_for_further_ones(own):
    (own / "sized.py").write_text(SIZED)
    folder = rate.reproduce("sized.py", "out", seeds=[0])
    rows = read_jsonl(folder / "rows.jsonl")
    asked = [(row["task"], row["target_return"], row["episodes"]) for row in rows]
    # The task asks for 1.0 by itself.
    assert asked == [
        ("recall/6", 1.0, 4),
        ("recall/6,target_return=0.5", 0.5, 4),
        ("recall/6,target_return=0.25", 0.25, 2),
        ("recall/6", 1.0, 4),  # of the MLP, which sees no returns
    ]
    text = (folder / "report.md").read_text()
    assert "--size paper takes those of the paper" in text
    assert {row["actions"] for row in rows} == {"sampled"}
    assert "; actions sampled." in text
    assert "Incomplete" not in text, "the MLP is not planned for further returns"
    rate.reproduce("sized.py", "out", seeds=[0])
    assert read_jsonl(folder / "rows.jsonl") == rows, "scores that are there are not made again"


def test_the_paper_s_size_is_an_experiment_of_its_own(own):
    (own / "sized.py").write_text(SIZED)
    folder = rate.reproduce("sized.py", size="paper", variants=["mlp"])
    assert folder.as_posix() == "runs/sized-paper"
    (row,) = read_jsonl(folder / "rows.jsonl")
    assert (row["experiment"], row["seed"], row["update"]) == ("sized-paper", 5, 3)
    assert json.loads((folder / "data" / "recall" / "card.json").read_text())["episodes"] == 30
    text = (folder / "report.md").read_text()
    assert "# An experiment of one's own, at the paper's size" in text
    assert "Size: data and models of the paper" in text
    assert "    rate reproduce sized.py --size paper\n" in text
    with pytest.raises(ValueError, match=r"has no recipes of the paper's size: leave --size"):
        rate.reproduce("own_experiment.py", size="paper")


def test_a_trial_has_a_folder_of_its_own_and_says_that_it_is_no_result(own):
    folder = rate.reproduce("own_experiment.py", trial=True, variants=["mlp"])
    assert folder.as_posix() == "runs/own-experiment-trial"
    text = (folder / "report.md").read_text()
    assert text.startswith("# Trial, no result: An experiment of one's own")
    assert "A trial on seeds 0, 1: it chooses recipes" in text
    assert json.loads((folder / "experiment.json").read_text())["trial"] is True
    assert {len(row["dataset"]) for row in read_jsonl(folder / "rows.jsonl")} == {64}
    with pytest.raises(ValueError, match="a trial takes seeds below 100"):
        rate.reproduce("own_experiment.py", trial=True, seeds=[100])


def test_reported_seeds_are_not_trained_before_recipes_are_frozen(tmp_path, monkeypatch):
    monkeypatch.setattr(freezing, "frozen", lambda: {"demo": {"rate": "other"}})
    with pytest.raises(ValueError, match=r"data, rate, dt have changed since.*--trial"):
        rate.reproduce("demo", tmp_path / "out")
    assert not (tmp_path / "out").exists()
