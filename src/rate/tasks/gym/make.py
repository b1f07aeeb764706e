"""Environments that others wrote, by address: a registered Gymnasium id or a function that makes
one.

``gym:CartPole-v1`` is what ``gymnasium.make`` knows as ``CartPole-v1``; ``gym:package:Id-v0``
imports the package first. ``package.module:make`` calls ``make()``; a class of environments does as
well. Nothing has to be registered here.
"""

import contextlib
import copy
import importlib
import inspect
import sys
import sysconfig
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv

from rate.spaces import leaves
from rate.tasks.gym.actions import ArrayActions, is_array
from rate.tasks.gym.errors import told
from rate.tasks.gym.options import Options
from rate.tasks.gym.vector import FirstRow, Vectorised
from rate.tasks.task import Agent, Task, success

__all__ = ["PATTERNS", "RandomAgent", "expert", "task"]

REGISTERED = "gym:"
NUM_ENVS = 16
"""Simulators side by side by default: one may take much memory, and processes of its own."""
PATTERNS = {
    "gym:<id>": "Any environment that Gymnasium knows by an id, such as gym:CartPole-v1 or gym:package:Id-v0",
    "<module>:<function>": "Any function or class that makes a Gymnasium environment, such as my_package.mazes:make",
}
"""Descriptions of the two kinds of address, by pattern."""


def task(name: str, address: str, options: Options) -> Task:
    """Return the task of an address, such as ``gym:CartPole-v1``; it has an expert only if the
    options name one.

    Raises:
        ValueError: There is no such environment, it cannot be made, or its spaces or wrappers
        cannot be used. ModuleNotFoundError: The module, or something it needs, is not installed.
    """
    make, horizon = (
        _registered(address, options)
        if address.startswith(REGISTERED)
        else _function(address, options)
    )
    first = _made(address, make, options.environment)
    try:
        horizon = horizon or _time_limit(first)
        _check(address, first)
    finally:
        first.close()
    if horizon is None:
        raise ValueError(
            f"{address} has no time limit, so its episodes might never end: give horizon, "
            "the steps after which an "
            f"episode is cut off, as in {name},horizon=200"
        )
    maker = partial(_made, address, make, options.environment)
    vectorised = partial(Vectorised, address, maker) if isinstance(first, VectorEnv) else None
    return Task(
        name=name,
        environment=partial(FirstRow, vectorised) if vectorised else maker,
        horizon=horizon,
        target_return=None,
        score=total_return,
        metric="return",
        description=f"{address}, an environment from outside this library",
        batch=vectorised,
        num_envs=NUM_ENVS,
    )


def total_return(total_return: float, length: int) -> float:
    """Score an episode by its return."""
    return total_return


SCORES: Mapping[str, Callable[[float, int], float]] = {"return": total_return, "success": success}
"""Number of merit of an episode from its return and its length, by metric."""


class RandomAgent:
    """Acts at random: row k samples the action space with a generator seeded by the k-th seed
    alone."""

    def __init__(self, action_space: gymnasium.Space[Any]) -> None:
        self.action_space = action_space

    def reset(self, batch: int, seeds: Sequence[int] | None = None) -> None:
        """Begin new episodes."""
        self.spaces = [copy.deepcopy(self.action_space) for _ in range(batch)]
        for space, seed in zip(
            self.spaces, [None] * batch if seeds is None else seeds, strict=True
        ):
            space.seed(None if seed is None else int(seed))

    def act(
        self, observations: Any, rewards: np.ndarray, forced: np.ndarray | None = None
    ) -> np.ndarray:
        """Actions [n, ...] drawn from the space's own distribution."""
        return (
            np.stack([space.sample() for space in self.spaces])
            if forced is None
            else np.asarray(forced)
        )


