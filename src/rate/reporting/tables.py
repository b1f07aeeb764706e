"""Tables of results, as Markdown and as HTML from the same cells; every cell is escaped."""

import html
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from rate.reporting.intervals import mean_standard_error
from rate.reporting.statistics import Conditional, Summary
from rate.reporting.style import position_label

MISSING = "missing"
_NUMBER = re.compile(
    r"\d+ of \d+ \(.*\)|\d\.\d\d \(.* of \d+\).*|[+−]?\d+\.\d+ \([+−\d. to]+\)|"
    r"—|missing|[-−+]?\d[\d.]*( (±|to) [-−]?[\d.]+)?( \((without|trial) .*\))?|\d+, missing .*"
)
_BEGINS = re.compile(r"^(\d*)([#+-]+(?= |$)|[.)](?= )|[-=~]{3,})")
"""What makes a line of Markdown a heading, an item of a list, a rule or a fence."""
METHOD = (
    "Each seed's score is its mean over episodes. Values are the mean over seeds ± the standard "
    "error over seeds; with a single seed, the error is over its episodes, drawn within their cues "
    "where the task has cues, and says nothing of other seeds. Intervals are 95 % intervals: over "
    "several seeds those of Student's t, of one seed Wilson intervals of its episodes within each "
    "cue, combined as squares. A seed holds if its success is at least 0.95; so many of n seeds "
    "have an exact (Clopper-Pearson) interval, which is the one to look at where all seeds agree: "
    "an interval of width zero means that no seed differed, not that there is no uncertainty. "
    "Differences have crossed errors, of seeds and of episodes, in which both variants are paired, "
    "and Satterthwaite's degrees of freedom. IQM is the interquartile mean over seeds (the lowest "
    "and highest quarter left out), with a two-level bootstrap of seeds and of episodes within "
    "cues. A seed that was planned and has no result is shown as missing; it is never averaged "
    "away."
)
WIDEST = 6
"""Most variants that a table has as columns."""


@dataclass(frozen=True)
class Table:
    """Column names and rows of text, none of it escaped yet."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def markdown(self) -> str:
        """The table in GitHub's Markdown; numbers are aligned to the right."""
        lines = [
            "| " + " | ".join(markdown_text(cell) for cell in row) + " |"
            for row in (self.columns, *self.rows)
        ]
        lines.insert(
            1, "|" + "|".join("---:" if numeric else "---" for numeric in self._numeric()) + "|"
        )
        return "\n".join(lines) + "\n"

    def html(self) -> str:
        """The table as an HTML element."""
        kinds = ["number" if numeric else "text" for numeric in self._numeric()]

        def line(tag: str, row: Sequence[str]) -> str:
            cells = (
                f'<{tag} class="{kind}">{html.escape(cell)}</{tag}>'
                for kind, cell in zip(kinds, row, strict=True)
            )
            return f"<tr>{''.join(cells)}</tr>"

        head = line("th", self.columns)
        body = "".join(line("td", row) + "\n" for row in self.rows)
        table = f"<table><thead>{head}</thead>\n<tbody>{body}</tbody></table>"
        return f'<div class="table">{table}</div>\n'

    def _numeric(self) -> list[bool]:
        columns = [[row[index] for row in self.rows] for index in range(len(self.columns))]
        return [
            any(cell[:1].isdigit() for cell in cells)
            and all(_NUMBER.fullmatch(cell) for cell in cells)
            for cells in columns
        ]


@dataclass(frozen=True)
class Published:
    """What a paper says."""

    source: str = ""
    """Where it says so."""
    note: str = ""
    """What is to be known of it."""
    statements: Mapping[str, str] = field(default_factory=dict)
    """In words, by variant."""
    values: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    """Mean and standard error by variant and position."""

    def in_words(self) -> dict[str, str]:
        """Statements by variant; where there is none, the printed values."""
        printed = {
            variant: ", ".join(
                f"{mean_and_error(*pair)} at {position}" for position, pair in values.items()
            )
            for variant, values in self.values.items()
        }
        return {**printed, **self.statements}


def markdown_text(text: str) -> str:
    """Text escaped for Markdown: no HTML, no table borders, no links, no headings, no lists, no
    rules, no line ends."""
    escaped = html.escape(" ".join(text.split()), quote=False)
    for character in "\\|`*[]_":
        escaped = escaped.replace(character, "\\" + character)
    return _BEGINS.sub(r"\1\\\2", escaped)


def markdown_code(text: str) -> str:
    """A block of code in Markdown."""
    return "\n".join("    " + line for line in text.splitlines())


def labels(summaries: Sequence[Summary]) -> dict[str, str]:
    """Name of each task in a table: its position on the axis, or its own name where a position is
    absent or shared."""
    tasks = {summary.task: summary.x for summary in summaries}
    positions = list(tasks.values())
    unique = None not in positions and len(set(positions)) == len(positions)
    return {
        task: position_label(x) if unique and x is not None else task for task, x in tasks.items()
    }


