"""Rollouts: the only code that steps an environment, as a stream of episodes or of their outcomes.

Episodes are played in waves of one episode per seed and without automatic reset, so the k-th seed
is the k-th episode however many are played at once, and short episodes are not counted more often
than long ones.
"""

import math
import reprlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from rate.episode import Episode
from rate.spaces import as_leaf, flatten, unflatten
from rate.tasks.gym.errors import told
from rate.tasks.task import Agent, Environments, Task

__all__ = ["Agent", "Environments", "Outcome", "Serial", "outcomes", "rollout"]

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Outcome:
    """What is left of an episode whose steps were not recorded; ``task.score`` takes the last
    two."""

    seed: int
    total_return: float
    length: int


class Serial:
    """Gymnasium environments stepped one after the other as a batch; the environment of a row is
    used again.

    name: what errors call the environment.

    Raises:
        ValueError: An environment failed, or gave what is no observation or reward; the message
        names seed and step.
    """

    def __init__(
        self, maker: Callable[[], gymnasium.Env[Any, Any]], name: str = "the environment"
    ) -> None:
        self._maker, self._name = maker, name
        self._environments = [maker()]
        self.observation_space = self._environments[0].observation_space
        self.action_space = self._environments[0].action_space

    def reset(self, seeds: Sequence[int]) -> Any:
        """Begin one episode per seed."""
        while len(self._environments) < len(seeds):
            self._environments.append(self._maker())
        self._running = np.ones(len(seeds), bool)
        self._seeds, self._elapsed = seeds, 0
        # Rows are zipped with environments below: a wave may be narrower than the one before it.
        self._rows = [
            self._reset(environment, int(seed))
            for environment, seed in zip(self._environments, seeds, strict=False)
        ]
        return self._batch()

    def step(self, actions: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
        """Step every environment whose episode goes on."""
        rewards = np.zeros(len(self._running), np.float32)
        terminations = np.zeros(len(self._running), bool)
        truncations = np.zeros(len(self._running), bool)
        self._elapsed += 1
        for row in np.flatnonzero(self._running):
            self._rows[row], rewards[row], terminations[row], truncations[row] = self._step(
                int(row), actions[row]
            )
        self._running &= ~(terminations | truncations)
        return self._batch(), rewards, terminations, truncations

    def close(self) -> None:
        """Close every environment."""
        for environment in self._environments:
            environment.close()

    def _reset(self, environment: gymnasium.Env[Any, Any], seed: int) -> dict[str, np.ndarray]:
        try:
            returned = environment.reset(seed=seed)
            if not isinstance(returned, tuple) or len(returned) != 2:
                raise ValueError("reset must return two values: observation and info")
            return flatten(self.observation_space, returned[0])
        except Exception as error:
            raise ValueError(f"{self._name} failed in reset(seed={seed}): {told(error)}") from error

    def _step(self, row: int, action: Any) -> tuple[dict[str, np.ndarray], float, bool, bool]:
        try:
            returned = self._environments[row].step(action)
            if len(returned) != 5:
                raise ValueError(
                    f"step returned {len(returned)} values, but must return five: "
                    "observation, reward, terminated, truncated "
                    "and info"
                )
            value, reward, terminated, truncated, _ = returned
            if not math.isfinite(reward):
                raise ValueError(f"the reward is {reward}, but must be a number")
            return (
                flatten(self.observation_space, value),
                float(reward),
                bool(terminated),
                bool(truncated),
            )
        except Exception as error:
            place = f"step {self._elapsed} of the episode of seed {self._seeds[row]}"
            raise ValueError(f"{self._name} failed in {place}: {told(error)}") from error

    def _batch(self) -> Any:
        leaves = {path: np.stack([row[path] for row in self._rows]) for path in self._rows[0]}
        for path, leaf in leaves.items():
            if leaf.dtype.kind == "f" and not (finite := np.isfinite(leaf)).all():
                row = int(np.argmin(finite.reshape(len(leaf), -1).all(1)))
                raise ValueError(
                    f"{self._name} failed in step {self._elapsed} of the episode of seed "
                    f"{self._seeds[row]}: "
                    f"observations[{path!r}] is not finite: {reprlib.repr(leaf[row].tolist())}"
                )
        return unflatten(self.observation_space, leaves)


def rollout(
    agent: Agent,
    task: Task,
    seeds: Iterable[int],
    *,
    parallel: int = 100,
    progress: Progress | None = None,
) -> Iterator[Episode]:
    """Let the agent play one episode per seed and yield the episodes in the order of the seeds.

    ``task.prompt`` is imposed and an episode is truncated at ``task.horizon``. Up to ``parallel``
    episodes are held in memory. ``progress`` is called with the number of steps that a wave, all
    its rows together, has taken since the last call: at most ``task.horizon`` for every
    ``parallel`` seeds.

    Raises:
        ValueError: ``parallel`` is less than 1, or the agent returned other actions than were asked
        of it.
    """
    with _environments(task) as environments:
        for wave in _waves(seeds, parallel):
            yield from _record(_play(agent, task, environments, wave, progress), wave, environments)


def outcomes(
    agent: Agent,
    task: Task,
    seeds: Iterable[int],
    *,
    parallel: int = 100,
    progress: Progress | None = None,
) -> Iterator[Outcome]:
    """Let the agent play as ``rollout`` does, but keep returns and lengths only: memory does not
    grow with length."""
    with _environments(task) as environments:
        for wave in _waves(seeds, parallel):
            total_returns = np.zeros(len(wave), np.float64)
            lengths = np.zeros(len(wave), np.int64)
            for step in _play(agent, task, environments, wave, progress):
                total_returns += step.rewards
                lengths += step.running
            for seed, total_return, length in zip(wave, total_returns, lengths, strict=True):
                yield Outcome(seed, float(total_return), int(length))


class _Step(NamedTuple):
    """One step of a wave; rewards and ends are 0 where ``running``, the state before the step, is
    False."""

    values: Any
    actions: np.ndarray
    rewards: np.ndarray
    terminations: np.ndarray
    truncations: np.ndarray
    running: np.ndarray
    next_values: Any


@contextmanager
def _environments(task: Task) -> Iterator[Environments]:
    environments = Serial(task.environment, task.name) if task.batch is None else task.batch()
    try:
        yield environments
    finally:
        if callable(close := getattr(environments, "close", None)):
            close()


def _waves(seeds: Iterable[int], parallel: int) -> Iterator[list[int]]:
    if parallel < 1:
        raise ValueError(f"parallel is {parallel}: at least one episode must be played at a time")
    wave: list[int] = []
    for seed in seeds:
        wave.append(int(seed))
        if len(wave) == parallel:
            yield wave
            wave = []
    if wave:
        yield wave


def _play(
    agent: Agent,
    task: Task,
    environments: Environments,
    seeds: Sequence[int],
    progress: Progress | None,
) -> Iterator[_Step]:
    """Play one wave until its last episode has ended."""
    agent.reset(len(seeds), seeds)
    prompt: Sequence[Any] | np.ndarray = (
        [] if task.prompt is None else np.moveaxis(task.prompt(seeds), 1, 0)
    )
    values = environments.reset(seeds)
    rewards = np.zeros(len(seeds), np.float32)
    running = np.ones(len(seeds), bool)
    for time in range(1, task.horizon + 1):
        forced = prompt[time - 1] if time <= len(prompt) else None
        actions = np.array(
            agent.act(values, rewards, forced)
        )  # a copy: the agent may use its array again
        _check_actions(actions, forced, len(seeds))
        next_values, rewards, terminations, truncations = environments.step(actions)
        rewards = np.where(running, rewards, np.float32(0))
        terminations = running & terminations
        truncations = running & (truncations | (time == task.horizon)) & ~terminations
        yield _Step(values, actions, rewards, terminations, truncations, running, next_values)
        if progress is not None:
            progress(1)
        values = next_values
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


def _record(
    steps: Iterator[_Step], seeds: Sequence[int], environments: Environments
) -> Iterator[Episode]:
    """Yield the episodes of a wave once it is over."""
    values: list[dict[str, np.ndarray]] = []
    rest: list[_Step] = []
    for step in steps:
        values.append(flatten(environments.observation_space, step.values))
        last = step.next_values
        rest.append(step._replace(values=None, next_values=None))
    values.append(flatten(environments.observation_space, last))
    # Leaves are let go one by one while they are stacked, so that a wave of images is not held
    # twice for long.
    observations = {
        path: np.stack([value.pop(path) for value in values]) for path in list(values[0])
    }
    # Numbers of another kind stay as they are, so that none is cut to a whole one: who writes them
    # names them.
    actions = as_leaf(environments.action_space, np.stack([step.actions for step in rest]))
    rewards = np.stack([step.rewards for step in rest])
    terminations = np.stack([step.terminations for step in rest])
    truncations = np.stack([step.truncations for step in rest])
    lengths = np.stack([step.running for step in rest]).sum(axis=0)
    for row, (seed, length) in enumerate(zip(seeds, lengths, strict=True)):
        yield Episode(
            observations={
                path: leaf[: length + 1, row].copy() for path, leaf in observations.items()
            },
            actions=actions[:length, row].copy(),
            rewards=rewards[:length, row].copy(),
            terminations=terminations[:length, row].copy(),
            truncations=truncations[:length, row].copy(),
            seed=seed,
        )
