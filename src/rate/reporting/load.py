"""What a run or experiment folder holds for its report: facts, result rows, and where they come
from."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rate.files import read_jsonl
from rate.reporting.figures import Curve
from rate.runs.metrics import Spent, spent

FACTS, ROWS = "experiment.json", "rows.jsonl"
RECIPE, PROVENANCE, METRICS, SCORES = (
    "recipe.json",
    "provenance.json",
    "metrics.jsonl",
    "scores.jsonl",
)


class ReportError(ValueError):
    """A folder that cannot be reported on; the message names the file and what to do."""


@dataclass(frozen=True)
class Facts:
    """What an experiment says of itself, or what can be said of a single run.

    order: variants, the one it is about first. seeds: those planned. first_seed_only: tasks that
    are planned for the first of these alone. paper: what the paper says, by variant. runs: variant
    and folder of each run. grid: panel and row of a variant in a heat map; grid_axis: what its rows
    are. inspected: variants whose first run shows what its memory does. sums: groups of tasks whose
    scores are added up, by name.
    """

    name: str
    title: str = ""
    claim: str = ""
    source: str = ""
    axis: str = ""
    command: str = ""
    cost: str = ""
    checkpoint: str = "last"
    training_length: float | None = None
    order: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    first_seed_only: tuple[str, ...] = ()
    paper: Mapping[str, str] = field(default_factory=dict)
    runs: tuple[tuple[str, str], ...] = ()
    grid: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    grid_axis: str = ""
    remarks: str = ""
    inspected: tuple[str, ...] = ()
    sums: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class RunFacts:
    """One run: its recipe and provenance as they were written, its training curve if it has begun,
    and what it took."""

    variant: str
    seed: int
    recipe: Mapping[str, Any]
    provenance: Mapping[str, Any]
    curve: Curve | None
    spent: Spent


@dataclass(frozen=True)
class Evidence:
    """Everything that a report is made from."""

    facts: Facts
    rows: Sequence[Mapping[str, Any]]
    runs: Sequence[RunFacts]


def read_evidence(folder: str | Path) -> Evidence:
    """Read a run folder (recipe.json) or an experiment folder (experiment.json); anything else is a
    ReportError."""
    folder = Path(folder)
    if (folder / FACTS).is_file():
        return _experiment(folder)
    if (folder / RECIPE).is_file():
        return _run(folder)
    what = (
        f"{folder} does not exist"
        if not folder.exists()
        else f"{folder} has neither {FACTS} nor {RECIPE}"
    )
    raise ReportError(
        f"{what}: give a run folder made by `rate train` or an experiment folder made by "
        "`rate reproduce`"
    )


def read_facts(path: Path) -> Facts:
    """The facts of an experiment from its JSON file; wrong types are a ReportError that names the
    entry."""
    data = read_object(path)
    facts: dict[str, Any] = {"name": path.parent.name}
    for key in (
        "name",
        "title",
        "claim",
        "source",
        "axis",
        "command",
        "cost",
        "checkpoint",
        "grid_axis",
        "remarks",
    ):
        if key in data:
            facts[key] = _typed(path, key, data[key], str)
    if data.get("training_length") is not None:
        facts["training_length"] = _typed(
            path, "training_length", data["training_length"], int | float
        )
    for key, kind in (("order", str), ("seeds", int), ("first_seed_only", str), ("inspected", str)):
        values = _typed(path, key, data.get(key, []), list)
        facts[key] = tuple(_typed(path, key, value, kind) for value in values)
    paper = _typed(path, "paper", data.get("paper", {}), dict)
    facts["paper"] = {variant: _typed(path, "paper", text, str) for variant, text in paper.items()}
    runs = [
        _typed(path, "runs", run, dict) for run in _typed(path, "runs", data.get("runs", []), list)
    ]
    facts["runs"] = tuple(
        (
            _typed(path, "runs", run.get("variant"), str),
            _typed(path, "runs", run.get("folder"), str),
        )
        for run in runs
    )
    sums = _typed(path, "sums", data.get("sums", {}), dict)
    facts["sums"] = {
        group: tuple(_typed(path, "sums", task, str) for task in _typed(path, "sums", tasks, list))
        for group, tasks in sums.items()
    }
    grid = _typed(path, "grid", data.get("grid", {}), dict)
    facts["grid"] = {}
    for variant, place in grid.items():
        parts = [_typed(path, "grid", part, str) for part in _typed(path, "grid", place, list)]
        if len(parts) != 2:
            raise ReportError(
                f"{path}: grid must give panel and row of a variant, but {variant!r} has {parts}"
            )
        facts["grid"][variant] = (parts[0], parts[1])
    return Facts(**facts)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object from a file; a missing or damaged file is a ReportError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(
            f"{path} cannot be read ({error.strerror}): the folder is incomplete; make it again"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ReportError(
            f"{path} is not JSON ({error}): restore the file, or make the folder again"
        ) from error
    if not isinstance(data, dict):
        raise ReportError(
            f"{path} must hold a JSON object, but holds {str(data)[:60]!r}: restore the "
            "file, or make the folder again"
        )
    return data


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON-lines file, none if there is no such file; damage is a ReportError."""
    try:
        return read_jsonl(path) if path.exists() else []
    except (OSError, ValueError) as error:
        raise ReportError(f"{path} cannot be read: {error}") from error


def _experiment(folder: Path) -> Evidence:
    facts = read_facts(folder / FACTS)
    runs = []
    for variant, place in facts.runs:
        if (folder / place / RECIPE).is_file():
            runs.append(_run_facts(folder / place, variant))
    order = [*facts.order, *(run.variant for run in runs)]
    runs.sort(key=lambda run: (order.index(run.variant), run.seed))
    return Evidence(facts, read_rows(folder / ROWS), runs)


def _run(folder: Path) -> Evidence:
    rows = read_rows(folder / SCORES)
    names = [str(row["variant"]) for row in rows if "variant" in row and not row.get("corruption")]
    variant = names[-1] if names else folder.resolve().name
    run = _run_facts(folder, variant)
    training_task = run.provenance.get("task")
    facts = Facts(
        name=folder.resolve().name,
        title=f"Run {folder.resolve().name}",
        source=f"trained on {training_task}" if training_task else "",
        command=str(run.provenance.get("command", "")),
        order=(variant,),
    )
    return Evidence(facts, rows, [run])


def _run_facts(folder: Path, variant: str) -> RunFacts:
    recipe, provenance = read_object(folder / RECIPE), read_object(folder / PROVENANCE)
    seed = _typed(folder / PROVENANCE, "seed", provenance.get("seed"), int)
    path = folder / METRICS
    rows = [row for row in read_rows(path) if "update" in row]
    try:
        return RunFacts(variant, seed, recipe, provenance, _curve(rows, variant, seed), spent(rows))
    except (TypeError, ValueError) as error:
        raise ReportError(
            f"{path} holds a metric that is not a number ({error}): restore the file or "
            "remove the row"
        ) from error


def _curve(rows: Sequence[Mapping[str, Any]], variant: str, seed: int) -> Curve | None:
    if not rows:
        return None
    updates, loss, accuracy = (
        np.array([math.nan if row.get(key) is None else float(row[key]) for row in rows])
        for key in ("update", "loss", "accuracy")
    )
    return Curve(variant, seed, updates, loss, accuracy)


def _typed(path: Path, key: str, value: Any, kind: Any) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        expected = getattr(kind, "__name__", str(kind))
        raise ReportError(
            f"{path}: {key} must be of type {expected}, but holds {value!r}; restore the "
            "file, or make the folder again"
        )
    return value
