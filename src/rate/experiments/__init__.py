"""Experiments: one table or figure of the paper per file, or a file of the user's own.

A file defines `EXPERIMENT`, what is run, and `PAGE`, how its page looks; or `EXPERIMENT` alone, a
`Suite` of several others. The name of an experiment is that of its file. The words of a page may be
in the docstring of the file: lines that begin with "Title:", "Claim:", "Source:", "Cost:" or
"Command:", and indented ones that continue them.
"""

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from rate.addresses import import_module
from rate.configs import described, unknown
from rate.reporting.load import Page as Page
from rate.reporting.protocol import TRIAL_SEEDS
from rate.tasks.gym.options import Options, join, respelled

if TYPE_CHECKING:
    from rate.acting.corruption import Corruption
    from rate.recipe import Recipe

_WORDS = re.compile(r"^(Title|Claim|Source|Cost|Command): (.+(?:\n {4}.+)*)", re.MULTILINE)


Size = Literal["cpu", "paper"]
"""Size of data and recipes: small enough for a CPU, or that of the paper."""

SIZES: Mapping[Size, str] = {"cpu": "", "paper": " --size paper"}
"""What a command says of the size."""


@dataclass(frozen=True)
class Collection:
    """Data that an experiment learns from: episodes of a task's expert."""

    task: str
    """Task that the expert acts in."""
    episodes: int
    """Number of episodes."""
    seed: int = 0
    """Seed of the first episode."""
    lengths: tuple[int, int] | None = None
    """Least and largest number of steps; other episodes are left out."""


