"""The front page of a suite: its experiments, what each claims, and how long each took."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rate.messages import reason
from rate.reporting import html as page
from rate.reporting.load import (
    FACTS,
    ROWS,
    SUITE,
    ReportError,
    SuiteFacts,
    place,
    read_facts,
    read_rows,
    read_suite,
    run_folder,
)
from rate.reporting.tables import Table, markdown_code, markdown_text
from rate.runs.folder import Run
from rate.runs.metrics import spent
from rate.storage.files import atomic_write


def overview(folder: Path) -> Path:
    """Write report.html and report.md of a suite.

    Args:
        folder: Folder of the suite, with suite.json and one folder for each member.

    Returns:
        The path of report.html.
    """
    markdown, html = pages(folder, read_suite(folder))
    atomic_write(folder / "report.md", markdown)
    atomic_write(folder / "report.html", html)
    return folder / "report.html"


def write_suite(folder: Path, suite: SuiteFacts) -> None:
    """Write the facts of a suite, which let the reports of its members read the runs they share."""
    atomic_write(folder / SUITE, json.dumps(asdict(suite), indent=2) + "\n")


def pages(folder: Path, suite: SuiteFacts) -> tuple[str, str]:
    """The page of a suite in Markdown and in HTML; see `overview`."""
    rows = []
    runs: set[Path] = set()
    for member in suite.members:
        own = place(folder, member)
        facts = read_facts(place(own, FACTS))
        folders = {run_folder(own, run).resolve() for run in facts.runs}
        runs |= folders
        scores = read_rows(place(own, ROWS))
        seconds = sum(spent(Run(one).metrics()).seconds for one in folders)
        hours = (seconds + _seconds(own, scores)) / 3600
        counts = (str(len(folders)), str(len(scores)), f"{hours:.2f}")
        rows.append((member, facts.title, facts.claim, *counts))
    total = sum(
        spent(run.metrics()).seconds + _seconds(run, run.scores()) for run in map(Run, runs)
    )
    table = Table(("experiment", "title", "claim", "runs", "scores", "processor hours"), rows)
    text = (
        f"Training and scoring took {total / 3600:.1f} processor hours in all, one thread "
        "each; runs that experiments share are counted with each of them above, and once here."
    )
    title, command = suite.title or suite.name, suite.command
    links = {member: quote(member) for member in suite.members}
    body = [
        page.heading(title, 1),
        page.paragraph(text),
        table.html(),
        page.heading("Command"),
        page.code(command),
        *(page.link(f"{path}/report.html", f"Report of {name}") for name, path in links.items()),
    ]
    blocks = [f"# {markdown_text(title)}", text, table.markdown().rstrip(), markdown_code(command)]
    blocks += [f"* [{markdown_text(name)}]({path}/report.md)" for name, path in links.items()]
    return "\n\n".join(blocks) + "\n", page.page(title, body)


def _seconds(origin: object, rows: Iterable[Mapping[str, Any]]) -> float:
    """What scoring took."""
    try:
        return sum(float(row["seconds"]) for row in rows)
    except (KeyError, TypeError, ValueError) as error:
        raise ReportError(
            f"{origin} has a score without seconds ({reason(error)}): restore it"
        ) from error
