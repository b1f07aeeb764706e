"""Tasks: what is acted in, who acts, and how a task is found by its name.

A task family lives in one module of this package. The module defines ``TASKS: dict[str, Family]`` and is found by
scanning; nothing has to be registered. A name is ``family/size``, as in ``tmaze/90``. A module must be importable
without its simulator: it imports the simulator where an environment is made and states it in ``Family.modules``.
"""

import difflib
import importlib
import importlib.util
import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from typing import Any, NamedTuple, Protocol

import gymnasium
import numpy as np

__all__ = ["Agent", "Environments", "Family", "Task", "families", "find", "read_length", "read_segments", "success"]

LONGEST = 10_000_000
"""Most steps that the name of a task can ask for."""


class Agent(Protocol):
    """Acts in a batch of episodes that begin together; keeps its own memory of them."""

    def reset(self, batch: int, seeds: Sequence[int] | None = None) -> None:
        """Begin ``batch`` new episodes; row k draws its randomness, if any, from ``seeds[k]`` alone."""

    def act(self, observations: Any, rewards: np.ndarray, forced: np.ndarray | None = None) -> np.ndarray:
        """Return the actions [n, ...] that are executed now.

        ``observations`` is a batch [n, ...] in the structure of the observation space; ``rewards`` is float32 [n],
        the reward of the previous step and 0 at the first. ``forced`` [n, ...] replaces the agent's own choice: the
        agent records it as what it did and returns it.
        """


