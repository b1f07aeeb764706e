"""Models: one backbone per file; the file's name is the model's name on the command line."""

import ast
import importlib
from dataclasses import asdict, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    """The configuration class of a model; a wrong name is a ValueError that says what is
    allowed."""
    if name not in names():
        close = get_close_matches(name, names(), 1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise ValueError(f"unknown model {name!r}{hint} Models are: {', '.join(names())}")
    return importlib.import_module(f"rate.models.{name.replace('-', '_')}").Config


def model_name(config: "ModelConfig") -> str:
    """The name of the model that a configuration belongs to."""
    name = type(config).__module__.rpartition(".")[2].replace("_", "-")
    if name not in names():
        raise ValueError(
            f"{type(config).__module__}.{type(config).__qualname__} is not the Config of a "
            f"model; models: {', '.join(names())}"
        )
    return name


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
