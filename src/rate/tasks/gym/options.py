"""Options behind a task's name: `tmaze/90,expert=random` or
`gym:CartPole-v1,horizon=200,environment.length=0.7`.

A name with its options is all that determines a task, so it can be written into datasets, recipes
and rows and be sent to other processes.
"""

import ast
import contextlib
import json
import math
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium

from rate.values import plain

__all__ = ["Options", "addresses", "join", "read_arguments", "respelled", "split"]

ENVIRONMENT = "environment."
"""What stands before the name of a keyword argument of the environment."""

NAMES = ("horizon", "target_return", "expert", "metric")
_ALLOWED = "horizon, target_return, expert, metric and environment.<argument>"
_BOOLEANS = re.compile("true|false|yes|no|on|off|[yntf]|none|null|nil", re.IGNORECASE)
"""Words, in any case, that may be meant as a boolean or as None; as text they would count as
true."""
_OPTION = re.compile(r",(?=[A-Za-z_][\w.]*=)")
_CONSTANTS = {
    "true": True,
    "false": False,
    "null": None,
    "inf": math.inf,
    "Infinity": math.inf,
    "nan": math.nan,
    "NaN": math.nan,
}


@dataclass(frozen=True)
class Options:
    """What a name says beyond the task itself; None where it says nothing."""

    horizon: int | None = None
    """Steps after which an episode is cut off; by default the task's own."""
    target_return: float | None = None
    """The return asked for; by default the task's own."""
    expert: str | None = None
    """Who acts: random, one of the task's own by name, or module:Class of an agent; by default the
    task's own expert."""
    metric: str | None = None
    """What scores an episode: return; success, which is 1 where the return is positive; or one of
    the task's own."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the environment, such as size=5 noise=0.1."""


def split(name: str) -> tuple[str, Options]:
    """Split a name into the task itself and its options.

    A value is a literal of JSON or Python, or else text; a comma that is not followed by `key=`
    belongs to the value before it, so that lists need no escape.

    Raises:
        ValueError: There is no option of that name, or it has no such value; or a value may be
            meant as a literal and is none.
    """
    base, *entries = _OPTION.split(name)
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
        place[key] = _value(key, text)
    return base, _checked(name, values, environment)


def addresses(name: str) -> list[str]:
    """Addresses of code outside this library that a task of this name runs.

    An environment that Gymnasium has registered is none, unless it is given arguments and its code
    is not Gymnasium's own: these may name code.
    """
    base, options = split(name)
    found = [options.expert] if options.expert and ":" in options.expert else []
    registry, _, key = base.partition(":")
    if registry == "gym" and ":" not in key:
        entry = getattr(gymnasium.registry.get(key), "entry_point", "")
        own = isinstance(entry, str) and entry.startswith("gymnasium.")
        return [*found, base] if options.environment and not own else found
    return [*found, base] if ":" in base else found


def join(name: str, options: Options) -> str:
    """The name with options added; those given take the place of those in the name."""
    base, before = split(name)
    entries: dict[str, Any] = {}
    for key in NAMES:
        value = getattr(options, key)
        entries[key] = getattr(before, key) if value is None else value
    for key, value in {**before.environment, **options.environment}.items():
        entries[ENVIRONMENT + key] = value
    texts = [
        f"{key}={_text(key, value)}"
        for key, value in entries.items()
        if value is not None or key.startswith(ENVIRONMENT)
    ]
    joined = ",".join([base, *texts])
    split(joined)  # what cannot be read back is refused now, not when the name is used
    return joined


def respelled(name: str) -> str:
    """The name with the one spelling of each value; options keep their order."""
    base, *entries = _OPTION.split(name)
    pairs = [entry.partition("=") for entry in entries]
    return ",".join([base, *(f"{key}={_text(key, _value(key, text))}" for key, _, text in pairs)])


def read_arguments(entries: Iterable[str]) -> dict[str, Any]:
    """Keyword arguments of an environment from texts such as `size=5`; values are read as `split`
    does.

    Raises:
        ValueError: A text is no `key=value`, or its value may be meant as a literal and is none.
    """
    arguments = {}
    for entry in entries:
        key, equals, text = entry.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(
                f"{entry!r} is not a keyword argument of an environment: write key=value, "
                "such as size=5"
            )
        arguments[key] = _value(key, text)
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
    target = options.target_return
    if target is not None and not (type(target) in (int, float) and math.isfinite(target)):
        raise ValueError(f"{name!r}: target_return is {target!r}, but it must be a finite number")
    for key in ("expert", "metric"):
        value = getattr(options, key)
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{name!r}: {key} is {value!r}, but it must be a name")
    return options


def _value(key: str, text: str) -> Any:
    """The value of a text: a literal of JSON or Python, or the text itself.

    Raises:
        ValueError: The text may be meant as a boolean, a list or the like, and is none.
    """
    text = text.strip()
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # of texts such as "5is"
            return _literal(ast.parse(text, mode="eval").body)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        if _BOOLEANS.fullmatch(text):
            advice = f"write true, false or null, or {json.dumps(text)} with its quotes for text"
        elif text[:1] in set("([{\"'"):
            advice = (
                f"it begins as a list, tuple, dictionary or quoted text and is none ({error}); "
                'write a literal of Python or JSON, such as [1, 2], (3, 4) or ["a", "b"]'
            )
        else:
            return text
        raise ValueError(f"{key}={text}: {advice}") from error


def _literal(node: ast.expr) -> Any:
    """The value of an expression that holds nothing but plain values."""
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None):
            return node.value
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
            number = _literal(node.operand)
            if type(number) in (int, float):
                return -number if isinstance(node.op, ast.USub) else number
        case ast.List():
            return [_literal(part) for part in node.elts]
        case ast.Tuple():
            return tuple(_literal(part) for part in node.elts)
        case ast.Dict() if None not in node.keys:
            keys = [_literal(key) for key in node.keys if key]
            return dict(zip(keys, map(_literal, node.values), strict=True))
    raise ValueError(f"{ast.unparse(node)} is no literal")


def _text(key: str, value: Any) -> str:
    """Text that `_value` reads back: one spelling for each value. Text stays as it is unless it
    would be read as something else."""
    value = plain(value)
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            if _value(key, value) == value:
                return value
    text = json.dumps(value)
    return text if repr(_value(key, text)) == repr(value) else repr(value)
