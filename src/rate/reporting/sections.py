"""The sections of a report: text, figures and tables in their order."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from rate.messages import reason
from rate.reporting.comparisons import (
    correlation_table,
    difference_table,
    held_table,
    separation_table,
)
from rate.reporting.groups import TEXT, group_table
from rate.reporting.levels import in_words
from rate.reporting.load import (
    Evidence,
    Facts,
    ReportError,
    place,
    read_object,
    read_picture,
    run_folder,
)
from rate.reporting.protocol import Row
from rate.reporting.results import Results
from rate.reporting.statistics import Summary
from rate.reporting.tables import (
    METHOD,
    Published,
    Table,
    detail_table,
    gaps,
    labels,
    memory_table,
    paper_table,
    score_table,
)
from rate.reporting.terms import data_table, earlier_table, notice, terms_table
from rate.reporting.totals import left_out, sum_table, sums
from rate.runs.folder import Run

FIGURES = "inspect-*.png"
"""Names of the figures of an inspection."""
INSPECTED = ("measure", "value", "95 % interval", "episodes")
"""Columns of an inspection's table."""
EARLIER = (
    "Rows that were reported once and no number above is made from: they were replaced by rows of "
    "another recipe, data or protocol."
)
DATA = "What policies were trained on: returns of whole episodes, mean ± standard deviation."
BANDS = "Bands: 95 % intervals of the mean."
APART = (
    "Root mean square difference between the memories of two cues: after the first segment, after "
    "one and after ten transitions, in all of which memory reads the same segment, without a cue. "
    "What is kept is the last as a part of the first; each number is the mean over seeds, with the "
    "lowest and the highest seed. A difference that ten transitions leave as it is lasts."
)
TOGETHER = (
    "Correlation, over training, of the scores of two cues in the task that was validated on, the "
    "first hundredth left out: mean over seeds, with the lowest and the highest seed. Close to 1 "
    "there is memory; below 0 the policy comes to prefer one answer."
)
HELD = (
    "Seeds whose success is at least 0.95, of those that were trained, with the exact 95 % "
    "interval of the proportion among all seeds that would hold."
)


@dataclass(frozen=True)
class Part:
    """One section, from which both HTML and Markdown are written."""

    title: str
    """Heading."""
    text: str = ""
    """Paragraph below the heading."""
    warnings: Sequence[str] = ()
    """What is incomplete."""
    figure: str = ""
    """File of the figure."""
    caption: str = ""
    """Caption of the figure."""
    table: Table | None = None
    """Table below the figure."""
    code: str = ""
    """Command or JSON at the end."""
    folded: bool = False
    """Whether HTML hides the section until asked for."""
    further: Sequence[tuple[str, str]] = ()
    """Files of more figures with their captions, below the table."""


def sections(
    evidence: Evidence,
    results: Results,
    pictures: Collection[str],
    published: Published | None = None,
    inspected: Sequence[Part] = (),
) -> list[Part]:
    """The sections of a report in their order.

    Args:
        evidence: What the report is made from.
        results: Statistics of the evidence.
        pictures: Files of the figures that there are.
        published: Published values, set beside the measured ones.
        inspected: Sections of inspections.
    """
    facts, summaries = evidence.facts, results.summaries
    parts = [_result(evidence, results, pictures)]
    parts += _compared(facts, results, evidence.rows)
    if results.returns:
        parts.append(_returns(facts, results.returns, pictures))
    if results.groups:
        table = group_table(results.groups, labels(summaries), published)
        figure = "groups.png" if "groups.png" in pictures else ""
        caption = "Points: mean of each group ± standard error. Lines across: all episodes."
        parts.append(Part("Scores by group", TEXT, (), figure, caption, table))
    if facts.sums and summaries:
        own = [row for row in evidence.rows if row["checkpoint"] == summaries[0].checkpoint]
        text, table = left_out(own, facts.sums), sum_table(sums(own, facts.sums), published)
        parts.append(Part("Sums over tasks", text, table=table))
    if evidence.remarks:
        parts.append(Part("What it shows", evidence.remarks))
    if facts.data:
        parts.append(Part("Data", DATA, table=data_table(facts.data), folded=len(facts.data) > 12))
    if facts.terms:
        text, differing = terms_table(facts.terms)
        parts.append(Part("Terms", text, table=differing))
    parts += _beside_the_paper(facts, summaries, published or Published())
    if "heat-map.png" in pictures:
        parts.append(_heat_map(facts, summaries))
    if "conditional.png" in pictures:
        parts.append(_memory(facts, results))
    parts += inspected
    if "training.png" in pictures:
        parts.append(_training(evidence))
    if evidence.differences:
        head, *rows = evidence.differences
        parts.append(Part("What differs", table=Table(head, rows)))
    if summaries:
        numbers = detail_table([*summaries, *results.others], published)
        parts.append(Part("How the statistics were made", METHOD))
        parts.append(Part("All numbers", table=numbers, folded=True))
    if earlier := earlier_table(evidence.history or evidence.rows):
        parts.append(Part("Earlier recipes and protocols", EARLIER, table=earlier))
    parts.append(Part("Provenance", table=_provenance(evidence)))
    if facts.command:
        cost = f"Cost: {facts.cost}." if facts.cost else ""
        parts.append(Part("Command", cost, code=facts.command))
    return parts


