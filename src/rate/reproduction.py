"""Reproducing an experiment: collect, train, evaluate, report.

What is there already is kept: an interrupted reproduction goes on where it stopped.
"""

import hashlib
import json
import os
from collections.abc import Container, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from rate import experiments, training
from rate import recipe as recipes
from rate.acting.collection import collect
from rate.acting.corruption import Corruption
from rate.acting.evaluation import Protocol, evaluate
from rate.addresses import trust
from rate.compute import Compute, with_changes
from rate.dataset.card import CARD
from rate.experiments import SIZES, Collection, Experiment, Page, Size, Suite, experiment_name, find
from rate.files import atomic_write
from rate.folders import writing
from rate.inspection import inspect
from rate.models import model_name
from rate.processes import Processes
from rate.progress import progress_bar
from rate.recipe import Recipe
from rate.reporting import report
from rate.reporting.load import FACTS, REMARKS, ROWS, Facts, RunPlace, SuiteFacts, read_remarks
from rate.reporting.suite import overview, write_suite
from rate.runs.folder import Run
from rate.values import Checked, Positive, Seed, checks_arguments

RESULTS = Path("results")
"""Folder with published results, where remarks on an experiment are looked for."""


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


@dataclass(frozen=True)
class Score:
    """One evaluation that an experiment asks for."""

    task: str
    checkpoint: Literal["last", "best"]
    episodes: int
    corruption: Corruption | None = None

    def matches(self, row: dict[str, Any]) -> bool:
        """Whether a row of a run's scores holds this evaluation."""
        corruption = asdict(self.corruption) if self.corruption else None
        key = (self.task, self.checkpoint, self.episodes, corruption)
        return key == (row["task"], row["checkpoint"], row["episodes"], row.get("corruption"))


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
        if not self.run.exists:
            return
        trust(recipes.addresses(self.recipe.to_json()))
        made = self.run.recipe()
        made = replace(made, **self.recipe.left_to_data())
        if made.hash != self.recipe.hash:
            raise ValueError(
                f"{self.run} was made with another recipe than the one asked for, by --smoke or "
                "by another version of the library: remove it, or choose another --output"
            )


@dataclass
class Member:
    """One experiment of those that are reproduced together."""

    name: str
    experiment: Experiment
    page: Page
    folder: Path
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
            first_seed_only=tuple(experiment.long_evaluations),
            inspected=tuple(name for name in experiment.inspected if name in experiment.variants),
            runs=runs,
        )


@checks_arguments
def reproduce(
    name: str | Sequence[str],
    output: str | Path | None = None,
    *,
    subset: Subset = Subset(),
    jobs: Positive = 1,
    compute: Compute = Compute(),
    smoke: bool = False,
    show_progress: bool = False,
    **changes: Any,
) -> Path:
    """Run an experiment: collect its data, train, evaluate and report.

    What is there already is kept: finished runs and scored tasks are not done again. The
    experiments of a suite share data and runs, and each has its own folder in the suite's.

    Args:
        name: Name of an experiment or suite, or path of a Python file that defines one; several
            are run as a suite.
        output: The folder, by default runs/NAME, or runs/NAME-smoke.
        subset: The part of each experiment to run.
        jobs: Runs side by side, each in its own process.
        compute: Where to compute; several jobs have one thread each unless `threads` says more.
        smoke: Do the same in seconds; the numbers then mean nothing.
        show_progress: Show progress bars.
        changes: Fields of `subset` and `compute` by name.

    Returns:
        The folder, with rows.jsonl, summary.json, report.html, report.md and figures.
    """
    subset, compute = with_changes(changes, subset, compute)
    if jobs > 1 and not compute.threads:
        compute = replace(compute, threads=1)
    names = [name] if isinstance(name, str) else list(name)
    suite = _suite(names)
    title = "-".join(experiment_name(one, subset.size) for one in names)
    output = Path(output or Path("runs") / (f"{title}-smoke" if smoke else title))
    of_suite = suite.members if suite else names
    members = [_member(one, output, subset, smoke, suite is not None) for one in of_suite]
    with writing(output):
        _plan(members, output, suite is not None, show_progress)
        if suite:
            command = f"rate reproduce {' '.join(names)} --jobs {jobs}{SIZES[subset.size]}"
            own = tuple(one.name for one in members)
            write_suite(output, SuiteFacts(title, suite.title, command, own))
        for member in members:
            _begin(member, smoke)
        work = {item.run: item for member in members for item in member.work.values()}
        for item in work.values():
            item.check()
        pending = [item for item in work.values() if item.missing()]
        done = set(work) - {item.run for item in pending}
        waiting = list(members)
        _report_finished(waiting, done, not smoke, show_progress)
        for run in _run_all(pending, jobs, compute, f"reproduce {title}", show_progress):
            done.add(run)
            _report_finished(waiting, done, not smoke, show_progress)
        if suite:
            overview(output)
    return output


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
    experiment = experiment.narrowed(subset.variants, subset.tasks)
    if smoke:
        experiment = experiment.smoke()
        page = replace(page, title=f"Smoke test, no result: {page.title}")
    experiment = replace(experiment, seeds=tuple(subset.seeds or experiment.seeds))
    own = experiment_name(name, subset.size)
    return Member(own, experiment, page, output / own if shared else output)


