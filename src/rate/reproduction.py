"""Reproducing an experiment: collect, train, evaluate, report; interrupted, it goes on where it
stopped."""

import hashlib
import json
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from rate import training
from rate.acting.collection import collect
from rate.acting.corruption import Corruption
from rate.acting.evaluation import SCORES, evaluate
from rate.experiments import Experiment, Suite, find
from rate.files import atomic_write, read_jsonl
from rate.inspection import inspect
from rate.models import model_name
from rate.progress import progress_bar
from rate.recipe import Recipe
from rate.reporting import INSPECTION, report
from rate.reporting.suite import overview
from rate.runs import folder as rundir
from rate.runs.folder import RECIPE

ROWS, FACTS = "rows.jsonl", "experiment.json"


@dataclass(frozen=True)
class Score:
    """One evaluation that an experiment asks for."""

    task: str
    checkpoint: str
    episodes: int
    corruption: Corruption | None = None

    def matches(self, row: dict[str, Any]) -> bool:
        """Whether a row of scores.jsonl holds this evaluation."""
        corruption = asdict(self.corruption) if self.corruption else None
        wanted = (self.task, self.checkpoint, self.episodes, corruption)
        return wanted == (row["task"], row["checkpoint"], row["episodes"], row.get("corruption"))


@dataclass
class Work:
    """One policy to train, and everything that it is to be scored on, whichever experiments ask for
    it."""

    run: Path
    recipe: Recipe
    seed: int
    scores: dict[Score, None] = field(default_factory=dict)


def reproduce(
    name: str,
    output: str | Path | None = None,
    *,
    seeds: Sequence[int] | None = None,
    variants: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    jobs: int = 1,
    threads: int = 0,
    smoke: bool = False,
    show_progress: bool = False,
) -> Path:
    """Run an experiment and return its folder, with rows.jsonl, summary.json, report.html,
    report.md and figures.

    output: the folder, by default runs/<name>, or runs/<name>-smoke. seeds, variants, tasks: only
    these. jobs: processes side by side, one thread each. threads: CPU threads of a single job, 0 to
    measure. smoke: the same in seconds; the numbers then mean nothing. What is there already is
    kept: finished runs and scored tasks are not done again. The experiments of a suite share data
    and runs, and each has its own folder in the suite's.
    """
    output = Path(output or (f"runs/{name}-smoke" if smoke else f"runs/{name}"))
    found = find(name)
    members: dict[str, Experiment] = {}
    for member in found.members if isinstance(found, Suite) else (name,):
        experiment = find(member)
        assert isinstance(experiment, Experiment)
        members[member] = _narrow(experiment, seeds, variants, tasks, smoke)
    shared = isinstance(found, Suite)
    data = _collect(members.values(), output, shared, show_progress)
    work = _plan(members, data, output, shared)
    for member, experiment in members.items():
        _begin(member, experiment, work, output / member if shared else output)
    distinct = list({item.run: item for item in work.values()}.values())
    left = {
        member: {item.run for key, item in work.items() if key[0] == member} for member in members
    }

    def finish(item: Work) -> None:
        """Report the experiments that have waited for this run alone: a suite that is stopped later
        keeps their reports."""
        for member in list(left):
            left[member].discard(item.run)
            if not left[member]:
                del left[member]
                folder = output / member if shared else output
                _report(member, members[member], work, folder, not smoke, show_progress)

    for item in distinct:
        _check_recipe(item)
    pending = [item for item in distinct if _unscored(item)]
    for item in distinct:
        if item not in pending:
            finish(item)
    if jobs == 1:
        for item in pending:
            _one(threads, show_progress, item)
            finish(item)
    elif pending:
        _many(partial(_one, 1, False), finish, pending, jobs, f"reproduce {name}", show_progress)
    if isinstance(found, Suite):
        overview(output, name, found.title, f"rate reproduce {name} --jobs {jobs}", list(members))
    return output


def _narrow(
    experiment: Experiment,
    seeds: Sequence[int] | None,
    variants: Sequence[str] | None,
    tasks: Sequence[str] | None,
    smoke: bool,
) -> Experiment:
    kept = experiment.narrowed(variants or (), tasks or ())
    if not kept.variants or not kept.evaluations:
        raise ValueError(
            "nothing is left to run: none of the variants that were asked for is scored on "
            "these tasks"
        )
    kept = kept.smoke() if smoke else kept
    return replace(kept, seeds=tuple(seeds) if seeds else kept.seeds)


def _collect(
    experiments: Iterable[Experiment], output: Path, shared: bool, show_progress: bool
) -> dict[tuple[int, str], Path]:
    """Folders of the data, by position of the experiment and name of the collection; recorded if
    they are not there."""
    folders = {}
    for position, experiment in enumerate(experiments):
        for key, collection in experiment.data.items():
            name = (
                f"{collection.task.replace('/', '-')}-{collection.episodes}-{collection.seed}"
                if shared
                else key
            )
            folder = folders[position, key] = output / "data" / name
            if not (folder / "card.json").exists():
                collect(
                    collection.task,
                    folder,
                    episodes=collection.episodes,
                    seed=collection.seed,
                    lengths=collection.lengths,
                    show_progress=show_progress,
                )
    return folders


Plan = dict[tuple[str, str, int], Work]


