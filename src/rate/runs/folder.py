"""A run: the folder of one trained policy, and the only place that knows the names of its files."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rate.addresses import UntrustedError, require_trusted, trust
from rate.messages import brief, reason
from rate.storage.files import atomic_write, read_jsonl, storage_errors
from rate.storage.untrusted import inside
from rate.system.provenance import provenance
from rate.values import Seed, checked

if TYPE_CHECKING:
    from rate.recipe import Recipe


DEPTH = 3
"""Levels of folders in which runs are looked for."""

_PROVENANCE = {
    "seed": Seed,
    "dataset": str,
    "dataset_path": tuple[str, ...],
    "task": str | None,
    "loggers": tuple[str, ...],
    "commit": str,
    "date": str,
}
"""Types of the entries of provenance.json that are read."""

_METRICS = {"update": int, "seconds": float, "selection_seconds": float}
"""Types of the entries of metrics.jsonl that are read."""


class RunError(ValueError):
    """A run folder that cannot be started, resumed or read."""


@dataclass(frozen=True, init=False)
class Run:
    """A policy trained by one recipe with one seed: its recipe, checkpoints, metrics and scores.

    A run is read and written through this type, without PyTorch:

        run = Run.create("runs/one", recipe, seed=0, task="tmaze/90")
        run.recipe(), run.provenance()          # what was trained, where and how
        run.metrics(), run.scores()             # rows of metrics.jsonl and scores.jsonl
        run.checkpoint("best"), run.state_file  # paths of files
        Run("runs/one").exists                  # whether there is a run in the folder

    It is a path, too: `Path(run)` and `Run(run)` work. A link in the place of one of its files is a
    RunError: the folder may come from a stranger.
    """

    path: Path
    """The folder of the run."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        object.__setattr__(self, "path", Path(path))

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], recipe: "Recipe", seed: int, **facts: Any
    ) -> Self:
        """Begin a run in a folder; an existing run is never overwritten.

        Args:
            path: The folder, new or without a run.
            recipe: What is trained.
            seed: The seed of the run.
            facts: Further entries of provenance.json.

        Raises:
            RunError: there is a run in the folder already.
        """
        from rate.recipe import addresses

        run = cls(path)
        if run.exists:
            raise RunError(
                f"{run} holds a run already: choose another folder, remove it, or continue it "
                f"with `rate train --resume {run}`"
            )
        with storage_errors(run.path):
            run.path.mkdir(parents=True, exist_ok=True)
        run._write(run.provenance_file, {"seed": seed, **provenance(), **facts})
        # The recipe is written last: a folder with a recipe is a complete beginning.
        trust(addresses(recipe.to_json()))
        run._write(run.recipe_file, recipe.to_json(), recipe.hash)
        return run

    @property
    def exists(self) -> bool:
        """Whether the folder holds a run."""
        return self.recipe_file.is_file()

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.path.resolve().name

    @property
    def recipe_file(self) -> Path:
        """JSON: the recipe and its hash."""
        return self._file("recipe.json")

    @property
    def provenance_file(self) -> Path:
        """JSON: seed, machine, versions, data and commit of the training."""
        return self._file("provenance.json")

    @property
    def metrics_file(self) -> Path:
        """JSON lines: one row for each update."""
        return self._file("metrics.jsonl")

    @property
    def scores_file(self) -> Path:
        """JSON lines: one row for each evaluation."""
        return self._file("scores.jsonl")

    @property
    def recorded_file(self) -> Path:
        """JSON lines: one row for each evaluation on recorded data."""
        return self._file("recorded.jsonl")

    @property
    def sweep_file(self) -> Path:
        """PNG: the return obtained against the return asked for; its numbers lie beside it."""
        self._file("target-return.json")
        return self._file("target-return.png")

    @property
    def state_file(self) -> Path:
        """Weights and optimiser state, from which training goes on."""
        return self._file("training.safetensors")

    @property
    def inspection_file(self) -> Path:
        """JSON: captions, table and notes of `rate inspect`; its figures lie beside it."""
        return self._file("inspection.json")

    @property
    def films_folder(self) -> Path:
        """Videos of episodes, with the list that `rate.runs.films` reads."""
        return self._file("films")

    @property
    def separation_file(self) -> Path:
        """JSON: how far memory keeps cues apart, transition by transition."""
        return self._file("separation.json")

    @property
    def selection_file(self) -> Path:
        """A policy on its way to the processes that score it, while training validates."""
        return self._file("selection.safetensors")

    @property
    def wandb_id_file(self) -> Path:
        """Text: the identity of the run at Weights & Biases."""
        self._file("wandb")  # the folder beside it that the service writes to
        return self._file("wandb_id.txt")

    @property
    def trackio_id_file(self) -> Path:
        """Text: the identity of the run in trackio."""
        return self._file("trackio_id.txt")

    def checkpoint(self, name: str = "last") -> Path:
        """The file of a checkpoint.

        Args:
            name: "last", "best", or one that is kept, such as "update-600".
        """
        return self._file(f"{name}.safetensors")

    def kept_checkpoints(self) -> list[int]:
        """Updates of the checkpoints that are kept besides last and best, oldest first."""
        names = (path.name for path in self.path.glob("update-*.safetensors"))
        found = (re.fullmatch(r"update-(\d{1,9})\.safetensors", name) for name in names)
        return sorted(int(match[1]) for match in found if match)

    def longer(self, recipe: "Recipe", updates: int) -> "Recipe":
        """The run's recipe with more updates; fewer are a RunError."""
        if updates < recipe.updates:
            raise RunError(
                f"{self} has {recipe.updates} updates, and cannot be cut to {updates}: give more, "
                "or train a new run"
            )
        return replace(recipe, updates=updates)

    def prolong(self, recipe: "Recipe") -> None:
        """Let the run go on by a recipe with more updates; provenance.json says so."""
        data, facts = self._read(self.recipe_file), self.provenance()
        if data["updates"] == recipe.updates:
            return
        before = {"updates": data["updates"], "recipe": data.get("hash")}
        prolonged = [*facts.get("prolonged", ()), before]
        self._write(self.provenance_file, {**facts, "prolonged": prolonged})
        self._write(self.recipe_file, recipe.to_json(), recipe.hash)

    def _write(self, path: Path, data: Mapping[str, Any], stated: str = "") -> None:
        stated = stated or _hash(data)
        atomic_write(path, json.dumps({**data, "hash": stated}, indent=2))

    def recipe(self, trust: bool = False) -> "Recipe":
        """The recipe; a folder without a run, or a damaged file, is a RunError.

        Args:
            trust: Whether the code that it names may be run.

        Raises:
            UntrustedError: it names code, and is not trusted.
        """
        from rate import recipe as recipes

        data = self._read(self.recipe_file)
        stated = data.pop("hash", None)
        try:
            require_trusted(recipes.addresses(data), self.recipe_file, trust)
            recipe = recipes.from_json(data)
            _require_hash(stated, recipes.hash_of(data))
        except UntrustedError:
            raise
        except (ValueError, ArithmeticError, RecursionError) as error:
            raise self._unreadable(self.recipe_file, error) from error
        return recipe

    def provenance(self, *required: str) -> dict[str, Any]:
        """The seed, machine, versions, data and commit; a damaged file is a RunError.

        Args:
            required: Entries that must be there besides the seed.
        """
        data, path = self._read(self.provenance_file), self.provenance_file
        try:
            typed = {
                name: checked(name, data.get(name), kind)
                for name, kind in _PROVENANCE.items()
                if name in data or name in ("seed", *required)
            }
            # Runs of earlier versions have no hash here.
            if (stated := data.pop("hash", None)) is not None:
                _require_hash(stated, _hash(data))
        except ValueError as error:
            raise self._unreadable(path, error) from error
        return {**data, **typed}

    def metrics(self) -> list[dict[str, Any]]:
        """Rows of the metrics file, none before the first update; a damaged row is a RunError."""
        rows = self._rows(self.metrics_file)
        try:
            for row in rows:
                for name, kind in _METRICS.items():
                    if name in row or name == "update":
                        checked(name, row.get(name), kind)
        except ValueError as error:
            raise self._unreadable(self.metrics_file, error) from error
        return rows

    def scores(self) -> list[dict[str, Any]]:
        """Rows of the scores file, none before the first evaluation."""
        return self._rows(self.scores_file)

    def _file(self, name: str) -> Path:
        return inside(self.path, name, error=RunError)

    def _read(self, path: Path) -> dict[str, Any]:
        if not self.exists:
            raise RunError(
                f"{self} is not a run: it has no {self.recipe_file.name}. Run folders are made "
                "by `rate train`"
            )
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            return dict(checked("its content", data, dict))
        except (ValueError, OSError, RecursionError) as error:
            raise self._unreadable(path, error) from error

    def _rows(self, path: Path) -> list[dict[str, Any]]:
        try:
            return read_jsonl(path) if path.exists() else []
        except (OSError, ValueError) as error:
            raise self._unreadable(path, error) from error

    def _unreadable(self, path: Path, error: BaseException) -> RunError:
        return RunError(f"{self} has an unreadable {path.name}: {reason(error)}")

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)


