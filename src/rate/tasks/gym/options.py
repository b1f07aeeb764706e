"""Options behind a task's name: `tmaze/90,expert=random` or
`gym:CartPole-v1,horizon=200,environment.length=0.7`.

A name with its options is all that determines a task, so it can be written into datasets, recipes
and rows and be sent to other processes.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Options", "join", "read_arguments", "split"]

ENVIRONMENT = "environment."
"""What stands before the name of a keyword argument of the environment."""

NAMES = ("horizon", "target_return", "expert", "metric")
METRICS = ("return", "success")
_ALLOWED = "horizon, target_return, expert, metric and environment.<argument>"


@dataclass(frozen=True)
class Options:
    """What a name says beyond the task itself; None where it says nothing."""

    horizon: int | None = None
    """Steps after which an episode is cut off; by default the task's own."""
    target_return: float | None = None
    """The return asked for; by default the task's own."""
    expert: str | None = None
    """Who acts: random, or module:Class of an agent; by default the task's own expert."""
    metric: str | None = None
    """What scores an episode: return, or success, which is 1 where the return is positive."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the environment, such as size=5 noise=0.1."""


def split(name: str) -> tuple[str, Options]:
    """Split a name into the task itself and its options.

    A value is read as JSON where it is JSON and as text otherwise; a comma that is not followed by
    `key=` belongs to the value before it, so that lists need no escape.

    Raises:
        ValueError: There is no option of that name, or it has no such value.
    """
    base, *entries = re.split(r",(?=[A-Za-z_][\w.]*=)", name)
    if "," in base:
        raise ValueError(f"{name!r}: options are written ,key=value; there are {_ALLOWED}")
    values: dict[str, Any] = {}
    environment: dict[str, Any] = {}
    for entry in entries:
        key, _, text = entry.partition("=")
        place = environment if key.startswith(ENVIRONMENT) else values
        key = key.removeprefix(ENVIRONMENT)
        if key in place:
            raise ValueError(f"{name!r} gives {key} twice: give it once")
        place[key] = _value(text)
    return base, _checked(name, values, environment)


def join(name: str, options: Options) -> str:
    """The name with options added; those given take the place of those in the name."""
    base, before = split(name)
    entries: dict[str, Any] = {}
    for key in NAMES:
        value = getattr(options, key)
        entries[key] = getattr(before, key) if value is None else value
    for key, value in {**before.environment, **options.environment}.items():
        entries[ENVIRONMENT + key] = value
    texts = [f"{key}={_text(value)}" for key, value in entries.items() if value is not None]
    joined = ",".join([base, *texts])
    split(joined)  # what cannot be read back is refused now, not when the name is used
    return joined


def read_arguments(entries: Iterable[str]) -> dict[str, Any]:
    """Keyword arguments of an environment from texts such as `size=5`; values are JSON, or else
    text.

    Raises:
        ValueError: A text is no `key=value`.
    """
    arguments = {}
    for entry in entries:
        key, equals, text = entry.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(
                f"{entry!r} is not a keyword argument of an environment: write key=value, "
                "such as size=5"
            )
        arguments[key] = _value(text)
    return arguments


def _checked(name: str, values: Mapping[str, Any], environment: Mapping[str, Any]) -> Options:
    unknown = sorted(set(values) - set(NAMES))
    if unknown:
        raise ValueError(
            f"{name!r}: there is no option {unknown[0]!r}. Options are {_ALLOWED}; did you "
            f"mean {ENVIRONMENT}{unknown[0]}?"
        )
    options = Options(**values, environment=environment)
    if options.horizon is not None and (type(options.horizon) is not int or options.horizon < 1):
        raise ValueError(
            f"{name!r}: horizon is {options.horizon!r}, but it must be a whole number of "
            "steps, 1 or more"
        )
    if options.target_return is not None and type(options.target_return) not in (int, float):
        raise ValueError(
            f"{name!r}: target_return is {options.target_return!r}, but it must be a number"
        )
    if options.metric not in (None, *METRICS):
        raise ValueError(
            f"{name!r}: metric is {options.metric!r}, but it must be one of {', '.join(METRICS)}"
        )
    if options.expert is not None and not isinstance(options.expert, str):
        raise ValueError(
            f"{name!r}: expert is {options.expert!r}, but it must be 'random' or 'module:Class'"
        )
    return options


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _text(value: Any) -> str:
    """Text that `_value` reads back: text stays as it is unless it would be read as something
    else."""
    return value if isinstance(value, str) and _value(value) == value else json.dumps(value)
