"""Reproducing an experiment: collect, train, evaluate, report.

What is there already is kept: an interrupted reproduction goes on where it stopped.
"""

import json
from collections.abc import Container, Iterator, Sequence
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from rate import recipe as recipes
from rate import training
from rate.acting.collection import collect
from rate.acting.evaluation import Protocol, evaluate
from rate.addresses import trust
from rate.dataset.card import CARD
from rate.experiments import SIZES, Collection
from rate.experiments.data_facts import data_facts
from rate.experiments.outline import Member, Score, Subset, Work, outline, scores_of
from rate.inspection import inspect
from rate.inspection.separation import separation_of
from rate.reporting import report
from rate.reporting.load import FACTS, REMARKS, ROWS, SuiteFacts, read_remarks
from rate.reporting.suite import overview, write_suite
from rate.runs.folder import Run
from rate.runs.metrics import cue_correlation
from rate.storage.files import atomic_write
from rate.storage.folders import writing
from rate.system.compute import Compute, with_changes
from rate.system.processes import Processes, worker_index
from rate.system.progress import progress_bar
from rate.values import Positive, checks_arguments

RESULTS = Path("results")
"""Folder with published results, where remarks on an experiment are looked for."""


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
        output: The folder, by default runs/NAME, runs/NAME-trial or runs/NAME-smoke.
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
    asked = outline(name, output, subset, smoke)
    output, suite, members = asked.output, asked.suite, asked.members
    with writing(output):
        for folder, collection in asked.data.items():
            _collect(collection, folder, show_progress)
        if suite:
            names = " ".join([name] if isinstance(name, str) else name)
            command = f"rate reproduce {names} --jobs {jobs}{SIZES[subset.size]}"
            own = tuple(one.name for one in members)
            write_suite(output, SuiteFacts(asked.title, suite.title, command, own))
        for member in members:
            _begin(member, smoke)
        for item in asked.work.values():
            item.check()
        pending = [item for item in asked.work.values() if item.missing()]
        done = set(asked.work) - {item.run for item in pending}
        waiting = list(members)
        _report_finished(waiting, done, not smoke, show_progress)
        for run in _run_all(pending, jobs, compute, f"reproduce {asked.title}", show_progress):
            done.add(run)
            _report_finished(waiting, done, not smoke, show_progress)
        if suite:
            overview(output)
    return output


def _collect(collection: Collection, folder: Path, show_progress: bool) -> None:
    """Record a collection, unless it is there."""
    if not (folder / CARD).exists():
        options = {item.name: getattr(collection, item.name) for item in fields(collection)}
        collect(**options, output=folder, show_progress=show_progress)


def _begin(member: Member, smoke: bool) -> None:
    """Write what the report needs to know, before the long work begins."""
    member.folder.mkdir(parents=True, exist_ok=True)
    variants = member.experiment.variants
    folders = {
        variants[variant].collection: Path(str(work.recipe.dataset))
        for (variant, _), work in member.work.items()
    }
    data = {name: data_facts(member.experiment, name, path) for name, path in folders.items()}
    facts = replace(member.facts(), data=data)
    atomic_write(member.folder / FACTS, json.dumps(facts.to_json(), indent=2))
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
    compute.use_one_card(worker_index())
    trust(recipes.addresses(recipe))
    if Run(path).exists:
        training.resume(path, show_progress=show_progress)
    else:
        options = {"seed": seed, "show_progress": show_progress, **asdict(compute)}
        training.train(recipes.from_json(recipe), path, **options)
    evaluate_missing(path, scores, compute, show_progress)
    return [path]


def evaluate_missing(
    run: str | Path, scores: Sequence[Score], compute: Compute, show_progress: bool = False
) -> None:
    """Score a run as far as it has not been done yet."""
    for score in Work(Run(run), Run(run).recipe(), 0, dict.fromkeys(scores)).missing():
        evaluate(
            run,
            [score.task],
            Protocol(
                score.checkpoint,
                score.episodes,
                sample=score.sample,
                corruption=score.corruption,
            ),
            compute,
            show_progress=show_progress,
        )


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
            task = experiment.data[experiment.variants[variant].collection].task
            inspect(work.run.path, task, show_progress=show_progress)
    report(member.folder)


def _separation(member: Member, variant: str, run: Run) -> list[float]:
    """How far memory keeps cues apart, measured once; nothing where it cannot be measured."""
    if not run.separation_file.exists():
        task = member.experiment.data[member.experiment.variants[variant].collection].task
        atomic_write(run.separation_file, json.dumps(separation_of(run.path, task)) + "\n")
    return list(json.loads(run.separation_file.read_text(encoding="utf-8")))


def _measured(separation: list[float], correlation: float | None) -> dict[str, Any]:
    """What was measured of a policy besides its scores, as entries of rows."""
    found = {"separation": separation or None, "cue_correlation": correlation}
    return {name: value for name, value in found.items() if value is not None}


def _gather(member: Member) -> None:
    """Write the newest row of everything that a member asks for to its rows.jsonl, under its own
    names."""
    rows = []
    for (variant, seed), work in member.work.items():
        scored, apart = work.run.scores(), _separation(member, variant, work.run)
        together = cue_correlation(work.run.metrics())
        for condition, scores in scores_of(member.experiment, variant, seed).items():
            for score in scores:
                newest = [row for row in scored if score.matches(row)][-1]
                names = {"experiment": member.name, "variant": condition}
                if variant in member.experiment.single:
                    names["trained_for"] = member.experiment.single[variant][1]
                measured = {} if score.corruption else _measured(apart, together)
                rows.append({**newest, **measured, **names})
    atomic_write(member.folder / ROWS, "".join(json.dumps(row) + "\n" for row in rows))
