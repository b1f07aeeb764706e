"""The report of a run or experiment: report.html (one file), report.md, figures and
summary.json."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rate.files import atomic_write
from rate.reporting import figures
from rate.reporting import html as page
from rate.reporting.load import Evidence, Facts, ReportError, read_evidence, read_object
from rate.reporting.statistics import Conditional, Summary, conditionals, returned, summarise
from rate.reporting.tables import (
    METHOD,
    Published,
    Table,
    detail_table,
    gaps,
    labels,
    markdown_text,
    means,
    memory_table,
    paper_table,
    score_table,
)
from rate.reporting.totals import left_out, sum_table, sums

INSPECTION = "inspection.json"
"""What `rate inspect` leaves in a run folder: captions of its pictures, rows for a table, and
notes."""
INSPECTED = ("measure", "value", "95 % interval", "episodes")
"""Columns of an inspection's table."""


@dataclass(frozen=True)
class Part:
    """One section, from which both HTML and Markdown are written; `folded` hides it in HTML until
    asked for.

    further: more figures with their captions, below the table.
    """

    title: str
    text: str = ""
    warnings: Sequence[str] = ()
    figure: str = ""
    caption: str = ""
    table: Table | None = None
    code: str = ""
    folded: bool = False
    further: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Results:
    """Summaries of the checkpoint an experiment is about, those of other checkpoints, and its
    scores per cue.

    returns: summaries of the returns, where these are not the scores.
    """

    summaries: Sequence[Summary]
    others: Sequence[Summary]
    points: Sequence[Conditional]
    returns: Sequence[Summary] = ()


def report(folder: str | Path, output: str | Path | None = None) -> Path:
    """Write the report of a run folder or experiment folder and return the path of report.html.

    output: the folder to write to, by default the folder itself. It gets report.html, which is
    complete in itself, report.md, summary.json ({variant: {position: mean}}, null where a seed is
    missing), and as far as there is something to show success.png or tasks.png, return.png,
    conditional.png and training.png. A folder that is missing or damaged is a ReportError.
    """
    evidence = read_evidence(folder)
    results = measure(evidence, Path(folder))
    pictures = draw(evidence, results)
    inspected, more = inspections(inspected_runs(Path(folder), evidence.facts))
    pictures |= more
    parts = sections(evidence, results, pictures, inspected=inspected)
    output = Path(output or folder)
    output.mkdir(parents=True, exist_ok=True)
    for name, png in pictures.items():
        atomic_write(output / name, png)
    atomic_write(output / "summary.json", json.dumps(means(results.summaries), indent=2) + "\n")
    atomic_write(output / "report.md", markdown(evidence.facts, parts))
    atomic_write(output / "report.html", _html(evidence, parts, pictures))
    return output / "report.html"


def measure(evidence: Evidence, origin: Path) -> Results:
    """Statistics of the evidence; rows that cannot be averaged are a ReportError that names their
    origin."""
    facts, rows = evidence.facts, evidence.rows
    named = [row for row in rows if row.get("checkpoint") == facts.checkpoint]
    chosen = named or rows
    rest = [row for row in rows if row.get("checkpoint") != facts.checkpoint] if named else []
    expected = (facts.order, facts.seeds, facts.first_seed_only) if rows else ()
    try:
        returns = (
            summarise(returned(chosen), facts.order)
            if any("returns" in row for row in chosen)
            else ()
        )
        return Results(summarise(chosen, *expected), summarise(rest), conditionals(chosen), returns)
    except ValueError as error:
        raise ReportError(f"the results in {origin} cannot be reported: {error}") from error


def draw(evidence: Evidence, results: Results) -> dict[str, bytes]:
    """The figures that there is something to show for, as PNG by file name."""
    facts, summaries, points = evidence.facts, results.summaries, results.points
    pictures, axis, length = {}, facts.axis or "task size", facts.training_length
    if any(summary.x and summary.seeds for summary in summaries):
        chance = 0.5 if all(summary.metric == "success" for summary in summaries) else None
        pictures["success.png"] = figures.success(
            summaries, axis=axis, training_length=length, chance=chance
        )
    elif len({summary.task for summary in summaries if summary.seeds}) > 1:
        pictures["tasks.png"] = figures.tasks(summaries)
    if any(summary.x and summary.seeds for summary in results.returns):
        pictures["return.png"] = figures.success(
            results.returns, axis=axis, training_length=length, chance=None
        )
    if facts.grid and any(summary.variant in facts.grid and summary.seeds for summary in summaries):
        pictures["heat-map.png"] = figures.heat_map(
            summaries, facts.grid, axis=axis, grid_axis=facts.grid_axis
        )
    if points and all(len(point.means) == 2 for point in points):
        order = [summary.variant for summary in summaries]
        pictures["conditional.png"] = figures.conditional(
            points, order=order, axis=axis, training_length=length
        )
    curves = [run.curve for run in evidence.runs if run.curve]
    if curves:
        pictures["training.png"] = figures.training(curves, facts.order)
    return pictures


