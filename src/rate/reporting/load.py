"""What a report is made from: facts, result rows and runs, read from a folder."""

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

import numpy as np

from rate.messages import reason
from rate.runs.folder import Run
from rate.runs.metrics import Spent, spent
from rate.storage.files import read_jsonl
from rate.storage.untrusted import inside, visible, visible_json

FACTS, ROWS, REMARKS = "experiment.json", "rows.jsonl", "remarks.md"
"""Files of an experiment's folder: what the report needs to know, its result rows, and what has
been observed in them."""
SUITE = "suite.json"
"""File of a suite's folder: what its page needs to know."""
MOST_BYTES, MOST_PIXELS = 2**24, 2**25
"""Size of the largest picture that a page takes from a file."""


class ReportError(ValueError):
    """A folder that cannot be reported on; the message names the file and what to do."""


@dataclass(frozen=True)
class Page:
    """How the page of an experiment looks: its words, and the arrangement of its tables and
    figures."""

    title: str = ""
    """Heading of the page."""
    claim: str = ""
    """What the experiment is to show, in one sentence."""
    source: str = ""
    """Tables and figures of the paper that it corresponds to, and what differs."""
    cost: str = ""
    """Time and machine that it takes."""
    command: str = ""
    """Command that runs it with this cost; empty: `rate reproduce NAME`."""
    size: str = ""
    """Size of data and models, where there are several."""
    axis: str = ""
    """What the number in the name of an evaluation task means."""
    training_length: int | float | None = None
    """Position on the axis up to which policies are trained."""
    paper: Mapping[str, str] = field(default_factory=dict)
    """What the paper says, by variant."""
    grid: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Panel and row of each variant in a heat map, whose columns are the evaluations."""
    grid_axis: str = ""
    """What the rows of the heat map are."""
    sums: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Groups of tasks whose scores are added up, by name."""

    def __post_init__(self) -> None:
        length = self.training_length
        if length is not None and not 0 < length < math.inf:
            raise ValueError(
                f"training_length is {length!r}: it must be a positive number, or None"
            )


class RunPlace(NamedTuple):
    """Where a run of an experiment lies."""

    variant: str
    seed: int
    folder: str


