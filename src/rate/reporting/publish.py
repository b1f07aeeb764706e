"""Published values beside the results of the repository: pages and tables rendered from rows, never
written by hand."""

import json
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rate.files import append_jsonl, atomic_write, read_jsonl
from rate.reporting import (
    INSPECTION,
    draw,
    extent,
    inspected_runs,
    inspections,
    markdown,
    measure,
    sections,
)
from rate.reporting.load import (
    FACTS,
    ROWS,
    Evidence,
    Facts,
    ReportError,
    read_facts,
    read_object,
    read_rows,
)
from rate.reporting.statistics import latest
from rate.reporting.suite import SUITE
from rate.reporting.tables import Published, table_markdown

PAPER = "paper.toml"
INSPECTED = "inspected"
"""Folder beside the rows for what `rate inspect` found in runs of an experiment, with its
pictures."""
_MARKED = re.compile(r"(<!-- results:([^\s>]+) -->).*?(<!-- /results -->)", re.DOTALL)


def read_paper(path: str | Path) -> dict[str, Published]:
    """What the paper says, by the name of the experiment that it is set beside; a damaged file is a
    ReportError.

    Every table of the file names its `experiments`, its `source`, `statements` by variant, and
    `values` by variant and position, each a pair of mean and standard error as printed, or a mean
    alone. A table with `figure_only` has no printed values.
    """
    path = Path(path)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(
            f"{path} cannot be read ({error.strerror}): published values belong beside the rows"
        ) from error
    except ValueError as error:
        raise ReportError(f"{path} is not TOML ({error}): restore the file") from error
    found: dict[str, Published] = {}
    for name, table in tables.items():
        entry = _published(path, name, table)
        for experiment in table["experiments"]:
            if experiment in found:
                raise ReportError(
                    f"{path}: two tables name the experiment {experiment!r}; let only one of "
                    "them do so"
                )
            found[experiment] = entry
    return found


def render_results(results_folder: str | Path, docs_folder: str | Path) -> list[Path]:
    """Render results/<experiment>.jsonl to docs/results/<experiment>.md with figures; returns the
    pages written.

    results_folder: rows, paper.toml, and optionally <experiment>.json, a copy of experiment.json,
    for title, claim and planned seeds; without it, every seed that any variant has is expected of
    all. docs_folder: the folder docs.
    """
    results, pages = Path(results_folder), Path(docs_folder) / "results"
    paper = read_paper(results / PAPER)
    pages.mkdir(parents=True, exist_ok=True)
    written = []
    for path in sorted(results.glob("*.jsonl")):
        evidence, published = _evidence(path), paper.get(path.stem)
        measured = measure(evidence, path)
        pictures = draw(evidence, measured)
        inspected, more = inspections(
            {found.name: found for found in sorted((results / INSPECTED / path.stem).glob("*"))}
        )
        pictures |= more
        prefix = f"{path.stem}-"
        for name, png in pictures.items():
            atomic_write(pages / f"{prefix}{name}", png)
        facts = evidence.facts
        if published and not facts.source:
            facts = replace(facts, source=published.source)
        text = markdown(facts, sections(evidence, measured, pictures, published, inspected), prefix)
        note = (
            f"<!-- Rendered from {results.name}/{path.name} and {results.name}/{PAPER}: edits "
            "here are overwritten. -->"
        )
        atomic_write(pages / f"{path.stem}.md", f"{note}\n\n{text}")
        written.append(pages / f"{path.stem}.md")
    return written


def publish(folder: str | Path, repository: str | Path = ".") -> list[Path]:
    """Take an experiment's folder into a repository: rows and facts to results/, pages to
    docs/results/, tables to README.md.

    folder: of an experiment, or of a suite with all its experiments. Rows are appended; those that
    are there already are left out. Returns the pages written.
    """
    folder, results = Path(folder), Path(repository) / "results"
    if (folder / SUITE).is_file():
        suite = read_object(folder / SUITE)
        for member in suite["members"]:
            _take(folder / member, results)
        written = render_results(results, Path(repository) / "docs")
        written.append(Path(repository) / "docs" / "results" / f"{suite['name']}.md")
        atomic_write(
            written[-1],
            (folder / "report.md").read_text(encoding="utf-8").replace("/report.md)", ".md)"),
        )
    else:
        _take(folder, results)
        written = render_results(results, Path(repository) / "docs")
    update_markdown(Path(repository) / "README.md", results)
    return written