def sections(
    evidence: Evidence,
    results: Results,
    pictures: Mapping[str, bytes],
    published: Published | None = None,
    inspected: Sequence[Part] = (),
) -> list[Part]:
    """The sections of a report in their order; published numbers are set beside the measured
    ones."""
    facts, summaries, parts = (
        evidence.facts,
        results.summaries,
        [_result(evidence.facts, results.summaries, pictures)],
    )
    if results.returns:
        parts.append(_returns(facts, results.returns, pictures))
    if facts.sums and summaries:
        own = [row for row in evidence.rows if row["checkpoint"] == summaries[0].checkpoint]
        parts.append(
            Part(
                "Sums over tasks",
                left_out(own, facts.sums),
                table=sum_table(sums(own, facts.sums), published),
            )
        )
    if facts.remarks:
        parts.append(Part("What it shows", facts.remarks))
    paper = {**(published.in_words() if published else {}), **facts.paper}
    # What the paper says of a model is said of each of its rows in a heat map.
    paper = {
        variant: paper[panel] for variant, (panel, _) in facts.grid.items() if panel in paper
    } | paper
    if summaries and (paper or (published and published.note)):
        note = published.note if published else ""
        # Positions of printed values, where these are what the paper is quoted with.
        spoken = {*facts.paper, *published.statements} if published else {}
        printed = (
            {name: own for name, own in published.values.items() if name not in spoken}
            if published
            else {}
        )
        table = paper_table(summaries, paper, facts.training_length, printed) if paper else None
        parts.append(Part("Beside the paper", note, table=table))
    if "heat-map.png" in pictures:
        where = f"Rows: {facts.grid_axis}" if facts.grid_axis else "Rows: variants"
        caption = f"Mean over seeds. {where}; columns: {facts.axis or 'task size'}."
        if {row for _, row in facts.grid.values()} & {
            f"{summary.x:g}" for summary in summaries if summary.x
        }:
            caption += " Frames: where both are the same."
        parts.append(Part("Heat map", figure="heat-map.png", caption=caption))
    if "conditional.png" in pictures:
        parts.append(_memory(facts, results))
    parts += inspected
    if "training.png" in pictures:
        caption = (
            "Means of at most 100 groups of consecutive updates. Thin lines are seeds, the thick "
            "one is their mean."
        )
        seconds, selection = (sum(run.spent[entry] for run in evidence.runs) for entry in (0, 1))
        if selection:
            caption += f" Choosing the best checkpoint took {selection / seconds:.1%} of the time of training."
        parts.append(Part("Training", figure="training.png", caption=caption))
    if summaries:
        numbers = detail_table([*summaries, *results.others], published)
        parts += [
            Part("How the statistics were made", METHOD),
            Part("All numbers", table=numbers, folded=True),
        ]
    parts.append(Part("Provenance", table=_provenance(evidence)))
    if facts.command:
        parts.append(
            Part("Command", f"Cost: {facts.cost}." if facts.cost else "", code=facts.command)
        )
    return parts


