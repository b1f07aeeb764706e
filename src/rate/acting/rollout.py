"""Rollouts: the only code that steps an environment, as a stream of episodes or of their outcomes.

Episodes are played in waves of `num_envs`, one episode per seed and without automatic reset. So the
k-th seed is the k-th episode whatever `num_envs` is, and short episodes are not counted more often
than long ones.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from rate.acting.environments import Batched, Serial, Stepping, open_environments
from rate.acting.fitting import fit
from rate.episode import Episode
from rate.spaces import Checker, SpaceError, as_leaf, flatten
from rate.tasks.lookup import find
from rate.tasks.task import Agent, Environments, Task

__all__ = [
    "Agent",
    "Environments",
    "Outcome",
    "Serial",
    "expert_episodes",
    "outcomes",
    "rollout",
    "shares",
    "steps",
    "waves",
]

Progress = Callable[[int], None]

FIRST_BLOCK = 128
"""Steps for which memory is taken when episodes begin that are recorded."""


@dataclass(frozen=True)
class Outcome:
    """An episode whose steps were not recorded."""

    seed: int
    """What the environment was reset with."""
    total_return: float
    """Undiscounted sum of the rewards."""
    length: int
    """Number of steps."""


def rollout(
    agent: Agent,
    task: Task,
    seeds: Iterable[int],
    *,
    num_envs: int | None = None,
    progress: Progress | None = None,
    stepping: Stepping = Stepping(),
) -> Iterator[Episode]:
    """Let the agent play one episode per seed, and yield each as soon as it and those of all seeds
    before it are over.

    `task.prompt` is imposed and an episode is truncated at `task.horizon`. Memory is taken by the
    episodes of one wave, as far as they have been played.

    Args:
        agent: Chooses the actions; it may not act elsewhere before the last episode.
        task: What is played.
        seeds: One seed per episode.
        num_envs: Episodes of a wave; by default `task.recording_num_envs()`. The episodes do not
            depend on it.
        progress: Called after each step of a wave, all its rows together, with 1: at most
            `task.horizon` times per wave.
        stepping: Whether to check what is passed on, and for how long to wait; its `num_envs` and
            `workers` are not used.

    Raises:
        ValueError: `num_envs` is less than 1, an environment failed, or the agent returned other
            actions than it must.
    """
    num_envs = task.recording_num_envs() if num_envs is None else num_envs
    with open_environments(task, stepping) as environments:
        check = Checker(environments.action_space, "actions") if stepping.check else None
        for wave in waves(seeds, _side_by_side(task, environments, num_envs)):
            steps = _play(agent, task, environments, wave, progress, check)
            yield from _record(steps, wave, environments, task.horizon)


def outcomes(
    agent: Agent,
    task: Task,
    seeds: Iterable[int],
    *,
    num_envs: int | None = None,
    progress: Progress | None = None,
    stepping: Stepping = Stepping(),
) -> Iterator[Outcome]:
    """Let the agent play as `rollout` does, but keep returns and lengths only: memory does not grow
    with the length of an episode, and `num_envs` is `task.num_envs` by default."""
    num_envs = task.num_envs if num_envs is None else num_envs
    with open_environments(task, stepping) as environments:
        check = Checker(environments.action_space, "actions") if stepping.check else None
        for wave in waves(seeds, _side_by_side(task, environments, num_envs)):
            total_returns = np.zeros(len(wave), np.float64)
            lengths = np.zeros(len(wave), np.int64)
            for step in _play(agent, task, environments, wave, progress, check):
                total_returns += step.rewards
                lengths += step.running
            for seed, total_return, length in zip(wave, total_returns, lengths, strict=True):
                yield Outcome(seed, float(total_return), int(length))


def steps(
    agent: Agent, task: Task, seed: int, *, stepping: Stepping = Stepping()
) -> Iterator["Step"]:
    """Let the agent play one episode, and yield each step when it has been taken, with arrays of
    one row: for what looks on, such as a film."""
    with open_environments(task, stepping) as environments:
        check = Checker(environments.action_space, "actions") if stepping.check else None
        yield from _play(agent, task, environments, [seed], None, check)


def waves(seeds: Iterable[int], num_envs: int) -> Iterator[list[int]]:
    """Split seeds into waves of `num_envs`, the last of what is left."""
    if num_envs < 1:
        raise ValueError(f"num_envs must be at least 1, but {num_envs} was given")
    wave: list[int] = []
    for seed in seeds:
        wave.append(int(seed))
        if len(wave) == num_envs:
            yield wave
            wave = []
    if wave:
        yield wave


def shares(seeds: Sequence[int], num_envs: int, workers: int) -> Iterator[list[int]]:
    """Split seeds into waves for several workers, which step `num_envs` environments in all."""
    if num_envs < 1:
        raise ValueError(f"num_envs must be at least 1, but {num_envs} was given")
    return waves(seeds, max(1, -(-min(len(seeds), num_envs) // workers)))


def expert_episodes(name: str, stepping: Stepping, seeds: Sequence[int]) -> Iterator[Episode]:
    """One wave of episodes of the expert of the task called `name`; what a worker does."""
    expert, task = _expert(name)
    return rollout(expert, task, seeds, num_envs=len(seeds), stepping=stepping)


@lru_cache(maxsize=1)
def _expert(name: str) -> tuple[Agent, Task]:
    task = find(name)
    assert task.expert is not None
    return task.expert(), task


class Step(NamedTuple):
    """One step of a wave; rewards and ends are 0 in rows whose episode was over before it."""

    observations: Any
    actions: np.ndarray
    rewards: np.ndarray
    terminations: np.ndarray
    truncations: np.ndarray
    running: np.ndarray
    """Whether the episode of each row was going on before this step."""
    next_observations: Any


_shared: dict[str, str] = {}
"""What the environments of a task share, by its name."""


def _side_by_side(task: Task, environments: Serial | Batched, num_envs: int) -> int:
    """How many episodes are played together: one, where environments disturb one another."""
    if num_envs > 1 and task.name not in _shared:
        _shared[task.name] = environments.shared()
        if shared := _shared[task.name]:
            warnings.warn(
                f"{task.name}: environments cannot be stepped side by side, for {shared}, so "
                "episodes are played one at a time; let each environment have its own, and draw "
                "from self.np_random",
                stacklevel=3,
            )
    return 1 if _shared.get(task.name) else num_envs


def _play(
    agent: Agent,
    task: Task,
    environments: Environments,
    seeds: Sequence[int],
    progress: Progress | None,
    check: Checker | None,
) -> Iterator[Step]:
    """Play one wave until its last episode has ended."""
    agent = fit(agent, environments)
    agent.reset(len(seeds), seeds)
    prompt: Sequence[Any] | np.ndarray = (
        [] if task.prompt is None else np.moveaxis(task.prompt(seeds), 1, 0)
    )
    observations = environments.reset(seeds)
    rewards = np.zeros(len(seeds), np.float32)
    running = np.ones(len(seeds), bool)
    for time in range(1, task.horizon + 1):
        forced = prompt[time - 1] if time <= len(prompt) else None
        # A copy, because the agent may use its array again.
        actions = np.array(agent.act(observations, rewards, forced))
        _check_actions(actions, forced, len(seeds))
        if check is not None:
            _check_space(check, actions, running, seeds, time)
        next_observations, rewards, terminations, truncations = environments.step(actions)
        rewards = np.where(running, rewards, np.float32(0))
        terminations = running & terminations
        truncations = running & (truncations | (time == task.horizon)) & ~terminations
        yield Step(
            observations, actions, rewards, terminations, truncations, running, next_observations
        )
        if progress is not None:
            progress(1)
        observations = next_observations
        running = running & ~(terminations | truncations)
        if not running.any():
            return


def _check_actions(actions: np.ndarray, forced: np.ndarray | None, rows: int) -> None:
    if actions.shape[:1] != (rows,):
        raise ValueError(
            f"the agent returned actions of shape {actions.shape}, expected one for each of "
            f"{rows} rows"
        )
    if forced is not None and not np.array_equal(actions, forced):
        raise ValueError(
            f"the task imposes the actions {forced.tolist()} but the agent returned "
            f"{actions.tolist()}: "
            "an agent must take and return the forced actions it is given"
        )


def _check_space(
    check: Checker, actions: np.ndarray, running: np.ndarray, seeds: Sequence[int], time: int
) -> None:
    """Check the actions of rows whose episode goes on; for the others any action may be passed."""
    rows = np.flatnonzero(running)
    try:
        check(actions if len(rows) == len(actions) else actions[rows], len(rows))
    except SpaceError as error:
        row = rows[error.row or 0]
        raise ValueError(
            f"the agent failed in step {time} of the episode of seed {seeds[row]}: {error}"
        ) from error


def _record(
    steps: Iterator[Step], seeds: Sequence[int], environments: Environments, horizon: int
) -> Iterator[Episode]:
    """Yield the episodes of a wave in the order of the seeds, each as soon as it can be."""
    space = environments.observation_space
    observations, rest = _Recording(horizon + 1), _Recording(horizon)
    lengths = np.zeros(len(seeds), np.int64)
    row = 0  # whose episode comes next
    for step in steps:
        if not lengths.any():
            observations.append(flatten(space, step.observations), step.running)
        observations.append(flatten(space, step.next_observations), step.running)
        fields = ("actions", "rewards", "terminations", "truncations")
        rest.append({name: getattr(step, name) for name in fields}, step.running)
        lengths += step.running
        over = ~step.running | step.terminations | step.truncations
        while row < len(seeds) and over[row]:
            arrays = rest.take(row, lengths[row])
            # Numbers of another kind stay as they are, so that none is cut to a whole one: who
            # writes them names them.
            arrays["actions"] = as_leaf(environments.action_space, arrays["actions"])
            yield Episode(observations.take(row, lengths[row] + 1), seed=seeds[row], **arrays)
            row += 1


class _Recording:
    """Arrays [n, ...] of a wave that arrive step by step and are taken out row by row.

    They are kept in blocks [steps, rows, ...], with the rows whose episode was going on when the
    block began; each block is twice as long as the one before. So nothing is copied while episodes
    grow, and those that have ended take no more memory.
    """

    def __init__(self, longest: int) -> None:
        self._blocks: list[tuple[np.ndarray, dict[str, np.ndarray]]] = []
        self._left = longest  # steps for which there is no block yet
        self._filled = self._size = 0  # of the last block

    def append(self, arrays: Mapping[str, np.ndarray], running: np.ndarray) -> None:
        """Add a step of the rows that are running."""
        if self._filled == self._size or not self._fits(arrays):
            self._begin(arrays, np.flatnonzero(running))
        rows, block = self._blocks[-1]
        for name, array in arrays.items():
            block[name][self._filled] = array if len(rows) == len(array) else array[rows]
        self._filled += 1

    def take(self, row: int, length: int) -> dict[str, np.ndarray]:
        """Copies of the first `length` steps of a row."""
        parts: dict[str, list[np.ndarray]] = {name: [] for name in self._blocks[0][1]}
        for rows, block in self._blocks:
            column = int(np.searchsorted(rows, row))
            for name, array in block.items():
                parts[name].append(array[:length, column])
            length -= len(array)
            if length <= 0:
                break
        return {name: np.concatenate(arrays) for name, arrays in parts.items()}

    def _fits(self, arrays: Mapping[str, np.ndarray]) -> bool:
        """Whether the last block can take the arrays without casting or repeating a number."""
        block = self._blocks[-1][1]
        for name, array in arrays.items():
            if array.dtype != block[name].dtype or array.shape[1:] != block[name].shape[2:]:
                return False
        return True

    def _begin(self, arrays: Mapping[str, np.ndarray], rows: np.ndarray) -> None:
        """Begin a block, and end the last one where it has been filled."""
        if self._blocks:
            rows_before, block = self._blocks[-1]
            trimmed = {name: array[: self._filled] for name, array in block.items()}
            self._blocks[-1] = rows_before, trimmed
            self._left += self._size - self._filled
        self._size = min(max(FIRST_BLOCK, 2 * self._size), self._left)
        self._left -= self._size
        self._filled = 0
        shapes = {name: (self._size, len(rows), *array.shape[1:]) for name, array in arrays.items()}
        empty = {name: np.empty(shape, arrays[name].dtype) for name, shape in shapes.items()}
        self._blocks.append((rows, empty))