def _plan(members: Sequence[Member], output: Path, shared: bool, show_progress: bool) -> None:
    """Plan the work of all members, and collect the data that it needs."""
    by_run: dict[Run, Work] = {}
    for member in members:
        experiment = member.experiment
        data = {
            key: _data(collection, key, output / "data", shared, show_progress)
            for key, collection in experiment.data.items()
        }
        for seed in experiment.seeds:
            for variant, recipe in experiment.variants.items():
                recipe = replace(recipe, dataset=str(data[recipe.dataset]))
                name = _run_name(recipe) if shared else variant
                run = Run(output / "runs" / f"{name}-{seed}")
                work = by_run.setdefault(run, Work(run, recipe, seed))
                member.work[variant, seed] = work
                for scores in _scores(experiment, variant, seed).values():
                    work.scores |= dict.fromkeys(scores)


def _data(
    collection: Collection, key: str, output: Path, shared: bool, show_progress: bool
) -> Path:
    """The folder of a collection; its data are recorded unless they are there."""
    parts = (collection.task, collection.episodes, collection.seed, *(collection.lengths or ()))
    folder = output / (_slug("-".join(map(str, parts))) if shared else key)
    if not (folder / CARD).exists():
        collect(
            collection.task,
            folder,
            episodes=collection.episodes,
            seed=collection.seed,
            lengths=collection.lengths,
            show_progress=show_progress,
        )
    return folder


def _run_name(recipe: Recipe) -> str:
    """A name for what is trained, the same in all experiments: model, and hash of recipe and
    data."""
    key = f"{recipe.hash} {Path(recipe.dataset).name}"
    return f"{_slug(model_name(recipe.model))}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def _slug(name: str) -> str:
    """A name as part of a file's name."""
    return name.replace("/", "-").replace(":", "-")


def _scores(experiment: Experiment, variant: str, seed: int) -> dict[str, list[Score]]:
    """What a variant is scored on, by the name under which its scores are reported."""
    if variant in experiment.single:
        name, task = experiment.single[variant]
        return {name: [Score(task, experiment.checkpoint, experiment.episodes)]}
    tasks = experiment.scored
    if seed == experiment.seeds[0]:
        tasks |= experiment.long_evaluations
    return {
        condition: [
            Score(task, experiment.checkpoint, episodes, corruption)
            for task, episodes in tasks.items()
        ]
        for condition, (of, corruption) in experiment.conditions.items()
        if of == variant
    }


def _begin(member: Member, smoke: bool) -> None:
    """Write what the report needs to know, before the long work begins."""
    member.folder.mkdir(parents=True, exist_ok=True)
    atomic_write(member.folder / FACTS, json.dumps(member.facts().to_json(), indent=2))
    remarks = read_remarks(RESULTS / f"{member.name}.md")
    if remarks and not smoke:
        atomic_write(member.folder / REMARKS, remarks)


_Item = tuple[str, dict[str, Any], int, list[Score]]
"""Work as plain data, for another process: run folder, recipe, seed, and missing scores."""


def _run_all(
    pending: Sequence[Work], jobs: int, compute: Compute, title: str, show_progress: bool
) -> Iterator[Run]:
    """Do all work, and yield every run when it is done."""
    items = [(str(work.run), work.recipe.to_json(), work.seed, work.missing()) for work in pending]
    function = partial(_run_one, compute, show_progress and jobs == 1)
    with (
        Processes(jobs, compute.threads) as processes,
        progress_bar(title, len(items), show=show_progress and jobs > 1) as advance,
    ):
        for path in processes.results(function, items, ordered=False):
            yield Run(path)
            advance(1)


def _run_one(compute: Compute, show_progress: bool, item: _Item) -> list[str]:
    """Train one policy and score it, as far as that has not been done yet."""
    path, recipe, seed, scores = item
    trust(recipes.addresses(recipe))
    if Run(path).exists:
        training.resume(path, show_progress=show_progress)
    else:
        options = {"seed": seed, "show_progress": show_progress, **asdict(compute)}
        training.train(recipes.from_json(recipe), path, **options)
    for score in scores:
        evaluate(
            path,
            [score.task],
            Protocol(score.checkpoint, score.episodes, corruption=score.corruption),
            compute,
            show_progress=show_progress,
        )
    return [path]


def _report_finished(
    waiting: list[Member], done: Container[Run], inspecting: bool, show_progress: bool
) -> None:
    """Report the members whose runs are all done, and remove them from those that wait.

    A suite that is stopped later keeps their reports.
    """
    for member in list(waiting):
        if all(work.run in done for work in member.work.values()):
            waiting.remove(member)
            _report(member, inspecting, show_progress)


def _report(member: Member, inspecting: bool, show_progress: bool) -> None:
    """Gather a member's rows, inspect its runs where it asks for that, and write its report."""
    _gather(member)
    experiment = member.experiment
    for variant in experiment.inspected if inspecting else ():
        work = member.work.get((variant, experiment.seeds[0]))
        if work and not work.run.inspection_file.exists():
            task = experiment.data[experiment.variants[variant].dataset].task
            inspect(work.run.path, task, show_progress=show_progress)
    report(member.folder)


def _gather(member: Member) -> None:
    """Write the newest row of everything that a member asks for to its rows.jsonl, under its own
    names."""
    rows = []
    for (variant, seed), work in member.work.items():
        scored = work.run.scores()
        for condition, scores in _scores(member.experiment, variant, seed).items():
            for score in scores:
                newest = [row for row in scored if score.matches(row)][-1]
                names = {"experiment": member.name, "variant": condition}
                if variant in member.experiment.single:
                    names["trained_for"] = score.task
                rows.append({**newest, **names})
    atomic_write(member.folder / ROWS, "".join(json.dumps(row) + "\n" for row in rows))