class OutsideAgent:
    """An agent that somebody else wrote: whatever goes wrong in it becomes an error that names it
    and the place.

    address: what errors call it. make: makes it, without arguments.
    """

    def __init__(self, address: str, make: Callable[[], Agent]) -> None:
        self._address = address
        self._agent = self._asked("cannot be made", make)

    def reset(self, batch: int, seeds: Sequence[int] | None = None) -> None:
        """Begin new episodes."""
        self._asked("failed in reset", self._agent.reset, batch, seeds)

    def act(
        self, observations: Any, rewards: np.ndarray, forced: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the other agent's actions [n, ...]."""
        actions: np.ndarray = self._asked(
            "failed in act", self._agent.act, observations, rewards, forced
        )
        return actions

    def _asked(self, failure: str, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:
            raise ValueError(f"the expert {self._address} {failure}: {told(error)}") from error


def expert(address: str, action_space: Callable[[], gymnasium.Space[Any]]) -> Callable[[], Agent]:
    """Return what makes the agent of an address: "random", or "module:Class" of an ``Agent`` made
    without arguments.

    Raises:
        ValueError: The address names no class with the methods of an ``Agent``.
        ModuleNotFoundError: Its module is not installed.
    """
    if ":" not in address:
        if address != RANDOM:
            raise ValueError(
                f"there is no expert {address!r}: give {RANDOM!r}, or 'module:Class' of an agent"
            )
        return lambda: RandomAgent(action_space())
    found = _named(address, "expert")
    missing = [name for name in ("reset", "act") if not callable(getattr(found, name, None))]
    if missing or not isinstance(found, type):
        raise ValueError(
            f"the expert {address!r} is not a class of agents ({_lack(missing)}): give a "
            "class that is made without "
            "arguments, with reset(batch, seeds) and act(observations, rewards, forced) as "
            "rate.tasks.Agent describes"
        )
    return partial(OutsideAgent, address, found)


RANDOM = "random"


def _lack(missing: Sequence[str]) -> str:
    return f"it has no {' and no '.join(missing)}" if missing else "it is not a class"


def _registered(address: str, options: Options) -> tuple[Callable[..., Any], int | None]:
    """What makes the environment of a registered id, and how many steps an episode has, if that is
    known."""
    key = address.removeprefix(REGISTERED)
    limit: dict[str, Any] = (
        {} if options.horizon is None else {"max_episode_steps": options.horizon}
    )
    _import_owner(address, key)
    return partial(gymnasium.make, key, **limit), options.horizon


def _import_owner(address: str, key: str) -> None:
    """Import the package of ``package:Id-v0`` first: an error names it, and a folder with modules
    is searched as well."""
    module, colon, _ = key.rpartition(":")
    if colon:
        _import(module, address)


def _function(address: str, options: Options) -> tuple[Callable[..., Any], int | None]:
    """What makes the environment of ``module:function``, once it is known to be harmless to
    call."""
    found = _named(address, "task")
    if not callable(found):
        raise ValueError(
            f"{address} is {found!r}, but a function or class that makes an environment is needed"
        )
    if not _makes_environments(found) and _is_installed(found):
        raise ValueError(
            f"{address} does not say that it makes environments, and names of tasks are read "
            "from files of others, so "
            "nothing else of an installed package is called: write a function in a module of "
            "yours that calls it"
        )
    return found, options.horizon


def _named(address: str, what: str) -> Any:
    module, _, attribute = address.partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), *attribute.split(".")]):
        raise ValueError(
            f"{address!r} is no {what}: addresses look like package.module:name"
            + (" or gym:Id-v0, with the id that gymnasium.make takes" if what == "task" else "")
        )
    found = _import(module, address)
    for part in attribute.split("."):
        if not hasattr(found, part):
            names = [
                name
                for name, value in vars(found).items()
                if getattr(value, "__module__", "") == module
            ]
            raise ValueError(
                f"{address}: there is no {part!r} in {module}; it has "
                f"{', '.join(names) or 'no functions'}"
            )
        found = getattr(found, part)
    return found


