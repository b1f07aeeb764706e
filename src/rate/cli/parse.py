"""Options of a command from the signature and the docstring of the function behind it.

tyro parses a dataclass that mirrors the parameters. Fields of a parameter that is a dataclass
itself are mirrored in the same way. Values become the function's own types after parsing, so that
what a type refuses is an error of the command and not of tyro.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, make_dataclass
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import docstring_parser
import tyro

HIDDEN = {"show_progress", "labels", "sinks"}
"""Parameters that the command line sets by itself."""

ALIASES = {"variants": ["--models"]}
"""Further spellings of an option."""

NAMES = {"file_format": "format", "dataset_id": "id"}
"""Options that are not spelled as their parameter."""

METAVARS = {
    str: "{}",
    Path: "{}",
    Sequence[str]: "{0} [{0} ...]",
    Sequence[str | Path]: "{0} [{0} ...]",
}
"""What stands for a positional argument in the help, by its type."""

OPTIONAL = {kind | None: kind.__name__.upper() for kind in (str, int, float, Path)}
"""What stands for an option that may be None."""


@dataclass(frozen=True)
class Reader:
    """How a type that is not simple is read from the command line."""

    words: Any
    """What tyro reads: `str`, `Path` or `Sequence[str]`."""
    read: Callable[[Any], Any]
    """Makes a value of the type from it."""
    metavar: str
    """What stands for a value in the help."""


def parse(
    function: Callable[..., Any],
    arguments: Sequence[str],
    prog: str,
    *,
    types: Mapping[Any, type | Reader] | None = None,
    added: type | None = None,
    about: str = "",
    defaults: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Read the arguments of a function from the command line; `--help` and mistakes exit.

    The first parameter is positional unless it is a dataclass; the others are options. Fields of a
    dataclass are options, too; a dataclass in a dataclass puts its name and a dot before its own.

    Args:
        function: A function with type hints and a docstring with `Args:`.
        arguments: Words of the command line behind `prog`.
        prog: The command, such as "rate collect".
        types: Dataclasses, or what `mirror` returns, in place of types in the hints; and readers.
        added: What `mirror` returns for options that are not the function's.
        about: Text for the help, after the function's own.
        defaults: Values of parameters, in place of the function's own defaults.

    Returns:
        Keyword arguments for the function, and "added" if there is one.
    """
    helps, hints = _helps(function), get_type_hints(function)
    options: list[tuple[str, Any, Any]] = []
    for name, parameter in signature(function).parameters.items():
        if parameter.kind is not Parameter.VAR_KEYWORD and name not in HIDDEN:
            kind, marks = _kind(hints[name], types or {})
            if hasattr(kind, "restore"):
                marks = [tyro.conf.arg(name="")]
            elif not options:
                metavar = METAVARS[kind].format(name.upper()) if kind in METAVARS else None
                argument = tyro.conf.arg(help=helps.get(name), metavar=metavar)
                marks += [argument, tyro.conf.Positional]
            else:
                marks += [_option(NAMES.get(name, name), helps.get(name), kind, marks)]
            value = (defaults or {}).get(name, parameter.default)
            default = () if value is Parameter.empty else (value,)
            options.append((name, Annotated[(kind, *marks)], _field(kind, default)))
    if added:
        options.append(("added", Annotated[added, tyro.conf.arg(name="")], field()))
    description = docstring_parser.parse_from_object(function).description
    parsed: Any = tyro.cli(
        make_dataclass("Command", options, kw_only=True),
        args=list(arguments),
        prog=prog,
        description="\n\n".join(filter(None, [description, about])),
    )
    values = _values(parsed)
    for name, _, option in options:
        if values[name] in ([], ()) and option.default_factory is MISSING:
            raise ValueError(f"at least one {name.removesuffix('s')} is needed, but none was given")
    return values


