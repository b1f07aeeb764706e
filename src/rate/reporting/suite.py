"""The front page of a suite: its experiments, what each claims, and how long each took."""

import json
from pathlib import Path

from rate.files import atomic_write, read_jsonl
from rate.reporting import html as page
from rate.reporting.load import read_facts, read_rows
from rate.reporting.tables import Table, markdown_text
from rate.runs.metrics import METRICS, spent

SUITE = "suite.json"


def overview(folder: Path, name: str, title: str, command: str, members: list[str]) -> Path:
    """Write report.html and report.md of a suite, whose members' own reports lie in folders of
    their names."""
    rows = []
    runs: set[Path] = set()
    for member in members:
        facts = read_facts(folder / member / "experiment.json")
        places = {(folder / member / place).resolve() for _, place in facts.runs}
        runs |= places
        scored = read_rows(folder / member / "rows.jsonl")
        hours = (
            sum(_training(place) for place in places) + sum(row["seconds"] for row in scored)
        ) / 3600
        rows.append(
            (member, facts.title, facts.claim, str(len(places)), str(len(scored)), f"{hours:.2f}")
        )
    total = sum(_training(run) + sum(row["seconds"] for row in _scores(run)) for run in runs)
    table = Table(("experiment", "title", "claim", "runs", "scores", "processor hours"), rows)
    text = (
        f"Training and scoring took {total / 3600:.1f} processor hours in all, one thread "
        "each; runs that experiments share are "
        "counted with each of them above, and once here."
    )
    body = [
        page.heading(title, 1),
        page.paragraph(text),
        table.html(),
        page.heading("Command"),
        page.code(command),
    ]
    body += [page.link(f"{member}/report.html", f"Report of {member}") for member in members]
    blocks = [f"# {markdown_text(title)}", text, table.markdown().rstrip(), "    " + command]
    blocks += [f"* [{member}]({member}/report.md)" for member in members]
    atomic_write(folder / "report.md", "\n\n".join(blocks) + "\n")
    atomic_write(folder / "report.html", page.page(title, body))
    atomic_write(folder / SUITE, json.dumps({"name": name, "members": members}, indent=2) + "\n")
    return folder / "report.html"


def _training(run: Path) -> float:
    """Seconds that a run has trained for."""
    return spent(read_jsonl(run / METRICS) if (run / METRICS).exists() else []).seconds


def _scores(run: Path) -> list[dict[str, float]]:
    return read_jsonl(run / "scores.jsonl") if (run / "scores.jsonl").exists() else []