def _compared(facts: Facts, results: Results, rows: Sequence[Row]) -> list[Part]:
    """How many seeds hold, how long memory lasts, and how variants differ."""
    parts = []
    if any(one.held is not None and len(one.seeds) > 1 for one in results.summaries):
        parts.append(Part("Seeds that hold", HELD, table=held_table(results.summaries, facts.axis)))
    if apart := separation_table(rows):
        parts.append(Part("How long memory lasts", APART, table=apart))
    if together := correlation_table(rows):
        parts.append(Part("Do the cues' scores rise together?", TOGETHER, table=together))
    if results.differences:
        against = dict.fromkeys(one.reference for one in results.differences)
        text = f"Mean less that of {' / '.join(against)}, with 95 % intervals"
        text += ", each in the same row of the heat map." if len(against) > 1 else "."
        table = difference_table(results.differences, results.summaries, facts.axis)
        parts.append(Part("Differences", text, table=table))
    return parts


def _beside_the_paper(
    facts: Facts, summaries: Sequence[Summary], published: Published
) -> list[Part]:
    paper = {**published.in_words(), **facts.paper}
    # What the paper says of a model is said of each of its rows in a heat map.
    by_row = {variant: paper[panel] for variant, (panel, _) in facts.grid.items() if panel in paper}
    paper = by_row | paper
    if not summaries or not (paper or published.note):
        return []
    # Positions of printed values, where these are what the paper is quoted with.
    in_words = {*facts.paper, *published.statements}
    printed = {name: own for name, own in published.values.items() if name not in in_words}
    table = paper_table(summaries, paper, facts.training_length, printed) if paper else None
    return [Part("Beside the paper", published.note, table=table)]


def _heat_map(facts: Facts, summaries: Sequence[Summary]) -> Part:
    rows = f"Rows: {facts.grid_axis}" if facts.grid_axis else "Rows: variants"
    caption = f"Mean over seeds. {rows}; columns: {facts.axis or 'task size'}."
    positions = {f"{summary.x:g}" for summary in summaries if summary.x}
    if {row for _, row in facts.grid.values()} & positions:
        caption += " Frames: where both are the same."
    return Part("Heat map", figure="heat-map.png", caption=caption)


def _training(evidence: Evidence) -> Part:
    caption = (
        "Means of at most 100 groups of consecutive updates. Thin lines are seeds, the thick "
        "one is their mean."
    )
    seconds = sum(run.spent.seconds for run in evidence.runs)
    selection = sum(run.spent.selection for run in evidence.runs)
    if selection:
        caption += " Validation: what the best checkpoint is selected by."
        share = f"{selection / seconds:.1%}"
        caption += f" Choosing the best checkpoint took {share} of the time of training."
    return Part("Training", figure="training.png", caption=caption)


def _result(evidence: Evidence, results: Results, pictures: Collection[str]) -> Part:
    facts, summaries, known = evidence.facts, results.summaries, in_words(results.known)
    if not summaries:
        return Part(
            "Result",
            "No scores yet: rate evaluate adds them to a run, rate reproduce to an experiment.",
        )
    metric = " / ".join(dict.fromkeys(summary.metric for summary in summaries)).capitalize()
    checkpoint = " / ".join(dict.fromkeys(summary.checkpoint for summary in summaries))
    error = error_of(summaries)
    text = f"{metric} of the {checkpoint} checkpoint, mean ± {error}; {extent(summaries)}."
    alone = [name for task, name in labels(summaries).items() if task in facts.first_seed_only]
    if alone:
        text += f" At {', '.join(alone)} one seed is scored, and the error is over its episodes."
    text = " ".join(filter(None, (notice(facts, evidence.rows), text)))
    missing = gaps(summaries)
    table = score_table(summaries, facts.axis)
    if "tasks.png" in pictures:
        caption = f"{metric} by task. Lines: 95 % intervals of the mean.{known}"
        return Part("Result", text, missing, "tasks.png", caption, table)
    caption = f"{metric} against {facts.axis or 'task size'}. {BANDS}"
    caption += known + (" Hollow markers lack a seed." if missing else "")
    figure = "success.png" if "success.png" in pictures else ""
    return Part("Result", text, missing, figure, caption, table)


def _returns(facts: Facts, summaries: Sequence[Summary], pictures: Collection[str]) -> Part:
    caption = f"Return against {facts.axis or 'task size'}. {BANDS}"
    figure = "return.png" if "return.png" in pictures else ""
    text = f"Mean return of the same episodes ± {error_of(summaries)}; {extent(summaries)}."
    return Part("Return", text, (), figure, caption, score_table(summaries, facts.axis))


def inspected_runs(folder: Path, facts: Facts) -> dict[str, Path]:
    """Folders in which inspections are looked for, by the name that tells their figures apart:
    empty for `folder` itself."""
    folders = {"": folder}
    for run in facts.runs:
        if run.variant in facts.inspected:
            name = place(folder, run.variant).name  # it becomes a part of the names of files
            folders.setdefault(name, run_folder(folder, run))
    return folders


