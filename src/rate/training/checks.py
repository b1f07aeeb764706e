"""What is refused before a run is made or changed."""

from collections.abc import Sequence

import torch

from rate.dataset import Dataset, Sampler, split
from rate.images import stacked_space
from rate.models.encoders import ObservationEncoder
from rate.models.heads import head
from rate.recipe import Recipe
from rate.runs.loggers import require_loggers
from rate.training.data import samplers
from rate.training.selection import require_task


def check_recipe(
    recipe: Recipe, dataset: Dataset, seed: int, processes: int, loggers: Sequence[str]
) -> list[Sampler]:
    """Refuse what cannot be trained before a run is made or changed; returns the samplers."""
    require_loggers(loggers)
    if processes > 1 and recipe.update_per_segment:
        raise ValueError("update_per_segment is the released single-process rule: use one device")
    if recipe.batch_size % processes:
        raise ValueError(
            f"batch_size {recipe.batch_size} cannot be shared by {processes} devices: give a "
            "multiple"
        )
    if recipe.selection.task:
        require_task(recipe.selection.task, dataset)
    cut = recipe.update_per_segment or recipe.shorter_segments or recipe.growing_segments
    whole = not (recipe.bptt_segments or cut)
    recipe.objective.check(recipe.model, dataset.action_space, whole_windows=whole)
    seen, model = stacked_space(dataset.observation_space, recipe.stack_frames), recipe.model
    with torch.device("meta"):
        ObservationEncoder(seen, model.width, {}, model.encoder)
        head(dataset.action_space, model.width, model.action_head)
    training, _ = split(dataset, recipe.selection.fraction, seed)
    return samplers(recipe, dataset, seed, training)
