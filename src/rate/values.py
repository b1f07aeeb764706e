"""Values of options: brought to plain ones where they enter, and checked against type and range."""

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache, wraps
from inspect import signature
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    ParamSpec,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from rate.messages import brief

Given = ParamSpec("Given")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Range:
    """Which numbers an option may have, as a mark of its type: `Annotated[int, Range(1)]`."""

    least: float = -math.inf
    """The smallest number."""
    most: float = math.inf
    """The largest number."""
    open: str = ""
    """Which of the two bounds are none of the numbers: "(" the smallest, ")" the largest."""

    def __contains__(self, number: float) -> bool:
        return (
            self.least <= number <= self.most
            and not ("(" in self.open and number == self.least)
            and not (")" in self.open and number == self.most)
        )

    def demand(self, number: float) -> str:
        """What a number does not do that is none of these."""
        if self.most <= 1:
            left, right = "(" if "(" in self.open else "[", ")" if ")" in self.open else "]"
            return f"lie in {left}{self.least}, {self.most}{right}"
        if number > self.most:
            return f"be at most {self.most}"
        return f"be {'more than' if '(' in self.open else 'at least'} {self.least}"


Positive = Annotated[int, Range(1)]
NotNegative = Annotated[int, Range(0)]
NotNegativeFloat = Annotated[float, Range(0)]
Seed = Annotated[int, Range(0, 2**32 - 1)]
FirstSeed = Annotated[int, Range(0, 2**62)]
"""The first of consecutive seeds of episodes."""
Rate = Annotated[float, Range(0, 1, open=")")]
"""A rate of dropout, or a decay rate: from 0 to less than 1."""
Fraction = Annotated[float, Range(0, 1, open="(")]
"""A fraction of a whole, more than 0."""


@dataclass(frozen=True)
class Checked:
    """A dataclass whose fields are plain values of their types and within their ranges.

    Raises:
        ValueError: a value has another type, is out of its range or is not finite; the message
            names the field.
    """

    prefix: ClassVar[str] = ""
    """What stands before the name of a field in messages, as on the command line."""

    def __post_init__(self) -> None:
        hints = _hints(type(self))  # type: ignore[arg-type]  # a class is hashable
        for item in fields(self):
            value = checked(self.prefix + item.name, getattr(self, item.name), hints[item.name])
            object.__setattr__(self, item.name, value)


def checks_arguments(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """A function whose arguments become plain values of their types, within their ranges, before
    anything is done; a text in place of several is one of them.

    Raises:
        ValueError: an argument has another type or is out of its range; the message names it.
    """

    @wraps(function)
    def call(*arguments: Given.args, **options: Given.kwargs) -> Result:
        bound = signature(function).bind(*arguments, **options)
        for name in bound.arguments.keys() & _hints(function).keys():
            bound.arguments[name] = checked(name, bound.arguments[name], _hints(function)[name])
        return function(*bound.args, **bound.kwargs)

    return call


def checked(name: str, value: Any, hint: Any) -> Any:
    """A plain value of a type, within its range.

    Args:
        name: How messages name the value.
        value: What was given. Numbers of NumPy, whole floats in place of integers, and paths in
            place of text become what the type says.
        hint: The type, with a `Range` if it is marked by one. Types other than numbers, booleans,
            texts, choices and sequences of these are not checked.

    Raises:
        ValueError: it is no value of the type, out of range, or not finite.
    """
    kind, *marks = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None and NoneType in parts:
            return None
        rest = [part for part in parts if part is not NoneType]
        return checked(name, value, rest[0]) if len(rest) == 1 else value
    if origin is Literal:
        value = plain(value)
        if value not in parts or type(value) not in map(type, parts):
            raise ValueError(
                f"{name} must be one of {', '.join(map(str, parts))}, not {brief(value)}"
            )
        return value
    if origin in (Sequence, tuple) and isinstance(value, str):
        value = (value,)
    if origin in (Sequence, tuple):
        if not isinstance(value, Iterable) or isinstance(value, Mapping):
            raise ValueError(f"{name} must be a list or tuple, but {brief(value)} was given")
        value = tuple(value)
        several = origin is Sequence or parts[-1] is Ellipsis
        kinds = parts[:1] * len(value) if several else parts
        if len(kinds) != len(value):
            raise ValueError(f"{name} must be {len(kinds)} values, but {value} was given")
        return tuple(checked(name, *pair) for pair in zip(value, kinds, strict=True))
    if isinstance(kind, type) and is_dataclass(kind) and not isinstance(value, kind):
        raise ValueError(f"{name} must be a {kind.__name__}, but {brief(value)} was given")
    if kind not in _SCALARS and origin is not Mapping:
        return value
    try:
        value = plain(value)
    except RecursionError:
        raise ValueError(f"{name} is nested too deeply: {brief(value)}") from None
    return _scalar(name, value, kind, next(iter(marks), None)) if kind in _SCALARS else value


_SCALARS = {
    int: "a whole number",
    float: "a finite number",
    bool: "True or False",
    str: "a text",
    dict: "an object with named entries",
}


def _scalar(name: str, value: Any, kind: type, allowed: Range | None) -> Any:
    if kind is int and type(value) is float and value.is_integer():
        value = int(value)
    fits = type(value) is kind or (kind is float and type(value) is int)
    if type(value) is int:
        fits = fits and abs(value) < 2**63
    elif type(value) is float:
        fits = fits and math.isfinite(value)
    elif type(value) is str:
        # Neither can stand in a path or be encoded.
        fits = fits and not re.search("[\0\ud800-\udfff]", value)
    if not fits:
        raise ValueError(f"{name} must be {_SCALARS[kind]}, but {brief(value)} was given")
    if allowed is not None and value not in allowed:
        raise ValueError(f"{name} must {allowed.demand(value)}, but {value} was given")
    return value


def plain(value: Any) -> Any:
    """A value as one that JSON can hold: arrays and numbers of NumPy and of other libraries as
    Python's own, paths as text, and so inside lists, tuples and dictionaries. Anything else stays
    as it is."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, str):
        return str.__str__(value)  # of its subclasses
    if isinstance(value, Mapping):
        return {plain(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value)) if type(value) in (list, tuple) else value
    if isinstance(getattr(value, "shape", None), tuple) and callable(
        convert := getattr(value, "tolist", None)
    ):
        return convert()  # of arrays and of single numbers
    return value


@cache
def _hints(described: Any) -> dict[str, Any]:
    return get_type_hints(described, include_extras=True)
