"""Options of a command from the signature and docstring of a function."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from rate.cli.parse import Reader, mirror, parse


@dataclass(frozen=True)
class Noise:
    """Noise."""

    kind: Literal["white", "pink"] = "white"
    """Colour of the noise."""
    strength: float = 1.0
    """Share of the noise."""


@dataclass(frozen=True)
class Size:
    """Size of what is made."""

    width: int = 2
    """Columns of it."""

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width must be at least 1, but {self.width} was given")


@dataclass(frozen=True)
class Large(Size):
    """A larger size."""

    height: int = 9
    """Rows of it, which may be
    many."""


@dataclass(frozen=True)
class Settings:
    """Settings."""

    size: Size
    """Nested."""
    noise: Noise | None = None
    """Left out on the command line where it is None."""
    depth: int = 3
    """Levels of it."""
    labels: Mapping[str, Any] = field(default_factory=dict)
    """Not for the command line."""


NOTHING: Mapping[str, Any] = {}


def make(
    source: str | Path,
    settings: Settings = Settings(Size(5), depth=4),
    *,
    names: Sequence[str],
    seeds: Sequence[int] | None = None,
    output: str | Path | None = None,
    values: Mapping[str, Any] = NOTHING,
    show_progress: bool = False,
    **changes: Any,
) -> None:
    """Make something.

    Args:
        source: What it is made from.
        settings: How.
        names: What it is called.
        seeds: Seeds of it.
        output: Where it goes.
        values: Further numbers.
        show_progress: Not for the command line.
        changes: Fields of `settings` by name.

    Returns:
        Nothing.
    """


def read(*words: str, **options: Any) -> dict[str, Any]:
    return parse(make, words, "make", **options)


NUMBERS = Reader(
    Sequence[str],
    lambda words: {key: int(value) for key, value in map(split, words)},
    "[K=V ...]",
)


def split(word: str) -> list[str]:
    return word.split("=")


def test_parameters_and_fields_are_options_with_their_defaults():
    corrupted = mirror(Noise, {"kind": "noise", "strength": "noise_strength"}, absent="none")
    options = read(
        *("here", "--names", "a", "b", "--noise", "pink"),
        types={Noise | None: corrupted, Mapping: NUMBERS},
    )
    assert options == {
        "source": Path("here"),
        "settings": Settings(Size(5), Noise("pink", 1.0), 4),
        "names": ["a", "b"],
        "seeds": (),
        "output": None,
        "values": {},
    }
    options = read(
        *("here", "--names", "a", "--depth", "7", "--size.width", "8", "--values", "x=1", "y=2"),
        *("--seeds", "3", "--output", "there"),
        types={Noise | None: corrupted, Mapping: NUMBERS},
    )
    assert options["settings"] == Settings(Size(8), None, 7)
    assert options["values"] == {"x": 1, "y": 2}
    assert (options["seeds"], options["output"]) == ([3], Path("there"))


REPLACED = {
    Size: Large,
    Noise | None: mirror(Noise, {"kind": "noise"}, absent="none"),
    Mapping: NUMBERS,
}


def test_a_type_takes_the_place_of_another():
    options = read(
        *("here", "--names", "a", "--size.height", "1"),
        types=REPLACED,
    )
    assert options["settings"].size == Large(2, 1)


def test_the_help_is_what_the_docstrings_say(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as end:
        read("--help", types=REPLACED, about="Much.")
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for part in (
        "make [-h] [OPTIONS] SOURCE",
        "Make something. Much.",
        "SOURCE What it is made from. (required)",
        "What it is called. (required)",
        "--noise {none,white,pink} Colour of the noise. (default: none)",
        "--depth INT Levels of it. (default: 4)",
        "--size.width INT Columns of it. (default: 2)",
        "--size.height INT Rows of it, which may be many. (default: 9)",
        "--values [K=V ...] Further numbers.",
    ):
        assert part in text
    assert [name for name in ("show-progress", "changes", "labels") if name in text] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("here", "--names"), "at least one name is needed, but none was given"),
        (("here", "--names", "a", "--size.width", "0"), "width must be at least 1, but 0 was"),
        (("here", "--names", "a", "--values", "x=y"), "invalid literal for int"),
    ],
)
def test_what_the_types_refuse_is_an_error_of_the_command(words, message):
    with pytest.raises(ValueError, match=message):
        read(*words, types=REPLACED)


def test_an_option_that_does_not_exist_is_answered_with_a_close_one(capsys):
    with pytest.raises(SystemExit) as end:
        read("here", "--names", "a", "--dept", "3", types=REPLACED)
    assert end.value.code == 2
    assert "--depth" in capsys.readouterr().err
