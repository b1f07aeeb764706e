"""What the data of an experiment are worth: the scores that policies are compared with."""

from pathlib import Path
from typing import Any

from rate.dataset.card import read_card
from rate.experiments import Experiment
from rate.tasks.lookup import find


def data_facts(experiment: Experiment, name: str, folder: Path) -> dict[str, str]:
    """Episodes and returns of a recorded collection, by the names of what is said.

    Args:
        experiment: The experiment that learns from it.
        name: Name of the collection.
        folder: Its dataset.
    """
    card = read_card(folder, verify=False)
    returns, length = card["returns"], card["lengths"]["mean"]
    facts = {
        "episodes of": experiment.data[name].task,
        "number": str(card["episodes"]),
        "mean return": f"{returns['mean']:.2f} ± {returns['std']:.2f}",
        "best return": f"{returns['max']:.2f}",
    }
    task: Any = find(_scored(experiment, name))
    if task.metric not in ("return", "success"):
        for which, value in (("mean", returns["mean"]), ("best", returns["max"])):
            facts[f"{task.metric} of the {which}"] = f"{task.score(value, length):.2f}"
    return facts


def _scored(experiment: Experiment, name: str) -> str:
    """The first task that policies which learn from a collection are scored on."""
    learners = [key for key, one in experiment.variants.items() if one.collection == name]
    of_one = [experiment.single[key][1] for key in learners if key in experiment.single]
    return (of_one or list(experiment.evaluations))[0]
