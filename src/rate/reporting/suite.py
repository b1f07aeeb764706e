"""The front page of a suite: its experiments, what each claims, and how long each took."""

import json
from collections.abc import Sequence
from pathlib import Path

from rate.files import atomic_write
from rate.reporting import html as page
from rate.reporting.load import FACTS, ROWS, read_facts, read_rows
from rate.reporting.tables import Table, markdown_text
from rate.runs.folder import Run
from rate.runs.metrics import spent

SUITE = "suite.json"


def overview(folder: Path, name: str, title: str, command: str, members: Sequence[str]) -> Path:
    """Write report.html and report.md of a suite.

    Args:
        folder: Folder of the suite, with one folder for each member.
        name: Name of the suite.
        title: Heading of the page.
        command: Command that runs it.
        members: Names of its experiments.

    Returns:
        The path of report.html.
    """
    rows = []
    runs: set[Path] = set()
    for member in members:
        facts = read_facts(folder / member / FACTS)
        places = {(folder / member / place.folder).resolve() for place in facts.runs}
        runs |= places
        scores = read_rows(folder / member / ROWS)
        seconds = sum(spent(Run(place).metrics()).seconds for place in places)
        hours = (seconds + sum(row["seconds"] for row in scores)) / 3600
        counts = (str(len(places)), str(len(scores)), f"{hours:.2f}")
        rows.append((member, facts.title, facts.claim, *counts))
    total = sum(
        spent(run.metrics()).seconds + sum(row["seconds"] for row in run.scores())
        for run in map(Run, runs)
    )
    table = Table(("experiment", "title", "claim", "runs", "scores", "processor hours"), rows)
    text = (
        f"Training and scoring took {total / 3600:.1f} processor hours in all, one thread "
        "each; runs that experiments share are counted with each of them above, and once here."
    )
    body = [
        page.heading(title, 1),
        page.paragraph(text),
        table.html(),
        page.heading("Command"),
        page.code(command),
        *(page.link(f"{member}/report.html", f"Report of {member}") for member in members),
    ]
    blocks = [f"# {markdown_text(title)}", text, table.markdown().rstrip(), "    " + command]
    blocks += [f"* [{member}]({member}/report.md)" for member in members]
    atomic_write(folder / "report.md", "\n\n".join(blocks) + "\n")
    atomic_write(folder / "report.html", page.page(title, body))
    about = {"name": name, "members": list(members)}
    atomic_write(folder / SUITE, json.dumps(about, indent=2) + "\n")
    return folder / "report.html"