def runs_in(folder: Path) -> list[Run]:
    """The runs in a folder and below it, in the order of their names; links are not followed."""
    found = []
    for path, folders, files in os.walk(folder):
        depth = len(Path(path).relative_to(folder).parts)
        if "recipe.json" in files:
            found.append(Run(path))
            folders.clear()
        folders[:] = sorted(name for name in folders if depth < DEPTH and name[0] != ".")
    return found


def read_recipe(path: str | os.PathLike[str], trust: bool = False) -> "Recipe":
    """The recipe of a run folder, or of a JSON file such as its recipe.json, which may have been
    edited.

    Args:
        path: Run folder, or file.
        trust: Whether the code that it names may be run.

    Raises:
        RunError: there is none, or it is damaged or has unknown options.
        UntrustedError: it names code, and is not trusted.
    """
    from rate import recipe as recipes

    path = Path(path)
    if path.is_dir():
        return Run(path).recipe(trust)
    try:
        data = dict(checked("its content", json.loads(path.read_text(encoding="utf-8")), dict))
        data.pop("hash", None)
        require_trusted(recipes.addresses(data), path, trust)
        return recipes.from_json(data)
    except UntrustedError:
        raise
    except (ValueError, OSError, ArithmeticError, RecursionError) as error:
        raise RunError(
            f"{path} is no recipe: {reason(error)}. Give a run folder, or a recipe.json that "
            "`rate train` wrote"
        ) from error


def _hash(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def _require_hash(stated: object, actual: str) -> None:
    if stated != actual:
        raise ValueError(
            f"its content has the hash {actual}, but it states {brief(stated)}: it was damaged or "
            "edited; restore it from a copy, or train a new run"
        )