@dataclass(frozen=True)
class Facts(Page):
    """What an experiment says of itself, or what can be said of a single run."""

    name: str = ""
    """Name of the experiment or run."""
    checkpoint: str = "last"
    """Checkpoint whose scores are reported."""
    order: tuple[str, ...] = ()
    """Variants, the one that the experiment is about first."""
    seeds: tuple[int, ...] = ()
    """Seeds that are planned."""
    fewer_seeds: Mapping[str, int] = field(default_factory=dict)
    """Variants that are planned for the first so many seeds alone."""
    terms: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The terms on which each variant is trained and acts, by their names."""
    data: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """What is said of each collection that policies are trained on."""
    shared: str = ""
    """Which policies stand on other pages, too."""
    trial: bool = False
    """Whether seeds are trial seeds by intention, so that nothing of it is published."""
    first_seed_only: tuple[str, ...] = ()
    """Tasks that are planned for the first seed alone."""
    without_targets: tuple[str, ...] = ()
    """Variants that see no return, and so are not planned for further target returns."""
    inspected: tuple[str, ...] = ()
    """Variants whose first run shows what its memory does."""
    runs: tuple[RunPlace, ...] = ()
    """The runs, in folders relative to that of the experiment."""

    def to_json(self) -> dict[str, Any]:
        """The facts as JSON data, which `read_facts` reads."""
        return {**asdict(self), "runs": [run._asdict() for run in self.runs]}


@dataclass(frozen=True)
class SuiteFacts:
    """What a suite says of itself."""

    name: str = ""
    """Name of the suite."""
    title: str = ""
    """Heading of its page."""
    command: str = ""
    """Command that runs it."""
    members: tuple[str, ...] = ()
    """Names of its experiments, which are those of their folders, too."""


class Curve(NamedTuple):
    """Loss, accuracy and validation of one run against its updates, arrays [updates]; NaN where a
    row lacks one."""

    variant: str
    seed: int
    updates: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray
    score: np.ndarray
    """What checkpoints are selected by, after the updates that it was measured after."""


@dataclass(frozen=True)
class RunFacts:
    """One run as it was recorded."""

    variant: str
    seed: int
    recipe: Mapping[str, Any]
    provenance: Mapping[str, Any]
    curve: Curve | None
    """Training curve; None before the first update."""
    spent: Spent
    """Time that it took."""


@dataclass(frozen=True)
class Evidence:
    """Everything that a report is made from."""

    facts: Facts
    rows: Sequence[Mapping[str, Any]]
    runs: Sequence[RunFacts]
    history: Sequence[Mapping[str, Any]] = ()
    """All rows in their order, with those of earlier protocols, which no number is made from; if
    empty, `rows` are all there are."""
    remarks: str = ""
    """What has been observed in the results, and why they differ from the paper where they do."""
    differences: Sequence[tuple[str, ...]] = ()
    """What the recipes of variants differ in: the heading, then a row for each option."""


def read_evidence(folder: str | Path) -> Evidence:
    """Read a run folder (recipe.json) or an experiment folder (experiment.json).

    Raises:
        ReportError: the folder is neither, or a file in it is missing or damaged.
    """
    folder = Path(folder)
    run = Run(folder)
    if place(folder, FACTS).is_file():
        return _experiment(folder)
    if run.exists:
        return _run(run)
    what = (
        f"{folder} has neither {FACTS} nor {run.recipe_file.name}"
        if folder.exists()
        else f"{folder} does not exist"
    )
    raise ReportError(
        f"{what}: give a run folder made by `rate train` or an experiment folder made by "
        "`rate reproduce`"
    )


def is_reported(folder: Path) -> bool:
    """Whether a folder is a run or an experiment, or holds nothing that could be compared."""
    if place(folder, FACTS).is_file() or Run(folder).exists:
        return True
    return not (folder.is_dir() and any(folder.rglob(Run(folder).recipe_file.name)))


def read_facts(path: Path) -> Facts:
    """The facts of an experiment from its JSON file.

    Raises:
        ReportError: an entry is of another type than its field of `Facts`; the message names it.
    """
    return _facts(Facts, path)


def read_suite(folder: Path) -> SuiteFacts:
    """The facts of a suite from its folder; see `read_facts`."""
    return _facts(SuiteFacts, place(folder, SUITE))


def _facts(cls: Any, path: Path) -> Any:
    data: dict[str, Any] = {"name": path.parent.name, **read_object(path)}
    given = {
        item.name: _checked(path, item.name, data[item.name], item.type)
        for item in fields(cls)
        if item.name in data
    }
    try:
        return cls(**given)
    except ReportError:
        raise
    except ValueError as error:
        raise ReportError(f"{path}: {error}") from error


def place(folder: Path, *names: str) -> Path:
    """The path of a file in a folder; a name that leads elsewhere, or a link, is a ReportError."""
    return inside(folder, *names, error=ReportError)


def run_folder(folder: Path, run: RunPlace) -> Path:
    """The folder of a run of an experiment.

    It lies in that of the experiment; runs that a suite shares lie in the folder of the suite,
    which must name the experiment.
    """
    above, *names = run.folder.split("/")
    suite, own = folder.resolve().parent, folder.resolve().name
    shared = above == ".." and place(suite, SUITE).is_file() and own in read_suite(suite).members
    return place(suite, *names) if shared else place(folder, above, *names)


def read_picture(path: Path, kind: str = "PNG") -> bytes:
    """The bytes of a picture, which is decoded once: anything else is a ReportError.

    Args:
        path: The file.
        kind: Its format, in Pillow's words.
    """
    from PIL import Image  # it takes time to load

    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES} bytes")
        data = path.read_bytes()
        with Image.open(io.BytesIO(data), formats=[kind]) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"it has more than {MOST_PIXELS} pixels")
            image.load()
    except Exception as error:  # a decoder may fail in any way
        raise ReportError(f"{path} is no picture for a page: {reason(error)}") from error
    return data


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object from a file; a missing or damaged file is a ReportError."""
    try:
        data = visible_json(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ReportError(
            f"{path} cannot be read ({error.strerror}): the folder is incomplete; make it again"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ReportError(
            f"{path} is not JSON ({reason(error)}): restore the file, or make the folder again"
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
        return [visible_json(row) for row in read_jsonl(path)] if path.exists() else []
    except (OSError, ValueError) as error:
        raise ReportError(f"{path} cannot be read: {reason(error)}") from error


def read_remarks(path: Path) -> str:
    """The text of a file of remarks, empty if there is no such file; damage is a ReportError."""
    try:
        return visible(path.read_text(encoding="utf-8")) if path.exists() else ""
    except (OSError, ValueError) as error:
        raise ReportError(f"{path} cannot be read: {reason(error)}") from error


def _experiment(folder: Path) -> Evidence:
    facts = read_facts(place(folder, FACTS))
    found = [(run.variant, Run(run_folder(folder, run))) for run in facts.runs]
    runs = [read_run(run, variant) for variant, run in found if run.exists]
    order = [*facts.order, *(run.variant for run in runs)]
    runs.sort(key=lambda run: (order.index(run.variant), run.seed))
    rows, remarks = read_rows(place(folder, ROWS)), read_remarks(place(folder, REMARKS))
    return Evidence(facts, rows, runs, remarks=remarks)


def _run(run: Run) -> Evidence:
    rows = read_rows(run.scores_file)
    names = [str(row["variant"]) for row in rows if "variant" in row and not row.get("corruption")]
    recorded = read_run(run, names[-1] if names else run.name)
    training_task = recorded.provenance.get("task")
    facts = Facts(
        name=run.name,
        title=f"Run {run.name}",
        source=f"trained on {training_task}" if training_task else "",
        command=str(recorded.provenance.get("command", "")),
        order=(recorded.variant,),
    )
    return Evidence(facts, rows, [recorded])


def read_run(run: Run, variant: str) -> RunFacts:
    """What a run recorded, as one of a variant; a damaged file is a ReportError."""
    recipe, provenance = read_object(run.recipe_file), read_object(run.provenance_file)
    seed: int = _checked(run.provenance_file, "seed", provenance.get("seed"), int)
    rows = [row for row in read_rows(run.metrics_file) if "update" in row]
    try:
        return RunFacts(variant, seed, recipe, provenance, _curve(rows, variant, seed), spent(rows))
    except (TypeError, ValueError, OverflowError) as error:
        raise ReportError(
            f"{run.metrics_file} holds a metric that is not a number ({reason(error)}): restore "
            "the file or remove the row"
        ) from error


def _curve(rows: Sequence[Mapping[str, Any]], variant: str, seed: int) -> Curve | None:
    if not rows:
        return None
    arrays = (
        np.array([math.nan if row.get(key) is None else float(row[key]) for row in rows])
        for key in ("update", "loss", "accuracy", "selection_score")
    )
    return Curve(variant, seed, *arrays)


def _checked(path: Path, key: str, value: Any, kind: Any) -> Any:
    """A JSON value as the annotation `kind` says, with tuples for lists; else a ReportError."""
    inner = get_args(kind)
    if kind is RunPlace:
        entry = _checked(path, key, value, dict)
        types = RunPlace.__annotations__
        return RunPlace(*(_checked(path, key, entry.get(name), types[name]) for name in types))
    if get_origin(kind) is tuple:
        values = _checked(path, key, value, list)
        kinds = inner[:1] * len(values) if inner[-1] is Ellipsis else inner
        if len(values) != len(kinds):
            raise ReportError(f"{path}: {key} must hold lists of {len(kinds)}, but holds {value!r}")
        return tuple(_checked(path, key, *pair) for pair in zip(values, kinds, strict=True))
    if get_origin(kind) is Mapping:
        entries = _checked(path, key, value, dict)
        return {name: _checked(path, key, entry, inner[1]) for name, entry in entries.items()}
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        expected = getattr(kind, "__name__", str(kind))
        raise ReportError(
            f"{path}: {key} must be of type {expected}, but holds {value!r}; restore the "
            "file, or make the folder again"
        )
    return value
