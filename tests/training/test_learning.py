"""Models with memory learn to recall; a model without stays at chance."""

from dataclasses import replace

import numpy as np
import pytest

import rate
from rate.models import config_class, names
from rate.recipe import OptimiserConfig, Recipe, SelectionConfig
from rate.storage.files import read_jsonl

TASK = "recall/12"
SIZES = {"segment_length": 4, "segments": 3, "width": 32, "dropout": 0.0, "attention_dropout": 0.0}


@pytest.fixture(scope="module")
def episodes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learning") / "recall"
    rate.collect(TASK, folder, episodes=400)
    return folder


def recipe_for(model: str, dataset, **options) -> Recipe:
    config = config_class(model)
    sizes = {name: value for name, value in SIZES.items() if name in config.__dataclass_fields__}
    if getattr(config(), "cached_states", 0):
        sizes["cached_states"] = 12
    recipe = Recipe(
        dataset=str(dataset),
        model=config(**sizes),
        updates=130,
        batch_size=64,
        micro_batch=64,
        optimiser=OptimiserConfig(learning_rate=3e-3, warmup=20),
        selection=SelectionConfig(fraction=0),
    )
    return replace(recipe, **options)


def train(recipe, run):
    return rate.train(recipe, run, seed=1, threads=1, accelerator="cpu")


def score(run, task=TASK, episodes=100) -> float:
    return rate.evaluate(run, [task], episodes=episodes)[0]["value"]


def test_rate_recalls_what_it_saw_two_segments_ago(episodes, tmp_path):
    run = train(recipe_for("rate", episodes), tmp_path / "run")
    assert score(run) > 0.95


def test_a_model_without_memory_stays_at_chance(episodes, tmp_path):
    run = train(recipe_for("mlp", episodes), tmp_path / "run")
    assert 0.35 <= score(run) <= 0.65


@pytest.mark.parametrize("model", names())
def test_every_model_trains_and_is_evaluated(model, episodes, tmp_path):
    run = train(recipe_for(model, episodes, updates=4), tmp_path / "run")
    assert np.isfinite([row["loss"] for row in read_jsonl(run / "metrics.jsonl")]).all()
    assert 0 <= score(run, episodes=4) <= 1


@pytest.mark.parametrize("model", names())
@pytest.mark.parametrize(
    ("data", "task"), [("tmaze-uniform/12", "tmaze/30"), ("aar-uniform/12", "aar/30")]
)
def test_every_model_trains_and_acts_on_the_paper_s_small_tasks(model, data, task, tmp_path):
    rate.collect(data, tmp_path / "data", episodes=64)
    run = train(recipe_for(model, tmp_path / "data", updates=3, batch_size=16), tmp_path / "run")
    rows = rate.evaluate(run, [task], episodes=4)
    assert np.isfinite([row["loss"] for row in read_jsonl(run / "metrics.jsonl")]).all()
    assert len(rows[0]["scores"]) == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    "family",
    [
        "recall-discrete",
        "recall-image",
        "recall-dict",
        "recall-tuple",
        "recall-multidiscrete",
        "recall-box",
    ],
)
def test_rate_recalls_in_every_kind_of_space(family, tmp_path):
    rate.collect(f"{family}/12", tmp_path / "data", episodes=400)
    run = train(recipe_for("rate", tmp_path / "data", updates=300), tmp_path / "run")
    assert score(run, f"{family}/12") > 0.95
