"""Collecting data: an expert acts, its episodes become a dataset."""

import functools
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rate.acting.environments import Stepping
from rate.acting.rollout import expert_episodes, rollout, shares
from rate.dataset import Dataset, write_dataset
from rate.episode import Episode
from rate.system.compute import with_changes
from rate.system.processes import Processes
from rate.system.progress import Advance, progress_bar
from rate.system.provenance import provenance
from rate.tasks.gym.make import RandomAgent
from rate.tasks.gym.options import Options, join
from rate.tasks.lookup import find
from rate.tasks.task import Task
from rate.values import Positive, Seed, checks_arguments

COLLECTION_SEEDS = 2_000_000
"""First seed for data; scoring seeds start at 0, selection seeds at 1,000,000."""

BLOCK = 10_000_000
"""Episode seeds between the blocks of two collections."""

PATIENCE = 5_000
"""Episodes after which a search for certain lengths that has kept none is given up."""


@checks_arguments
def collect(
    task: str,
    output: str | Path,
    *,
    episodes: Positive = 2000,
    seed: Seed = 0,
    lengths: tuple[Positive, Positive] | None = None,
    stepping: Stepping = Stepping(),
    show_progress: bool = False,
    **changes: Any,
) -> Dataset:
    """Record episodes of a task's expert into a dataset folder.

    Each episode is written as soon as it and those of the seeds before it are over.

    Args:
        task: Such as "tmaze-uniform/90" or "gym:CartPole-v1,expert=random".
        output: A folder that does not exist yet.
        episodes: Number of episodes.
        seed: Which disjoint block of seeds the episodes use.
        lengths: Least and most steps; only episodes of such lengths and with a positive return are
            kept, and played until there are enough.
        stepping: How environments are stepped. No influence on the data. By default fewer are
            stepped together where so many episodes take much memory.
        show_progress: Show a progress bar.
        **changes: Fields of `stepping` by name, such as `workers=2`.

    Returns:
        The dataset.

    Raises:
        ValueError: The task is unknown or has no expert, or an option makes no sense.
        TypeError: A change is no field of `stepping`.
    """
    (stepping,) = with_changes(changes, stepping)
    recorded = find(task)
    _check(recorded, lengths)
    first = COLLECTION_SEEDS + seed * BLOCK
    _warn_if_unrepeatable(recorded, first, stepping)
    seeds = range(first, first + (BLOCK if lengths else episodes))
    facts = {**provenance(), "seed": seed, "first_episode_seed": first}
    if lengths:
        facts["lengths"] = list(lengths)
    with (
        Processes(stepping.workers) as processes,
        progress_bar(f"collect {recorded.name}", episodes, show=show_progress) as advance,
    ):
        played = _play(processes, recorded, seeds, stepping, advance)
        return write_dataset(
            Path(output),
            _keep(played, recorded.name, episodes, lengths, advance),
            recorded.observation_space,
            recorded.action_space,
            task=recorded.name,
            provenance=facts,
        )


def _check(task: Task, lengths: tuple[int, int] | None) -> None:
    if task.expert is None:
        raise ValueError(
            f"the task {task.name!r} has no expert to collect data with: name one, as in "
            f"{join(task.name, Options(expert='random'))}, or "
            "'module:Class' of an agent of yours in place of 'random'"
        )
    if lengths is not None and not 1 <= lengths[0] <= lengths[1]:
        raise ValueError(
            f"lengths are {lengths}, but must be least and most steps of an episode, such as "
            "(60, 90)"
        )


def _play(
    processes: Processes, task: Task, seeds: range, stepping: Stepping, advance: Advance
) -> Iterator[Episode]:
    """Episodes of the task's expert in the order of the seeds."""
    num_envs = stepping.num_envs or task.recording_num_envs()
    if processes.count > 1:
        waves = shares(seeds, num_envs, processes.count)
        play = functools.partial(expert_episodes, task.name, stepping)
        yield from processes.results(play, waves)
        return
    step = 0

    def count_step(count: int) -> None:
        """Episodes stepped together may end together, after minutes: show the steps as well."""
        nonlocal step
        step += count
        advance(0, step=step)

    assert task.expert is not None
    yield from rollout(
        task.expert(), task, seeds, num_envs=num_envs, progress=count_step, stepping=stepping
    )


def _keep(
    played: Iterable[Episode],
    task: str,
    episodes: int,
    lengths: tuple[int, int] | None,
    advance: Advance,
) -> Iterator[Episode]:
    """The first `episodes` episodes that are to be written."""
    kept = 0
    for number, episode in enumerate(played, 1):
        if lengths is None or (
            lengths[0] <= len(episode) <= lengths[1] and episode.total_return > 0
        ):
            advance(1)
            yield episode
            kept += 1
        elif not kept and number == PATIENCE:
            raise ValueError(
                f"none of {PATIENCE} episodes of {task} has {lengths[0]} to "
                f"{lengths[1]} steps and a return"
            )
        if kept == episodes:
            return


def _warn_if_unrepeatable(task: Task, seed: int, stepping: Stepping, steps: int = 50) -> None:
    """Play a seed, another one, and the first again: a seed that then gives another episode
    identifies nothing."""
    short = replace(task, horizon=min(task.horizon, steps))
    first, _, again = rollout(
        RandomAgent(task.action_space),
        short,
        [seed, seed + 1, seed],
        num_envs=1,
        stepping=stepping,
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
