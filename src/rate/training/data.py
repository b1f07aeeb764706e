"""What a run learns from: where its dataset lies, choices that the recipe leaves to the data, and
the windows."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rate.dataset import BatchReader, Dataset, Sampler, open_dataset
from rate.dataset.shards import is_dataset
from rate.messages import brief
from rate.recipe import Recipe
from rate.runs.folder import Run, RunError
from rate.training.update import Learner


def fill_in(recipe: Recipe, dataset: Dataset) -> Recipe:
    """The recipe with the choices that it leaves to the data.

    Sampling is "first" if every episode fits into a window, and else "stride": windows then hold
    every step, the first ones of the episodes among them, which memory starts from. The target
    return is the best return in the data.
    """
    if recipe.sampling == "auto":
        fits = int(dataset.lengths.max()) <= recipe.model.window
        recipe = replace(recipe, sampling="first" if fits else "stride")
    if recipe.target_return is None:
        recipe = replace(recipe, target_return=float(dataset.returns.max()))
    return recipe


def describe(recipe: Recipe, dataset: Dataset, stages: Sequence[Sampler]) -> str:
    """One line: the windows of a filled-in recipe, what they hold of the data, and the target."""
    sampler, model = stages[-1], recipe.model
    kept = sampler.plan(0).lengths.mean() / model.window
    line = (
        f"windows of up to {model.window} steps in segments of {model.segment_length}, sampling "
        f"{sampler.sampling}: {sampler.coverage:.0%} of the steps are seen, {1 - kept:.0%} "
        f"padding; target return {recipe.target_return:.4g} (data: mean "
        f"{dataset.returns.mean():.4g}, best {dataset.returns.max():.4g})"
    )
    if dataset.shards:
        line += f"; {len(dataset.shards)} shards, from {dataset.shards[0]} on"
    if recipe.least_window_return is not None:
        least = recipe.least_window_return
        return f"{line}. Windows with rewards of less than {least:g} are left out"
    if sampler.coverage < 1 and sampler.sampling == "full":
        short = int((dataset.lengths < model.window).sum())
        line += (
            f". {short} of {len(dataset)} episodes are shorter than a window and left out: "
            "sampling uniform takes them, too"
        )
    elif sampler.coverage < 1:
        longest = int(dataset.lengths.max())
        line += (
            f". Episodes have up to {longest} steps, and nothing behind step {model.window} is "
            "learned: sampling stride sees all steps, more segments make windows longer"
        )
    return line


def samplers(recipe: Recipe, dataset: Dataset, seed: int, episodes: np.ndarray) -> list[Sampler]:
    """Samplers of every stage of training: one, or with a curriculum one for each number of
    segments."""
    model = recipe.model
    if recipe.objective.top_fraction < 1:
        count = max(1, round(len(episodes) * recipe.objective.top_fraction))
        episodes = np.sort(episodes[np.argsort(-dataset.returns[episodes], kind="stable")[:count]])
    choices = [episodes]
    if recipe.curriculum:
        lengths = dataset.lengths[episodes]
        choices = [
            episodes[lengths <= model.segment_length * stage] for stage in range(1, model.segments)
        ] + choices
        if not len(choices[0]):
            raise ValueError(
                f"a curriculum begins with episodes of one segment ({model.segment_length} "
                f"steps), but the shortest of {shown(recipe.folders)} has {lengths.min()}: use "
                "longer segments, data with shorter episodes, or no curriculum"
            )
    assert recipe.sampling != "auto"
    stages = [
        Sampler(dataset.lengths, recipe.batch_size, model.window, recipe.sampling, seed, chosen)
        for chosen in choices
    ]
    if recipe.least_window_return is None:
        return stages
    return [stage.with_return(dataset, recipe.least_window_return) for stage in stages]


def shown(folders: Sequence[str]) -> str:
    """Folders of a dataset in a message."""
    return ", ".join(folders[:3]) + (", ..." if len(folders) > 3 else "")


def find_dataset(run: Run, given: str | Path | Sequence[str] | None) -> tuple[str, ...]:
    """Folders of the dataset that a run learns from, recognised by its content."""
    recorded, facts = run.recipe().folders, run.provenance("dataset")
    seen = (os.path.normpath(run.path / one) for one in facts.get("dataset_path", recorded))
    named = (str(given),) if isinstance(given, str | Path) else tuple(given or ())
    places = [named] if named else list(dict.fromkeys([recorded, tuple(seen)]))
    found = [place for place in places if is_dataset(place)]
    if not found:
        raise RunError(
            f"the dataset of {run} is not at {' or '.join(map(shown, places))}: name the folder "
            "where it lies now with --dataset"
        )
    contents = {place: open_dataset(place).content_hash for place in found}
    for place, content in contents.items():
        if content == facts["dataset"]:
            return place
    raise RunError(
        f"the dataset {shown(found[0])} has changed since {run} began, or is another one: its "
        f"content is {contents[found[0]][:12]}, not {brief(facts['dataset'][:12])}. Put the old "
        "data back, name its folder with --dataset, or train a new run on the new data"
    )


def batches(learner: Learner, dataset: Dataset, episodes: np.ndarray, fixed: bool) -> BatchReader:
    """All batches of a run, of which this process reads its part.

    Args:
        learner: What learns from them.
        dataset: Where windows are read from.
        episodes: Indices of the episodes for training.
        fixed: Whether all windows are padded to the same number of steps.
    """
    recipe, fabric = learner.recipe, learner.fabric
    return BatchReader(
        dataset,
        samplers(recipe, dataset, learner.seed, episodes),
        recipe.updates,
        recipe.micro_batch or (16 if fabric.device.type == "cpu" else recipe.batch_size),
        fabric.global_rank,
        fabric.world_size,
        learner.objective.next_observation,
        recipe.stack_frames,
        min(recipe.model.window, int(dataset.lengths[episodes].max())) if fixed else 0,
    )
