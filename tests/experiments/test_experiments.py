import json
from dataclasses import replace
from pathlib import Path

import pytest

from rate import experiments
from rate.experiments import Experiment, Suite
from rate.files import read_jsonl
from rate.reporting.statistics import latest

ROOT = Path(__file__).parents[2]
HASHES = json.loads((ROOT / "tests" / "data" / "recipe_hashes.json").read_text())
"""Hash of every published recipe, by experiment and variant."""

SINGLE = sorted(
    name for name in experiments.names() if isinstance(experiments.find(name), Experiment)
)


def test_every_experiment_has_published_hashes():
    assert sorted(HASHES) == SINGLE


@pytest.mark.parametrize("name", SINGLE)
def test_published_recipes_keep_their_hashes(name):
    experiment = experiments.find(name)
    hashes = {variant: recipe.hash for variant, recipe in experiment.variants.items()}
    assert {variant: hashes[variant] for variant in HASHES[name]} == HASHES[name]
    if not experiment.single:
        assert hashes == HASHES[name]


@pytest.mark.parametrize("name", ["aar", "demo", "tmaze-generalization", "tmaze-valve"])
def test_published_rows_are_of_these_recipes(name):
    experiment = experiments.find(name)
    rows = latest(read_jsonl(ROOT / "results" / f"{name}.jsonl"))
    made = {(row["variant"], row["recipe"]) for row in rows}
    # The return asked for is filled in from the data; here the best one is always 1.
    recipes = {
        variant: replace(recipe, target_return=1.0)
        for variant, recipe in experiment.variants.items()
    }
    assert made == {(variant, recipe.hash) for variant, recipe in recipes.items()}


@pytest.mark.parametrize("name", SINGLE)
def test_every_page_belongs_to_its_experiment(name):
    experiment, page = experiments.find(name), experiments.page(name)
    assert page.title
    assert page.claim
    assert page.source
    assert page.cost
    assert page.grid.keys() <= experiment.variants.keys()
    assert {recipe.dataset for recipe in experiment.variants.values()} == experiment.data.keys()
    command = page.command or f"rate reproduce {name}"
    docstring = (ROOT / "src/rate/experiments" / f"{name.replace('-', '_')}.py").read_text()
    assert command in " ".join(docstring.split())


def test_no_experiment_is_made_of_another():
    for path in (ROOT / "src" / "rate" / "experiments").glob("[!_]*.py"):
        assert "rate.experiments." not in path.read_text(), path


def test_an_experiment_is_narrowed_by_variants_reported_names_and_models():
    maze = experiments.find("tmaze-generalization")
    assert list(maze.narrowed(["rate"]).variants) == ["rate"]
    assert list(maze.narrowed(["lstm"]).variants) == ["bc-lstm", "cql-lstm", "iql-lstm"]
    assert list(maze.narrowed(["rate", "gru"]).variants) == ["rate", "bc-gru"]
    grid = experiments.find("minigrid-memory").narrowed(["rate", "lstm"], ["minigrid-memory/41"])
    assert (list(grid.variants), grid.evaluations) == (["rate", "bc-lstm"], ("minigrid-memory/41",))
    puzzles = experiments.find("popgym").narrowed(["bc-mlp"], ["popgym/RepeatFirstEasy"])
    assert list(puzzles.variants) == ["bc-mlp-RepeatFirstEasy"]
    with pytest.raises(ValueError, match=r"unknown variants \['abacus'\]; variants are: rate"):
        maze.narrowed(["abacus"])
    with pytest.raises(ValueError, match="nothing is left to run"):
        experiments.find("popgym").narrowed(["rate-RepeatFirstEasy"], ["popgym/BattleshipEasy"])


def test_a_file_without_an_experiment_is_refused(tmp_path):
    path = tmp_path / "empty.py"
    path.write_text("EXPERIMENT = 3\n")
    with pytest.raises(ValueError, match=r"empty\.py is no experiment: it must define EXPERIMENT"):
        experiments.find(str(path))
    with pytest.raises(ValueError, match="must define PAGE, of the type Page"):
        experiments.page(str(path))
    with pytest.raises(ValueError, match="there is no file"):
        experiments.find("nowhere.py")


def test_members_of_suites_are_experiments():
    for name in experiments.names():
        suite = experiments.find(name)
        if isinstance(suite, Suite):
            assert set(suite.members) <= set(SINGLE)


def test_tasks_of_an_experiment_have_the_names_of_its_rows():
    name = "gym:FrozenLake-v1,environment.is_slippery=False"
    with pytest.raises(ValueError, match=r"rows will name the task .*is_slippery=false': write"):
        Experiment({}, {}, (name,))


def test_sizes_and_further_returns_must_fit_their_experiment():
    demo = experiments.find("demo")
    (first, *_), task = demo.variants, demo.evaluations[0]
    with pytest.raises(ValueError, match=rf"but at the size of the paper {first}: give both"):
        replace(demo, paper=replace(demo, variants={first: demo.variants[first]}))
    with pytest.raises(ValueError, match=r"names \['tmaze/7'\], which are none of the evalu"):
        replace(demo, target_returns={"tmaze/7": (0.5,)})
    swept = replace(demo, target_returns={task: (0.5,)})
    assert list(swept.scored)[:2] == [task, f"{task},target_return=0.5"]
    assert swept.narrowed(tasks=[demo.evaluations[-1]]).target_returns == {}
