"""Statistics and figures of what a folder holds."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rate.messages import reason
from rate.reporting import cue_figure, figures
from rate.reporting.groups import Breakdown, breakdowns, group_figure
from rate.reporting.levels import Level, levels
from rate.reporting.load import Evidence, ReportError
from rate.reporting.statistics import (
    Conditional,
    Difference,
    Summary,
    conditionals,
    differences,
    returned,
    summarise,
)
from rate.reporting.style import Drawing
from rate.reporting.tables import labels, means


@dataclass(frozen=True)
class Results:
    """Statistics of the rows of an experiment or run."""

    summaries: Sequence[Summary]
    """Scores of the checkpoint that the experiment is about."""
    others: Sequence[Summary]
    """Scores of other checkpoints."""
    points: Sequence[Conditional]
    """Scores per cue."""
    returns: Sequence[Summary] = ()
    """Returns, where these are not the scores."""
    differences: Sequence[Difference] = ()
    """Differences between variants, of the same scores."""
    groups: Sequence[Breakdown] = ()
    """Scores by group of episodes, where rows name it."""
    known: Sequence[Level] = ()
    """Known scores of the tasks."""

    def to_json(self) -> str:
        """Means by variant and position; null where a seed is missing."""
        return json.dumps(means(self.summaries), indent=2) + "\n"


def measure(evidence: Evidence, origin: Path) -> Results:
    """Statistics of the evidence; rows that cannot be averaged are a ReportError that names their
    origin."""
    facts, rows = evidence.facts, evidence.rows
    named = [row for row in rows if row.get("checkpoint") == facts.checkpoint]
    chosen = named or rows
    rest = [row for row in rows if row.get("checkpoint") != facts.checkpoint] if named else []
    planned = (facts.order, facts.seeds, facts.first_seed_only, facts.fewer_seeds)
    expected = (*planned, facts.without_targets) if rows else ()
    has_returns = any("returns" in row for row in chosen)
    try:
        returns = summarise(returned(chosen), facts.order) if has_returns else ()
        points, groups = conditionals(chosen), breakdowns(chosen)
        summaries = summarise(chosen, *expected)
        compared = differences(chosen, references(evidence, summaries))
        known = levels(chosen, summaries)
        return Results(summaries, summarise(rest), points, returns, compared, groups, known)
    except ValueError as error:
        raise ReportError(f"the results in {origin} cannot be reported: {reason(error)}") from error


def references(evidence: Evidence, summaries: Sequence[Summary]) -> dict[str, str]:
    """The variant that each other one is compared with.

    It is the one that the experiment is about; for a condition, the variant itself; in a heat map
    of several panels, the one of the first panel in the same row.
    """
    names = list(dict.fromkeys(one.variant for one in summaries if one.seeds))
    grid = evidence.facts.grid
    panels = {panel for panel, _ in grid.values()}
    chosen = {}
    for name in names:
        plain, condition, _ = name.partition(", ")
        alike = names
        if len(panels) > 1 and name in grid:
            alike = [other for other in names if other in grid and grid[other][1] == grid[name][1]]
        reference = plain if condition and plain in names else alike[0]
        if reference != name:
            chosen[name] = reference
    return chosen


def on_axis(summaries: Sequence[Summary]) -> bool:
    """Whether scores can be drawn against a position, which no two tasks then share."""
    tasks = {summary.task: summary.x for summary in summaries if summary.seeds}
    positions = [x for x in tasks.values() if x]
    return bool(positions) and len(set(positions)) == len(positions)


def draw(evidence: Evidence, results: Results) -> dict[str, Drawing]:
    """The figures that there is something to show for, by file name."""
    facts, summaries, points = evidence.facts, results.summaries, results.points
    pictures, axis, length = {}, facts.axis or "task size", facts.training_length
    if on_axis(summaries):
        pictures["success.png"] = figures.success(
            summaries, axis=axis, training_length=length, known=results.known
        )
    elif len({summary.task for summary in summaries if summary.seeds}) > 1:
        pictures["tasks.png"] = figures.tasks(summaries, results.known)
    if on_axis(results.returns):
        pictures["return.png"] = figures.success(results.returns, axis=axis, training_length=length)
    if any(summary.variant in facts.grid and summary.seeds for summary in summaries):
        pictures["heat-map.png"] = figures.heat_map(
            summaries, facts.grid, axis=axis, grid_axis=facts.grid_axis
        )
    if points and all(len(point.means) == 2 for point in points):
        order = [summary.variant for summary in summaries]
        pictures["conditional.png"] = cue_figure.conditional(
            points, order=order, axis=axis, training_length=length
        )
    if results.groups:
        metric = " / ".join(dict.fromkeys(summary.metric for summary in summaries))
        pictures["groups.png"] = group_figure(results.groups, labels(summaries), metric)
    curves = [run.curve for run in evidence.runs if run.curve]
    if curves:
        pictures["training.png"] = figures.training(curves, facts.order)
    return pictures