def _take(folder: Path, results: Path) -> None:
    """Append an experiment's rows to those in results/, and copy its facts and inspections
    there."""
    facts = read_facts(folder / FACTS)
    target = results / f"{facts.name}.jsonl"
    known = {
        json.dumps(row, sort_keys=True) for row in (read_jsonl(target) if target.exists() else [])
    }
    for row in read_jsonl(folder / ROWS):
        if json.dumps(row, sort_keys=True) not in known:
            append_jsonl(target, row)
    atomic_write(results / f"{facts.name}.json", (folder / FACTS).read_bytes())
    for variant, source in inspected_runs(folder, facts).items():
        if variant and (source / INSPECTION).is_file():
            copy = results / INSPECTED / facts.name / variant
            copy.mkdir(parents=True, exist_ok=True)
            for file in (source / INSPECTION, *source.glob("inspect-*.png")):
                atomic_write(copy / file.name, file.read_bytes())


def update_markdown(path: str | Path, results_folder: str | Path) -> bool:
    """Put current tables between the markers of a Markdown file; returns whether the file has
    changed.

    A place for a table begins with `<!-- results:NAME -->`, NAME an experiment with rows, and ends
    with `<!-- /results -->`.
    """
    path, results = Path(path), Path(results_folder)
    text = path.read_text(encoding="utf-8")
    opened, closed = text.count("<!-- results:"), text.count("<!-- /results -->")
    if not opened == closed == len(_MARKED.findall(text)):
        raise ReportError(
            f"{path} has {opened} markers <!-- results:NAME --> and {closed} markers <!-- "
            "/results -->: they must come in pairs"
        )
    new = _MARKED.sub(
        lambda match: f"{match[1]}\n{_table(results, match[2], path)}{match[3]}", text
    )
    if new != text:
        atomic_write(path, new)
    return new != text


def _table(results: Path, name: str, origin: Path) -> str:
    rows = {path.stem: path for path in sorted(results.glob("*.jsonl"))}
    if name not in rows:
        raise ReportError(
            f"{origin} asks for results:{name}, but {results} has rows of "
            f"{', '.join(rows) or 'none'} only"
        )
    evidence = _evidence(rows[name])
    summaries = measure(evidence, rows[name]).summaries
    return (
        f"\n{table_markdown(summaries, evidence.facts.axis)}\nMean ± standard error; "
        f"{extent(summaries)}.\n\n"
    )


def _evidence(path: Path) -> Evidence:
    """Rows of one experiment, and what is known of it."""
    rows = read_rows(path)
    for row in rows:
        if row.get("experiment") != path.stem:
            raise ReportError(
                f"{path} holds a row of {row.get('experiment')!r}; rows of an experiment go "
                "to a file of its name"
            )
    if not rows:
        raise ReportError(
            f"{path} holds no rows: publish an experiment's rows to it, or remove the file"
        )
    facts_path = path.with_suffix(".json")
    facts = (
        read_facts(facts_path) if facts_path.exists() else Facts(name=path.stem, axis="task size")
    )
    try:
        counted = latest(rows)
    except ValueError as error:
        raise ReportError(f"{path} cannot be reported: {error}") from error
    if not facts.seeds:
        facts = replace(facts, seeds=tuple(sorted({row["seed"] for row in counted})))
    if not facts.order:
        facts = replace(facts, order=tuple(dict.fromkeys(row["variant"] for row in counted)))
    # Provenance is told of the rows that count only, not of those they replaced.
    return Evidence(facts, counted, [])


def _published(path: Path, name: str, table: Any) -> Published:
    try:
        values = {
            variant: {position: _pair(value) for position, value in by_position.items()}
            for variant, by_position in _mapping(table.get("values", {})).items()
        }
        statements = {
            variant: str(text) for variant, text in _mapping(table.get("statements", {})).items()
        }
        if not isinstance(table["experiments"], list):
            raise TypeError("experiments must be a list of names")
        note = str(table.get("note", ""))
        if table.get("figure_only"):
            note = f"{note} The paper shows a figure without numbers.".strip()
        return Published(str(table["source"]), note, statements, values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ReportError(
            f"{path}, table [{name}], is not understood ({reason}): it needs experiments, "
            "source, statements by variant, "
            "and values as variant.position = [mean, standard error] or a mean alone"
        ) from error


def _pair(value: Any) -> tuple[float, float]:
    if isinstance(value, list):
        mean, error = value
        return float(mean), float(error)
    return float(value), math.nan


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"expected a table, but {value!r} was given")
    return value