def _result(facts: Facts, summaries: Sequence[Summary], pictures: Mapping[str, bytes]) -> Part:
    if not summaries:
        return Part(
            "Result",
            "No scores yet: rate evaluate adds them to a run, rate reproduce to an experiment.",
        )
    metric = " / ".join(dict.fromkeys(summary.metric for summary in summaries)).capitalize()
    checkpoint = " / ".join(dict.fromkeys(summary.checkpoint for summary in summaries))
    text = f"{metric} of the {checkpoint} checkpoint, mean ± standard error; {extent(summaries)}."
    alone = [name for task, name in labels(summaries).items() if task in facts.first_seed_only]
    if alone:
        text += f" At {', '.join(alone)} one seed is scored, and the error is over its episodes."
    if "tasks.png" in pictures:
        figure, caption = (
            "tasks.png",
            f"{metric} by task. Lines: 95 % bootstrap intervals of the mean.",
        )
    else:
        figure = "success.png" if "success.png" in pictures else ""
        caption = (
            f"{metric} against {facts.axis or 'task size'}. Bands: 95 % bootstrap intervals of "
            "the mean."
        )
        caption += (
            "" if all(summary.complete for summary in summaries) else " Hollow markers lack a seed."
        )
    return Part(
        "Result", text, gaps(summaries), figure, caption, score_table(summaries, facts.axis)
    )


def _returns(facts: Facts, summaries: Sequence[Summary], pictures: Mapping[str, bytes]) -> Part:
    caption = (
        f"Return against {facts.axis or 'task size'}. Bands: 95 % bootstrap intervals of the mean."
    )
    figure = "return.png" if "return.png" in pictures else ""
    text = f"Mean return of the same episodes ± standard error; {extent(summaries)}."
    return Part("Return", text, (), figure, caption, score_table(summaries, facts.axis))


def inspected_runs(folder: Path, facts: Facts) -> dict[str, Path]:
    """Where inspections are looked for, by the name to tell them apart: none for the folder's
    own."""
    found = {"": folder}
    for variant, place in facts.runs:
        if variant in facts.inspected:
            found.setdefault(variant, folder / place)
    return found


def inspections(folders: Mapping[str, Path]) -> tuple[list[Part], dict[str, bytes]]:
    """The sections that `rate inspect` has prepared in run folders, with their pictures; several
    are told apart by name."""
    parts: list[Part] = []
    pictures: dict[str, bytes] = {}
    for name, folder in folders.items():
        if not (folder / INSPECTION).is_file():
            continue
        part, own = _inspection(folder)
        if name:
            further = [(f"{name}-{file}", caption) for file, caption in part.further]
            part = replace(part, title=f"{part.title}: {name}", further=further)
            own = {f"{name}-{file}": png for file, png in own.items()}
        parts.append(part)
        pictures |= own
    return parts, pictures


def _inspection(folder: Path) -> tuple[Part, dict[str, bytes]]:
    path = folder / INSPECTION
    found, pictures = read_object(path), {}
    try:
        figured = [(str(figure["file"]), str(figure["caption"])) for figure in found["figures"]]
        rows = [tuple(map(str, row)) for row in found["table"]]
        text = (
            f"{found['task']}, {found['checkpoint']} checkpoint, {found['episodes']} episodes, "
            "greedy actions."
        )
        text = " ".join([text, *map(str, found["notes"])])
        if any(len(row) != len(INSPECTED) for row in rows):
            raise ValueError(f"a row of the table has not {len(INSPECTED)} entries")
        for name, _ in figured:
            if Path(name).name != name:
                raise ValueError(f"{name!r} is not the name of a file beside it")
            pictures[name] = (folder / name).read_bytes()
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise ReportError(
            f"{path} cannot be shown ({error}): remove it, or run rate inspect again"
        ) from error
    return Part(
        "What the memory does", text, table=Table(INSPECTED, rows), further=figured
    ), pictures


def _memory(facts: Facts, results: Results) -> Part:
    text = (
        "How often the answer is right, given each of two cues. A policy without memory may "
        "prefer one answer, but its "
        "two frequencies are expected to add up to at most 1; more than chance above 1 there "
        "is memory, 2 is perfect."
    )
    caption = "Left: one point per seed and position"
    caption += ", hollow beyond the training length. " if facts.training_length else ". "
    caption += "Right: mean over seeds, with a line from the lowest to the highest seed."
    table = memory_table(results.points, results.summaries, facts.axis)
    return Part("Does the answer depend on the cue?", text, (), "conditional.png", caption, table)


