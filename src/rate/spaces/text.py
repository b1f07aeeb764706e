"""Gymnasium spaces from text, as Gymnasium prints them and as code writes them."""

import ast
import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from rate.messages import brief, reason
from rate.spaces.description import from_json
from rate.spaces.structure import SUPPORTED, checked_shape, usable

_TOKEN = re.compile(
    r"""\s*(?: (?P<other>Text\(.*?\))(?=\s*[,)}\]]|\s*$)
    | (?P<name>(?:[^\W\d]\w*\.)*[^\W\d]\w*)
    | (?P<number>(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][-+]?\d+)?)
    | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    | (?P<mark>\.\.\.|[-+()\[\]{},:=]) )""",
    re.VERBOSE | re.DOTALL,
)
_NUMBERS = {"inf": math.inf, "Infinity": math.inf, "pi": math.pi, "True": True, "False": False}
_DEEPEST = 100
"""Most brackets within one another."""


def from_text(text: str) -> gymnasium.Space[Any]:
    """The space that a text describes; nothing in it is run.

    Args:
        text: What Gymnasium prints of a space, such as "Box(-inf, inf, (4,), float32)" or
            "Dict('a': Discrete(2, start=1), 'b': MultiDiscrete([2 3]))"; the call that makes it,
            such as "spaces.Box(low=0, high=255, shape=(8,), dtype=np.uint8)"; or the JSON of
            `to_json`, as in `card.json` of a dataset.

    Raises:
        ValueError: it describes no space.
    """
    try:
        if text.lstrip().startswith("{"):
            return from_json(json.loads(text))
        reader = _Reader(text)
        space = reader.value(0)
        if not isinstance(space, gymnasium.Space) or reader.kind:
            raise ValueError("it goes on behind the space" if reader.kind else "it is no space")
        usable(space)
        return space
    except (ValueError, TypeError, AssertionError, ArithmeticError, RecursionError) as error:
        raise ValueError(
            f"{brief(text)} is not a space ({reason(error)}); write Discrete(4), "
            "MultiDiscrete([8, 8]) or Box(-1, 1, (3,)), what Gymnasium prints of a space, or JSON "
            "as in `card.json` of a dataset"
        ) from error


class _Reader:
    """Reads values from the tokens of a text, one after the other."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self.next()

    def next(self) -> str:
        """Go on to the next token; returns the one before."""
        before = getattr(self, "token", "")
        self.kind, self.token = next(self._tokens, ("", ""))
        return before

    def value(self, depth: int) -> Any:
        """The value that begins with this token."""
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        kind, token = self.kind, self.next()
        if kind == "other":
            return spaces.Text(1)
        if kind == "text":
            return ast.literal_eval(token)
        if kind == "number":
            return int(token) if re.fullmatch(r"[\d_]+", token) else float(token)
        if kind == "name":
            return self._named(token.rpartition(".")[2], depth)
        if token in ("-", "+"):
            number = self.value(depth + 1)
            return -number if token == "-" else number
        if token in ("[", "("):
            values, _ = self._several(")" if token == "(" else "]", depth)
            return values
        if token == "{":
            return dict(self._several("}", depth)[1])
        raise ValueError(
            "numbers are left out (...)" if token == "..." else f"{token or 'its end'!r} is odd"
        )

    def _named(self, name: str, depth: int) -> Any:
        if self.token != "(":
            return _NUMBERS.get(name, name)
        self.next()
        values, named = self._several(")", depth)
        if name in ("array", "asarray", "dtype", "OrderedDict"):
            return values[0] if values else dict(named)
        if name not in _MAKERS:
            raise ValueError(f"there is no space {name!r}, spaces are {SUPPORTED}")
        space: Any = _MAKERS[name](*values, **dict(named) if name != "Dict" else {"named": named})
        return space

    def _several(self, end: str, depth: int) -> tuple[list[Any], list[tuple[str, Any]]]:
        """Values up to a closing bracket, and those behind a name or key; arrays are printed
        without commas."""
        values, named = [], []
        while self.token != end:
            value = self.value(depth + 1)
            if self.token in (":", "="):
                self.next()
                named.append((value, self.value(depth + 1)))
            else:
                values.append(value)
            if self.token == ",":
                self.next()
            elif self.token != end and end != "]":
                raise ValueError(f"expected {end!r} in place of {self.token or 'its end'!r}")
        self.next()
        return values, named


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position, text = 0, text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise ValueError(f"{text[position : position + 10]!r} is odd")
        yield match.lastgroup, match[match.lastgroup]
        position = match.end()


def _dtype(name: Any) -> Any:
    return np.dtype(str(name)).type


def _box(low: Any, high: Any, shape: Any = None, dtype: Any = "float32") -> spaces.Box:
    kind = _dtype(dtype)
    if shape is not None:
        shape = checked_shape(shape if isinstance(shape, list) else [shape])
    bounds: Any = (
        np.array(bound).astype(kind) if isinstance(bound, list) else +bound for bound in (low, high)
    )
    low, high = bounds
    return spaces.Box(low, high, shape, dtype=kind)


def _discrete(n: int, start: int = 0, dtype: Any = "int64") -> spaces.Discrete:
    # Releases of Gymnasium before 1.2 know no dtype here.
    option: Any = {} if dtype == "int64" else {"dtype": _dtype(dtype)}
    return spaces.Discrete(n, start=start, **option)


def _multi_discrete(nvec: Any, start: Any = None, dtype: Any = "int64") -> spaces.MultiDiscrete:
    return spaces.MultiDiscrete(nvec, _dtype(dtype), start=start)


def _multi_binary(n: Any) -> spaces.MultiBinary:
    return spaces.MultiBinary(checked_shape(n) if isinstance(n, list) else checked_shape([n])[0])


def _dict(*parts: Any, named: Any = ()) -> spaces.Dict:
    pairs = [pair for part in parts for pair in (part.items() if isinstance(part, dict) else part)]
    return spaces.Dict([*pairs, *named])


def _tuple(*parts: Any) -> spaces.Tuple:
    return spaces.Tuple(parts[0] if len(parts) == 1 and isinstance(parts[0], list) else parts)


_MAKERS: dict[str, Callable[..., gymnasium.Space[Any]]] = {
    "Box": _box,
    "Discrete": _discrete,
    "MultiDiscrete": _multi_discrete,
    "MultiBinary": _multi_binary,
    "Dict": _dict,
    "Tuple": _tuple,
}
