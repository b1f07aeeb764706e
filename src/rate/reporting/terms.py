"""What makes a comparison fair, in words and tables: equal terms, earlier recipes, trial seeds, and
policies that several pages show."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from rate.reporting.load import Facts
from rate.reporting.protocol import Row, position, superseded, trial
from rate.reporting.statistics import holds
from rate.reporting.style import position_label
from rate.reporting.tables import Table, seed_list


def terms_table(terms: Mapping[str, Mapping[str, str]]) -> tuple[str, Table | None]:
    """The terms that all variants have in common, in words, and a table of those in which they
    differ."""
    names = list(dict.fromkeys(name for own in terms.values() for name in own))
    values = {name: [own.get(name, "—") for own in terms.values()] for name in names}
    common = {name: own[0] for name, own in values.items() if len(set(own)) == 1}
    differing = {name: own for name, own in values.items() if name not in common}
    text = "The same for all: " + "; ".join(f"{name} {text}" for name, text in common.items()) + "."
    if not differing:
        return text, None
    rows = list(zip(terms, *differing.values(), strict=True))
    return (text if common else ""), Table(("variant", *differing), rows)


def data_table(data: Mapping[str, Mapping[str, str]]) -> Table:
    """What is said of each collection, a row each."""
    names = tuple(dict.fromkeys(name for own in data.values() for name in own))
    return Table(names, [tuple(own.get(name, "—") for name in names) for own in data.values()])


def earlier_table(rows: Sequence[Row]) -> Table | None:
    """Results of earlier recipes and protocols, a row each, at the last position that was scored;
    None if there are none."""
    lines = []
    for (variant, recipe, differs), own in superseded(rows).items():
        last = max(own, key=lambda row: (position(row) or 0, row["task"]))
        there = [row for row in own if row["task"] == last["task"]]
        seeds = sorted({row["seed"] for row in own})
        mean = float(np.mean([row["value"] for row in there]))
        x = position(last)
        place = last["task"] if x is None else position_label(x)
        held = [holds(row) for row in there]
        kept = "—" if None in held else f"{sum(map(bool, held))} of {len(held)}"
        lines.append((variant, recipe, differs, seed_list(seeds), place, f"{mean:.2f}", kept))
    columns = ("variant", "recipe", "differs in", "seeds", "scored at", "mean", "seeds that hold")
    return Table(columns, lines) if lines else None


def notice(facts: Facts, rows: Iterable[Row]) -> str:
    """What is to be known of trial seeds on a page that was planned with some; else nothing."""
    seeds = [seed for seed in trial(rows) if seed in facts.seeds]
    if not seeds:
        return ""
    own = f"{'seeds' if len(seeds) > 1 else 'seed'} {seed_list(seeds)}"
    if facts.trial:
        return f"A trial on {own}: it chooses recipes, and is no result."
    return (
        f"Earlier protocol, on {own}: recipes were chosen on seeds below 100. Until these policies "
        "are trained on seeds from 100 on, the numbers may be too good."
    )


def shared_policies(rows: Mapping[str, Sequence[Row]]) -> dict[str, str]:
    """For every experiment that shows policies of others, by their names, a sentence that says so.

    Args:
        rows: Rows that count, by experiment.
    """
    made = {
        name: {key: row["variant"] for row in own if "recipe" in row for key in [_evaluation(row)]}
        for name, own in rows.items()
    }
    sentences = {}
    for name, own in made.items():
        others = {
            other: {own[key] for key in own.keys() & keys.keys()}
            for other, keys in made.items()
            if other != name
        }
        parts = [
            f"{', '.join(sorted(variants))} of {other}"
            for other, variants in others.items()
            if variants
        ]
        if parts:
            sentences[name] = (
                "Some policies stand on several pages, and confirm a result once: "
                f"{'; '.join(parts)}."
            )
    return sentences


def _evaluation(row: Row) -> tuple[object, ...]:
    """What tells the evaluations of policies from one another."""
    names = ("recipe", "dataset", "seed", "task", "checkpoint", "seconds", "date")
    return tuple(row.get(name) for name in names)