def _import(module: str, address: str) -> Any:
    """Import a module that is installed or lies in the current folder, as ``python -m`` does."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)  # last: a file of the folder hides no installed module
        importlib.invalidate_caches()
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0] and not module.startswith(f"{error.name}."):
            raise ModuleNotFoundError(
                f"{address} needs {error.name}, which is not installed: install it"
            ) from error
        raise ModuleNotFoundError(
            f"{address}: there is no module {error.name!r}, neither installed nor in {here}: "
            "install its package, or run "
            "the command in the folder that holds it"
        ) from error


def _makes_environments(found: Callable[..., Any]) -> bool:
    """Whether it is a class of environments or is annotated to return them."""
    try:
        made = found if isinstance(found, type) else typing.get_type_hints(found).get("return")
    except (NameError, TypeError, AttributeError):
        return False
    made = typing.get_origin(made) or made
    return isinstance(made, type) and issubclass(made, gymnasium.Env | VectorEnv)


def _is_installed(found: Callable[..., Any]) -> bool:
    """Whether code is part of Python or of an installed package, as opposed to a file of the user's
    own."""
    try:
        file = Path(inspect.getfile(inspect.unwrap(found)))
    except TypeError:  # built in
        return True
    installed = {"site-packages", "dist-packages"} & set(file.parts)
    return (
        bool(installed)
        or not file.is_file()
        or file.resolve().is_relative_to(Path(sysconfig.get_path("stdlib")).resolve())
    )


def _made(address: str, make: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Call what makes an environment; whatever goes wrong becomes an error that names the
    address."""
    try:
        found = make(**arguments)
    except gymnasium.error.DependencyNotInstalled as error:
        raise ModuleNotFoundError(
            f"{address} needs something that is not installed: {error}"
        ) from error
    except Exception as error:
        given = f" with {dict(arguments)}" if arguments else ""
        raise ValueError(
            f"{address} cannot be made{given}: {told(error)}{_unknown(address, error)}"
        ) from error
    if not isinstance(found, gymnasium.Env | VectorEnv):
        raise ValueError(
            f"{address} made {type(found).__module__}.{type(found).__name__}, which is no "
            "environment of Gymnasium 1: "
            "derive it from gymnasium.Env, or put it into a wrapper that does"
        )
    if isinstance(found, VectorEnv) or is_array(found.action_space):
        return found
    try:
        return ArrayActions(found)
    except ValueError as error:
        raise ValueError(f"{address}: {error}") from error


def _unknown(address: str, error: Exception) -> str:
    """What to do about an id that Gymnasium does not know, because the package that registers it
    was not imported."""
    unknown = isinstance(error, gymnasium.error.NameNotFound | gymnasium.error.NamespaceNotFound)
    key = address.removeprefix(REGISTERED)
    if not unknown or key == address or ":" in key or "Did you mean" in str(error):
        return ""
    return (
        " If a package brings it, name that too, so that it is imported first: "
        f"{REGISTERED}<package>:{key}"
    )


def _wrappers(environment: Any) -> Iterator[Any]:
    """The environment and all that it wraps, from the outside in."""
    yield environment
    while isinstance(environment, gymnasium.Wrapper):
        environment = environment.env
        yield environment
    for part in getattr(environment, "envs", ()):  # the environments of a SyncVectorEnv
        yield from _wrappers(part)


def _time_limit(environment: Any) -> int | None:
    """The steps after which the environment cuts its episodes off, if it says so."""
    for part in _wrappers(environment):
        if isinstance(part, gymnasium.wrappers.TimeLimit):
            return int(part._max_episode_steps)
    spec = getattr(environment, "spec", None)
    return None if spec is None else spec.max_episode_steps


def _way_out(space: gymnasium.Space[Any]) -> str:
    """How to leave out the entries of a dictionary that no dataset holds, such as a text that never
    changes."""
    if not isinstance(space, gymnasium.spaces.Dict):
        return ""
    usable = []
    for key, part in space.spaces.items():
        with contextlib.suppress(ValueError):
            usable += [key] if leaves(part) else []
    return (
        f", or leave it out: gymnasium.wrappers.FilterObservation(environment, {usable}). A "
        "function that returns the wrapped "
        "environment is an address, <module>:<function>"
    )


def _check(address: str, environment: Any) -> None:
    """Refuse spaces that no dataset holds, and wrappers that make one episode depend on those
    before it."""
    vector = isinstance(environment, VectorEnv)
    observations = environment.single_observation_space if vector else environment.observation_space
    actions = environment.single_action_space if vector else environment.action_space
    try:
        leaves(observations)
    except ValueError as error:
        raise ValueError(
            f"{address} has observations that cannot be used: {error}{_way_out(observations)}"
        ) from error
    if not is_array(actions):
        raise ValueError(
            f"{address} is a vector environment with the actions {actions}: give a function "
            "that makes a single environment"
        )
    for part in _wrappers(environment):
        if getattr(part, "update_running_mean", False):
            raise ValueError(
                f"{address} is wrapped in {type(part).__name__}, which learns from one "
                "episode for the next: set its "
                "update_running_mean to False. (Training normalises by statistics of the "
                "whole dataset.)"
            )
