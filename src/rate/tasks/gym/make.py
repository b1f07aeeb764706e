"""Third-party environments by address: a registered Gymnasium id or a function that makes one.

`gym:CartPole-v1` is what `gymnasium.make` knows as `CartPole-v1`; `gym:package:Id-v0` imports the
package first. `package.module:make` calls `make()`; a class of environments is called as well. An
address names Python code, which runs when it is used; one that stands in a file is refused where it
is read, unless the user names or trusts it (`rate.addresses`).
"""

import copy
import importlib
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv

from rate.spaces import ACTION_MASK, is_array, leaves, pick, usable
from rate.tasks.gym.actions import ArrayActions
from rate.tasks.gym.errors import describe_error
from rate.tasks.gym.options import Options
from rate.tasks.gym.vector import FirstRow, Vectorised
from rate.tasks.task import Agent, Task, success, total_return

__all__ = ["PATTERNS", "RandomAgent", "expert", "task"]

REGISTERED = "gym:"
RANDOM = "random"
NUM_ENVS = 16
"""Simulators side by side by default: one may take much memory, and processes of its own."""
PATTERNS = {
    "gym:<id>": "Any environment that Gymnasium knows by an id, such as gym:CartPole-v1 or "
    "gym:package:Id-v0",
    "<module>:<function>": "Any function or class that makes a Gymnasium environment, such as "
    "my_package.mazes:make",
}
"""Descriptions of the two kinds of address, by pattern."""


