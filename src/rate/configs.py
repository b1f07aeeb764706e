"""Kinds of models and objectives: a file of a package defines one by its class `Config`; and JSON
data checked against the types of dataclasses."""

import ast
import contextlib
import importlib
import importlib.util
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from rate.addresses import address_of, import_address
from rate.messages import brief


@dataclass(frozen=True)
class Configs:
    """The configuration classes of a package, found by file name without a registry.

    A kind outside the package is named by the address of its class, such as `my_module:Config` or
    `path/to/file.py:Config`; using it runs its code.
    """

    kind: str
    """What errors call a member, such as "model"."""
    package: str
    """The package whose files are searched, such as "rate.models"."""
    base: str
    """Address of the class that configurations derive from."""

    def names(self) -> dict[str, str]:
        """Every kind in the package with the first sentence about it; none is imported."""
        return _names(self.package)

    def find(self, name: str) -> type[Any]:
        """The configuration class of a kind.

        Args:
            name: Its name, or an address.

        Raises:
            ValueError: there is no such kind; the message says what is allowed.
        """
        if ":" in name:
            return self._outside(name)
        if name not in self.names():
            close = get_close_matches(name, self.names(), 1)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            raise ValueError(
                f"unknown {self.kind} {name!r}{hint} {self.kind.capitalize()}s are: "
                f"{', '.join(self.names())}, and addresses such as my_module:Config"
            )
        module = importlib.import_module(f"{self.package}.{name.replace('-', '_')}")
        found: type[Any] = module.Config
        return found

    def name_of(self, config: Any) -> str:
        """The name of the kind that a configuration belongs to; an address outside the package."""
        package, _, name = type(config).__module__.rpartition(".")
        return name.replace("_", "-") if package == self.package else address_of(type(config))

    def to_json(self, config: Any) -> dict[str, Any]:
        """A kind's name and options as JSON data."""
        return {"name": self.name_of(config), **asdict(config)}

    def from_json(self, data: Any) -> Any:
        """The configuration that `to_json` wrote; anything else is a ValueError."""
        options = dict(checked(data, dict, self.kind))
        name = checked(options.pop("name", None), str, f"the name of the {self.kind}")
        return build(self.find(name), options)

    def _outside(self, address: str) -> type[Any]:
        base, found = import_address(self.base), import_address(address)
        if not (isinstance(found, type) and issubclass(found, base)):
            raise ValueError(
                f"{address} is no {self.kind}: it must name a frozen dataclass derived from "
                f"{self.base.replace(':', '.')}"
            )
        return found


def build(cls: type[Any], data: Any) -> Any:
    """An instance of a dataclass from JSON data.

    Raises:
        ValueError: a field is unknown, missing or of another type; the message names it.
    """
    allowed = {item.name: item for item in fields(cls)}
    unknown = set(checked(data, dict, cls.__name__)) - set(allowed)
    if unknown:
        raise ValueError(
            f"{cls.__name__} has no field {brief(sorted(unknown))}; its fields are "
            f"{sorted(allowed)}"
        )
    for name, item in allowed.items():
        if name not in data and item.default is item.default_factory:  # both are MISSING
            raise ValueError(f"{cls.__name__} lacks its field {name!r}")
    hints = get_type_hints(cls)
    return cls(**{name: checked(value, hints[name], name) for name, value in data.items()})


def checked(value: Any, kind: Any, what: str) -> Any:
    """A value of JSON data as a type says: a tuple in place of a list, a named tuple of an object.

    Args:
        value: The value.
        kind: The type of a field: bool, int, float, str, None, a Literal, a tuple, a Mapping, a
            named tuple, or a union of these. Of other types every value is taken.
        what: How the error message names the value.

    Raises:
        ValueError: the value is of another type, a number is not finite or needs more than 64
            bits, or a text cannot be encoded.
    """
    try:
        return _converted(value, kind)
    except TypeError as error:
        raise ValueError(f"{what} must be {_words(kind)}, but is {brief(value)}") from error


def _converted(value: Any, kind: Any) -> Any:
    """See `checked`; a value that does not fit is a TypeError."""
    origin: Any = get_origin(kind)
    inner = get_args(kind)
    if origin in (Union, UnionType):
        for one in inner:
            with contextlib.suppress(TypeError):
                return _converted(value, one)
        raise TypeError
    if origin is tuple and inner and isinstance(value, list):
        kinds = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        if len(kinds) == len(value):
            return tuple(map(_converted, value, kinds))
    elif origin is Mapping and isinstance(value, dict):
        return {name: _converted(entry, inner[1]) for name, entry in value.items()}
    elif hasattr(kind, "_fields") and isinstance(value, dict):
        hints = get_type_hints(kind)
        return kind(*(_converted(value.get(name), hints[name]) for name in kind._fields))
    elif _fits(value, kind):
        return tuple(value) if isinstance(value, list) else value
    raise TypeError


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return any(type(value) is type(one) and value == one for one in get_args(kind))
    if kind in (int, float) and type(value) is int:
        return abs(value) < 2**63
    if kind in (int, float):
        return type(value) is kind and math.isfinite(value)
    if kind is str:
        letters = value if isinstance(value, str) else "\0"
        return not any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in letters)
    if kind in (None, NoneType):
        return value is None
    if kind in (bool, dict, list):
        return type(value) is kind
    if get_origin(kind) in (tuple, Mapping) or hasattr(kind, "_fields"):
        return isinstance(value, tuple)  # as a recipe in memory holds it
    return not (isinstance(kind, type) and is_dataclass(kind)) or isinstance(value, kind)


def _words(kind: Any) -> str:
    """A type as an error message names it."""
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(repr, get_args(kind)))}"
    return f"of the type {kind.__name__ if isinstance(kind, type) else kind}"


@cache
def _names(package: str) -> dict[str, str]:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    sentences = {}
    for path in sorted(Path(spec.submodule_search_locations[0]).glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.ClassDef) and node.name == "Config" for node in tree.body):
            docstring = (ast.get_docstring(tree) or "").split("\n\n")[0]
            sentences[path.stem.replace("_", "-")] = " ".join(docstring.split())
    return sentences
