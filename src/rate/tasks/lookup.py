"""Tasks by name: families are found in this package, and a wrong name gets a suggestion."""

import difflib
import importlib.util
import pkgutil
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import gymnasium

from rate.addresses import trust
from rate.extras import how_to_install
from rate.messages import brief
from rate.tasks.task import Family, Task

LONGEST = 4096
"""Most characters in the name of a task; options such as maps may be long."""


def find(name: str) -> Task:
    """Return the task of a name.

    Args:
        name: Such as `tmaze/90`, `gym:CartPole-v1` or `package.module:make`. Options may follow, as
            in `gym:CartPole-v1,horizon=200,expert=random`; `rate.tasks.gym.options` describes them.

    Raises:
        ValueError: There is no family or no size of that name; the message says what is allowed
            and which name is close.
        ModuleNotFoundError: The simulator is not installed; the message says which extra brings it.
    """
    from rate.tasks.gym import make  # it needs this module
    from rate.tasks.gym.options import addresses, respelled, split

    if not name.isprintable() or len(name) > LONGEST:
        raise ValueError(
            f"the name of a task has at most {LONGEST} printable characters, but "
            f"{brief(name)} was given"
        )
    base, options = split(name)
    trust(addresses(name))  # what is not the user's has been refused where it was read
    name = respelled(name)
    if ":" in base:
        task = make.task(name, base, options)
    else:
        task = _of_family(base, options.environment)
    numbers = {"horizon": options.horizon, "target_return": options.target_return}
    changes: dict[str, Any] = {key: value for key, value in numbers.items() if value is not None}
    if options.environment or options.horizon or options.metric:
        changes["reference"] = {}  # known scores are those of the task as it is
    if options.metric:
        scores = {task.metric: task.score, **make.SCORES, **task.metrics}
        if options.metric not in scores:
            raise ValueError(
                f"{name!r}: metric is {options.metric!r}, but it must be one of {', '.join(scores)}"
            )
        changes |= {"metric": options.metric, "score": scores[options.metric]}
    if options.expert:
        space = partial(getattr, task, "action_space")
        changes["expert"] = make.expert(options.expert, space, task.experts)
    return replace(task, name=name, **changes) if changes or options.environment else task


def _of_family(name: str, arguments: Mapping[str, Any]) -> Task:
    """The task of a name such as `tmaze/90`, found in this package."""
    key, _, size = name.partition("/")
    if key not in discover():
        raise ValueError(
            f"there is no task {name!r}. {_suggestion(key, size)}Tasks: {', '.join(families())}"
        )
    family = discover()[key]
    missing = [module for module in family.modules if importlib.util.find_spec(module) is None]
    if missing:
        raise ModuleNotFoundError(
            f"the task {name!r} needs {', '.join(missing)}, not installed here: "
            f"{how_to_install(family.extra)}"
        )
    if unknown := sorted(set(arguments) - set(family.arguments)):
        allowed = (
            f"they are {', '.join(family.arguments)}" if family.arguments else "there are none"
        )
        raise ValueError(f"{name!r} has no argument {unknown[0]!r} of its environment: {allowed}")
    try:
        return family.make(size, **arguments)
    except ValueError as error:
        raise ValueError(
            f"{name!r} is not a task: {error}. Names look like {key}/{family.pattern}, for example "
            f"{key}/{family.example}"
        ) from error


def reference(name: str) -> Mapping[str, float]:
    """Known scores of a task by its name, see `Task.reference`, without its simulator.

    There are none of tasks outside this library, whose code is not run, and none where an option
    changes what is scored.
    """
    from rate.tasks.gym.options import split

    try:
        base, options = split(name)
        if ":" in base or options.environment or options.horizon or options.metric:
            return {}
        key, _, size = base.partition("/")
        return discover()[key].make(size).reference
    except Exception:  # a simulator that is not installed fails in its own way
        return {}


def families() -> dict[str, str]:
    """Return one-line descriptions by pattern, such as `tmaze/<T>`: of every family, and of
    addresses of third-party environments."""
    from rate.tasks.gym import make

    patterns = {f"{key}/{family.pattern}": family.about for key, family in discover().items()}
    return patterns | make.PATTERNS


@cache
def discover() -> Mapping[str, Family]:
    """Return every family by the part of its names before the slash, in alphabetical order."""
    by_key: dict[str, Family] = {}
    for name in sorted(info.name for info in pkgutil.iter_modules([str(Path(__file__).parent)])):
        module = importlib.import_module(f"rate.tasks.{name}")
        for key, family in getattr(module, "TASKS", {}).items():
            if key in by_key:
                raise ValueError(
                    f"two task families are called {key!r}; the second is in rate.tasks.{name}"
                )
            by_key[key] = family
    return dict(sorted(by_key.items()))


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
        name = f"{close[0]}/{family.example}"
    return f"Did you mean {name!r}? "