def means(summaries: Sequence[Summary]) -> dict[str, dict[str, float | None]]:
    """Means by variant and label; None where a seed is missing."""
    names = labels(summaries)
    by_variant: dict[str, dict[str, float | None]] = {}
    for summary in summaries:
        mean = round(summary.mean, 6) if summary.complete else None
        by_variant.setdefault(summary.variant, {})[names[summary.task]] = mean
    return by_variant


def score_table(summaries: Sequence[Summary], axis: str = "") -> Table:
    """Mean ± standard error: a row per task and a column per variant, or the other way round where
    variants are many.

    Args:
        summaries: Scores of one checkpoint.
        axis: Name of the position of tasks.
    """
    cells = {(summary.task, summary.variant): score(summary) for summary in summaries}
    return by_task_or_variant(summaries, cells, axis)


def by_task_or_variant(
    summaries: Sequence[Summary], cells: Mapping[tuple[str, str], str], axis: str
) -> Table:
    """A row per task, or per variant where these are many, of cells by task and variant."""
    names = labels(summaries)
    variants = dict.fromkeys(summary.variant for summary in summaries)
    if len(variants) > WIDEST:
        rows = [(name, *(cells.get((task, name), "—") for task in names)) for name in variants]
        return Table(("variant", *names.values()), rows)
    by_position = any(name != task for task, name in names.items())
    return _grid(summaries, cells, axis if by_position else "")


def _grid(
    summaries: Sequence[Summary],
    cells: Mapping[tuple[str, str], str],
    axis: str,
    empty: str = "—",
) -> Table:
    """A row per task and a column per variant, of cells by task and variant."""
    variants = tuple(dict.fromkeys(summary.variant for summary in summaries))
    rows = [
        (name, *(cells.get((task, variant), empty) for variant in variants))
        for task, name in labels(summaries).items()
    ]
    return Table((axis or "task", *variants), rows)


def paper_table(
    summaries: Sequence[Summary],
    paper: Mapping[str, str],
    training_length: float | None = None,
    printed: Mapping[str, Iterable[str]] | None = None,
) -> Table:
    """Measured values beside what the paper says of a variant, at the first, the last trained and
    the last positions.

    Args:
        summaries: Measured scores.
        paper: What the paper says, by variant.
        training_length: Position up to which policies are trained.
        printed: Further positions by variant, of which the paper prints values.
    """
    names, rows = labels(summaries), []
    for variant in dict.fromkeys(summary.variant for summary in summaries):
        own = [summary for summary in summaries if summary.variant == variant]
        limit = training_length or -math.inf
        trained = [summary for summary in own if summary.x is not None and summary.x <= limit]
        shown = {own[0].task, *(summary.task for summary in trained[-1:]), own[-1].task}
        positions = set((printed or {}).get(variant, ()))
        shown |= {summary.task for summary in own if names[summary.task] in positions}
        chosen = [summary for summary in own if summary.task in shown]
        here = ", ".join(f"{_measured(summary)} at {names[summary.task]}" for summary in chosen)
        incomplete = max((without(summary) for summary in own), key=len)
        rows.append((variant, here + incomplete, paper.get(variant, "—")))
    return Table(("variant", "measured", "the paper"), rows)


def detail_table(summaries: Sequence[Summary], published: Published | None = None) -> Table:
    """Everything about every summary, a row each, and published values with the difference.

    Metric and checkpoint are columns only where they differ between rows.
    """
    names = labels(summaries)
    columns: dict[str, Callable[[Summary], str]] = {
        name: attrgetter(name) for name in ("variant", "task")
    }
    for name in ("checkpoint", "metric"):
        if len({getattr(summary, name) for summary in summaries}) > 1:
            columns[name] = attrgetter(name)
    columns |= _NUMBERS
    if published and published.values:
        printed = published.values

        def pair(summary: Summary) -> tuple[float, float] | None:
            return printed.get(summary.variant, {}).get(names[summary.task])

        columns["paper"] = lambda summary: mean_and_error(*pair(summary) or (math.nan, math.nan))
        columns["difference"] = lambda summary: _difference(summary, pair(summary))
    rows = [tuple(show(summary) for show in columns.values()) for summary in summaries]
    return Table(tuple(columns), rows)


def memory_table(
    points: Sequence[Conditional], summaries: Sequence[Summary], axis: str = ""
) -> Table:
    """Sum over cues of the frequency of the correct answer: mean ± standard error over seeds.

    With a single seed the error is over its episodes. The summaries say which seeds are missing.
    """
    cells = {}
    for summary in summaries:
        place = (summary.task, summary.variant)
        own = [point for point in points if (point.task, point.variant) == place]
        if own:
            mean, error = mean_standard_error([point.total for point in own])
            error = own[0].error if len(own) == 1 else error
            cells[place] = f"{mean:.2f} ± {error:.2f}{without(summary)}"
    scored = {point.task for point in points}
    return _grid([summary for summary in summaries if summary.task in scored], cells, axis, MISSING)


