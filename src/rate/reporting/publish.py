"""Results in the repository: pages and tables rendered from rows, beside published values."""

import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rate.messages import reason
from rate.reporting.comparisons import held_table
from rate.reporting.intervals import count_interval
from rate.reporting.load import (
    FACTS,
    ROWS,
    SUITE,
    Evidence,
    Facts,
    ReportError,
    place,
    read_facts,
    read_remarks,
    read_rows,
    read_suite,
)
from rate.reporting.protocol import latest
from rate.reporting.render import markdown
from rate.reporting.results import draw, measure
from rate.reporting.sections import (
    error_of,
    extent,
    inspected_runs,
    inspections,
    sections,
)
from rate.reporting.suite import pages
from rate.reporting.tables import Published, score_table
from rate.reporting.terms import notice, shared_policies
from rate.runs.folder import Run
from rate.storage.files import append_jsonl, atomic_write

PAPER = "paper.toml"
INSPECTED = "inspected"
"""Folder beside the rows for inspections of an experiment's runs, with their pictures."""
_MARKED = re.compile(
    r"(<!-- results:([^\s>]+)((?: [^\s>]+)*) -->).*?(<!-- /results -->)", re.DOTALL
)


def read_paper(path: str | Path) -> dict[str, Published]:
    """Published values by the name of the experiment that they are set beside.

    Every table of the file names its `experiments`, its `source`, `statements` by variant, and
    `values` by variant and position, each a pair of mean and standard error as printed, or a mean
    alone. A table with `figure_only` has no printed values.

    Raises:
        ReportError: the file is missing or damaged.
    """
    path = Path(path)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(
            f"{path} cannot be read ({error.strerror}): published values belong beside the rows"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{path} is not TOML ({reason(error)}): restore the file") from error
    paper: dict[str, Published] = {}
    for name, table in tables.items():
        entry = _published(path, name, table)
        for experiment in table["experiments"]:
            if experiment in paper:
                raise ReportError(
                    f"{path}: two tables name the experiment {experiment!r}; let only one of "
                    "them do so"
                )
            paper[experiment] = entry
    return paper


def render_results(results_folder: str | Path, docs_folder: str | Path) -> list[Path]:
    """Render results/<experiment>.jsonl to docs/results/<experiment>.md with figures.

    Args:
        results_folder: Rows, paper.toml, and optionally <experiment>.json, a copy of
            experiment.json with title, claim and planned seeds, and <experiment>.md with remarks.
            Without the copy, every seed that any variant has is expected of all.
        docs_folder: The folder docs.

    Returns:
        The pages that were written.
    """
    results, folder = Path(results_folder), Path(docs_folder) / "results"
    paper = read_paper(results / PAPER)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    found = {path: _evidence(path) for path in sorted(results.glob("*.jsonl"))}
    shared = shared_policies({path.stem: evidence.rows for path, evidence in found.items()})
    for path, evidence in found.items():
        published = paper.get(path.stem)
        facts = replace(evidence.facts, shared=shared.get(path.stem, ""))
        measured = measure(evidence, path)
        copies = sorted((results / INSPECTED / path.stem).glob("*"))
        inspected, pictures = inspections({copy.name: copy for copy in copies})
        drawn = draw(evidence, measured)
        pictures = {name: drawing.png() for name, drawing in drawn.items()} | pictures
        for name, png in pictures.items():
            atomic_write(place(folder, f"{path.stem}-{name}"), png)
        if published and not facts.source:
            facts = replace(facts, source=published.source)
        parts = sections(evidence, measured, pictures, published, inspected)
        note = (
            f"<!-- Rendered from {results.name}/{path.name} and {results.name}/{PAPER}: edits "
            "here are overwritten. -->"
        )
        page = place(folder, f"{path.stem}.md")
        atomic_write(page, f"{note}\n\n{markdown(facts, parts, f'{path.stem}-')}")
        written.append(page)
    return written


def publish(folder: str | Path, repository: str | Path = ".") -> list[Path]:
    """Add an experiment's folder to a repository: rows and facts to results/, pages to
    docs/results/, tables to README.md.

    Args:
        folder: Folder of an experiment, or of a suite with all its experiments. Its rows are
            appended; those that are there already are left out.
        repository: The repository.

    Returns:
        The pages that were written.
    """
    folder, repository = Path(folder), Path(repository)
    results, docs = repository / "results", repository / "docs"
    if place(folder, SUITE).is_file():
        suite = read_suite(folder)
        markdown, _ = pages(folder, suite)
        for member in suite.members:
            _add(place(folder, member), results)
        written = render_results(results, docs)
        written.append(place(docs / "results", f"{suite.name}.md"))
        atomic_write(written[-1], markdown.replace("/report.md)", ".md)"))
    else:
        _add(folder, results)
        written = render_results(results, docs)
    update_markdown(repository / "README.md", results)
    return written


def _add(folder: Path, results: Path) -> None:
    """Append an experiment's rows to those in results/, and copy its facts and inspections
    there."""
    source = place(folder, FACTS)
    facts = read_facts(source)
    if facts.trial:
        raise ReportError(
            f"{folder} holds a trial, which chooses recipes and is no result: publish the folder "
            "of a reproduction without --trial"
        )
    target = place(results, f"{facts.name}.jsonl")
    known = {json.dumps(row, sort_keys=True) for row in read_rows(target)}
    for row in read_rows(place(folder, ROWS)):
        if json.dumps(row, sort_keys=True) not in known:
            append_jsonl(target, row)
    atomic_write(place(results, f"{facts.name}.json"), source.read_bytes())
    for variant, run in inspected_runs(folder, facts).items():
        inspection = Run(run).inspection_file
        if variant and inspection.is_file():
            _, pictures = inspections({"": run})
            copy = place(results, INSPECTED, facts.name, variant)
            copy.mkdir(parents=True, exist_ok=True)
            atomic_write(place(copy, inspection.name), inspection.read_bytes())
            for name, png in pictures.items():
                atomic_write(place(copy, name), png)


def update_markdown(path: str | Path, results_folder: str | Path) -> bool:
    """Put current tables between the markers of a Markdown file.

    A place for a table begins with `<!-- results:NAME -->`, NAME an experiment with rows, and ends
    with `<!-- /results -->`. Names of variants behind that of the experiment choose from its table.

    Returns:
        Whether the file has changed.
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
        lambda match: f"{match[1]}\n{_table(results, match[2], match[3].split(), path)}{match[4]}",
        text,
    )
    if new != text:
        atomic_write(path, new)
    return new != text


def _table(results: Path, name: str, variants: Sequence[str], origin: Path) -> str:
    rows = {path.stem: path for path in sorted(results.glob("*.jsonl"))}
    if name not in rows:
        raise ReportError(
            f"{origin} asks for results:{name}, but {results} has rows of "
            f"{', '.join(rows) or 'none'} only"
        )
    evidence = _evidence(rows[name])
    summaries, axis = measure(evidence, rows[name]).summaries, evidence.facts.axis
    if unknown := set(variants) - {one.variant for one in summaries}:
        raise ReportError(
            f"{origin} asks for {sorted(unknown)} of results:{name}: no such variants"
        )
    if variants:
        chosen = [one for one in summaries if one.variant in variants]
        scored = {one.task for one in chosen if one.seeds}
        chosen = [one for one in chosen if one.task in scored]
        summaries = sorted(chosen, key=lambda one: variants.index(one.variant))
    text = f"Mean ± {error_of(summaries)}; {extent(summaries)}."
    table = score_table(summaries, axis)
    if any(one.held is not None and len(one.seeds) > 1 for one in summaries):
        table = held_table(summaries, axis, means=True)
        most = max(len(one.seeds) for one in summaries)
        text = (
            f"Mean success, and how many seeds hold (success of at least 0.95). {most} of {most} "
            f"has the exact 95 % interval {count_interval(most, most)[0]:.2f} to 1.00 of the "
            f"proportion among all seeds. {extent(summaries).capitalize()}."
        )
    text = " ".join(filter(None, (text, notice(evidence.facts, evidence.rows))))
    return f"\n{table.markdown()}\n{text}\n\n"


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
    copy = path.with_suffix(".json")
    facts = read_facts(copy) if copy.exists() else Facts(name=path.stem, axis="task size")
    try:
        counted = latest(rows)
    except ValueError as error:
        raise ReportError(f"{path} cannot be reported: {reason(error)}") from error
    if not facts.seeds:
        facts = replace(facts, seeds=tuple(sorted({row["seed"] for row in counted})))
    if not facts.order:
        facts = replace(facts, order=tuple(dict.fromkeys(row["variant"] for row in counted)))
    # The provenance shown is that of the rows that count only, not of those they replaced.
    return Evidence(facts, counted, [], rows, read_remarks(path.with_suffix(".md")))


def _published(path: Path, name: str, table: Any) -> Published:
    try:
        values = {
            variant: {position: _pair(value) for position, value in _mapping(by_position).items()}
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
        raise ReportError(
            f"{path}, table [{name}], is not understood ({reason(error)}): it needs experiments, "
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
