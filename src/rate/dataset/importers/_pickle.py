"""Plain data and arrays of numbers out of a pickle, without running what is in it.

A pickle is a program for a stack machine that may call anything. Here `pickletools` decodes its
instructions, and only those that make plain data are carried out; Python's unpickler and NumPy's
functions for it are never called. Names by which arrays of numbers are pickled stand for functions
below, which look at bytes and nothing else.
"""

import mmap
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from rate.dataset import DatasetError

DEEPEST = 32
"""Most levels of containers within one another; the authors' files have four."""

MOST_INSTRUCTIONS = 20_000_000

GREATEST_GROWTH = 16
"""How many times as large as its file a pickle may be, once parts that it names repeatedly are
counted each time."""

_Kind = TypeVar("_Kind")
_MARK = object()
_NUMBERS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
_ENTRIES = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE"),
    *("BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_CONTAINERS: dict[str, Callable[[], Any]] = {
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
}
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def load_numbers(path: Path) -> Any:
    """The data of a pickle file: dicts, lists, text, numbers and arrays; tuples become lists.

    Raises:
        DatasetError: It holds anything else, is damaged, or would need far more memory than its own
            size.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            most = GREATEST_GROWTH * (len(text) + 4096)
            return _plain(_run(text, _Budget(most)), 0, _Budget(most))
    except DatasetError as error:
        raise DatasetError(
            f"{path} is refused: {error}. Only plain data and arrays of numbers are read from "
            "pickles"
        ) from error
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be read: {error.strerror}; check the path and its permissions"
        ) from error
    except Exception as error:  # a damaged pickle fails in many ways
        raise DatasetError(
            f"{path} is not a sound pickle ({type(error).__name__}: {error}); fetch it again"
        ) from error


class _Budget:
    """How many bytes may still be made.

    Without a bound, a few instructions could name the same large part millions of times.
    """

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, size: int) -> None:
        """Use some of the budget."""
        self.left -= size
        if self.left < 0:
            raise DatasetError(
                f"it repeats its parts until they are more than {GREATEST_GROWTH} times its size"
            )


def _run(text: mmap.mmap, budget: _Budget) -> Any:
    """Carry out the instructions; what they leave on top of the stack."""
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    instructions = pickletools.genops(text)  # type: ignore[arg-type]
    for number, (opcode, argument, _) in enumerate(instructions):
        if number > MOST_INSTRUCTIONS:
            raise DatasetError(f"it has more than {MOST_INSTRUCTIONS} instructions")
        name = opcode.name
        if name in _LITERALS:
            stack.append(argument)
        elif name in _ENTRIES:
            stack.append(_ENTRIES[name])
        elif name in _CONTAINERS:
            stack.append(_CONTAINERS[name]())
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if argument is None else argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "STOP":
            return stack.pop()
        elif name not in ("PROTO", "FRAME"):
            _combine(name, argument, stack, budget)
    raise ValueError("it ends too early")


def _combine(name: str, argument: Any, stack: list[Any], budget: _Budget) -> None:
    """Carry out an instruction that makes something out of what is on the stack."""
    match name:
        case "MARK":
            stack.append(_MARK)
        case "TUPLE1" | "TUPLE2" | "TUPLE3":
            items = [stack.pop() for _ in range(_SHORT_TUPLES[name])]
            stack.append(tuple(reversed(items)))
        case "TUPLE":
            stack.append(tuple(_since_mark(stack)))
        case "LIST":
            stack.append(_since_mark(stack))
        case "DICT":
            stack.append(_enter({}, _since_mark(stack)))
        case "APPEND" | "APPENDS":
            items = [stack.pop()] if name == "APPEND" else _since_mark(stack)
            _expect(list, stack[-1]).extend(items)
        case "SETITEM" | "SETITEMS":
            items = [stack.pop(), stack.pop()][::-1] if name == "SETITEM" else _since_mark(stack)
            _enter(_expect(dict, stack[-1]), items)
        case "GLOBAL":
            stack.append(_known(*argument.split(" ", 1)))
        case "STACK_GLOBAL":
            known, module = stack.pop(), stack.pop()
            stack.append(_known(module, known))
        case "REDUCE":
            arguments, function = _expect(tuple, stack.pop()), _expect(_Known, stack.pop())
            stack.append(function.make(*arguments))
            budget.take(_size(stack[-1]))
        case "NEWOBJ":
            _, function = _expect(tuple, stack.pop()), _expect(_Known, stack.pop())
            stack.append(_expect(_Object, function.make()))
        case "BUILD":
            state, built = stack.pop(), stack[-1]
            if isinstance(built, _Object):
                built.state = state
            elif isinstance(built, _Type | _Array):
                built.build(*_expect(tuple, state))
            else:
                raise DatasetError("it gives a state to what has none")
            budget.take(_size(built))
        case _:
            raise DatasetError(f"it has the instruction {name}, which plain data do not need")


def _since_mark(stack: list[Any]) -> list[Any]:
    items = []
    while (item := stack.pop()) is not _MARK:
        items.append(item)
    return items[::-1]


def _enter(into: dict[Any, Any], items: list[Any]) -> dict[Any, Any]:
    """Put alternating keys and values into a dict; keys are text or numbers, for cheap hashes."""
    for key, value in zip(items[::2], items[1::2], strict=True):
        plain = key.value[()].item() if isinstance(key, _Array) and key.value.shape == () else key
        if not isinstance(plain, str | int | float):
            raise DatasetError(f"it has a {type(plain).__name__} for a key, not text or a number")
        into[plain] = value
    return into


def _expect(kind: type[_Kind], value: Any) -> _Kind:
    if not isinstance(value, kind):
        raise DatasetError(
            f"it has a {type(value).__name__} where a {kind.__name__.strip('_').lower()} belongs"
        )
    return value


class _Type:
    """Stands for a NumPy dtype, of numbers alone."""

    def __init__(self, name: Any, *flags: Any) -> None:
        if not isinstance(name, str) or name not in _NUMBERS:
            raise DatasetError("it has arrays of other things than numbers")
        self.dtype = np.dtype(name)

    def build(self, version: Any, order: Any, *rest: Any) -> None:
        """Take the byte order; fields and shapes of records are refused."""
        record = any(part is not None for part in rest[:3])
        if record or not isinstance(order, str) or order not in "<>=|":
            raise DatasetError("it has arrays of records, not of numbers")
        if order in "<>":
            self.dtype = self.dtype.newbyteorder("<" if order == "<" else ">")


class _Array:
    """Stands for a NumPy array, whose numbers come when it is made or later."""

    def __init__(self, value: np.ndarray | None = None) -> None:
        self.value = np.zeros(0) if value is None else value

    def build(self, version: Any, shape: Any, kind: Any, fortran: Any, data: Any) -> None:
        """Take the numbers."""
        self.value = _numbers(data, kind, shape, "F" if fortran is True else "C")


def _numbers(data: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    """An array on top of these bytes, in this machine's byte order."""
    if isinstance(data, str):  # as Python 2 wrote bytes
        data = data.encode("latin1")
    plain = isinstance(data, bytes | bytearray) and isinstance(kind, _Type)
    if not plain or order not in ("C", "F"):
        raise DatasetError("it has an array of Python objects, not of numbers")
    sides = shape if isinstance(shape, tuple) else (shape,)
    if not all(isinstance(side, int) and side >= 0 for side in sides):
        raise DatasetError("it has an array without a sound shape")
    # A shape that does not fit the bytes is an error, so the array is never larger than they are.
    array = np.frombuffer(data, kind.dtype).reshape(sides, order=order)
    return array.astype(kind.dtype.newbyteorder("="), copy=False)


