"""Experiments: one table or figure per file, found by its file's name."""

import ast
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rate.acting.corruption import Corruption
    from rate.recipe import Recipe


@dataclass(frozen=True)
class Collection:
    """Data that an experiment learns from: episodes of a task's expert; lengths: of so many steps,
    from least to most, alone."""

    task: str
    episodes: int
    seed: int = 0
    lengths: tuple[int, int] | None = None


@dataclass(frozen=True)
class Experiment:
    """Named recipes x seeds + evaluation tasks -> one table or figure.

    data: collections by name. variants: recipes by name; a recipe's `dataset` is the name of its
    collection. evaluations: tasks by name; paper: what the paper says of a variant. axis: what the
    number in an evaluation task's name means. fewer_episodes: evaluations that take another number
    of episodes than `episodes`. long_evaluations: further tasks with their number of episodes, for
    the first seed only. corruptions: ways to disturb memory while acting, by name, each scored in
    addition for all variants that `corrupted` names. grid: for a heat map, the panel and row of a
    variant, whose columns are the evaluations; grid_axis: what the rows are. remarks: what was
    seen, and why it differs from the paper where it does; written once there are results.
    inspected: variants whose first seed is inspected, too. single: variants that are trained for
    one task alone, on data of their own: the name that they are reported under, and the only task
    that they are scored on. usual: of an experiment larger than one wants to run at once, the names
    and the tasks that are run where no others are asked for. sums: groups of tasks whose scores are
    added up, by name. jobs: processes side by side that the cost is of.
    """

    title: str
    claim: str
    source: str
    cost: str
    data: Mapping[str, Collection]
    variants: Mapping[str, "Recipe"]
    evaluations: tuple[str, ...]
    seeds: tuple[int, ...] = (0, 1, 2, 3)
    episodes: int = 100
    fewer_episodes: Mapping[str, int] = field(default_factory=dict)
    long_evaluations: Mapping[str, int] = field(default_factory=dict)
    checkpoint: str = "last"
    axis: str = "corridor length T (steps)"
    training_length: int | None = None
    paper: Mapping[str, str] = field(default_factory=dict)
    corruptions: Mapping[str, "Corruption"] = field(default_factory=dict)
    corrupted: tuple[str, ...] = ()
    grid: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    grid_axis: str = ""
    remarks: str = ""
    inspected: tuple[str, ...] = ()
    single: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    usual: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    sums: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    jobs: int = 2

    @property
    def conditions(self) -> dict[str, tuple[str, "Corruption | None"]]:
        """What is scored under which name: a variant as it is, or with its memory disturbed in a
        certain way."""
        found: dict[str, tuple[str, Corruption | None]]
        found = {
            variant: (variant, None) for variant in self.variants if variant not in self.single
        }
        for variant in self.corrupted:
            if variant in self.variants:
                found |= {
                    f"{variant}, {name}": (variant, corruption)
                    for name, corruption in self.corruptions.items()
                }
        return found

    def reported(self, variant: str) -> str:
        """The name that a variant's scores are reported under."""
        return self.single[variant][0] if variant in self.single else variant

    @property
    def order(self) -> list[str]:
        """Every name that scores are reported under, the one it is about first."""
        return list(dict.fromkeys([*map(self.reported, self.variants), *self.conditions]))

    def narrowed(self, names: Sequence[str] = (), tasks: Sequence[str] = ()) -> "Experiment":
        """Only what is reported under these names and scored on these tasks; where nothing is asked
        for, what is usual.

        Data that nothing is left to learn from is left out. An unknown name or task is a ValueError
        that says what is allowed.
        """
        for what, given, allowed in (
            ("variants", names, [*map(self.reported, self.variants), *self.variants]),
            ("tasks", tasks, self.evaluations),
        ):
            if unknown := set(given) - set(allowed):
                raise ValueError(
                    f"unknown {what} {sorted(unknown)}; {what} are: "
                    f"{', '.join(dict.fromkeys(allowed))}"
                )
        names, tasks = names or self.usual[0], tasks or self.usual[1]
        evaluations = tuple(task for task in self.evaluations if not tasks or task in tasks)
        kept = {
            variant: recipe
            for variant, recipe in self.variants.items()
            if (not names or variant in names or self.reported(variant) in names)
            and (variant not in self.single or self.single[variant][1] in evaluations)
        }
        used = {recipe.dataset for recipe in kept.values()}
        return replace(
            self,
            data={name: collection for name, collection in self.data.items() if name in used},
            variants=kept,
            evaluations=evaluations,
            long_evaluations={
                task: episodes
                for task, episodes in self.long_evaluations.items()
                if not tasks or task in tasks
            },
            usual=((), ()),
        )

    def smoke(self) -> "Experiment":
        """The same experiment in seconds: few episodes, updates and evaluations. Its numbers mean
        nothing."""
        short = (
            self.narrowed(self.usual[0], (self.usual[1] or self.evaluations)[:2])
            if self.single
            else self
        )
        return replace(
            short,
            title=f"Smoke test, no result: {self.title}",
            remarks="",
            data={
                name: replace(collection, episodes=48) for name, collection in short.data.items()
            },
            variants={
                name: replace(
                    recipe,
                    updates=3,
                    batch_size=8,
                    checkpoint_every=2,
                    optimiser=replace(recipe.optimiser, warmup=1),
                )
                for name, recipe in short.variants.items()
            },
            evaluations=short.evaluations[:2],
            seeds=self.seeds[:1],
            episodes=4,
            fewer_episodes={},
            long_evaluations={},
        )

    def facts(self, name: str) -> dict[str, Any]:
        """What the report needs to know, as JSON data."""
        return {
            "name": name,
            "title": self.title,
            "claim": self.claim,
            "source": self.source,
            "cost": self.cost,
            "command": f"rate reproduce {name}" + (f" --jobs {self.jobs}" if self.jobs > 1 else ""),
            "axis": self.axis,
            "training_length": self.training_length,
            "order": self.order,
            "seeds": list(self.seeds),
            "first_seed_only": list(self.long_evaluations),
            "checkpoint": self.checkpoint,
            "paper": dict(self.paper),
            "grid": {
                variant: list(place)
                for variant, place in self.grid.items()
                if variant in self.variants
            },
            "grid_axis": self.grid_axis,
            "remarks": self.remarks,
            "inspected": [variant for variant in self.inspected if variant in self.variants],
            "sums": {group: list(tasks) for group, tasks in self.sums.items()},
        }


@dataclass(frozen=True)
class Suite:
    """Several experiments in one folder; what they have in common is trained and scored once."""

    title: str
    members: tuple[str, ...]


def names() -> dict[str, str]:
    """Every experiment with the first sentence about it, found without importing any."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
        found[path.stem.replace("_", "-")] = " ".join(docstring.split("\n\n")[0].split())
    return found


def find(name: str) -> Experiment | Suite:
    """The experiment or suite of a name; a wrong name is a ValueError that says what is allowed."""
    if name not in names():
        close = get_close_matches(name, names(), 1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise ValueError(f"unknown experiment {name!r}{hint} Experiments are: {', '.join(names())}")
    found: Experiment | Suite = importlib.import_module(
        f"rate.experiments.{name.replace('-', '_')}"
    ).EXPERIMENT
    return found
