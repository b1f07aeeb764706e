"""What error messages show of values and of other libraries' errors: one printable line, never
long."""

import reprlib
from typing import Any

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 120


def brief(value: Any) -> str:
    """At most 200 characters that show a value."""
    return printable(_REPR.repr(value), 200)


def reason(error: BaseException) -> str:
    """What an error says, with its class unless it is a ValueError's sentence."""
    text = printable(" ".join(str(error).split()), 300)
    known = isinstance(error, ValueError | OSError) and text
    return text if known else f"{type(error).__name__}: {text}".removesuffix(": ")


def printable(text: str, most: int) -> str:
    """Text of at most so many characters, with escapes for those that a terminal would obey."""
    text = text if len(text) <= most else f"{text[: most - 3]}..."
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
