"""Tasks by name: how a family is found in this package, and what a wrong name is told."""

import difflib
import importlib.util
import pkgutil
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import gymnasium

from rate.tasks.task import Family, Task


def find(name: str) -> Task:
    """Return the task of a name such as ``tmaze/90``, ``gym:CartPole-v1`` or
    ``package.module:make``.

    Options may follow, as in ``gym:CartPole-v1,horizon=200,expert=random``;
    ``rate.tasks.gym.options`` describes them.

    Raises:
        ValueError: No family or no size of that name; the message says what is allowed and what is
        close. ModuleNotFoundError: The simulator is not installed; the message says which extra
        brings it.
    """
    from rate.tasks.gym import make  # it needs this module
    from rate.tasks.gym.options import split

    base, options = split(name)
    if ":" in base:
        task = make.task(name, base, options)
    elif options.environment:
        raise ValueError(
            f"{name!r}: {base} is a task of this library and takes no arguments of an environment"
        )
    else:
        task = _of_family(base)
    given = {"horizon": options.horizon, "target_return": options.target_return}
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if options.metric:
        changes |= {"metric": options.metric, "score": make.SCORES[options.metric]}
    if options.expert:
        changes["expert"] = make.expert(options.expert, partial(getattr, task, "action_space"))
    return replace(task, name=name, **changes) if changes else task


def _of_family(name: str) -> Task:
    """The task of a name such as ``tmaze/90``, found in this package."""
    found = discover()
    key, _, size = name.partition("/")
    if key not in found:
        raise ValueError(
            f"there is no task {name!r}. {_suggestion(key, size)}Tasks: {', '.join(families())}"
        )
    family = found[key]
    missing = [module for module in family.modules if importlib.util.find_spec(module) is None]
    if missing:
        raise ModuleNotFoundError(
            f"the task {name!r} needs {', '.join(missing)}, not installed here: pip install "
            f"'rate-rl[{family.extra}]'"
        )
    try:
        return family.make(size)
    except ValueError as error:
        raise ValueError(
            f"{name!r} is not a task: {error}. Names look like {family.pattern}, for example "
            f"{family.example}"
        ) from error


def families() -> dict[str, str]:
    """Return one-line descriptions by pattern, such as ``tmaze/<T>``: of every family, and of
    addresses of others."""
    from rate.tasks.gym import make

    return {family.pattern: family.description for family in discover().values()} | make.PATTERNS


@cache
def discover() -> Mapping[str, Family]:
    """Return every family by the part of its names before the slash, in alphabetical order."""
    found: dict[str, Family] = {}
    for module in sorted(
        module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])
    ):
        for key, family in getattr(
            importlib.import_module(f"rate.tasks.{module}"), "TASKS", {}
        ).items():
            if key in found:
                raise ValueError(
                    f"two task families are called {key!r}; the second is in rate.tasks.{module}"
                )
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
