"""Kinds of models and objectives: a file of a package defines one by its class `Config`."""

import ast
import importlib
import importlib.util
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from rate.addresses import address_of, import_address
from rate.messages import brief
from rate.values import checked


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
        return described(self.package, "Config")

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
            known = unknown(self.kind, name, self.names())
            raise ValueError(f"{known}, and addresses such as my_module:Config")
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
        options = dict(checked(self.kind, data, dict))
        name = checked(f"the name of the {self.kind}", options.pop("name", None), str)
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
    unknown = set(checked(cls.__name__, data, dict)) - set(allowed)
    if unknown:
        raise ValueError(
            f"{cls.__name__} has no field {brief(sorted(unknown))}; its fields are "
            f"{sorted(allowed)}"
        )
    for name, item in allowed.items():
        if name not in data and item.default is item.default_factory:  # both are MISSING
            raise ValueError(f"{cls.__name__} lacks its field {name!r}")
    return cls(**data)


def unknown(kind: str, name: str, names: Iterable[str]) -> str:
    """Words for a name that is none of those of a kind: the closest of them, and all of them."""
    close = get_close_matches(name, list(names), 1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return f"unknown {kind} {name!r}{hint} {kind.capitalize()}s are: {', '.join(names)}"


@cache
def described(package: str, defined: str) -> dict[str, str]:
    """The files of a package that define a name, by their own names, with the first sentence about
    each; none is imported."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    sentences = {}
    for path in sorted(Path(spec.submodule_search_locations[0]).glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {getattr(node, "name", "") for node in tree.body}
        assigned = [node.targets[0] for node in tree.body if isinstance(node, ast.Assign)]
        if defined in names | {getattr(target, "id", "") for target in assigned}:
            docstring = (ast.get_docstring(tree) or "").split("\n\n")[0]
            sentences[path.stem.replace("_", "-")] = " ".join(docstring.split())
    return sentences
