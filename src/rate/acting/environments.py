"""Environments stepped together: what they return is checked, and what goes wrong in them is said
in one sentence that names environment, seed and step."""

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import gymnasium
import numpy as np

from rate.acting.shared_state import shared_state
from rate.acting.step_limit import Overdue, StepLimit, StepTimeoutError
from rate.spaces import Checker, SpaceError, flatten, unflatten
from rate.tasks.gym.errors import describe_error
from rate.tasks.task import Environments, Task
from rate.values import Checked, Positive, Range

STEP_TIMEOUT = 600.0
"""Seconds that a step or reset of an environment may take by default."""

TRIAL = 3
"""Steps of one environment in which what it shares with another one is watched."""

LARGEST_REWARD = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Stepping(Checked):
    """How environments are stepped; nothing of it has an influence on episodes."""

    num_envs: Positive | None = None
    """Environments stepped together, all processes counted; by default the task's own number."""
    workers: Positive = 1
    """Processes that share the episodes."""
    check: bool = True
    """Check every observation, action and reward: structure, shape, dtype, range, finiteness."""
    step_timeout: Annotated[float, Range(0, open="(")] = STEP_TIMEOUT
    """Seconds that one step or reset of an environment may take."""


class Serial:
    """Gymnasium environments stepped one after the other as a batch; the environment of a row is
    used again.

    KeyboardInterrupt always counts as the user's Ctrl-C, even if an environment raises it.

    Raises:
        ValueError: An environment raised anything else, took too long, or returned no valid
            observation, reward or end; the message names seed and step.
    """

    def __init__(
        self,
        maker: Callable[[], gymnasium.Env[Any, Any]],
        name: str = "the environment",
        stepping: Stepping = Stepping(),
    ) -> None:
        """Make the first environment.

        Args:
            maker: Makes one environment.
            name: What errors call it.
            stepping: Whether to check, and for how long to wait.
        """
        self._maker, self._name, self._stepping = maker, name, stepping
        self._limit = StepLimit(stepping.step_timeout)
        self._environments: list[gymnasium.Env[Any, Any]] = []
        self._seeds: Sequence[int] = ()
        self._elapsed = 0
        self._make()
        self.observation_space = self._environments[0].observation_space
        self.action_space = self._environments[0].action_space
        self._check = Checker(self.observation_space, "observations")

    def shared(self) -> str:
        """What two environments of the maker both change, in words; empty if there is nothing."""
        self._make()
        self._seeds, self._elapsed = (0, 0), 0
        return shared_state(self._environments[0], self._environments[1], self._try)

    def _try(self) -> None:
        """Reset and step the second environment; what fails here fails again when it plays."""
        environment, actions = self._environments[1], copy.deepcopy(self.action_space)
        actions.seed(0)
        try:
            self._called(1, self._reset, environment, 0)
            for self._elapsed in range(1, TRIAL + 1):
                step = self._called(1, self._step, environment, actions.sample())
                if step[2] or step[3]:
                    return
        except StepTimeoutError:
            raise
        except ValueError:
            return

    def reset(self, seeds: Sequence[int]) -> Any:
        """Begin one episode per seed."""
        while len(self._environments) < len(seeds):
            self._make()
        self._running = np.ones(len(seeds), bool)
        self._seeds, self._elapsed = seeds, 0
        self._rows = [
            self._called(row, self._reset, self._environments[row], int(seed))
            for row, seed in enumerate(seeds)
        ]
        return self._batch()

    def step(self, actions: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
        """Step every environment whose episode goes on."""
        rewards = np.zeros(len(self._running), np.float32)
        terminations = np.zeros(len(self._running), bool)
        truncations = np.zeros(len(self._running), bool)
        self._elapsed += 1
        with self._limit:
            for row in np.flatnonzero(self._running).tolist():
                self._rows[row], rewards[row], terminations[row], truncations[row] = self._called(
                    row, self._step, self._environments[row], actions[row]
                )
        self._running &= ~(terminations | truncations)
        return self._batch(), rewards, terminations, truncations

    def close(self) -> None:
        """Close every environment; one that fails in that is warned about."""
        for environment in self._environments:
            close_quietly(environment.close, self._name, self._limit)

    def _make(self) -> None:
        with failures(self._name, lambda: "being made", self._limit):
            self._environments.append(self._maker())

    def _called(self, row: int, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a function returns that steps the environment of a row."""

        def place() -> str:
            seed = self._seeds[row]
            step = f"step {self._elapsed} of the episode of seed {seed}"
            return step if self._elapsed else f"reset(seed={seed})"

        with failures(self._name, place, self._limit):
            return function(*arguments)

    def _reset(self, environment: gymnasium.Env[Any, Any], seed: int) -> dict[str, np.ndarray]:
        returned = environment.reset(seed=seed)
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise ValueError("reset must return two values: observation and info")
        return flatten(self.observation_space, returned[0])

    def _step(
        self, environment: gymnasium.Env[Any, Any], action: Any
    ) -> tuple[dict[str, np.ndarray], float, bool, bool]:
        returned: Any = environment.step(action)
        if not isinstance(returned, tuple | list) or len(returned) != 5:
            count = len(returned) if isinstance(returned, tuple | list) else type(returned).__name__
            raise ValueError(
                f"step returned {count} values, but must return five: "
                "observation, reward, terminated, truncated and info"
            )
        value, reward, terminated, truncated, _ = returned
        return (
            flatten(self.observation_space, value),
            _number(reward),
            _flag("terminated", terminated),
            _flag("truncated", truncated),
        )

    def _batch(self) -> Any:
        space = self.observation_space
        try:
            leaves = {path: np.stack([row[path] for row in self._rows]) for path in self._rows[0]}
            values = unflatten(space, leaves)
            if self._stepping.check:
                values = unflatten(space, self._check(values, len(self._rows)))
        except ValueError:
            for row, leaves in enumerate(self._rows):  # the first one at fault is named
                self._called(row, self._check, unflatten(space, leaves))
            raise
        return values


class Batched:
    """A batch of environments that steps itself, with the checks and sentences of `Serial`.

    Args:
        environments: The batch.
        name: What errors call it.
        stepping: Whether to check, and for how long to wait for a step of the whole batch.
    """

    def __init__(self, environments: Environments, name: str, stepping: Stepping) -> None:
        self._inner, self._name, self._stepping = environments, name, stepping
        self._limit = StepLimit(stepping.step_timeout)
        self.observation_space = environments.observation_space
        self.action_space = environments.action_space
        self._check = Checker(self.observation_space, "observations")

    def shared(self) -> str:
        """Nothing that is known of."""
        return ""

    def reset(self, seeds: Sequence[int]) -> Any:
        """See `Environments.reset`."""
        self._seeds, self._elapsed, self._running = seeds, 0, np.ones(len(seeds), bool)
        with failures(self._name, self._place, self._limit):
            values = self._inner.reset(seeds)
        self._checked(values)
        return values

    def step(self, actions: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
        """See `Environments.step`."""
        self._elapsed += 1
        with failures(self._name, self._place, self._limit):
            values, rewards, terminations, truncations = self._inner.step(actions)
        self._checked(values, rewards)
        self._running &= ~(terminations | truncations)
        return values, rewards, terminations, truncations

    def close(self) -> None:
        """Close the batch, if it can be closed."""
        if callable(close := getattr(self._inner, "close", None)):
            close_quietly(close, self._name, self._limit)

    def _place(self, row: int | None = None) -> str:
        few = ", ".join(map(str, self._seeds[:3])) + (", ..." if len(self._seeds) > 3 else "")
        of = f"the episodes of seeds {few}"
        if row is not None:
            of = f"the episode of seed {self._seeds[row]}"
        return f"step {self._elapsed} of {of}" if self._elapsed else f"the reset of {of}"

    def _checked(self, values: Any, rewards: np.ndarray | None = None) -> None:
        """Check what was returned for rows whose episode goes on, or ends with this step."""
        if not self._stepping.check:
            return
        count, rows = len(self._seeds), np.flatnonzero(self._running)
        try:
            try:
                self._check(values, count)
            except SpaceError as error:
                if error.row is None or len(rows) == count:
                    raise
                # What is returned for a row whose episode has ended has no meaning.
                leaves = flatten(self.observation_space, values)
                going = {path: leaf[rows] for path, leaf in leaves.items()}
                self._check(unflatten(self.observation_space, going), len(rows))
        except SpaceError as error:
            row = error.row if error.row is None or len(rows) == count else int(rows[error.row])
            raise ValueError(f"{self._name} failed in {self._place(row)}: {error}") from error
        if rewards is not None and not (finite := np.isfinite(rewards[rows])).all():
            row = int(rows[np.argmin(finite)])
            raise ValueError(
                f"{self._name} failed in {self._place(row)}: the reward is {rewards[row]}, but "
                "must be a finite number"
            )


@contextmanager
def open_environments(task: Task, stepping: Stepping) -> Iterator[Serial | Batched]:
    """The environments of a task, closed at the end."""
    if task.batch is None:
        environments: Serial | Batched = Serial(task.environment, task.name, stepping)
    else:
        environments = Batched(task.batch(), task.name, stepping)
    try:
        yield environments
    finally:
        environments.close()


class failures:  # noqa: N801 (it is used as a function)
    """Within this context whatever goes wrong becomes one sentence, within a time limit.

    Args:
        name: What failed.
        place: Where it failed.
        limit: For how long to wait.
    """

    def __init__(self, name: str, place: Callable[[], str], limit: StepLimit) -> None:
        self._name, self._place, self._limit = name, place, limit

    def __enter__(self) -> None:
        self._limit.__enter__()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._limit.__exit__(None, None, None)
        if error is None or isinstance(error, KeyboardInterrupt):
            return
        if isinstance(error, Overdue):
            raise StepTimeoutError(
                f"{self._name} has not returned from {self._place()} after "
                f"{self._limit.seconds:g} s: {describe_error(error)}; it hangs, or needs a longer "
                "step_timeout (--step-timeout)"
            ) from None
        text = str(error) if isinstance(error, SpaceError) else describe_error(error)
        raise ValueError(f"{self._name} failed in {self._place()}: {text}") from error


def close_quietly(close: Callable[[], Any], name: str, limit: StepLimit) -> None:
    """Close what has done its work; its failure is a warning."""
    try:
        with failures(name, lambda: "close", limit):
            close()
    except ValueError as error:
        warnings.warn(str(error), stacklevel=2)


def _number(reward: Any) -> float:
    array = np.asarray(reward)
    if array.size == 1 and array.dtype.kind in "biuf" and abs(array.item()) <= LARGEST_REWARD:
        return float(array.item())
    raise ValueError(f"the reward is {reward!r}, but must be one finite number")


def _flag(name: str, value: Any) -> bool:
    array = np.asarray(value)
    if array.size == 1 and array.dtype.kind in "biuf" and array.item() in (0, 1):
        return bool(array.item())
    raise ValueError(f"{name} is {value!r}, but must be True or False")
