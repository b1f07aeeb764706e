"""Collecting data: an expert acts, its episodes become a dataset."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from rate.acting.rollout import rollout
from rate.dataset import Dataset, write_dataset
from rate.episode import Episode
from rate.progress import progress_bar
from rate.provenance import provenance
from rate.tasks.gym.make import RandomAgent
from rate.tasks.gym.options import Options, join
from rate.tasks.lookup import find
from rate.tasks.task import Task

COLLECTION_SEEDS = 2_000_000
"""First seed for data; scoring seeds start at 0, selection seeds at 1,000,000."""

BLOCK = 10_000_000
"""Episode seeds between the blocks of two collections."""

PATIENCE = 5_000
"""Episodes after which a search for wanted lengths that has found none is given up."""


def collect(
    task: str,
    output: str | Path,
    *,
    episodes: int = 2000,
    seed: int = 0,
    parallel: int = 250,
    lengths: tuple[int, int] | None = None,
    show_progress: bool = False,
) -> Dataset:
    """Record episodes of a task's expert into a dataset folder.

    task: such as "tmaze-uniform/90" or "gym:CartPole-v1,expert=random". output: a folder that does
    not exist yet. seed: which disjoint block of seeds the episodes use. parallel: episodes stepped
    together, without influence on what is recorded. lengths: least and most steps; only episodes of
    such lengths and with a positive return are kept, and played until there are enough.
    """
    found = find(task)
    if found.expert is None:
        raise ValueError(
            f"the task {task!r} has no expert to collect data with: name one, as in "
            f"{join(task, Options(expert='random'))}, or "
            "'module:Class' of an agent of yours in place of 'random'"
        )
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, but {episodes} was given")
    expert = found.expert()
    if lengths is not None and not 1 <= lengths[0] <= lengths[1]:
        raise ValueError(
            f"lengths are {lengths}, but must be least and most steps of an episode, such as "
            "(60, 90)"
        )
    first = COLLECTION_SEEDS + seed * BLOCK
    _warn_if_unrepeatable(found, first)
    with progress_bar(f"collect {task}", episodes, show=show_progress) as advance:
        step = 0

        def moved(count: int) -> None:
            """Episodes side by side end together, perhaps after minutes: the steps on the way are
            shown as well."""
            nonlocal step
            step += count
            advance(0, step=step)

        def counted() -> Iterator[Episode]:
            seeds = range(first, first + (BLOCK if lengths else episodes))
            kept = 0
            for played, episode in enumerate(
                rollout(expert, found, seeds, parallel=parallel, progress=moved), 1
            ):
                if lengths is None or (
                    lengths[0] <= len(episode) <= lengths[1] and episode.total_return > 0
                ):
                    advance(1)
                    yield episode
                    kept += 1
                elif not kept and played == PATIENCE:
                    raise ValueError(
                        f"none of {PATIENCE} episodes of {task} has {lengths[0]} to "
                        f"{lengths[1]} steps and a return"
                    )
                if kept == episodes:
                    return

        facts = {**provenance(), "seed": seed, "first_episode_seed": first}
        if lengths:
            facts["lengths"] = list(lengths)
        return write_dataset(
            Path(output),
            counted(),
            found.observation_space,
            found.action_space,
            task=task,
            provenance=facts,
        )


def _warn_if_unrepeatable(task: Task, seed: int, steps: int = 50) -> None:
    """Play a seed, another one, and the first again: a seed that then gives another episode
    identifies nothing."""
    short = replace(task, horizon=min(task.horizon, steps))
    first, _, again = rollout(
        RandomAgent(task.action_space), short, [seed, seed + 1, seed], parallel=1
    )
    same = len(first.rewards) == len(again.rewards) and np.array_equal(first.rewards, again.rewards)
    if not same or any(
        not np.array_equal(leaf, again.observations[path])
        for path, leaf in first.observations.items()
    ):
        warnings.warn(
            f"{task.name}: the same seed and actions gave two different episodes, so data "
            "and scores cannot be repeated. "
            "reset(seed=k) should determine an episode: draw from self.np_random and set all "
            "state anew",
            stacklevel=3,
        )