def _plan(
    members: dict[str, Experiment], data: dict[tuple[int, str], Path], output: Path, shared: bool
) -> Plan:
    """All work by experiment, variant and seed; what experiments share is one object under several
    keys."""
    plan: Plan = {}
    by_run: dict[Path, Work] = {}
    for position, (member, experiment) in enumerate(members.items()):
        for seed in experiment.seeds:
            for variant, recipe in experiment.variants.items():
                recipe = replace(recipe, dataset=str(data[position, recipe.dataset]))
                run = output / "runs" / f"{_identity(recipe) if shared else variant}-{seed}"
                work = plan[member, variant, seed] = by_run.setdefault(run, Work(run, recipe, seed))
                for scores in _scores(experiment, variant, seed).values():
                    work.scores |= dict.fromkeys(scores)
    return plan


def _identity(recipe: Recipe) -> str:
    """A name for what is trained, the same wherever it is asked for: model, and hash of recipe and
    data."""
    key = f"{recipe.hash} {Path(recipe.dataset).name}"
    return f"{model_name(recipe.model)}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def _scores(experiment: Experiment, variant: str, seed: int) -> dict[str, list[Score]]:
    """What a variant is scored on, by the name under which its scores are reported."""
    if variant in experiment.single:
        name, task = experiment.single[variant]
        return {name: [Score(task, experiment.checkpoint, experiment.episodes)]}
    tasks = {
        task: experiment.fewer_episodes.get(task, experiment.episodes)
        for task in experiment.evaluations
    }
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


def _begin(name: str, experiment: Experiment, plan: Plan, folder: Path) -> None:
    """Write what the report needs to know, before the long work begins."""
    folder.mkdir(parents=True, exist_ok=True)
    runs = [
        {
            "variant": experiment.reported(variant),
            "seed": seed,
            "folder": Path(os.path.relpath(work.run, folder)).as_posix(),
        }
        for (member, variant, seed), work in plan.items()
        if member == name
    ]
    atomic_write(folder / FACTS, json.dumps({**experiment.facts(name), "runs": runs}, indent=2))


def _one(threads: int, show_progress: bool, work: Work) -> None:
    """Train one policy and score it, as far as that has not been done yet."""
    if (work.run / RECIPE).exists():
        training.resume(work.run, show_progress=show_progress)
    else:
        training.train(
            work.recipe,
            work.run,
            seed=work.seed,
            accelerator="cpu",
            thread_count=threads,
            show_progress=show_progress,
        )
    for score in _unscored(work):
        evaluate(
            work.run,
            [score.task],
            checkpoint=score.checkpoint,
            episodes=score.episodes,
            accelerator="cpu",
            threads=threads,
            show_progress=show_progress,
            corruption=score.corruption,
        )


def _check_recipe(work: Work) -> None:
    """Refuse a run folder that was made with another recipe: its scores would be told as those of
    this one."""
    if not (work.run / RECIPE).exists():
        return
    made, wanted = rundir.read(work.run)[0], work.recipe
    if wanted.target_return is None:  # filled in from the data when training began
        made = replace(made, target_return=None)
    if made.hash != wanted.hash:
        raise ValueError(
            f"{work.run} was made with another recipe than the one asked for, by --smoke or "
            "by another version of the library: "
            "remove it, or choose another --output"
        )


def _unscored(work: Work) -> list[Score]:
    """The scores that a run still lacks; a run that lacks none has been trained, too."""
    rows = read_jsonl(work.run / SCORES) if (work.run / SCORES).exists() else []
    return [score for score in work.scores if not any(score.matches(row) for row in rows)]


def _many(
    one: Callable[[Work], None],
    finish: Callable[[Work], None],
    work: Sequence[Work],
    jobs: int,
    title: str,
    show_progress: bool,
) -> None:
    context = multiprocessing.get_context("spawn")
    with (
        progress_bar(title, len(work), show=show_progress) as advance,
        ProcessPoolExecutor(jobs, mp_context=context, initializer=_end_with_parent) as pool,
    ):
        futures = {pool.submit(one, item): item for item in work}
        try:
            for future in as_completed(futures):
                future.result()
                finish(futures[future])
                advance(1)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _end_with_parent() -> None:
    """See that this process ends when the one that started it is gone, were it killed without a
    chance to say so."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)  # what was done since the last checkpoint is done again, by whoever resumes

    threading.Thread(target=watch, daemon=True).start()


def _report(
    name: str,
    experiment: Experiment,
    plan: Plan,
    folder: Path,
    inspecting: bool,
    show_progress: bool,
) -> None:
    """Gather the rows of an experiment whose runs are all done, inspect what it wants inspected,
    and write its report."""
    _gather(name, experiment, plan, folder)
    for variant in experiment.inspected if inspecting else ():
        run = (
            plan[name, variant, experiment.seeds[0]].run if variant in experiment.variants else None
        )
        if run and not (run / INSPECTION).exists():
            inspect(run, show_progress=show_progress)
    report(folder)


def _gather(name: str, experiment: Experiment, plan: Plan, folder: Path) -> None:
    """Put the newest row of everything that the experiment asked for into its rows.jsonl, under its
    own names."""
    rows = []
    for (member, variant, seed), work in plan.items():
        if member != name:
            continue
        scored = read_jsonl(work.run / SCORES)
        for condition, scores in _scores(experiment, variant, seed).items():
            for score in scores:
                newest = [row for row in scored if score.matches(row)][-1]
                trained = {"trained_for": score.task} if variant in experiment.single else {}
                rows.append({**newest, "experiment": name, "variant": condition, **trained})
    atomic_write(folder / ROWS, "".join(json.dumps(row) + "\n" for row in rows))