def _from_buffer(data: Any, kind: Any, shape: Any, order: Any, axes: Any = None) -> _Array:
    """Protocol 5; `axes` says how an array lay in memory that was in neither order."""
    if order == "K" and isinstance(axes, tuple):
        return _Array(_numbers(data, kind, shape, "C").transpose(axes))
    return _Array(_numbers(data, kind, shape, order))


def _encode(text: Any, encoding: Any = "") -> bytes:
    """Bytes as protocols before 3 write them."""
    if not isinstance(text, str) or not isinstance(encoding, str) or encoding != "latin1":
        raise DatasetError("it calls a codec")
    return text.encode("latin1")


class _Object:
    """Stands for an object that is no data, such as a space among the attributes of a buffer."""

    def __init__(self, *arguments: Any) -> None:
        self.state: Any = None


class _Buffer(_Object):
    """Stands for a buffer of Stable-Baselines3, whose attributes are data."""


class _Known:
    """A name that a pickle may use, and what is called in its place."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make


def _no_array(*arguments: Any) -> Any:
    raise DatasetError("it calls numpy.ndarray")


_NAMES = {("numpy", "dtype"): _Known(_Type), ("numpy", "ndarray"): _Known(_no_array)}
_NAMES["_codecs", "encode"] = _Known(_encode)
_NAMES["__builtin__", "bytes"] = _Known(lambda: b"")  # how protocols before 3 write no bytes
for _core in ("numpy.core", "numpy._core"):  # before and after NumPy 2
    _NAMES[f"{_core}.multiarray", "_reconstruct"] = _Known(lambda *arguments: _Array())
    _NAMES[f"{_core}.multiarray", "scalar"] = _Known(
        lambda kind, data: _Array(_numbers(data, kind, (), "C"))
    )
    _NAMES[f"{_core}.numeric", "_frombuffer"] = _Known(_from_buffer)


_BUFFERS = re.compile(r"stable_baselines3\.common\.buffers\.\w*Buffer")
_OBJECTS = re.compile(
    r"(gymnasium|gym)\.spaces\.\w+\.\w+|torch\.device|"
    r"numpy\.random\.(_pickle|_pcg64|_mt19937|bit_generator)\.\w+"
)
"""What is among the attributes of buffers; nothing of it is imported or called."""


def _known(module: Any, name: Any) -> _Known:
    full = f"{_expect(str, module)}.{_expect(str, name)}"
    if _BUFFERS.fullmatch(full) or _OBJECTS.fullmatch(full):
        return _Known(_Buffer if _BUFFERS.fullmatch(full) else _Object)
    if (module, name) not in _NAMES:
        printable = ascii(full[:80])[1:-1]
        raise DatasetError(f"it names {printable}, which would be run")
    return _NAMES[module, name]


def _size(value: Any) -> int:
    """About how many bytes a value takes, its parts left out."""
    if isinstance(value, _Array):
        return value.value.nbytes + 32
    if isinstance(value, bytes):
        return len(value)
    return 64 if isinstance(value, dict | list | tuple) else 8


def _plain(value: Any, depth: int, budget: _Budget) -> Any:
    """The data with arrays in place of what stood for them; repeated parts count each time."""
    budget.take(_size(value))
    if depth > DEEPEST:
        raise DatasetError(f"its containers are nested deeper than {DEEPEST} levels")
    match value:
        case _Array():
            return value.value[()]
        case _Buffer():
            return _plain(_expect(dict, value.state), depth + 1, budget)
        case _Object():
            return None
        case dict():
            return {key: _plain(item, depth + 1, budget) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item, depth + 1, budget) for item in value]
        case None | bool() | int() | float() | str() | bytes() | bytearray():
            return value
    raise DatasetError(f"it holds a {type(value).__name__.strip('_').lower()}, which is no data")
