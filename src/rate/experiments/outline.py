"""What there is to do for an experiment: data to collect, policies to train, and their scores."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from rate import experiments
from rate import recipe as recipes
from rate.acting.corruption import Corruption
from rate.addresses import trust
from rate.experiments import (
    Collection,
    Experiment,
    Page,
    Size,
    Suite,
    experiment_name,
    find,
    freezing,
    terms,
)
from rate.models import model_name
from rate.recipe import Recipe
from rate.reporting.load import Facts, RunPlace
from rate.runs.folder import Run
from rate.values import Checked, Seed


@dataclass(frozen=True)
class Subset(Checked):
    """The part of an experiment that is run, and its size; what is empty leaves out nothing."""

    seeds: tuple[Seed, ...] = ()
    """Seeds of the training runs."""
    variants: tuple[str, ...] = ()
    """Variants by name; the name of a model stands for all variants with that model."""
    tasks: tuple[str, ...] = ()
    """Evaluation tasks; policies that are trained for another task alone are left out, too."""
    size: Size = "cpu"
    """Size of data and recipes: for a CPU, or that of the paper, where an experiment has both."""
    trial: bool = False
    """Train with trial seeds, below 100, to choose recipes; the scores are no result."""


@dataclass(frozen=True)
class Score:
    """One evaluation that an experiment asks for."""

    task: str
    checkpoint: Literal["last", "best"]
    episodes: int
    corruption: Corruption | None = None
    sample: bool = False

    def matches(self, row: dict[str, Any]) -> bool:
        """Whether a row of a run's scores holds this evaluation."""
        corruption = asdict(self.corruption) if self.corruption else None
        key = (self.task, self.checkpoint, self.episodes, corruption, self.sample)
        found = (row["task"], row["checkpoint"], row["episodes"], row.get("corruption"))
        return key == (*found, row.get("actions") == "sampled")


@dataclass
class Work:
    """One policy to train, and its scores, whichever experiments ask for them."""

    run: Run
    recipe: Recipe
    seed: int
    scores: dict[Score, None] = field(default_factory=dict)

    def missing(self) -> list[Score]:
        """Scores that the run still lacks; a run that lacks none has been trained, too."""
        rows = self.run.scores()
        return [score for score in self.scores if not any(score.matches(row) for row in rows)]

    def check(self) -> None:
        """Refuse a run that was made with another recipe, whose scores are not of this one."""
        if self.run.exists:
            require_recipe(self.run, self.recipe)


def require_recipe(run: Run, recipe: Recipe) -> None:
    """Raise a ValueError unless a run was made with this recipe."""
    trust(recipes.addresses(recipe.to_json()))
    made = replace(run.recipe(), **recipe.left_to_data())
    if made.hash != recipe.hash:
        raise ValueError(
            f"{run} was made with another recipe than the one asked for, by --smoke or by another "
            "version of the library: remove it, or choose another --output"
        )


@dataclass
class Member:
    """One experiment of those that are reproduced together."""

    name: str
    experiment: Experiment
    page: Page
    folder: Path
    trial: bool = False
    """Whether it is trained with trial seeds."""
    work: dict[tuple[str, int], Work] = field(default_factory=dict)
    """Work by variant and seed; what experiments share is one object."""

    def facts(self) -> Facts:
        """What the report needs to know."""
        experiment, page = self.experiment, self.page
        grid = {name: place for name, place in page.grid.items() if name in experiment.variants}
        runs = tuple(
            RunPlace(
                experiment.reported(variant),
                seed,
                Path(os.path.relpath(work.run, self.folder)).as_posix(),
            )
            for (variant, seed), work in self.work.items()
        )
        return Facts(
            **{**vars(page), "grid": grid},
            name=self.name,
            checkpoint=experiment.checkpoint,
            order=tuple(experiment.order),
            seeds=experiment.seeds,
            fewer_seeds=experiment.fewer_scores,
            terms=terms.terms(experiment),
            trial=self.trial,
            first_seed_only=tuple(experiment.long_evaluations),
            without_targets=tuple(dict.fromkeys(map(experiment.reported, _blind(experiment)))),
            inspected=tuple(name for name in experiment.inspected if name in experiment.variants),
            runs=runs,
        )


@dataclass
class Outline:
    """What there is to do for an experiment, or for several together."""

    title: str
    """Name of the experiment or suite."""
    output: Path
    """The folder."""
    suite: Suite | None
    """The suite, if there are several experiments."""
    members: list[Member]
    """The experiments."""
    data: dict[Path, Collection] = field(default_factory=dict)
    """Collections by the folder of their dataset."""
    work: dict[Run, Work] = field(default_factory=dict)
    """Policies to train and to score, by their runs."""


