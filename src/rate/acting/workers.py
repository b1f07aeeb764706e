"""A trained policy's episodes, played by this process or split over several: the outcomes are the
same."""

import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from rate.acting.actor import Actor, load_agent
from rate.acting.corruption import Corrupted, Corruption
from rate.acting.rollout import Outcome, Progress, outcomes
from rate.tasks.lookup import find
from rate.tasks.task import Task


@dataclass(frozen=True)
class Acting:
    """Who acts where, in words that another process understands.

    checkpoint: file of the policy. task: as `rate.tasks.find` takes it. target_return: None for the
    one that the checkpoint names. stamp: tells policies apart that are written to the same file,
    one after the other.
    """

    checkpoint: Path
    task: str
    target_return: float | None = None
    sample: bool = False
    device: str = "cpu"
    corruption: Corruption | None = None
    stamp: int = 0

    def agent(self) -> Actor:
        """The policy as an agent."""
        agent = load_agent(
            self.checkpoint,
            target_return=self.target_return,
            sample=self.sample,
            device=self.device,
        )
        if self.corruption:
            return Corrupted(agent.policy, agent.target_return, self.corruption, self.sample)
        return agent


class Workers:
    """Processes that act, each with environments and a copy of the policy of its own; started when
    first needed.

    count: number of processes; 1 acts in this one. Use it as a context: they end with it.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError(f"workers must be at least 1, but {count} was given")
        self.count = count
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def ticks(self, episodes: int, parallel: int, horizon: int) -> int:
        """How much progress `outcomes` reports in all, at most."""
        return (
            -(-episodes // parallel) * horizon
            if self.count == 1
            else -(-episodes // self._share(episodes, parallel))
        )

    def outcomes(
        self, acting: Acting, seeds: range, *, parallel: int = 100, progress: Progress | None = None
    ) -> Iterator[Outcome]:
        """Play one episode per seed and yield the outcomes in the order of the seeds.

        parallel: episodes stepped together, all processes counted; neither it nor the number of
        processes has an influence on the outcomes.

        Raises:
            ValueError: What cannot be played, in the words of the process that tried, or a process
            that died.
        """
        if self.count == 1:
            yield from outcomes(
                acting.agent(), find(acting.task), seeds, parallel=parallel, progress=progress
            )
            return
        share = self._share(len(seeds), parallel)
        waves = [seeds[first : first + share] for first in range(0, len(seeds), share)]
        try:
            for wave in self._started().map(functools.partial(_play, acting), waves):
                yield from wave
                if progress is not None:
                    progress(1)
        except BrokenProcessPool as error:
            self._pool = None
            raise ValueError(
                f"one of {self.count} workers died: use fewer workers or a smaller parallel "
                "if memory ran out. A script that "
                "asks for workers must do so below `if __name__ == '__main__':`, because "
                "each of them imports it"
            ) from error

    def _share(self, episodes: int, parallel: int) -> int:
        return max(1, -(-min(episodes, parallel) // self.count))

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Spawned, because a forked process inherits locks of the threads that compute.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.count, mp_context=context, initializer=_begin)
        return self._pool


def _begin() -> None:
    """Ctrl-C is the first process's business, and the processes share the cores."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)


def _end_with_parent() -> None:
    """A killed process cannot end its workers, so they watch it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _play(acting: Acting, seeds: Sequence[int]) -> list[Outcome]:
    agent, task = _ready(acting)
    return list(outcomes(agent, task, seeds, parallel=len(seeds)))


@functools.lru_cache(maxsize=1)
def _ready(acting: Acting) -> tuple[Actor, Task]:
    return acting.agent(), find(acting.task)