def mirror(
    config: Any,
    names: Mapping[str, str] | None = None,
    *,
    types: Mapping[Any, type | Reader] | None = None,
    absent: str = "",
) -> type:
    """A plain dataclass for tyro with the fields of another one, which `restore` turns into it.

    Args:
        config: The dataclass.
        names: Spellings of the fields to take; by default all, as they are.
        types: See `parse`.
        absent: A further choice of the first field, and its default, which stands for None in place
            of a `config`.
    """
    helps, hints = _helps(config), get_type_hints(config)
    own = [item.name for item in fields(config) if item.name not in HIDDEN]
    names = names or {name: name for name in own}
    options: list[tuple[str, Any, Any]] = []
    for item in fields(config):
        if item.name in names:
            kind, marks = _kind(hints[item.name], types or {})
            default = () if item.default is MISSING else (item.default,)
            if item.default_factory is not MISSING:
                default = (item.default_factory(),)
            if absent and not options:
                kind, default = Literal[(absent, *get_args(kind))], (absent,)
            name, text = names[item.name], helps.get(item.name)
            marks += [getattr(kind, "mark", None) or _option(name, text, kind, marks)]
            options.append((name, Annotated[(kind, *marks)], _field(kind, default)))

    def restore(parsed: Any) -> Any:
        values = _values(parsed)
        if absent and absent in values.values():
            return None
        return config(**{name: values[here] for name, here in names.items()})

    def holds(value: Any) -> bool:
        return isinstance(value, config) or (bool(absent) and value is None)

    made: Any = make_dataclass(config.__name__, options, frozen=True, kw_only=True)
    made.names, made.restore, made.holds = names, restore, staticmethod(holds)
    made.mark = tyro.conf.arg(name="" if absent else None)
    return made  # type: ignore[no-any-return]


def _kind(hint: Any, types: Mapping[Any, type | Reader]) -> tuple[Any, list[Any]]:
    """A type as tyro gets it: simple, replaced, or the mirror of a dataclass; and its reader."""
    replaced: Any = types.get(hint, hint)
    parts = get_args(replaced)
    optional = type(None) in parts
    for part in (replaced, *parts):
        reader = part if isinstance(part, Reader) else types.get(get_origin(part) or part)
        if isinstance(reader, Reader):
            return (reader.words | None if optional else reader.words), [reader]
    if is_dataclass(replaced) and not hasattr(replaced, "restore"):
        return mirror(replaced, types=types), []
    several = [part for part in parts if get_origin(part) is Sequence]
    path = Path in parts or any(get_origin(part) is os.PathLike for part in parts)
    if path and not several:
        return (Path | None if optional else Path), []
    return (several[0] if several else replaced), []


def _option(name: str, text: str | None, kind: Any, marks: Sequence[Reader]) -> Any:
    metavar = marks[0].metavar if marks else OPTIONAL.get(kind)
    spelled, aliases = name.replace("_", "-"), ALIASES.get(name)
    return tyro.conf.arg(name=spelled, help=text, aliases=aliases, metavar=metavar)


def _field(kind: Any, default: tuple[Any, ...]) -> Any:
    """A field for tyro; `default` holds one value, or none."""
    if hasattr(kind, "restore"):
        default = tuple(_reflected(kind, value) for value in default if kind.holds(value))
    elif default and get_origin(kind) is Sequence:
        default = (tuple(default[0] or ()),)
    return field(default_factory=lambda: default[0]) if default else field()


def _reflected(mirrored: Any, value: Any) -> Any:
    """An instance of a dataclass, or None in place of one, as an instance of its mirror."""
    if value is None:
        return mirrored()
    kinds: dict[str, Any] = {item.name: item.type for item in fields(mirrored)}
    values = {}
    for name, here in mirrored.names.items():
        kind, part = get_args(kinds[here])[0], getattr(value, name)
        if hasattr(kind, "restore"):
            part = _reflected(kind, part) if kind.holds(part) else kind()
        values[here] = part
    return mirrored(**values)


def _values(parsed: Any) -> dict[str, Any]:
    """What tyro has parsed, of the function's own types, by name."""
    values = {}
    for item in fields(parsed):
        value = getattr(parsed, item.name)
        readers = [mark for mark in get_args(item.type) if isinstance(mark, Reader)]
        if readers and value is not None:
            value = readers[0].read(value)
        values[item.name] = value.restore() if hasattr(type(value), "restore") else value
    return values


def _helps(described: Any) -> dict[str, str]:
    """What the docstring of a function says of its parameters, or that of a class of its fields."""
    sources = described.__mro__[-2::-1] if isinstance(described, type) else [described]
    texts = [text for one in sources for text in docstring_parser.parse_from_object(one).params]
    return {text.arg_name: " ".join((text.description or "").split()) for text in texts}
