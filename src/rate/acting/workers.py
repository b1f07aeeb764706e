"""A trained policy's episodes, played by this process or split over several: the outcomes are the
same."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rate.acting.actor import Actor, load_agent
from rate.acting.corruption import Corrupted, Corruption
from rate.acting.environments import Stepping
from rate.acting.rollout import Outcome, Progress, outcomes, shares
from rate.models.sampling import Sampling
from rate.system.compute import Compute
from rate.system.processes import Processes, worker_index
from rate.tasks.lookup import find
from rate.tasks.task import Task


@dataclass(frozen=True)
class Acting:
    """Which policy acts where, in a form that can be sent to another process."""

    checkpoint: Path
    """File of the policy."""
    task: str
    """Name of the task, as `rate.tasks.find` takes it."""
    target_return: float | None = None
    """Return that is asked for; None for the one that the checkpoint names."""
    sample: bool | Sampling = False
    """Whether actions are drawn, and from what; otherwise the most likely ones are taken."""
    restart_return: bool = False
    """Whether each segment asks for the whole target return again."""
    corruption: Corruption | None = None
    """Noise that is mixed into memory."""
    compute: Compute = field(default_factory=Compute)
    """Where the policy computes; several workers take turns on the devices."""
    stepping: Stepping = field(default_factory=Stepping)
    """How environments are stepped; `num_envs` and `workers` are arguments of `play`."""
    stamp: int = 0
    """Tells policies apart that are written to the same file, one after the other."""

    def agent(self) -> Actor:
        """The policy as an agent, on the device of this process."""
        agent = load_agent(
            self.checkpoint,
            trust=True,  # the calling process has loaded it, or refused to
            target_return=self.target_return,
            sample=self.sample,
            device=self.compute.device(worker_index()),
            check=False,  # rollouts check by the environment's own spaces
            graph=self.compute.graph,
            restart_return=self.restart_return,
        )
        if self.corruption:
            options = {"check": False, "restart_return": self.restart_return}
            target = agent.target_return
            return Corrupted(agent.policy, target, self.corruption, self.sample, **options)
        return agent


def play(
    processes: Processes,
    acting: Acting,
    seeds: Sequence[int],
    *,
    num_envs: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Outcome]:
    """Play one episode per seed and yield the outcomes in the order of the seeds.

    Args:
        processes: Who plays; a process keeps its policy until another one is asked for.
        acting: What is played.
        seeds: One per episode.
        num_envs: Environments stepped together, all processes counted; by default the task's own
            number. Neither it nor the number of processes has an influence on the outcomes.
        progress: Called with the progress made, which is `ticks` in all, at most.

    Raises:
        ValueError: The episodes cannot be played, or a worker died.
    """
    task = find(acting.task)
    num_envs = task.num_envs if num_envs is None else num_envs
    if processes.count == 1:
        agent, stepping = acting.agent(), acting.stepping
        yield from outcomes(
            agent, task, seeds, num_envs=num_envs, progress=progress, stepping=stepping
        )
        return
    waves = shares(seeds, num_envs, processes.count)
    for outcome in processes.results(functools.partial(_play, acting), waves):
        yield outcome
        if progress is not None:
            progress(1)


def ticks(processes: Processes, episodes: int, task: Task, num_envs: int | None) -> int:
    """How much progress `play` reports at most: steps of waves, or episodes with several
    processes."""
    if processes.count > 1:
        return episodes
    return -(-episodes // (num_envs or task.num_envs)) * task.horizon


def _play(acting: Acting, seeds: Sequence[int]) -> Iterator[Outcome]:
    agent, task = _ready(acting)
    return outcomes(agent, task, seeds, num_envs=len(seeds), stepping=acting.stepping)


@functools.lru_cache(maxsize=1)
def _ready(acting: Acting) -> tuple[Actor, Task]:
    return acting.agent(), find(acting.task)