def outline(
    name: str | Sequence[str], output: str | Path | None, subset: Subset, smoke: bool
) -> Outline:
    """The data and the work of an experiment; nothing is done. The arguments are those of
    `reproduce`."""
    names = [name] if isinstance(name, str) else list(name)
    suite = _suite(names)
    title = "-".join(experiment_name(one, subset.size) for one in names)
    ending = "-smoke" if smoke else "-trial" if subset.trial else ""
    output = Path(output or Path("runs") / f"{title}{ending}")
    of_suite = suite.members if suite else names
    members = [_member(one, output, subset, smoke, suite is not None) for one in of_suite]
    asked = Outline(title, output, suite, members)
    for member in members:
        _add_work(asked, member)
    return asked


def _suite(names: Sequence[str]) -> Suite | None:
    """The suite of one name, or of several names; None for a single experiment."""
    if not names:
        raise ValueError(f"name an experiment; experiments are: {', '.join(experiments.names())}")
    if len(names) > 1:
        own = list(map(experiment_name, names))
        if len(set(own)) < len(own):
            raise ValueError(f"two experiments have the same name: {', '.join(own)}; rename a file")
        return Suite(f"Experiments: {', '.join(own)}", tuple(names))
    single = find(names[0])
    return single if isinstance(single, Suite) else None


def _member(name: str, output: Path, subset: Subset, smoke: bool, shared: bool) -> Member:
    experiment, page = experiments.of_size(name, subset.size)
    own = experiment_name(name, subset.size)
    if name in experiments.names() and not (smoke or subset.trial):
        freezing.require_frozen(name, own, experiment)
    experiment = experiment.narrowed(subset.variants, subset.tasks)
    if smoke:
        experiment = experiment.smoke()
        page = replace(page, title=f"Smoke test, no result: {page.title}")
        experiment = replace(experiment, seeds=tuple(subset.seeds or experiment.seeds))
    else:
        experiment = experiment.seeded(subset.seeds, subset.trial)
    if subset.trial:
        page = replace(page, title=f"Trial, no result: {page.title}")
    return Member(own, experiment, page, output / own if shared else output, subset.trial)


def _add_work(asked: Outline, member: Member) -> None:
    """Add the data and the work of one experiment, apart from what others have in common with
    it."""
    experiment, shared = member.experiment, asked.suite is not None
    data = {
        key: asked.output / "data" / (_data_name(collection) if shared else key)
        for key, collection in experiment.data.items()
    }
    asked.data |= {data[key]: collection for key, collection in experiment.data.items()}
    for seed in experiment.seeds:
        for variant, recipe in experiment.variants.items():
            if seed not in experiment.seeds_of(variant):
                continue
            recipe = replace(recipe, dataset=str(data[recipe.collection]))
            name = _run_name(recipe) if shared else variant
            run = Run(asked.output / "runs" / f"{name}-{seed}")
            work = asked.work.setdefault(run, Work(run, recipe, seed))
            member.work[variant, seed] = work
            for scores in scores_of(experiment, variant, seed).values():
                work.scores |= dict.fromkeys(scores)


def _data_name(collection: Collection) -> str:
    """A name for a collection, the same in all experiments."""
    parts = (collection.task, collection.episodes, collection.seed, *(collection.lengths or ()))
    return _slug("-".join(map(str, parts)))


def _run_name(recipe: Recipe) -> str:
    """A name for what is trained, the same in all experiments: model, and hash of recipe and
    data."""
    key = f"{recipe.hash} {Path(recipe.collection).name}"
    return f"{_slug(model_name(recipe.model))}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def _slug(name: str) -> str:
    """A name as part of a file's name."""
    return name.replace("/", "-").replace(":", "-")


def scores_of(experiment: Experiment, variant: str, seed: int) -> dict[str, list[Score]]:
    """What a variant is scored on, by the name under which its scores are reported. What sees no
    return acts alike whatever is asked for, so it is scored once."""
    if variant in _blind(experiment):
        experiment = replace(experiment, target_returns={})
    if variant in experiment.single:
        name, task = experiment.single[variant]
        asked = experiment.asked(task).items()
        last = (None, experiment.sample)
        return {
            name: [Score(one, experiment.checkpoint, episodes, *last) for one, episodes in asked]
        }
    tasks = experiment.scored
    if seed == experiment.seeds[0]:
        tasks |= experiment.long_evaluations
    return {
        condition: [
            Score(task, experiment.checkpoint, episodes, corruption, experiment.sample)
            for task, episodes in tasks.items()
        ]
        for condition, (of, corruption) in experiment.conditions.items()
        if of == variant
    }


def _blind(experiment: Experiment) -> list[str]:
    """Variants that see no return."""
    recipes = experiment.variants.items()
    return [name for name, recipe in recipes if "return_to_go" not in recipe.model.tokens]
