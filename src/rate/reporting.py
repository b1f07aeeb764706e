"""The report of a run or experiment: report.html (one file), report.md, figures and summary.json."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rate import figures, page
from rate.evidence import Evidence, Facts, ReportError, read_evidence
from rate.files import atomic_write
from rate.statistics import Conditional, Summary, conditionals, summarise
from rate.tables import METHOD, Table, detail_table, gaps, markdown_text, means, memory_table, paper_table, score_table


@dataclass(frozen=True)
class Part:
    """One section, from which both HTML and Markdown are written; `folded` hides it in HTML until asked for."""

    title: str
    text: str = ""
    warnings: Sequence[str] = ()
    figure: str = ""
    caption: str = ""
    table: Table | None = None
    code: str = ""
    folded: bool = False


def report(folder: str | Path, output: str | Path | None = None) -> Path:
    """Write the report of a run folder or experiment folder and return the path of report.html.

    output: the folder to write to, by default the folder itself. It gets report.html, which is complete in itself,
    report.md, summary.json ({variant: {position: mean}}, null where a seed is missing), and as far as there is
    something to show success.png, conditional.png and training.png. A folder that is missing or damaged is a
    ReportError.
    """
    evidence = read_evidence(folder)
    output = Path(output or folder)
    summaries, others, points = measure(evidence, Path(folder))
    pictures = draw(evidence, summaries, points)
    parts = _parts(evidence, summaries, others, points, pictures)
    output.mkdir(parents=True, exist_ok=True)
    for name, png in pictures.items():
        atomic_write(output / name, png)
    atomic_write(output / "summary.json", json.dumps(means(summaries), indent=2) + "\n")
    atomic_write(output / "report.md", _markdown(evidence, parts))
    atomic_write(output / "report.html", _html(evidence, parts, pictures))
    return output / "report.html"


def measure(evidence: Evidence, origin: Path) -> tuple[list[Summary], list[Summary], list[Conditional]]:
    """Summaries of the checkpoint that the experiment is about, those of others, scores per cue of the former."""
    facts, rows = evidence.facts, evidence.rows
    named = [row for row in rows if row.get("checkpoint") == facts.checkpoint]
    chosen = named or rows
    rest = [row for row in rows if row.get("checkpoint") != facts.checkpoint] if named else []
    expected = (facts.order, facts.seeds) if rows else ((), ())
    try:
        return summarise(chosen, *expected), summarise(rest), conditionals(chosen)
    except ValueError as error:
        raise ReportError(f"the results in {origin} cannot be reported: {error}") from error


def draw(evidence: Evidence, summaries: Sequence[Summary], points: Sequence[Conditional]) -> dict[str, bytes]:
    """The figures that there is something to show for, as PNG by file name."""
    facts, pictures = evidence.facts, {}
    axis = facts.axis or "task size"
    if any(summary.x and summary.seeds for summary in summaries):
        chance = 0.5 if all(summary.metric == "success" for summary in summaries) else None
        pictures["success.png"] = figures.success(
            summaries, axis=axis, training_length=facts.training_length, chance=chance
        )
    if points and all(len(point.means) == 2 for point in points):
        pictures["conditional.png"] = figures.conditional(
            points, order=_order(summaries), axis=axis, training_length=facts.training_length
        )
    curves = [run.curve for run in evidence.runs if run.curve]
    if curves:
        pictures["training.png"] = figures.training(curves, facts.order)
    return pictures


def _parts(
    evidence: Evidence,
    summaries: Sequence[Summary],
    others: Sequence[Summary],
    points: Sequence[Conditional],
    pictures: Mapping[str, bytes],
) -> list[Part]:
    facts, parts = evidence.facts, []
    if summaries:
        metric = " / ".join(dict.fromkeys(summary.metric for summary in summaries))
        about = f"{metric.capitalize()} of the {summaries[0].checkpoint} checkpoint, mean ± standard error; "
        about += f"{_extent(summaries)}."
        bands = "Bands: 95 % bootstrap intervals of the mean. Hollow markers lack a seed."
        figure = "success.png" if "success.png" in pictures else ""
        parts.append(
            Part(
                "Result",
                about,
                gaps(summaries),
                figure,
                f"{metric.capitalize()} against {facts.axis or 'task size'}. {bands}",
                score_table(summaries, facts.axis),
            )
        )
    else:
        parts.append(
            Part("Result", "No scores yet: rate evaluate adds them to a run, rate reproduce to an experiment.")
        )
    if facts.paper:
        parts.append(Part("Beside the paper", table=paper_table(summaries, facts.paper, facts.training_length)))
    if "conditional.png" in pictures:
        parts.append(_memory(points, summaries, facts))
    if "training.png" in pictures:
        caption = (
            "Means of at most 100 groups of consecutive updates. Thin lines are seeds, the thick one is their mean."
        )
        parts.append(Part("Training", figure="training.png", caption=caption))
    if summaries:
        parts.append(Part("How the statistics were made", METHOD))
        parts.append(Part("All numbers", table=detail_table([*summaries, *others]), folded=True))
    parts.append(Part("Provenance", table=_provenance(evidence)))
    if facts.command:
        parts.append(Part("Command", f"Cost: {facts.cost}." if facts.cost else "", code=facts.command))
    recipes = {f"{run.variant} ({run.recipe.get('hash', 'no hash')})": run.recipe for run in evidence.runs}
    for name, recipe in recipes.items():
        parts.append(Part(f"Recipe of {name}", code=json.dumps(recipe, indent=2), folded=True))
    return parts


def _memory(points: Sequence[Conditional], summaries: Sequence[Summary], facts: Facts) -> Part:
    text = (
        "How often the answer is right, given each of two cues. A policy without memory may prefer one answer, but its "
        "two frequencies are expected to add up to at most 1; more than chance above 1 there is memory, 2 is perfect."
    )
    caption = "Left: one point per seed and position"
    caption += ", hollow beyond the training length. " if facts.training_length else ". "
    caption += "Right: mean over seeds, with a line from the lowest to the highest seed."
    table = memory_table(points, summaries, facts.axis)
    return Part("Does the answer depend on the cue?", text, (), "conditional.png", caption, table)


def _provenance(evidence: Evidence) -> Table:
    """Every fact with its distinct values over runs and rows; what differs between variants is told per variant."""
    rows: list[tuple[str, str]] = []

    def add(name: str, values: Sequence[Any]) -> None:
        texts = sorted({str(value) for value in values if value not in (None, "")})
        if texts:
            rows.append((name, ", ".join(texts)))

    provenances = [run.provenance for run in evidence.runs]
    for variant in dict.fromkeys(run.variant for run in evidence.runs):
        add(f"recipe of {variant}", [run.recipe.get("hash") for run in evidence.runs if run.variant == variant])
    add("dataset hash", [facts.get("dataset") for facts in provenances])
    add("seeds", [", ".join(str(seed) for seed in sorted({run.seed for run in evidence.runs}))])
    add("commit of training", [facts.get("commit") for facts in provenances])
    add("commit of evaluation", [row.get("commit") for row in evidence.rows])
    for name in ("machine", "python", "accelerator", "devices", "thread_count"):
        add(name.replace("_", " "), [facts.get(name) for facts in provenances])
    packages = [facts.get("packages") for facts in provenances]
    for package in sorted({name for found in packages if isinstance(found, dict) for name in found}):
        add(package, [found.get(package) for found in packages if isinstance(found, dict)])
    add("device of evaluation", [row.get("device") for row in evidence.rows])
    add("selection", [row.get("selection") for row in evidence.rows])
    dates = sorted(str(found["date"]) for found in [*provenances, *evidence.rows] if found.get("date"))
    add("date", [dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"] if dates else [])
    return Table(("fact", "value"), [(name, value) for name, value in rows])


def _markdown(evidence: Evidence, parts: Sequence[Part]) -> str:
    facts = evidence.facts
    blocks = [f"# {markdown_text(facts.title or facts.name)}", markdown_text(facts.claim)]
    blocks.append(f"Source: {markdown_text(facts.source)}" if facts.source else "")
    for part in parts:
        if part.title.startswith("Recipe of"):
            continue  # It is in the run's recipe.json, and would drown the tables on a terminal.
        blocks.append(f"## {markdown_text(part.title)}")
        blocks.append(markdown_text(part.text))
        blocks += [f"**Incomplete:** {markdown_text(warning)}" for warning in part.warnings]
        blocks.append(f"![{markdown_text(part.caption)}]({part.figure})" if part.figure else "")
        blocks.append(part.table.markdown().rstrip() if part.table else "")
        blocks.append("\n".join("    " + line for line in part.code.splitlines()))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _html(evidence: Evidence, parts: Sequence[Part], pictures: Mapping[str, bytes]) -> str:
    facts = evidence.facts
    title = facts.title or facts.name
    body = [page.heading(title, 1), page.paragraph(facts.claim, "claim")]
    body.append(page.paragraph(f"Source: {facts.source}" if facts.source else "", "faint"))
    for part in parts:
        content = page.paragraph(part.text, "faint") + "".join(
            page.paragraph(f"Incomplete: {text}", "warning") for text in part.warnings
        )
        content += page.picture(pictures[part.figure], part.caption) if part.figure else ""
        content += part.table.html() if part.table else ""
        content += page.code(part.code) if part.code else ""
        body.append(page.details(part.title, content) if part.folded else page.heading(part.title) + content)
    return page.page(title, body)


def _extent(summaries: Sequence[Summary]) -> str:
    seeds = sorted({len(summary.seeds) for summary in summaries})
    episodes = sorted({round(summary.episodes / len(summary.seeds)) for summary in summaries if summary.seeds})
    return f"{_range(seeds)} {'seed' if seeds == [1] else 'seeds'}, {_range(episodes)} episodes each"


def _range(numbers: Sequence[int]) -> str:
    return "–".join(str(number) for number in dict.fromkeys([numbers[0], numbers[-1]])) if numbers else "no"


def _order(summaries: Sequence[Summary]) -> list[str]:
    return list(dict.fromkeys(summary.variant for summary in summaries))