def inspections(folders: Mapping[str, Path]) -> tuple[list[Part], dict[str, bytes]]:
    """The sections that `rate inspect` has prepared, with their pictures.

    Args:
        folders: Run folders, or folders of copies, by a name that is put before titles and files.
    """
    parts: list[Part] = []
    pictures: dict[str, bytes] = {}
    for name, folder in folders.items():
        if not Run(folder).inspection_file.is_file():
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
    path = Run(folder).inspection_file
    data, pictures = read_object(path), {}
    try:
        figures = [(str(figure["file"]), str(figure["caption"])) for figure in data["figures"]]
        rows = [tuple(map(str, row)) for row in data["table"]]
        text = (
            f"{data['task']}, {data['checkpoint']} checkpoint, {data['episodes']} episodes, "
            "greedy actions."
        )
        text = " ".join([text, *map(str, data["notes"])])
        if any(len(row) != len(INSPECTED) for row in rows):
            raise ValueError(f"a row of the table has not {len(INSPECTED)} entries")
        for name, _ in figures:
            if not fnmatchcase(name, FIGURES):
                raise ValueError(f"{name!r} is not the name of a figure, {FIGURES}")
            pictures[name] = read_picture(place(folder, name))
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise ReportError(
            f"{path} cannot be shown ({reason(error)}): remove it, or run rate inspect again"
        ) from error
    table = Table(INSPECTED, rows)
    return Part("What the memory does", text, table=table, further=figures), pictures


def _memory(facts: Facts, results: Results) -> Part:
    text = (
        "How often the answer is right, given each of two cues. A policy without memory may "
        "prefer one answer, but its two frequencies are expected to add up to at most 1; more "
        "than chance above 1 there is memory, 2 is perfect."
    )
    caption = "Left: one point per seed and position"
    caption += ", hollow beyond the training length. " if facts.training_length else ". "
    caption += "Right: mean over seeds, with a line from the lowest to the highest seed."
    table = memory_table(results.points, results.summaries, facts.axis)
    return Part("Does the answer depend on the cue?", text, (), "conditional.png", caption, table)


def _provenance(evidence: Evidence) -> Table:
    """Every fact with its distinct values over runs and rows; recipes are listed per variant."""
    rows: list[tuple[str, ...]] = []

    def add(name: str, values: Iterable[Any]) -> None:
        texts = sorted({str(value) for value in values if value not in (None, "")})
        if texts:
            rows.append((name, ", ".join(texts)))

    runs, scored = evidence.runs, evidence.rows
    origins = [run.provenance for run in runs]
    hashes = [(run.variant, run.recipe.get("hash")) for run in runs]
    hashes += [(row["variant"], row.get("recipe")) for row in scored]
    for variant in dict.fromkeys(variant for variant, _ in hashes):
        add(f"recipe of {variant}", (value for name, value in hashes if name == variant))
    add("dataset hash", (facts.get("dataset") for facts in [*origins, *scored]))
    seeds = {*(run.seed for run in runs), *(row["seed"] for row in scored)}
    add("seeds", [", ".join(map(str, sorted(seeds)))])
    trained = [facts.get("commit") for facts in origins]
    add("commit of training", trained + [row.get("training_commit") for row in scored])
    add("commit of evaluation", (row.get("commit") for row in scored))
    for name in ("machine", "python", "accelerator", "devices", "threads", "thread_count"):
        add(name.replace("_", " "), (facts.get(name) for facts in origins))
    entries = [*origins, *scored]
    packages = [facts["packages"] for facts in entries if isinstance(facts.get("packages"), dict)]
    for package in sorted({name for versions in packages for name in versions}):
        add(package, (versions.get(package) for versions in packages))
    add("device of evaluation", (row.get("device") for row in scored))
    add("selection", (row.get("selection") for row in scored))
    dates = sorted(str(entry["date"]) for entry in [*origins, *scored] if entry.get("date"))
    add("date", [" to ".join(dict.fromkeys([dates[0], dates[-1]]))] if dates else [])
    return Table(("fact", "value"), rows)


def error_of(summaries: Sequence[Summary]) -> str:
    """What the number behind ± is."""
    seeds = {len(summary.seeds) for summary in summaries if summary.seeds}
    single = "standard error over the episodes of one seed, which says nothing of other seeds"
    if seeds == {1}:
        return single
    return "standard error over seeds" + (f" (of one seed: {single})" if 1 in seeds else "")


def extent(summaries: Sequence[Summary]) -> str:
    """How many seeds and episodes there are, in words; a range where it differs."""
    seeds = sorted({len(summary.seeds) for summary in summaries})
    episodes = sorted(
        {round(summary.episodes / len(summary.seeds)) for summary in summaries if summary.seeds}
    )
    noun = "seed" if seeds == [1] else "seeds"
    return f"{_range(seeds)} {noun}, {_range(episodes)} episodes each"


def _range(numbers: Sequence[int]) -> str:
    return "–".join(map(str, dict.fromkeys([numbers[0], numbers[-1]]))) if numbers else "no"