@dataclass(frozen=True)
class Experiment:
    """What is run: recipes x seeds, each scored on evaluation tasks."""

    data: Mapping[str, Collection]
    """Collections by name."""
    variants: Mapping[str, "Recipe"]
    """Recipes by name; the `dataset` of a recipe is the name of its collection."""
    evaluations: tuple[str, ...]
    """Tasks that every variant is scored on."""
    seeds: tuple[int, ...] = (100, 101, 102, 103)
    """Seeds of the training runs that are reported: from 100 on, see `TRIAL_SEEDS`."""
    fewer_seeds: Mapping[str, int] = field(default_factory=dict)
    """Variants, by reported name, that are trained with the first so many seeds alone."""
    trial_seeds: tuple[int, ...] = (0, 1)
    """Seeds on which recipes are tried out, below 100; their scores are no result."""
    trials: Mapping[str, int] = field(default_factory=dict)
    """Recipes that were tried out before the reported one was chosen, by reported name."""
    episodes: int = 100
    """Episodes of an evaluation."""
    fewer_episodes: Mapping[str, int] = field(default_factory=dict)
    """Evaluation tasks with another number of episodes."""
    long_evaluations: Mapping[str, int] = field(default_factory=dict)
    """Further tasks with their number of episodes, for the first seed alone."""
    target_returns: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Further returns that are asked for in a task; each makes a task `TASK,target_return=R`."""
    checkpoint: Literal["last", "best"] = "last"
    """Checkpoint that is scored."""
    sample: bool = False
    """Draw actions in place of taking the most likely ones."""
    corruptions: Mapping[str, "Corruption"] = field(default_factory=dict)
    """Ways to corrupt memory while acting, by name."""
    corrupted: tuple[str, ...] = ()
    """Variants that are scored with each of these corruptions in addition."""
    inspected: tuple[str, ...] = ()
    """Variants whose first seed is inspected."""
    single: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Variants that are trained for one task alone, on data of their own: the name under which
    they are reported, and the task, which is the only one that they are scored on."""
    usual: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    """Variants and tasks of a large experiment that are run unless others are asked for."""
    smoke_steps: int = 0
    """Most steps of an episode in `smoke`, for long episodes of slow simulators; 0: all."""
    paper: "Experiment | None" = None
    """The same variants with data and recipes of the paper's size."""

    def __post_init__(self) -> None:
        tasks = [*self.evaluations, *self.fewer_episodes, *self.long_evaluations]
        if unscored := set(self.target_returns) - set(self.evaluations):
            raise ValueError(
                f"target_returns names {sorted(unscored)}, which are none of the evaluations: "
                f"{', '.join(self.evaluations)}"
            )
        if self.paper and self.paper.variants.keys() != self.variants.keys():
            raise ValueError(
                f"the experiment has the variants {', '.join(self.variants)}, but at the size of "
                f"the paper {', '.join(self.paper.variants)}: give both the same"
            )
        for name in [*tasks, *(task for _, task in self.single.values())]:
            if (spelled := respelled(name)) != name:
                raise ValueError(f"rows will name the task {name!r} {spelled!r}: write it so")
        if reported := [seed for seed in self.trial_seeds if seed not in TRIAL_SEEDS]:
            raise ValueError(f"trial_seeds are {reported}, but trial seeds lie below 100")
        for field_name in ("fewer_seeds", "trials"):
            if unknown := set(getattr(self, field_name)) - {*map(self.reported, self.variants)}:
                raise ValueError(f"{field_name} names {sorted(unknown)}, which are no variants")

    @property
    def fewer_scores(self) -> dict[str, int]:
        """Names under which scores are reported for the first so many seeds alone."""
        counts = {name: self.fewer_seeds.get(of) for name, (of, _) in self.conditions.items()}
        counts |= self.fewer_seeds
        return {name: count for name, count in counts.items() if count is not None}

    def seeds_of(self, variant: str) -> tuple[int, ...]:
        """Seeds that a variant is trained with."""
        return self.seeds[: self.fewer_seeds.get(self.reported(variant), len(self.seeds))]

    @property
    def scored(self) -> dict[str, int]:
        """Tasks that every variant is scored on, each with its number of episodes."""
        asked = map(self.asked, self.evaluations)
        return {name: episodes for one in asked for name, episodes in one.items()}

    def asked(self, task: str) -> dict[str, int]:
        """An evaluation task and its further target returns, each with its number of episodes."""
        asked = {}
        targets = self.target_returns.get(task, ())
        for name in (task, *(join(task, Options(target_return=one)) for one in targets)):
            asked[name] = self.fewer_episodes.get(task, self.episodes)
            asked[name] = self.fewer_episodes.get(name, asked[name])
        return asked

    @property
    def conditions(self) -> dict[str, tuple[str, "Corruption | None"]]:
        """What is scored under which name: a variant as it is, or with corrupted memory."""
        conditions: dict[str, tuple[str, Corruption | None]]
        conditions = {name: (name, None) for name in self.variants if name not in self.single}
        for variant in self.corrupted:
            if variant in self.variants:
                for name, corruption in self.corruptions.items():
                    conditions[f"{variant}, {name}"] = (variant, corruption)
        return conditions

    def reported(self, variant: str) -> str:
        """The name under which a variant's scores are reported."""
        return self.single[variant][0] if variant in self.single else variant

    @property
    def order(self) -> list[str]:
        """Every name under which scores are reported, the one that the experiment is about
        first."""
        return list(dict.fromkeys([*map(self.reported, self.variants), *self.conditions]))

    def narrowed(self, variants: Sequence[str] = (), tasks: Sequence[str] = ()) -> "Experiment":
        """A part of the experiment; where nothing is asked for, what is usual.

        Args:
            variants: Variants, names under which they are reported, or models, which stand for
                all variants with that model.
            tasks: Evaluation tasks.

        Returns:
            The experiment without other variants, tasks, and data that nothing learns from.

        Raises:
            ValueError: a name is unknown, or nothing is left; the message says what is allowed.
        """
        named = {name: {name, self.reported(name)} for name in self.variants}
        models = _models(self, set(variants) - set().union(*named.values()))
        allowed = [*map(self.reported, self.variants), *self.variants, *models.values()]
        _require("variants", variants, allowed)
        _require("tasks", tasks, self.evaluations)
        variants, tasks = variants or self.usual[0], tasks or self.usual[1]
        evaluations = tuple(task for task in self.evaluations if not tasks or task in tasks)
        kept = {
            name: recipe
            for name, recipe in self.variants.items()
            if (not variants or (named[name] | {models.get(name)}) & set(variants))
            and (name not in self.single or self.single[name][1] in evaluations)
        }
        if not kept or not evaluations:
            raise ValueError(
                "nothing is left to run: none of the variants that were asked for is scored on "
                "these tasks"
            )
        data = {recipe.collection for recipe in kept.values()}
        reported = {*map(self.reported, kept)}
        return replace(
            self,
            fewer_seeds={
                name: count for name, count in self.fewer_seeds.items() if name in reported
            },
            trials={name: count for name, count in self.trials.items() if name in reported},
            data={name: collection for name, collection in self.data.items() if name in data},
            variants=kept,
            evaluations=evaluations,
            target_returns={
                task: targets
                for task, targets in self.target_returns.items()
                if task in evaluations
            },
            long_evaluations={
                task: episodes
                for task, episodes in self.long_evaluations.items()
                if not tasks or task in tasks
            },
            usual=((), ()),
            paper=None,
        )

    def seeded(self, seeds: Sequence[int], trial: bool) -> "Experiment":
        """The same experiment with the seeds that are given, by default its own, or with `trial`
        its trial seeds.

        Raises:
            ValueError: seeds of a trial are none, or trial seeds are to be reported.
        """
        wrong = [seed for seed in seeds if (seed in TRIAL_SEEDS) != trial]
        if wrong and trial:
            raise ValueError(f"seeds are {wrong}, but a trial takes seeds below 100")
        own = not any(seed in TRIAL_SEEDS for seed in self.seeds)
        if wrong and own:
            raise ValueError(
                f"seeds are {wrong}, but seeds below 100 are trial seeds, on which recipes are "
                "chosen: add --trial, or give seeds from 100 on"
            )
        return replace(self, seeds=tuple(seeds or (self.trial_seeds if trial else self.seeds)))

    def _cut(self, steps: int) -> "Experiment":
        """The same experiment with episodes that are cut off after so many steps."""
        cut = partial(join, options=Options(horizon=steps))
        return replace(
            self,
            data={name: replace(one, task=cut(one.task)) for name, one in self.data.items()},
            evaluations=tuple(map(cut, self.evaluations)),
            target_returns={cut(task): asked for task, asked in self.target_returns.items()},
            single={variant: (name, cut(task)) for variant, (name, task) in self.single.items()},
        )

    def smoke(self) -> "Experiment":
        """The same experiment in seconds: few episodes, updates and evaluations.

        Its numbers mean nothing.
        """
        short, few = self, 8 if self.smoke_steps else 48
        if self.single:
            short = self.narrowed(self.usual[0], (self.usual[1] or self.evaluations)[:2])
        if self.smoke_steps:
            short = short._cut(self.smoke_steps)
        return replace(
            short,
            data={
                name: replace(collection, episodes=min(few, collection.episodes))
                for name, collection in short.data.items()
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
            target_returns={
                task: targets[:1]
                for task, targets in short.target_returns.items()
                if task in short.evaluations[:2]
            },
            seeds=self.seeds[:1],
            episodes=4,
            fewer_episodes={},
            long_evaluations={},
        )


@dataclass(frozen=True)
class Suite:
    """Several experiments in one folder; what they have in common is trained and scored once."""

    title: str
    """Heading of its page."""
    members: tuple[str, ...]
    """Names of experiments, or paths of their files."""


def names() -> dict[str, str]:
    """Every experiment of the library with the first sentence about it; none is imported."""
    return described(__name__, "EXPERIMENT")


def find(name: str) -> Experiment | Suite:
    """An experiment or suite.

    Args:
        name: Its name, or the path of a Python file.

    Raises:
        ValueError: there is no such experiment; the message says what is allowed.
    """
    experiment = _attribute(_module(name), "EXPERIMENT", (Experiment, Suite))
    assert isinstance(experiment, Experiment | Suite)
    return experiment


def page(name: str) -> Page:
    """How the page of an experiment looks; see `find`."""
    module = _module(name)
    found = _attribute(module, "PAGE", (Page,))
    assert isinstance(found, Page)
    matches = _WORDS.findall(module.__doc__ or "")
    words: dict[str, Any] = {word.lower(): " ".join(text.split()) for word, text in matches}
    return replace(
        found, **{word: text for word, text in words.items() if not getattr(found, word)}
    )


def of_size(name: str, size: Size = "cpu") -> tuple[Experiment, Page]:
    """An experiment at a size, and its page, which says which one it is.

    Args:
        name: See `find`.
        size: That of the experiment itself, for a CPU, or that of the paper.

    Raises:
        ValueError: it is a suite, or has one size alone; the message says what is allowed.
    """
    experiment, own = find(name), page(name)
    if not isinstance(experiment, Experiment):
        raise ValueError(f"{name} is a suite: a suite consists of experiments alone")
    command = own.command or f"rate reproduce {name}"
    if size == "cpu":
        text = "data and models for a CPU; --size paper takes those of the paper"
        return experiment, replace(own, command=command, size=text if experiment.paper else "")
    if experiment.paper is None:
        found = {known: find(known) for known in names()}
        allowed = [
            known for known, one in found.items() if isinstance(one, Experiment) and one.paper
        ]
        raise ValueError(
            f"{name} has no recipes of the paper's size: leave --size at cpu. Experiments that "
            f"have them: {', '.join(allowed) or 'none'}"
        )
    title, command = f"{own.title}, at the paper's size", f"rate reproduce {name}{SIZES[size]}"
    text = "data and models of the paper"
    return experiment.paper, replace(own, title=title, command=command, cost="", size=text)


def experiment_name(name: str, size: Size = "cpu") -> str:
    """The name under which an experiment is reported that is given by its name or by the path of
    its file. Rows of one size are never averaged with those of another."""
    own = Path(name).stem.replace("_", "-") if name.endswith(".py") else name
    return f"{own}-paper" if size == "paper" else own


def _module(name: str) -> ModuleType:
    if name.endswith(".py"):
        return import_module(name)
    if name not in names():
        raise ValueError(f"{unknown('experiment', name, names())}, and paths of Python files")
    return import_module(f"{__name__}.{name.replace('-', '_')}")


def _attribute(module: ModuleType, name: str, kinds: tuple[type, ...]) -> object:
    value = getattr(module, name, None)
    if not isinstance(value, kinds):
        kind = " or ".join(kind.__name__ for kind in kinds)
        raise ValueError(
            f"{module.__name__} is no experiment: it must define {name}, of the type {kind} in "
            f"{__name__}"
        )
    return value


def _models(experiment: Experiment, names: Container[str]) -> dict[str, str]:
    """The models of an experiment that are among the names, by variant."""
    from rate.models import model_name

    models = {name: model_name(recipe.model) for name, recipe in experiment.variants.items()}
    return {name: model for name, model in models.items() if model in names}


def _require(what: str, names: Sequence[str], allowed: Sequence[str]) -> None:
    if unknown := set(names) - set(allowed):
        raise ValueError(
            f"unknown {what} {sorted(unknown)}; {what} are: {', '.join(dict.fromkeys(allowed))}"
        )
