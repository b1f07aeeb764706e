"""Training a policy: runs begin and go on here. `rate train` and `rate.train` are the same."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import lightning_fabric
import torch

from rate.dataset import open_dataset
from rate.recipe import Recipe
from rate.runs.folder import Run, RunError
from rate.runs.loggers import Logger, Sink
from rate.storage.folders import writing
from rate.system.compute import is_first_process, started_by_torchrun, with_changes
from rate.system.interruption import Interrupted, interruption
from rate.system.processes import depend_on_parent
from rate.system.progress import say
from rate.training.beginning import beginning
from rate.training.checks import check_recipe
from rate.training.data import describe, fill_in, find_dataset
from rate.training.devices import TrainingCompute, compute_of, fabric_for
from rate.training.loop import Training
from rate.training.nodes import placed, require_same, together
from rate.values import Positive, Seed, checks_arguments


@checks_arguments
def train(
    recipe: Recipe,
    run: str | Path,
    *,
    seed: Seed = 0,
    compute: TrainingCompute = TrainingCompute(),
    loggers: Sequence[Logger] = (),
    sinks: Sequence[Sink] = (),
    show_progress: bool = False,
    **changes: Any,
) -> Path:
    """Train a policy.

    Ctrl-C and SIGTERM save and end; `resume` goes on to the weights of an uninterrupted run.

    Args:
        recipe: What is trained, on what, and how.
        run: Folder of the new run.
        seed: Seed of weights, batches and dropout.
        compute: Where to train, and the processes that help.
        loggers: Where metrics go, too. W&B's key: wandb_config.yaml or WANDB_API_KEY.
        sinks: Objects that take metrics, too: `write(row)` after each update, and `close()`.
        show_progress: Show how far the training is.
        changes: Fields of `compute` by name, such as `threads=1`.

    Returns:
        The run folder.

    Raises:
        ValueError: the recipe does not go with the data, or an option is out of range.
        RunError: the folder holds a run already.
        FloatingPointError: the loss is no longer a number.
        Interrupted: the run was asked to stop, and has saved.
    """
    [compute] = with_changes(changes, compute)
    compute, folder = placed(compute), Run(run)
    dataset = open_dataset(recipe.dataset, verify=is_first_process())
    recipe = fill_in(recipe, dataset)
    stages = check_recipe(recipe, dataset, seed, compute.processes, loggers)
    if show_progress and is_first_process():
        say(describe(recipe, dataset, stages))
    facts = {
        "dataset": dataset.content_hash,
        "dataset_path": [os.path.relpath(one, run) for one in recipe.folders],
        "task": dataset.card["task"],
        **beginning(recipe, dataset),
        "loggers": list(loggers),
        **asdict(compute),
    }

    def begin() -> None:
        if started_by_torchrun() and folder.exists:
            _require_goes_on(folder, recipe, seed, facts)
        else:
            Run.create(run, recipe, seed, **facts)

    fabric = fabric_for(recipe, compute)
    identity = [recipe.hash, seed, dataset.content_hash, compute.processes]
    _launch(fabric, folder, recipe.folders, show_progress, (identity, begin), sinks)
    return folder.path


def resume(
    run: str | Path,
    *,
    dataset: str | Sequence[str] | None = None,
    updates: Positive | None = None,
    trust: bool = False,
    sinks: Sequence[Sink] = (),
    show_progress: bool = False,
) -> Path:
    """Continue an interrupted or killed run to bit-identical losses and weights; or prolong a run.

    Args:
        run: The run folder.
        dataset: Where the data lies now, if it was moved: a folder, or those of its shards; by
            default where it was, seen from here or from the run.
        updates: Updates of the whole run, more than it has: the learning rate then follows the
            schedule of the longer run, and scores are of another recipe than before.
        trust: Also run the code that the recipe names: a model, an encoder, an objective or a task
            of your own.
        sinks: As of `train`; objects are not kept with the run.
        show_progress: Show how far the training is.

    Returns:
        The run folder.

    Raises:
        RunError: there is no run, or its dataset has changed or is not found.
        FloatingPointError: the loss is no longer a number.
        Interrupted: the run was asked to stop again, and has saved.
    """
    known = Run(run)
    recipe = known.recipe(trust)
    recipe = recipe if updates is None else known.longer(recipe, updates)
    data, facts = find_dataset(known, dataset), known.provenance("dataset", "loggers")
    compute, opened = compute_of(facts), open_dataset(data, verify=is_first_process())
    _require_processes(known, compute)
    if fill_in(recipe, opened) != recipe:
        raise RunError(f"{known} leaves sampling or target_return to its data: train a new run")
    check_recipe(recipe, opened, facts["seed"], compute.processes, facts["loggers"])

    def begin() -> None:
        known.prolong(recipe)
        known.selection_file.unlink(missing_ok=True)  # of a process that was killed

    identity = [recipe.hash, facts["seed"], opened.content_hash, compute.processes]
    _launch(fabric_for(recipe, compute), known, data, show_progress, (identity, begin), sinks)
    return known.path


def _require_processes(run: Run, compute: TrainingCompute) -> None:
    """Refuse to go on with other processes than a run began with: sums would differ."""
    there = placed(replace(compute, devices=1)) if started_by_torchrun() else placed(compute)
    if (there.devices, there.nodes) != (compute.devices, compute.nodes):
        raise RunError(
            f"{run} is trained by {compute.nodes} nodes of {compute.devices} processes, but "
            f"torchrun has started {there.nodes} of {there.devices}: start as many, or a new run"
        )


def _require_goes_on(run: Run, recipe: Recipe, seed: int, facts: Mapping[str, Any]) -> None:
    """Refuse a run that is not the one that torchrun started, and ready it to go on."""
    made, known = run.recipe(trust=True), run.provenance("dataset")
    if (made.hash, known["seed"], known["dataset"]) != (recipe.hash, seed, facts["dataset"]):
        raise RunError(
            f"{run} holds a run of another recipe, seed or dataset, which cannot go on as this "
            "one: choose another folder, or remove it"
        )
    _require_processes(run, compute_of(known))
    run.selection_file.unlink(missing_ok=True)


def _launch(
    fabric: lightning_fabric.Fabric,
    run: Run,
    dataset: Sequence[str],
    show_progress: bool,
    first: tuple[Any, Callable[[], None]],
    sinks: Sequence[Sink],
) -> None:
    """Train in this process, in several that it starts, or in those that torchrun has started.

    Args:
        fabric: Processes and devices.
        run: The run.
        dataset: Where the data lies.
        show_progress: Whether progress is shown.
        first: What must be the same in all processes, and what makes or readies the run.
        sinks: Objects that take metrics.
    """
    identity, begin = first
    if sinks and fabric.world_size > 1 and not started_by_torchrun():
        raise ValueError(
            "sinks are objects of this process, and several processes train: name loggers instead, "
            "train on one device, or start the processes by torchrun"
        )
    if started_by_torchrun():
        with together(fabric, run, identity, begin):
            training = Training(fabric, run, dataset, sinks)
            require_same("the checkpoint that they go on from", training.done)
            stopped = training.run_to_end(show_progress)
    else:
        with writing(run.path):
            begin()
            if fabric.world_size > 1:
                with interruption(forward=True):
                    launch: Any = fabric.launch  # its type knows functions of the fabric alone
                    stopped = launch(_train_together, run.path, dataset, show_progress)
            else:
                fabric.launch()
                stopped = Training(fabric, run, dataset, sinks).run_to_end(show_progress)
    if stopped:
        raise Interrupted(f"stopped by {stopped}", f"continue with `rate train --resume {run}`")


def _train_together(
    fabric: lightning_fabric.Fabric, path: Path, dataset: Sequence[str], show_progress: bool
) -> str:
    """Train as one of several processes."""
    depend_on_parent()
    stopped = Training(fabric, Run(path), dataset).run_to_end(show_progress)
    fabric.barrier()
    # Its threads, still alive at exit, could abort the process.
    torch.distributed.destroy_process_group()
    return stopped