def gaps(summaries: Sequence[Summary]) -> list[str]:
    """What was planned and has no result, in words: a line for variants that lack the same."""
    names = labels(summaries)
    early: dict[str, str] = {}
    absent: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for summary in summaries:
        if summary.early:
            have, planned = _plural("seed", summary.seeds), _plural("seed", summary.missing)
            early[summary.variant] = f"of trial {have}, and none for {planned}"
        elif not summary.complete:
            absent.setdefault((summary.variant, summary.missing), []).append(names[summary.task])
    without: dict[str, list[str]] = {}
    for (variant, missing), where in absent.items():
        seeds = f"for {_plural('seed', missing)} " if missing else ""
        without.setdefault(f"{seeds}at {', '.join(where)}", []).append(variant)
    grouped: dict[str, list[str]] = {}
    for variant, what in early.items():
        grouped.setdefault(what, []).append(variant)
    return [
        *(
            f"{_several(own, 'an earlier result', 'earlier results')}, {what}"
            for what, own in grouped.items()
        ),
        *(f"{_several(own, 'no result', 'no results')} {what}" for what, own in without.items()),
    ]


def _several(names: Sequence[str], one: str, many: str) -> str:
    """A sentence's beginning: what a variant, or several of them, have."""
    return f"{', '.join(names)} {f'have {many}' if len(names) > 1 else f'has {one}'}"


def score(summary: Summary) -> str:
    """Mean ± standard error, with what is missing said beside it."""
    return _score(summary) + without(summary) if summary.seeds else MISSING


def _measured(summary: Summary) -> str:
    return _score(summary) if summary.seeds else MISSING


def _score(summary: Summary) -> str:
    return mean_and_error(summary.mean, summary.standard_error)


def mean_and_error(mean: float, error: float) -> str:
    """Mean ± standard error, which may be unknown (NaN), with the digits of the paper."""
    return number(mean) if math.isnan(error) else f"{number(mean)} ± {number(error, mean)}"


def without(summary: Summary) -> str:
    """What a cell says of seeds that are missing, or of trial seeds in place of reported ones."""
    if summary.early:
        return f" (trial {_plural('seed', summary.seeds)})"
    return f" (without {_plural('seed', summary.missing)})" if summary.missing else ""


def _difference(summary: Summary, pair: tuple[float, float] | None) -> str:
    if pair is None or not summary.complete:
        return "—"
    text = number(abs(summary.mean - pair[0]), pair[0])
    sign = "+" if summary.mean > pair[0] else "−"
    return text if float(text) == 0 else sign + text


def _seconds(value: float) -> str:
    return "—" if math.isnan(value) else f"{value:.1f}" if value < 10 else f"{value:.0f}"


def number(value: float, size: float | None = None) -> str:
    """Two digits behind the point as in the paper, one from 100 on; `size` sets the digits of a
    deviation."""
    if math.isnan(value):
        return "—"
    digits = 1 if abs(value if size is None else size) >= 100 else 2
    return f"{value:.{digits}f}"


def _interval(interval: tuple[float, float]) -> str:
    return "—" if math.isnan(interval[0]) else f"{number(interval[0])} to {number(interval[1])}"


def _seeds(summary: Summary) -> str:
    have = str(len(summary.seeds))
    return have + (f", missing {seed_list(summary.missing)}" if summary.missing else "")


def _plural(noun: str, numbers: Sequence[int]) -> str:
    return f"{noun}{'s' if len(numbers) > 1 else ''} {seed_list(numbers)}"


def seed_list(numbers: Sequence[int]) -> str:
    """Numbers in a row, with three or more consecutive ones as a range."""
    groups: list[list[int]] = []
    for number in sorted(numbers):
        if groups and number == groups[-1][-1] + 1:
            groups[-1].append(number)
        else:
            groups.append([number])
    texts = [
        [f"{group[0]}–{group[-1]}"] if len(group) > 2 else list(map(str, group)) for group in groups
    ]
    return ", ".join(text for own in texts for text in own)


_NUMBERS: Mapping[str, Callable[[Summary], str]] = {
    "mean ± s.e.": _measured,
    "95 % interval": lambda summary: _interval(summary.interval),
    "IQM": lambda summary: number(summary.interquartile_mean),
    "95 % interval of IQM": lambda summary: _interval(summary.interquartile_interval),
    "seeds": lambda summary: _seeds(summary),
    "episodes": lambda summary: str(summary.episodes),
    "wall time (s)": lambda summary: _seconds(summary.seconds),
}
"""Columns of `detail_table` that every table has."""
