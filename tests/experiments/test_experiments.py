import re
from dataclasses import replace
from pathlib import Path

import pytest

from rate import collect, experiments
from rate.experiments import Experiment, Suite, freezing
from rate.experiments.data_facts import data_facts
from rate.experiments.outline import scores_of
from rate.experiments.terms import terms
from rate.reporting.protocol import TRIAL_SEEDS, latest
from rate.storage.files import read_jsonl
from rate.tasks.lookup import find

ROOT = Path(__file__).parents[2]
SINGLE = sorted(
    name for name in experiments.names() if isinstance(experiments.find(name), Experiment)
)


@pytest.mark.parametrize("name", SINGLE)
def test_recipes_are_those_that_were_frozen(name):
    """After a deliberate change: make freeze EXPERIMENT=NAME."""
    experiment = experiments.find(name)
    freezing.require_frozen(name, name, experiment)
    if experiment.paper:
        freezing.require_frozen(name, f"{name}-paper", experiment.paper)


@pytest.mark.parametrize("name", SINGLE)
def test_trial_seeds_and_reported_seeds_are_disjoint(name):
    experiment = experiments.find(name)
    assert experiment.seeds
    assert set(experiment.trial_seeds) <= set(TRIAL_SEEDS)
    assert not set(experiment.seeds) & set(TRIAL_SEEDS)


@pytest.mark.parametrize("name", [name for name in SINGLE if re.match("demo|tmaze|aar", name)])
def test_rows_of_reported_seeds_are_of_frozen_recipes(name):
    """Where the best return of the data, which recipes are filled in with, is always 1."""
    path = ROOT / "results" / f"{name}.jsonl"
    rows = latest(read_jsonl(path)) if path.exists() else []
    experiment = experiments.find(name)
    recipes = {
        (experiment.reported(variant), experiment.single.get(variant, ("", ""))[1]): recipe
        for variant, recipe in experiment.variants.items()
    }
    of = {condition: variant for condition, (variant, _) in experiment.conditions.items()}
    for row in rows:
        if row["seed"] not in TRIAL_SEEDS:
            made = recipes[of.get(row["variant"], row["variant"]), row.get("trained_for", "")]
            # The return asked for and the sampling are filled in from the data.
            asked = (made.target_return, None, 1.0, row["target_return"])
            assert row["recipe"] in {replace(made, target_return=one).hash for one in asked}


def test_a_change_after_freezing_is_named(monkeypatch, tmp_path):
    path = tmp_path / "frozen.json"
    path.write_text("{}")
    monkeypatch.setattr(freezing, "FROZEN", path)
    demo = experiments.find("demo")
    with pytest.raises(ValueError, match=r"it has never been frozen.*make freeze EXPERIMENT=demo"):
        freezing.require_frozen("demo", "demo", demo)
    freezing.freeze("demo")
    freezing.require_frozen("demo", "demo", demo)
    longer = {**demo.variants, "dt": replace(demo.variants["dt"], updates=7)}
    with pytest.raises(ValueError, match="dt have changed since"):
        freezing.require_frozen("demo", "demo", replace(demo, variants=longer))
    data = {name: replace(one, episodes=9) for name, one in demo.data.items()}
    with pytest.raises(ValueError, match="data have changed since"):
        freezing.require_frozen("demo", "demo", replace(demo, data=data))


def test_terms_are_those_of_recipes_and_data():
    own = terms(experiments.find("tmaze-generalization"))
    assert own["dt"]["an action sees"].startswith("the last 90 steps, in a window that slides by ")
    assert own["rate"]["data"] == "4000 episodes of tmaze-uniform/90"
    assert own["lsdt"]["seeds"] == "3"
    assert {name for own in terms(experiments.find("popgym")).values() for name in own} >= {
        "updates",
        "dropout",
        "inputs",
    }