class Environments(Protocol):
    """A batch of environments, one episode per row, stepped together and without automatic reset.

    Returned arrays belong to the caller: the next call writes into new ones. What is returned for a row whose
    episode has ended has no meaning, and any action may be passed for it.
    """

    @property
    def observation_space(self) -> gymnasium.Space[Any]:
        """Space of one row's observation."""

    @property
    def action_space(self) -> gymnasium.Space[Any]:
        """Space of one row's action."""

    def reset(self, seeds: Sequence[int]) -> Any:
        """Begin one episode per seed and return the first observations [n, ...]; row k depends on ``seeds[k]`` only."""

    def step(self, actions: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
        """Return observations [n, ...], rewards float32 [n], terminations bool [n] and truncations bool [n]."""


@dataclass(frozen=True)
class Task:
    """Everything that is known about a task without acting in it.

    Attributes:
        name: The name ``find`` answers to.
        environment: Makes one Gymnasium environment.
        horizon: Steps after which an episode is cut off.
        target_return: Return an agent conditioned on returns is asked for; None asks for the best one in the data that
            its policy was trained on.
        score: Number of merit of an episode from its return and its length in steps.
        metric: What the score measures.
        description: One line for people.
        expert: Makes an agent that solves the task, from observations or from privileged state.
        batch: Makes the NumPy batch form of the environment, row by row equal to ``environment``.
        prompt: First actions [n, k, ...] of the episodes of n seeds, imposed on whoever acts.
        cue: What the episode of a seed asks to remember, as a label. It appears in the first observation or in the
            prompt and nowhere in what an agent sees afterwards. For balance and for scores per cue, not for agents.
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
    """Tasks that differ in size only: ``make`` turns the part of a name after the slash into a task.

    ``make`` raises ``ValueError`` for a size that makes no sense. ``modules`` are the importable top-level modules
    of the simulator, ``extra`` the optional dependency group that brings them.
    """

    make: Callable[[str], Task]
    pattern: str
    description: str
    example: str
    extra: str = ""
    modules: tuple[str, ...] = ()


def find(name: str) -> Task:
    """Return the task of a name such as ``tmaze/90``, ``gym:CartPole-v1`` or ``package.module:make``.

    Options may follow, as in ``gym:CartPole-v1,horizon=200,expert=random``; ``rate.tasks.options`` describes them.

    Raises:
        ValueError: No family or no size of that name; the message says what is allowed and what is close.
        ModuleNotFoundError: The simulator is not installed; the message says which extra brings it.
    """
    from rate.tasks import external  # it needs this module
    from rate.tasks.options import split

    base, options = split(name)
    if ":" in base:
        task = external.task(name, base, options)
    elif options.environment:
        raise ValueError(f"{name!r}: {base} is a task of this library and takes no arguments of an environment")
    else:
        task = _of_family(base)
    given = {"horizon": options.horizon, "target_return": options.target_return}
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if options.metric:
        changes |= {"metric": options.metric, "score": external.SCORES[options.metric]}
    if options.expert:
        changes["expert"] = external.expert(options.expert, partial(getattr, task, "action_space"))
    return replace(task, name=name, **changes) if changes else task


def _of_family(name: str) -> Task:
    """The task of a name such as ``tmaze/90``, found in this package."""
    found = discover()
    key, _, size = name.partition("/")
    if key not in found:
        raise ValueError(f"there is no task {name!r}. {_suggestion(key, size)}Tasks: {', '.join(families())}")
    family = found[key]
    missing = [module for module in family.modules if importlib.util.find_spec(module) is None]
    if missing:
        raise ModuleNotFoundError(
            f"the task {name!r} needs {', '.join(missing)}, not installed here: pip install 'rate-rl[{family.extra}]'"
        )
    try:
        return family.make(size)
    except ValueError as error:
        raise ValueError(
            f"{name!r} is not a task: {error}. Names look like {family.pattern}, for example {family.example}"
        ) from error


def families() -> dict[str, str]:
    """Return one-line descriptions by pattern, such as ``tmaze/<T>``: of every family, and of addresses of others."""
    from rate.tasks import external

    return {family.pattern: family.description for family in discover().values()} | external.PATTERNS


@cache
def discover() -> Mapping[str, Family]:
    """Return every family by the part of its names before the slash, in alphabetical order."""
    found: dict[str, Family] = {}
    for module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
        for key, family in getattr(importlib.import_module(f"{__name__}.{module}"), "TASKS", {}).items():
            if key in found:
                raise ValueError(f"two task families are called {key!r}; the second is in {__name__}.{module}")
            found[key] = family
    return dict(sorted(found.items()))


def _suggestion(key: str, size: str) -> str:
    """Name the closest family, with the size that was asked for where that is a task."""
    if key in gymnasium.registry and not size:
        return f"Did you mean 'gym:{key}'? "
    close = difflib.get_close_matches(key, discover(), n=1)
    if not close:
        return ""
    family = discover()[close[0]]
    try:
        name = family.make(size).name
    except ValueError:
        name = family.example
    return f"Did you mean {name!r}? "


def success(total_return: float, length: int) -> float:
    """Score 1 for an episode with a positive return, else 0: for tasks that pay only for solving them."""
    return float(total_return > 0)


def read_length(size: str, least: int) -> int:
    """Read the size of a task that is one number of steps, such as ``90``; at least ``least``."""
    if re.fullmatch(r"[0-9]{1,9}", size) is None or not least <= int(size) <= LONGEST:
        raise ValueError(f"T is {size!r}, but T must be a whole number from {least} to {LONGEST}")
    return int(size)


def read_segments(size: str, least: int) -> tuple[int, int]:
    """Read a size such as ``90x3``: steps and number of segments; a segment has at least ``least`` steps."""
    match = re.fullmatch(r"([0-9]{1,9})x([1-9][0-9]{0,8})", size)
    if match is None:
        raise ValueError(f"{size!r} is not of the form <T>x<N>: a number of steps and a number of segments")
    steps, segments = int(match[1]), int(match[2])
    if steps % segments or steps // segments < least or steps > LONGEST:
        raise ValueError(
            f"{steps} steps in {segments} segments, but T must be a multiple of N, with T/N at least {least} and T at "
            f"most {LONGEST}"
        )
    return steps, segments
