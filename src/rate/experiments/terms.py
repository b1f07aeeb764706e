"""The terms on which the variants of an experiment are trained and act, for the table on its
page."""

from collections.abc import Callable

from rate.experiments import Collection, Experiment
from rate.models import model_name
from rate.objectives import OBJECTIVES
from rate.recipe import Recipe

MOST = 3
"""Most different values of the variants that are reported under one name which are listed."""


def terms(experiment: Experiment) -> dict[str, dict[str, str]]:
    """Terms by the name under which a variant is reported."""
    table: dict[str, dict[str, list[str]]] = {}
    for variant, recipe in experiment.variants.items():
        own = table.setdefault(experiment.reported(variant), {})
        for name, words in TERMS.items():
            text = words(recipe, experiment.data[recipe.collection])
            if text not in own.setdefault(name, []):
                own[name].append(text)
    for name, own in table.items():
        own["seeds"] = [str(experiment.fewer_seeds.get(name, len(experiment.seeds)))]
        if experiment.sample:
            own["actions"] = ["sampled"]
        if experiment.trials:
            own["recipes tried"] = [str(experiment.trials.get(name, "not counted"))]
    return {
        name: {term: _joined(values) for term, values in own.items()} for name, own in table.items()
    }


def _joined(values: list[str]) -> str:
    return " / ".join(values) if len(values) <= MOST else f"{len(values)} values, by task"


def _data(recipe: Recipe, data: Collection) -> str:
    text = f"{data.episodes} episodes of {data.task}"
    return f"{text}, {data.lengths[0]} to {data.lengths[1]} steps long" if data.lengths else text


def _segments(recipe: Recipe, data: Collection) -> str:
    model = recipe.model
    if model.training_segment_length == model.window:
        text = "one, the window"
    elif recipe.growing_segments:
        text = f"from 1 up to a number that grows to {recipe.growing_segments}"
    elif recipe.shorter_segments:
        text = f"whole; a half or a third as long in {recipe.shorter_segments:.0%} of the updates"
    else:
        text = "whole"
    if recipe.bptt_segments:
        text += f"; gradient through {recipe.bptt_segments}"
        text += ", an update after each" if recipe.update_per_segment else ""
    return text + ("; episodes of few segments first" if recipe.curriculum else "")


def _dropout(recipe: Recipe, data: Collection) -> str:
    attention = getattr(recipe.model, "attention_dropout", None)
    return f"{recipe.model.dropout:g}" + (f" ({attention:g} on attention)" if attention else "")


TERMS: dict[str, Callable[[Recipe, Collection], str]] = {
    "model": lambda recipe, data: model_name(recipe.model),
    "objective": lambda recipe, data: OBJECTIVES.name_of(recipe.objective),
    "data": _data,
    "updates": lambda recipe, data: f"{recipe.updates} of {recipe.batch_size} windows",
    "window (K x N)": lambda recipe, data: (
        f"{recipe.model.segment_length} x {recipe.model.segments}"
    ),
    "segments in training": _segments,
    "dropout": _dropout,
    "learning rate": lambda recipe, data: f"{recipe.optimiser.learning_rate:g}",
    "inputs": lambda recipe, data: ", ".join(recipe.model.tokens).replace("_", "-"),
    "an action sees": lambda recipe, data: recipe.model.context,
}
"""What is said of a recipe and its data, by the name of the term."""
