"""Runs side by side: those of several folders as the evidence of one report."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from rate.reporting.load import Evidence, Facts, ReportError, RunFacts, read_rows, read_run
from rate.runs.folder import Run, runs_in


def compare(folders: Sequence[Path]) -> Evidence:
    """The evidence of all runs in some folders.

    Runs of one recipe and one dataset with different seeds are one variant.

    Args:
        folders: Run folders, or folders with runs in them.

    Raises:
        ReportError: a folder has no run, or a file of a run is damaged.
    """
    runs: list[Run] = []
    for folder in folders:
        here = runs_in(folder)
        if not here:
            what = "has no run in it" if folder.exists() else "does not exist"
            raise ReportError(f"{folder} {what}: give run folders made by `rate train`")
        known = {run.path.resolve() for run in runs}
        runs += [run for run in here if run.path.resolve() not in known]
    recorded = [(run, read_run(run, run.name)) for run in runs]
    names = _variants(recorded)
    found = [_as_variant(facts, names[run]) for run, facts in recorded]
    rows = [
        {**row, "variant": _renamed(row, names[run])}
        for run in runs
        for row in read_rows(run.scores_file)
        if "variant" in row
    ]
    order = tuple(dict.fromkeys(names.values()))
    seeds = {name: {facts.seed for facts in found if facts.variant == name} for name in order}
    same = len({frozenset(some) for some in seeds.values()}) == 1
    facts = Facts(
        name="-".join(order)[:60],
        title=f"Comparison of {', '.join(order)}",
        order=order,
        seeds=tuple(sorted(next(iter(seeds.values())))) if same else (),
    )
    return Evidence(facts, rows, found, differences=differences(found))


def differences(runs: Sequence[RunFacts]) -> list[tuple[str, ...]]:
    """What the recipes of the variants differ in: the variants' names, then a row for each field
    with the variants' values."""
    first = {run.variant: run for run in reversed(runs)}
    order = list(dict.fromkeys(run.variant for run in runs))
    entries = [dict(_entries(_compared(first[name]))) for name in order]
    names = dict.fromkeys(name for one in entries for name in one)
    rows = [
        (name, *(str(one.get(name, "")) for one in entries))
        for name in names
        if len({json.dumps(one.get(name)) for one in entries}) > 1
    ]
    return [("option", *order), *rows] if rows else []


def _compared(run: RunFacts) -> Mapping[str, Any]:
    recipe = {name: value for name, value in run.recipe.items() if name != "hash"}
    return {**recipe, "dataset": str(run.provenance.get("dataset", ""))[:12]}


def _entries(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in data.items():
        if isinstance(value, Mapping):
            yield from _entries(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _as_variant(facts: RunFacts, variant: str) -> RunFacts:
    """The same run as one of a variant."""
    curve = facts.curve and facts.curve._replace(variant=variant)
    return replace(facts, variant=variant, curve=curve)


def _renamed(row: Mapping[str, Any], variant: str) -> str:
    """A row's variant under the name of its run's; noise in memory stays in the name."""
    _, comma, noise = str(row["variant"]).partition(", ")
    return f"{variant}{comma}{noise}" if row.get("corruption") else variant


def _variants(recorded: Sequence[tuple[Run, RunFacts]]) -> dict[Run, str]:
    """The variant of each run: its own name, or one for runs that differ in the seed alone."""
    groups: dict[tuple[str, str], list[tuple[Run, RunFacts]]] = {}
    for run, facts in recorded:
        key = str(facts.recipe.get("hash")), str(facts.provenance.get("dataset"))
        groups.setdefault(key, []).append((run, facts))
    named: list[tuple[str, list[Run]]] = []
    for pairs in groups.values():
        runs = [run for run, _ in pairs]
        if len(runs) > 1 and len({facts.seed for _, facts in pairs}) == len(runs):
            named.append((_shared_name(runs), runs))
        else:
            named += [(run.name, [run]) for run in runs]
    counts = Counter(name for name, _ in named)
    return {
        run: name if counts[name] == 1 else str(runs[0].path)
        for name, runs in named
        for run in runs
    }


def _shared_name(runs: Sequence[Run]) -> str:
    """A name for runs of several seeds: what their names have in common, or their folder's."""
    letters = zip(*(run.name for run in runs), strict=False)
    common = "".join(same[0] for same in takewhile(lambda same: len(set(same)) == 1, letters))
    common = common.rstrip("-_. 0123456789").removesuffix("seed").rstrip("-_. ")
    return common or runs[0].path.resolve().parent.name
