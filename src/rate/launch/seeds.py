"""Several seeds of one recipe: a plan of their runs, and its work."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rate.compute import Compute
from rate.launch.plan import Plan, training_jobs, write_plan
from rate.launch.work import work
from rate.recipe import Recipe
from rate.runs.folder import RunError
from rate.runs.loggers import Logger
from rate.training.devices import TrainingCompute
from rate.values import Positive, Seed, checked


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
    seeds = checked("seeds", tuple(seeds), tuple[Seed, ...])
    if not seeds or len(set(seeds)) < len(seeds):
        raise RunError(f"seeds are {list(seeds)}: name at least one, and none twice")
    folder = Path(run)
    if jobs > 1 and not compute.threads:
        compute = replace(compute, threads=1)
    runs = {seed: folder / f"seed-{seed}" for seed in seeds}
    plan = Plan(folder / f"seeds-{'-'.join(map(str, seeds))}.jsonl")
    planned = training_jobs(plan, recipe, runs, compute=compute, loggers=loggers)
    write_plan(plan.path, planned, f"rate train --seeds {' '.join(map(str, seeds))}")
    # Jobs hold where they are computed; this is for the processes that do them.
    threads = Compute(threads=compute.threads)
    work(plan.path, jobs=jobs, compute=threads, trust=True, show_progress=show_progress)
    return list(runs.values())
