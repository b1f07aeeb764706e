"""Several seeds of one recipe: a plan of their runs, and its work."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rate.launch.plan import Plan, training_jobs, write_plan
from rate.launch.work import work
from rate.messages import brief
from rate.recipe import Recipe
from rate.runs.folder import RunError
from rate.runs.loggers import Logger
from rate.system.compute import Compute
from rate.training.devices import TrainingCompute
from rate.values import Positive, Seed, checked

MOST_SEEDS = 1000
"""Seeds of a range."""


def read_seeds(words: Sequence[str]) -> tuple[int, ...]:
    """Seeds from words such as "3" and "0-9", which stands for all of 0 to 9.

    Raises:
        ValueError: A word is neither.
    """
    seeds: list[int] = []
    for word in words:
        match = re.fullmatch(r"(\d{1,10})(?:-(\d{1,10}))?", word)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < first + MOST_SEEDS:
            raise ValueError(
                f"seeds are whole numbers and ranges such as 0-9 of at most {MOST_SEEDS}, but "
                f"{brief(word)} was given"
            )
        seeds += range(first, last + 1)
    return tuple(seeds)


def train_seeds(
    recipe: Recipe,
    run: str | Path,
    *,
    seeds: Sequence[Seed],
    jobs: Positive = 1,
    compute: TrainingCompute = TrainingCompute(),
    loggers: Sequence[Logger] = (),
    show_progress: bool = False,
) -> list[Path]:
    """Train a recipe with several seeds, each in a folder seed-N of its own.

    The plan of the runs lies in their folder, where `rate work` goes on with it, on other machines
    too. What is done already is kept: the same call again goes on where it stopped, and other seeds
    of the same recipe may be added.

    Args:
        recipe: What is trained, on what, and how.
        run: Folder of the runs' folders.
        seeds: Seeds, of which none is twice.
        jobs: Runs side by side, each in its own process.
        compute: Where to train; several jobs have one thread each unless it says more.
        loggers: As of `rate.train`.
        show_progress: Show how many runs are done.

    Returns:
        The run folders, in the order of the seeds.

    Raises:
        RunError: A seed is named twice.
        PlanError: The folder holds runs of another recipe, or a run has failed.
    """
    plan = plan_seeds(recipe, run, seeds=seeds, jobs=jobs, compute=compute, loggers=loggers)
    # Jobs hold where they are computed; this is for the processes that do them.
    threads = Compute(threads=1 if jobs > 1 and not compute.threads else compute.threads)
    work(plan.path, jobs=jobs, compute=threads, trust=True, show_progress=show_progress)
    return [plan.inner(job.options["run"]) for job in plan.jobs]


def plan_seeds(
    recipe: Recipe,
    run: str | Path,
    *,
    seeds: Sequence[Seed],
    jobs: Positive = 1,
    compute: TrainingCompute = TrainingCompute(),
    loggers: Sequence[Logger] = (),
) -> Plan:
    """Write the plan that `train_seeds` does, which explains the arguments and errors."""
    seeds = checked("seeds", tuple(seeds), tuple[Seed, ...])
    if not seeds or len(set(seeds)) < len(seeds):
        raise RunError(f"seeds are {list(seeds)}: name at least one, and none twice")
    folder = Path(run)
    if jobs > 1 and not compute.threads:
        compute = replace(compute, threads=1)
    runs = {seed: folder / f"seed-{seed}" for seed in seeds}
    name = "-".join(map(str, seeds))
    if len(name) > 60:  # a name has at most 255 bytes
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = f"{seeds[0]}-to-{seeds[-1]}-{digest}"
    plan = Plan(folder / f"seeds-{name}.jsonl")
    planned = training_jobs(plan, recipe, runs, compute=compute, loggers=loggers)
    return write_plan(plan.path, planned, f"rate train --seeds {' '.join(map(str, seeds))}")
