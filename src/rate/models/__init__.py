"""Models: one backbone per file; the file's name is the model's name on the command line.

A model outside this library is named by the address of its configuration class, such as
`my_module:Config` or `path/to/file.py:Config`; using it runs its code.
"""

import ast
import importlib
from dataclasses import asdict, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rate.addresses import address_of, import_address

if TYPE_CHECKING:
    from rate.models.backbone import ModelConfig


@cache
def names() -> dict[str, str]:
    """Every model with the first sentence about it, found without importing any."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text())
        if any(isinstance(node, ast.ClassDef) and node.name == "Config" for node in tree.body):
            docstring = (ast.get_docstring(tree) or "").split("\n\n")[0]
            found[path.stem.replace("_", "-")] = " ".join(docstring.split())
    return found


def config_class(name: str) -> type["ModelConfig"]:
    """The configuration class of a model.

    Args:
        name: The name of a model, or the address of a subclass of `ModelConfig`.

    Raises:
        ValueError: there is no such model; the message says what is allowed.
    """
    if ":" in name:
        return _outside_class(name)
    if name not in names():
        close = get_close_matches(name, names(), 1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise ValueError(
            f"unknown model {name!r}{hint} Models are: {', '.join(names())}, and addresses such "
            "as my_module:Config"
        )
    found: type[ModelConfig] = importlib.import_module(
        f"{__name__}.{name.replace('-', '_')}"
    ).Config
    return found


def _outside_class(address: str) -> type["ModelConfig"]:
    from rate.models.backbone import ModelConfig

    found = import_address(address)
    if not (isinstance(found, type) and issubclass(found, ModelConfig)):
        raise ValueError(
            f"{address} is no model: it must name a frozen dataclass derived from "
            "rate.models.backbone.ModelConfig"
        )
    return found


def model_name(config: "ModelConfig") -> str:
    """The name of the model that a configuration belongs to; its address for an outside model."""
    package, _, name = type(config).__module__.rpartition(".")
    if package == __name__:
        return name.replace("_", "-")
    return address_of(type(config))


def model_to_json(config: "ModelConfig") -> dict[str, Any]:
    """A model's name and options as JSON data."""
    return {"name": model_name(config), **asdict(config)}


def model_from_json(data: dict[str, Any]) -> "ModelConfig":
    """The model configuration that `model_to_json` wrote."""
    options = dict(data)
    return _build(config_class(options.pop("name")), options)


def _build(cls: type, data: dict[str, Any]) -> Any:
    allowed = {item.name for item in fields(cls)}
    unknown = set(data) - allowed
    if unknown:
        raise ValueError(
            f"{cls.__name__} has no field {sorted(unknown)}; its fields are {sorted(allowed)}"
        )
    return cls(
        **{name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    )
