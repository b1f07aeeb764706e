"""Options of a command from the signature and the docstring of the function behind it.

tyro parses a dataclass that mirrors the parameters. Fields of a parameter that is a dataclass
itself are mirrored in the same way. Values become the function's own types after parsing, so that
what a type refuses is an error of the command and not of tyro.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import docstring_parser
import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

HIDDEN = {"show_progress", "labels"}
"""Parameters that the command line sets by itself."""

ALIASES = {"variants": ["--models"]}
"""Further spellings of an option."""

NAMES = {"file_format": "format", "dataset_id": "id"}
"""Options that are not spelled as their parameter."""


@dataclasses.dataclass(frozen=True)
class Reader:
    """How values of a type that is not simple are read from the command line."""

    read: Callable[..., Any]
    """Makes the value of a word, or of a list of words if there may be several."""
    metavar: str
    """What stands for a word in the help."""
    several: bool = False
    """Whether there may be several words."""

    def spec(self) -> PrimitiveConstructorSpec[Any]:
        """The reader in tyro's terms."""
        return PrimitiveConstructorSpec(
            nargs="*" if self.several else 1,
            metavar=f"[{self.metavar} ...]" if self.several else self.metavar,
            instance_from_str=lambda words: _Unread(self, words),
            is_instance=lambda value: isinstance(value, Mapping | _Unread),
            str_from_instance=lambda value: list(map(str, value)),
        )


@dataclasses.dataclass
class _Unread:
    """Words of the command line with their reader."""

    reader: Reader
    words: list[str]

    def restore(self) -> Any:
        return self.reader.read(self.words if self.reader.several else self.words[0])


def parse(
    function: Callable[..., Any],
    arguments: Sequence[str],
    prog: str,
    *,
    replaced: Mapping[Any, type] | None = None,
    readers: Mapping[Any, Reader] | None = None,
    added: type | None = None,
    about: str = "",
) -> dict[str, Any]:
    """Read the arguments of a function from the command line; `--help` and mistakes exit.

    The first parameter is positional unless it is a dataclass; the others are options. Fields of a
    dataclass are options, too; a dataclass in a dataclass puts its name and a dot before its own.

    Args:
        function: A function with type hints and a docstring with `Args:`.
        arguments: Words of the command line behind `prog`.
        prog: The command, such as "rate collect".
        replaced: Dataclasses, or what `mirror` returns, in place of types in the hints.
        readers: How values of further types are read.
        added: What `mirror` returns for options that are not the function's.
        about: Text for the help, after the function's own.

    Returns:
        Keyword arguments for the function, and "added" if there is one.
    """
    described = docstring_parser.parse_from_object(function)
    helps, hints = _helps(function), get_type_hints(function)
    types = {**{kind: kind for kind in readers or {}}, **(replaced or {})}
    fields: list[tuple[str, Any, Any]] = []
    for name, parameter in signature(function).parameters.items():
        if parameter.kind is Parameter.VAR_KEYWORD or name in HIDDEN:
            continue
        kind = _kind(hints[name], types)
        marks = [_mark(NAMES.get(name, name), helps.get(name))]
        if hasattr(kind, "restore"):
            marks = [tyro.conf.arg(name="")]
        elif not fields:
            words = {str: "{}", Path: "{}", Sequence[str]: "{0} [{0} ...]"}
            metavar = words[kind].format(name.upper()) if kind in words else None
            marks = [tyro.conf.arg(help=helps.get(name), metavar=metavar), tyro.conf.Positional]
        default = () if parameter.default is Parameter.empty else (parameter.default,)
        fields.append((name, Annotated[(kind, *marks)], _field(kind, default)))
    if added:
        fields.append(("added", Annotated[added, tyro.conf.arg(name="")], _field(added, ())))
    parsed: Any = tyro.cli(
        dataclasses.make_dataclass("Command", fields, kw_only=True),
        args=list(arguments),
        prog=prog,
        description="\n\n".join(filter(None, [described.description, about])),
        registry=_registry(readers or {}),
    )
    values = {name: _restored(getattr(parsed, name)) for name, *_ in fields}
    for name, _, field in fields:
        if values[name] in ([], ()) and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"at least one {name.removesuffix('s')} is needed, but none was given")
    return values