def _provenance(evidence: Evidence) -> Table:
    """Every fact with its distinct values over runs and rows; recipes are told per variant."""
    rows: list[tuple[str, ...]] = []

    def add(name: str, values: Iterable[Any]) -> None:
        texts = sorted({str(value) for value in values if value not in (None, "")})
        if texts:
            rows.append((name, ", ".join(texts)))

    runs, scored = evidence.runs, evidence.rows
    origins = [run.provenance for run in runs]
    for variant in dict.fromkeys(
        [*(run.variant for run in runs), *(row["variant"] for row in scored)]
    ):
        hashes = [run.recipe.get("hash") for run in runs if run.variant == variant]
        add(
            f"recipe of {variant}",
            [*hashes, *(row.get("recipe") for row in scored if row["variant"] == variant)],
        )
    add("dataset hash", (facts.get("dataset") for facts in origins))
    seeds = {*(run.seed for run in runs), *(row["seed"] for row in scored)}
    add("seeds", [", ".join(map(str, sorted(seeds)))])
    add("commit of training", (facts.get("commit") for facts in origins))
    add("commit of evaluation", (row.get("commit") for row in scored))
    for name in ("machine", "python", "accelerator", "devices", "thread_count"):
        add(name.replace("_", " "), (facts.get(name) for facts in origins))
    packages = [facts["packages"] for facts in origins if isinstance(facts.get("packages"), dict)]
    for package in sorted({name for versions in packages for name in versions}):
        add(package, (versions.get(package) for versions in packages))
    add("device of evaluation", (row.get("device") for row in scored))
    add("selection", (row.get("selection") for row in scored))
    dates = sorted(str(found["date"]) for found in [*origins, *scored] if found.get("date"))
    add("date", [" to ".join(dict.fromkeys([dates[0], dates[-1]]))] if dates else [])
    return Table(("fact", "value"), rows)


def markdown(facts: Facts, parts: Sequence[Part], prefix: str = "") -> str:
    """The report in Markdown; prefix stands before the names of its figures."""
    blocks = [
        f"# {markdown_text(facts.title or facts.name)}",
        f"Claim: {markdown_text(facts.claim)}" if facts.claim else "",
    ]
    blocks.append(f"Source: {markdown_text(facts.source)}" if facts.source else "")
    for part in parts:
        blocks += [f"## {markdown_text(part.title)}", markdown_text(part.text)]
        blocks += [f"**Incomplete:** {markdown_text(warning)}." for warning in part.warnings]
        blocks.append(
            f"![{markdown_text(part.caption)}]({prefix}{part.figure})" if part.figure else ""
        )
        blocks.append(part.table.markdown().rstrip() if part.table else "")
        blocks += [
            f"![{markdown_text(caption)}]({prefix}{figure})" for figure, caption in part.further
        ]
        blocks.append("\n".join("    " + line for line in part.code.splitlines()))
    return "\n\n".join(block for block in blocks if block) + "\n"


def extent(summaries: Sequence[Summary]) -> str:
    """How many seeds and episodes there are, in words; a range where it differs."""
    seeds = sorted({len(summary.seeds) for summary in summaries})
    episodes = sorted(
        {round(summary.episodes / len(summary.seeds)) for summary in summaries if summary.seeds}
    )
    return (
        f"{_range(seeds)} {'seed' if seeds == [1] else 'seeds'}, {_range(episodes)} episodes each"
    )


def _range(numbers: Sequence[int]) -> str:
    return (
        "–".join(str(number) for number in dict.fromkeys([numbers[0], numbers[-1]]))
        if numbers
        else "no"
    )


def _html(evidence: Evidence, parts: Sequence[Part], pictures: Mapping[str, bytes]) -> str:
    facts, title = evidence.facts, evidence.facts.title or evidence.facts.name
    body = [
        page.heading(title, 1),
        page.paragraph(f"Claim: {facts.claim}" if facts.claim else "", "claim"),
    ]
    body.append(page.paragraph(f"Source: {facts.source}" if facts.source else "", "faint"))
    for part in parts:
        content = page.paragraph(part.text, "faint")
        content += "".join(
            page.paragraph(f"Incomplete: {warning}.", "warning") for warning in part.warnings
        )
        content += page.picture(pictures[part.figure], part.caption) if part.figure else ""
        content += part.table.html() if part.table else ""
        content += "".join(
            page.picture(pictures[figure], caption) for figure, caption in part.further
        )
        content += page.code(part.code) if part.code else ""
        body.append(
            page.details(part.title, content) if part.folded else page.heading(part.title) + content
        )
    for name, recipe in {f"Recipe of {run.variant}": run.recipe for run in evidence.runs}.items():
        body.append(page.details(name, page.code(json.dumps(recipe, indent=2))))
    return page.page(title, body)
