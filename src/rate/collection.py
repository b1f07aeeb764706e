"""Collecting data: an expert acts, its episodes become a dataset."""

from collections.abc import Iterator
from pathlib import Path

from rate import rundir
from rate.dataset import Dataset, write_dataset
from rate.episode import Episode
from rate.progress import progress_bar
from rate.rollout import rollout
from rate.tasks import find
from rate.tasks.options import Options, join

COLLECTION_SEEDS = 2_000_000
"""First seed for data; scoring seeds start at 0, selection seeds at 1,000,000."""


def collect(
    task: str,
    output: str | Path,
    *,
    episodes: int = 2000,
    seed: int = 0,
    parallel: int = 250,
    show_progress: bool = False,
) -> Dataset:
    """Record episodes of a task's expert into a dataset folder.

    task: such as "tmaze-uniform/90" or "gym:CartPole-v1,expert=random". output: a folder that does not exist yet. seed: which
    disjoint block of seeds the episodes use. parallel: episodes stepped together, without influence on what is recorded.
    """
    found = find(task)
    if found.expert is None:
        raise ValueError(
            f"the task {task!r} has no expert to collect data with: name one, as in {join(task, Options(expert='random'))}, or "
            "'module:Class' of an agent of yours in place of 'random'"
        )
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, but {episodes} was given")
    expert = found.expert()
    first = COLLECTION_SEEDS + seed * 10_000_000
    with progress_bar(f"collect {task}", episodes, show=show_progress) as advance:

        def counted() -> Iterator[Episode]:
            for episode in rollout(expert, found, range(first, first + episodes), parallel=parallel):
                advance(1)
                yield episode

        facts = {**rundir.provenance(), "seed": seed, "first_episode_seed": first}
        return write_dataset(
            Path(output), counted(), found.observation_space, found.action_space, task=task, provenance=facts
        )
