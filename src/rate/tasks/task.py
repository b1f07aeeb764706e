"""A task: everything that is known about it without acting in it, and who may act."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import gymnasium
import numpy as np

LONGEST = 10_000_000
"""Most steps that the name of a task can ask for."""


class Agent(Protocol):
    """Acts in a batch of episodes that begin together; keeps its own memory of them."""

    def reset(self, batch: int, seeds: Sequence[int] | None = None) -> None:
        """Begin ``batch`` new episodes; row k draws its randomness, if any, from ``seeds[k]``
        alone."""

    def act(
        self, observations: Any, rewards: np.ndarray, forced: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the actions [n, ...] that are executed now.

        ``observations`` is a batch [n, ...] in the structure of the observation space; ``rewards``
        is float32 [n], the reward of the previous step and 0 at the first. ``forced`` [n, ...]
        replaces the agent's own choice: the agent records it as what it did and returns it.
        """


class Environments(Protocol):
    """A batch of environments, one episode per row, stepped together and without automatic reset.

    Returned arrays belong to the caller: the next call writes into new ones. What is returned for a
    row whose episode has ended has no meaning, and any action may be passed for it.
    """

    @property
    def observation_space(self) -> gymnasium.Space[Any]:
        """Space of one row's observation."""

    @property
    def action_space(self) -> gymnasium.Space[Any]:
        """Space of one row's action."""

    def reset(self, seeds: Sequence[int]) -> Any:
        """Begin one episode per seed and return the first observations [n, ...]; row k depends on
        ``seeds[k]`` only."""

    def step(self, actions: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
        """Return observations [n, ...], rewards float32 [n], terminations bool [n] and truncations
        bool [n]."""


@dataclass(frozen=True)
class Task:
    """Everything that is known about a task without acting in it.

    Attributes:
        name: The name ``find`` answers to. environment: Makes one Gymnasium environment. horizon:
        Steps after which an episode is cut off. target_return: Return an agent conditioned on
        returns is asked for; None asks for the best one in the data that
            its policy was trained on.
        score: Number of merit of an episode from its return and its length in steps. metric: What
        the score measures. description: One line for people. expert: Makes an agent that solves the
        task, from observations or from privileged state. batch: Makes the NumPy batch form of the
        environment, row by row equal to ``environment``. prompt: First actions [n, k, ...] of the
        episodes of n seeds, imposed on whoever acts. cue: What the episode of a seed asks to
        remember, as a label. It appears in the first observation or in the
            prompt and nowhere in what an agent sees afterwards. For balance and for scores per cue,
            not for agents.
        reference: Known scores by name, such as ``chance``.
    """

    name: str
    environment: Callable[[], gymnasium.Env[Any, Any]]
    horizon: int
    target_return: float | None
    score: Callable[[float, int], float]
    metric: str
    description: str
    expert: Callable[[], Agent] | None = None
    batch: Callable[[], Environments] | None = None
    prompt: Callable[[Sequence[int]], np.ndarray] | None = None
    cue: Callable[[int], int] | None = None
    reference: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def _spaces(self) -> tuple[gymnasium.Space[Any], gymnasium.Space[Any]]:
        environment = self.environment()
        try:
            return environment.observation_space, environment.action_space
        finally:
            environment.close()

    @property
    def observation_space(self) -> gymnasium.Space[Any]:
        """Space of one observation; the first use makes an environment to ask."""
        return self._spaces[0]

    @property
    def action_space(self) -> gymnasium.Space[Any]:
        """Space of one action; the first use makes an environment to ask."""
        return self._spaces[1]


class Family(NamedTuple):
    """Tasks that differ in size only: ``make`` turns the part of a name after the slash into a
    task.

    ``make`` raises ``ValueError`` for a size that makes no sense. ``modules`` are the importable
    top-level modules of the simulator, ``extra`` the optional dependency group that brings them.
    """

    make: Callable[[str], Task]
    pattern: str
    description: str
    example: str
    extra: str = ""
    modules: tuple[str, ...] = ()


def success(total_return: float, length: int) -> float:
    """Score 1 for an episode with a positive return, else 0: for tasks that pay only for solving
    them."""
    return float(total_return > 0)


def read_length(size: str, least: int) -> int:
    """Read the size of a task that is one number of steps, such as ``90``; at least ``least``."""
    if re.fullmatch(r"[0-9]{1,9}", size) is None or not least <= int(size) <= LONGEST:
        raise ValueError(f"T is {size!r}, but T must be a whole number from {least} to {LONGEST}")
    return int(size)


def read_segments(size: str, least: int) -> tuple[int, int]:
    """Read a size such as ``90x3``: steps and number of segments; a segment has at least ``least``
    steps."""
    match = re.fullmatch(r"([0-9]{1,9})x([1-9][0-9]{0,8})", size)
    if match is None:
        raise ValueError(
            f"{size!r} is not of the form <T>x<N>: a number of steps and a number of segments"
        )
    steps, segments = int(match[1]), int(match[2])
    if steps % segments or steps // segments < least or steps > LONGEST:
        raise ValueError(
            f"{steps} steps in {segments} segments, but T must be a multiple of N, with T/N "
            f"at least {least} and T at "
            f"most {LONGEST}"
        )
    return steps, segments
