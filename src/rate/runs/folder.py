"""A run: a folder with recipe, provenance, metrics and checkpoints; and what to do when it is asked
to stop."""

import json
from pathlib import Path
from typing import Any

from rate import recipe as recipes
from rate.files import atomic_write, storage_errors
from rate.provenance import provenance
from rate.recipe import Recipe

RECIPE, PROVENANCE = "recipe.json", "provenance.json"


class RunError(ValueError):
    """A run folder that cannot be started, resumed or read."""


def create(run: Path, recipe: Recipe, seed: int, **facts: Any) -> None:
    """Begin a run folder; an existing run is never overwritten."""
    if (run / RECIPE).exists():
        raise RunError(
            f"{run} holds a run already: choose another folder, remove it, or continue it "
            f"with `rate train --resume {run}`"
        )
    with storage_errors(run):
        run.mkdir(parents=True, exist_ok=True)
    atomic_write(run / PROVENANCE, json.dumps({"seed": seed, **provenance(), **facts}, indent=2))
    # The recipe is written last: a folder with a recipe is a complete beginning.
    atomic_write(run / RECIPE, json.dumps({**recipe.to_json(), "hash": recipe.hash}, indent=2))


def read(run: Path) -> tuple[Recipe, dict[str, Any]]:
    """The recipe and provenance of a run folder."""
    if not (run / RECIPE).is_file():
        raise RunError(
            f"{run} is not a run: it has no {RECIPE}. Run folders are made by `rate train`"
        )
    try:
        data = json.loads((run / RECIPE).read_text())
        data.pop("hash", None)
        return recipes.from_json(data), json.loads((run / PROVENANCE).read_text())
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise RunError(f"{run} has an unreadable {RECIPE} or {PROVENANCE}: {error}") from error


def remove_partial_files(run: Path) -> None:
    """Remove what a killed process was just writing; whole files never bear such a name."""
    for partial in run.glob(".*.partial"):
        partial.unlink(missing_ok=True)
