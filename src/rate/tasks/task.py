"""A task: everything that is known about it without acting in it, and who may act."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from inspect import getdoc
from typing import Any, NamedTuple, Protocol

import gymnasium
import numpy as np

from rate.spaces import fitted, leaves

LONGEST = 10_000_000
"""Most steps that the name of a task can ask for."""

RECORDING_BYTES = 128 * 2**20
"""Memory for the observations of episodes that are recorded together by default."""


class Agent(Protocol):
    """Acts in a batch of episodes that begin together; keeps its own memory of them."""

    def reset(self, batch: int, seeds: Sequence[int] | None = None) -> None:
        """Begin new episodes.

        Args:
            batch: Number of episodes.
            seeds: One per episode; row k draws its randomness, if any, from `seeds[k]` alone.
        """

    def act(
        self, observations: Any, rewards: np.ndarray, forced: np.ndarray | None = None
    ) -> np.ndarray:
        """Choose the actions that are executed now.

        Args:
            observations: A batch [n, ...] in the structure of the observation space.
            rewards: Rewards [n] of the previous step, float32; 0 at the first.
            forced: Actions [n, ...] that replace the agent's own choice: the agent records them as
                what it did and returns them.

        Returns:
            Actions [n, ...].
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
        """Begin one episode per seed; row k depends on `seeds[k]` only.

        Returns:
            The first observations [n, ...].
        """

    def step(self, actions: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
        """Take one step in every row.

        Returns:
            Observations [n, ...], rewards float32 [n], terminations bool [n], truncations bool [n].
        """


def success(total_return: float, length: int) -> float:
    """Score 1 for an episode with a positive return, else 0: for tasks that pay only for solving
    them."""
    return float(total_return > 0)


def total_return(total_return: float, length: int) -> float:
    """Score an episode by its return."""
    return total_return


@dataclass(frozen=True)
class Task:
    """Everything that is known about a task without acting in it."""

    name: str
    """The name that `find` answers to."""
    environment: Callable[..., gymnasium.Env[Any, Any]]
    """Makes one Gymnasium environment. What can be rendered takes the argument `render_mode`, of
    which "rgb_array" is asked for."""
    horizon: int
    """Steps after which an episode is cut off."""
    target_return: float | None
    """Return that an agent conditioned on returns is asked for; None asks for the best one in the
    data that its policy was trained on."""
    description: str
    """One line for people."""
    score: Callable[[float, int], float] = success
    """Number of merit of an episode from its return and its length in steps."""
    metric: str = "success"
    """What the score measures."""
    expert: Callable[[], Agent] | None = None
    """Makes an agent that solves the task, from observations or from privileged state."""
    experts: Mapping[str, Callable[[], Agent]] = field(default_factory=dict)
    """Makes further agents by name, such as `medium`: a name of the task asks for one by
    `,expert=<name>`. One whose quality is mixed draws that of an episode from its seed."""
    metrics: Mapping[str, Callable[[float, int], float]] = field(default_factory=dict)
    """Further numbers of merit by name, besides `return` and `success`: a name of the task asks for
    one by `,metric=<name>`."""
    batch: Callable[[], Environments] | None = None
    """Makes the NumPy batch form of the environment, row by row equal to `environment`."""
    prompt: Callable[[Sequence[int]], np.ndarray] | None = None
    """First actions [n, k, ...] of the episodes of n seeds, imposed on whoever acts."""
    cue: Callable[[int], int] | None = None
    """What the episode of a seed asks to remember, as a label. It appears in the first observation
    or in the prompt and nowhere in what an agent sees afterwards. For balance and for scores per
    cue, not for agents."""
    group: Callable[[int], str] | None = None
    """Kind of the episode of a seed, by name, such as the colour of a pillar; it may stay visible.
    For scores per group, not for agents."""
    reference: Mapping[str, float] = field(default_factory=dict)
    """Known scores by name, such as `chance`."""
    num_envs: int = 250
    """Environments that are stepped together by default: many for NumPy batches, few for
    simulators."""

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

    def recording_num_envs(self) -> int:
        """`num_envs`, or fewer where so many of the longest episodes take more than RECORDING_BYTES
        of memory."""
        step = sum(
            math.prod(leaf.shape or ()) * np.dtype(leaf.dtype).itemsize
            for leaf in leaves(self.observation_space).values()
        )
        return max(1, min(self.num_envs, RECORDING_BYTES // (step * (self.horizon + 1))))


class Family(NamedTuple):
    """Tasks that differ in size only."""

    make: Callable[[str], Task]
    """Makes a task from the part of its name after the slash; raises `ValueError` for a size that
    makes no sense."""
    pattern: str
    """What sizes look like, such as `<T>`."""
    example: str
    """A size."""
    description: str = ""
    """One line for people; by default the first paragraph about `make`."""
    extra: str = ""
    """Optional dependency group that brings the simulator."""
    modules: tuple[str, ...] = ()
    """Importable top-level modules of the simulator."""
    arguments: tuple[str, ...] = ()
    """Keyword arguments of `make`, which a name gives as `,environment.<argument>=<value>`."""

    @property
    def about(self) -> str:
        """One line for people."""
        paragraph = (getdoc(self.make) or "").split("\n\n")[0]
        return self.description or " ".join(paragraph.split()).rstrip(".")


def read_length(size: str, least: int) -> int:
    """Read the size of a task that is one number of steps, such as `90`.

    Args:
        size: The part of the task's name after the slash.
        least: Smallest number that makes sense.

    Raises:
        ValueError: The size is no such number.
    """
    if re.fullmatch(r"[0-9]{1,9}", size) is None or not least <= int(size) <= LONGEST:
        raise ValueError(f"T is {size!r}, but T must be a whole number from {least} to {LONGEST}")
    return int(size)


def read_segments(size: str, least: int) -> tuple[int, int]:
    """Read a size such as `90x3`: number of steps and number of segments.

    Args:
        size: The part of the task's name after the slash.
        least: Fewest steps of a segment.

    Raises:
        ValueError: The size is not of this form, or does not divide into such segments.
    """
    match = re.fullmatch(r"([0-9]{1,9})x([1-9][0-9]{0,8})", size)
    if match is None:
        raise ValueError(
            f"{size!r} is not of the form <T>x<N>: a number of steps and a number of segments"
        )
    steps, segments = int(match[1]), int(match[2])
    if steps % segments or steps // segments < least or steps > LONGEST:
        raise ValueError(
            f"{steps} steps in {segments} segments, but T must be a multiple of N, with T/N "
            f"at least {least} and T at most {LONGEST}"
        )
    return steps, segments


def differing_space(trained: Any, task: Any) -> tuple[str, Any, Any, str] | None:
    """The first of observation and action space by which a policy, or data to learn from, does not
    fit a task: its name, both spaces, and the reason; None where they fit, see
    `rate.spaces.fitted`."""
    for name in ("observation_space", "action_space"):
        mine, theirs = getattr(trained, name), getattr(task, name)
        try:
            fitted(mine, theirs, actions=name == "action_space")
        except ValueError as error:
            return name.replace("_", " "), mine, theirs, str(error)
    return None