def task(name: str, address: str, options: Options) -> Task:
    """Return the task of an address; it has an expert only if the options name one.

    Args:
        name: The address with its options, which names the task.
        address: An address such as `gym:CartPole-v1`.
        options: What the name says beyond the address.

    Raises:
        ValueError: There is no such environment, it cannot be made, or its spaces or wrappers
            cannot be used.
        ModuleNotFoundError: The module, or something it needs, is not installed.
    """
    registered = address.startswith(REGISTERED)
    make = (_registered if registered else _function)(address, options)
    first = _made(address, make, options.environment)
    try:
        horizon = options.horizon or _time_limit(first)
        _check(address, first)
    finally:
        first.close()
    if horizon is None:
        raise ValueError(
            f"{address} has no time limit, so its episodes might never end: give horizon, the "
            f"steps after which an episode is cut off, as in {name},horizon=200"
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
        given = [None] * batch if seeds is None else seeds
        for space, seed in zip(self.spaces, given, strict=True):
            space.seed(None if seed is None else int(seed))

    def act(
        self, observations: Any, rewards: np.ndarray, forced: np.ndarray | None = None
    ) -> np.ndarray:
        """Actions [n, ...] drawn from the space's own distribution, of those that a mask in the
        observations allows."""
        if forced is not None:
            return np.asarray(forced)
        masks = observations.get(ACTION_MASK) if isinstance(observations, dict) else None
        if masks is not None and isinstance(self.action_space, gymnasium.spaces.Discrete):
            pairs = zip(self.spaces, masks, strict=True)
            return np.stack([space.sample(mask=mask.astype(np.int8)) for space, mask in pairs])
        return np.stack([space.sample() for space in self.spaces])


class OutsideAgent:
    """A third-party agent: whatever goes wrong in it becomes an error that names it and the place.

    Args:
        address: What errors call it.
        make: Makes it, without arguments.
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
        act = self._agent.act
        actions: np.ndarray = self._asked("failed in act", act, observations, rewards, forced)
        return actions

    def _asked(self, failure: str, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit, too
            raise ValueError(
                f"the expert {self._address} {failure}: {describe_error(error)}"
            ) from error


def expert(
    address: str,
    action_space: Callable[[], gymnasium.Space[Any]],
    experts: Mapping[str, Callable[[], Agent]] = MappingProxyType({}),
) -> Callable[[], Agent]:
    """Return what makes the agent of an address.

    Args:
        address: "random", the name of one of the task's own agents, or "module:Class" of an `Agent`
            that is made without arguments.
        action_space: Gives the space that "random" draws from.
        experts: The task's own agents by name, see `Task.experts`.

    Raises:
        ValueError: The address names no class with the methods of an `Agent`.
        ModuleNotFoundError: Its module is not installed.
    """
    if address in experts:
        return experts[address]
    if ":" not in address:
        if address != RANDOM:
            raise ValueError(
                f"there is no expert {address!r}: give {', '.join(map(repr, [*experts, RANDOM]))}, "
                "or 'module:Class' of an agent"
            )
        return lambda: RandomAgent(action_space())
    agent = _named(address, "expert")
    missing = [name for name in ("reset", "act") if not callable(getattr(agent, name, None))]
    if missing or not isinstance(agent, type):
        lack = f"it has no {' and no '.join(missing)}" if missing else "it is not a class"
        raise ValueError(
            f"the expert {address!r} is not a class of agents ({lack}): give a class that is made "
            "without arguments, with reset(batch, seeds) and act(observations, rewards, forced) "
            "as rate.tasks.Agent describes"
        )
    return partial(OutsideAgent, address, agent)


def _registered(address: str, options: Options) -> Callable[..., Any]:
    """What makes the environment of a registered id.

    The package of `package:Id-v0` is imported first: an error then names it, and a folder with
    modules is searched as well.
    """
    key = address.removeprefix(REGISTERED)
    module, colon, _ = key.rpartition(":")
    if colon:
        _import(module, address)
    if options.horizon is None:
        return partial(gymnasium.make, key)
    return partial(gymnasium.make, key, max_episode_steps=options.horizon)


def _function(address: str, options: Options) -> Callable[..., Any]:
    """What makes the environment of `module:function`."""
    make = _named(address, "task")
    if not callable(make):
        raise ValueError(
            f"{address} is {make!r}, but a function or class that makes an environment is needed"
        )
    return make


def _named(address: str, what: str) -> Any:
    module, _, attribute = address.partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), *attribute.split(".")]):
        raise ValueError(
            f"{address!r} is no {what}: addresses look like package.module:name"
            + (" or gym:Id-v0, with the id that gymnasium.make takes" if what == "task" else "")
        )
    named: Any = _import(module, address)
    for part in attribute.split("."):
        if not hasattr(named, part):
            own = [
                name
                for name, value in vars(named).items()
                if getattr(value, "__module__", "") == module
            ]
            raise ValueError(
                f"{address}: there is no {part!r} in {module}; it has "
                f"{', '.join(own) or 'no functions'}"
            )
        named = getattr(named, part)
    return named


def _import(module: str, address: str) -> Any:
    """Import a module that is installed or lies in the current folder, as `python -m` does."""
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
            "install its package, or run the command in the folder that holds it"
        ) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, too
        raise ValueError(
            f"{address}: {module} cannot be imported: {describe_error(error)}"
        ) from error


def _made(
    address: str,
    make: Callable[..., Any],
    arguments: Mapping[str, Any],
    render_mode: str | None = None,
) -> Any:
    """Call what makes an environment; any failure becomes an error that names the address."""
    try:
        made = make(**({"render_mode": render_mode} if render_mode else {}), **arguments)
    except gymnasium.error.DependencyNotInstalled as error:
        raise ModuleNotFoundError(
            f"{address} needs something that is not installed: {error}"
        ) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, too
        given = f" with {dict(arguments)}" if arguments else ""
        raise ValueError(
            f"{address} cannot be made{given}: {describe_error(error)}{_unknown(address, error)}"
        ) from error
    if not isinstance(made, gymnasium.Env | VectorEnv):
        raise ValueError(
            f"{address} made {type(made).__module__}.{type(made).__name__}, which is no "
            "environment of Gymnasium 1: derive it from gymnasium.Env, or put it into a wrapper "
            "that does"
        )
    if isinstance(made, VectorEnv):
        return made
    held, left_out = _usable(address, made.observation_space)
    if left_out:
        made = gymnasium.wrappers.TransformObservation(made, partial(pick, held), held)
    if is_array(made.action_space):
        return made
    try:
        return ArrayActions(made)
    except ValueError as error:
        raise ValueError(f"{address}: {error}") from error


def _usable(
    address: str, space: gymnasium.Space[Any]
) -> tuple[gymnasium.Space[Any], dict[str, str]]:
    """The observations that datasets can hold, with a word on those that are left out."""
    try:
        held, left_out = usable(space)
        leaves(held)
    except ValueError as error:
        raise ValueError(f"{address} has observations that cannot be used: {error}") from error
    for path, reason in left_out.items():
        warnings.warn(f"{address}: the observation {path!r} is left out: {reason}", stacklevel=2)
    return held, left_out


def _unknown(address: str, error: BaseException) -> str:
    """What to do about an id that no imported package has registered."""
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


def _check(address: str, environment: Any) -> None:
    """Refuse spaces that no dataset holds, and wrappers that learn from earlier episodes."""
    vector = isinstance(environment, VectorEnv)
    observations = environment.single_observation_space if vector else environment.observation_space
    actions = environment.single_action_space if vector else environment.action_space
    _usable(address, observations)
    if not is_array(actions):
        raise ValueError(
            f"{address} is a vector environment with the actions {actions}: give a function "
            "that makes a single environment"
        )
    for part in _wrappers(environment):
        if getattr(part, "update_running_mean", False):
            raise ValueError(
                f"{address} is wrapped in {type(part).__name__}, which learns from one episode "
                "for the next: set its update_running_mean to False. (Training normalises by "
                "statistics of the whole dataset.)"
            )