def mirror(
    config: Any,
    names: Mapping[str, str] | None = None,
    *,
    types: Mapping[Any, Any] | None = None,
    absent: str = "",
) -> type:
    """A plain dataclass for tyro with the fields of another one, which `restore` turns into it.

    Args:
        config: The dataclass.
        names: Spellings of the fields to take; by default all, as they are.
        types: Types in place of others.
        absent: A further choice of the first field, and its default, which stands for None in place
            of a `config`.
    """
    helps, hints = _helps(config), get_type_hints(config)
    own = [item.name for item in dataclasses.fields(config) if item.name not in HIDDEN]
    names = names or {name: name for name in own}
    fields: list[tuple[str, Any, Any]] = []
    for item in dataclasses.fields(config):
        if item.name in names:
            kind, default = _kind(hints[item.name], types or {}), _default(item)
            if absent and not fields:
                kind, default = Literal[(absent, *get_args(kind))], (absent,)
            mark = getattr(kind, "mark", None) or _mark(names[item.name], helps.get(item.name))
            fields.append((names[item.name], Annotated[kind, mark], _field(kind, default)))

    def restore(parsed: Any) -> Any:
        values = {name: _restored(getattr(parsed, here)) for name, here in names.items()}
        return None if absent and absent in values.values() else config(**values)

    def holds(value: Any) -> bool:
        return isinstance(value, config) or (bool(absent) and value is None)

    made: Any = dataclasses.make_dataclass(config.__name__, fields, frozen=True, kw_only=True)
    made.names, made.restore, made.holds = names, restore, staticmethod(holds)
    made.mark = tyro.conf.arg(name="" if absent else None)
    return made  # type: ignore[no-any-return]


def _kind(hint: Any, types: Mapping[Any, Any]) -> Any:
    """A type as tyro gets it: simple, replaced, or the mirror of a dataclass."""
    hint = types.get(hint, hint)
    if dataclasses.is_dataclass(hint) and hint not in types and not hasattr(hint, "restore"):
        return mirror(hint, types=types)
    parts = get_args(hint)
    if Path in parts or any(get_origin(part) is os.PathLike for part in parts):
        return Path | None if type(None) in parts else Path
    several = [part for part in parts if get_origin(part) is Sequence]
    return several[0] if several else hint


def _mark(name: str, text: str | None) -> Any:
    return tyro.conf.arg(name=name.replace("_", "-"), help=text, aliases=ALIASES.get(name))


def _field(kind: Any, default: tuple[Any, ...]) -> Any:
    """A field for tyro; `default` holds one value, or none."""
    if default and default[0] is None and get_origin(kind) is Sequence:
        default = ((),)
    if hasattr(kind, "restore"):
        default = tuple(_reflected(kind, value) for value in default if kind.holds(value))
    if not default:
        return dataclasses.field()
    return dataclasses.field(default_factory=lambda: default[0])


def _default(item: Any) -> tuple[Any, ...]:
    if item.default_factory is not dataclasses.MISSING:
        return (item.default_factory(),)
    return () if item.default is dataclasses.MISSING else (item.default,)


def _reflected(mirrored: Any, value: Any) -> Any:
    """An instance of a dataclass, or None in place of one, as an instance of its mirror."""
    if value is None:
        return mirrored()
    kinds: dict[str, Any] = {item.name: item.type for item in dataclasses.fields(mirrored)}
    values = {}
    for name, here in mirrored.names.items():
        kind, part = get_args(kinds[here])[0], getattr(value, name)
        if not hasattr(kind, "restore"):
            values[here] = part
        else:
            values[here] = _reflected(kind, part) if kind.holds(part) else kind()
    return mirrored(**values)


def _restored(value: Any) -> Any:
    """What was parsed, of the function's own types."""
    return value.restore() if hasattr(type(value), "restore") else value


def _helps(described: Any) -> dict[str, str]:
    """What the docstring of a function says of its parameters, or that of a class of its fields."""
    sources = described.__mro__[-2::-1] if isinstance(described, type) else [described]
    texts = [text for one in sources for text in docstring_parser.parse_from_object(one).params]
    return {text.arg_name: " ".join((text.description or "").split()) for text in texts}


def _registry(readers: Mapping[Any, Reader]) -> ConstructorRegistry:
    registry = ConstructorRegistry()

    @registry.primitive_rule
    def rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        for kind, reader in readers.items():
            if info.type is kind or get_origin(info.type) is kind:
                return reader.spec()
        return None

    return registry