def test_data_are_described_by_returns_and_by_the_score_of_their_task(tmp_path):
    pytest.importorskip("mujoco")
    card = collect("mujoco/Hopper,expert=medium", tmp_path / "data", episodes=2).card
    own = experiments.find("mujoco").narrowed(("rate",), ())
    facts = data_facts(own, "Hopper-medium", tmp_path / "data")
    assert (facts["episodes of"], facts["number"]) == ("mujoco/Hopper,expert=medium", "2")
    assert facts["best return"] == f"{card['returns']['max']:.2f}"
    score = find("mujoco/Hopper,metric=own-score").score(card["returns"]["mean"], 1)
    assert facts["own-score of the mean"] == f"{score:.2f}"
    collect("tmaze/9", tmp_path / "maze", episodes=2)
    facts = data_facts(experiments.find("tmaze-generalization"), "tmaze-90", tmp_path / "maze")
    assert list(facts) == ["episodes of", "number", "mean return", "best return"]


def test_seeds_of_a_trial_and_of_a_report_are_kept_apart():
    demo = experiments.find("demo")
    assert demo.seeded((), trial=True).seeds == demo.trial_seeds
    assert demo.seeded((7,), trial=True).seeds == (7,)
    assert demo.seeded((107,), trial=False).seeds == (107,)
    with pytest.raises(ValueError, match=r"seeds are \[7\].*add --trial"):
        demo.seeded((7, 107), trial=False)
    with pytest.raises(ValueError, match="a trial takes seeds below 100"):
        demo.seeded((107,), trial=True)
    with pytest.raises(ValueError, match="trial seeds lie below 100"):
        replace(demo, trial_seeds=(100,))
    with pytest.raises(ValueError, match=r"fewer_seeds names \['abacus'\]"):
        replace(demo, fewer_seeds={"abacus": 1})


def test_variants_may_have_fewer_seeds():
    maze = experiments.find("tmaze-generalization")
    assert (len(maze.seeds_of("rate")), maze.seeds_of("lsdt")) == (10, (100, 101, 102))
    assert maze.fewer_scores["lsdt"] == 3
    noisy = experiments.find("tmaze-corruption")
    noisy = replace(noisy, fewer_seeds={"rmt": 1})
    assert noisy.fewer_scores == dict.fromkeys(
        ("rmt", "rmt, noise", "rmt, half noise", "rmt, noise from step 60 on"), 1
    )


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
        replace(demo, paper=replace(demo, variants={first: demo.variants[first]}, trials={}))
    with pytest.raises(ValueError, match=r"names \['tmaze/7'\], which are none of the evalu"):
        replace(demo, target_returns={"tmaze/7": (0.5,)})
    swept = replace(demo, target_returns={task: (0.5,)})
    assert list(swept.scored)[:2] == [task, f"{task},target_return=0.5"]
    assert swept.narrowed(tasks=[demo.evaluations[-1]]).target_returns == {}


def test_policies_for_one_task_are_scored_with_its_further_returns():
    pong = experiments.find("atari").narrowed()
    (scores,) = scores_of(pong, "rate-Pong", 100).values()
    assert [score.task for score in scores] == ["atari/Pong", "atari/Pong,target_return=0.0"]
    (scores,) = scores_of(pong, "bc-mlp-Pong", 100).values()
    assert [score.task for score in scores] == ["atari/Pong"], "it sees no return"


def test_a_smoke_test_may_cut_long_episodes():
    smoke = experiments.find("atari").smoke()
    asked = "atari/Pong,horizon=60,target_return=0.0"
    assert [one.task for one in smoke.data.values()] == ["atari/Pong,horizon=60,expert=mixed"]
    (scores,) = scores_of(smoke, "dt-Pong", 100).values()
    assert {score.task: score.episodes for score in scores} == {
        "atari/Pong,horizon=60": 4,
        asked: 4,
    }
    assert experiments.find("demo").smoke().evaluations == ("tmaze/9", "tmaze/30")
