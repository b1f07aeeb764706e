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


class PickleError(ValueError):
    """A pickle that holds more than plain data, or is damaged."""


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


def load_numbers(path: Path, error: type[ValueError] = PickleError) -> Any:
    """The data of a pickle file: dicts, lists, text, numbers and arrays; tuples become lists.

    Args:
        path: The file.
        error: What is raised.

    Raises:
        error: It holds anything else, is damaged, or would need far more memory than its own size.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            return Machine(known, GREATEST_GROWTH * (len(text) + 4096)).run(text)
    except PickleError as refused:
        raise error(
            f"{path} is refused: {refused}. Only plain data and arrays of numbers are read from "
            "pickles"
        ) from refused
    except OSError as failed:
        raise error(
            f"{path} cannot be read: {failed.strerror}; check the path and its permissions"
        ) from failed
    except Exception as damaged:  # a damaged pickle fails in many ways
        raise error(
            f"{path} is not a sound pickle ({type(damaged).__name__}: {damaged}); fetch it again"
        ) from damaged


class Budget:
    """How many bytes may still be made.

    Without a bound, a few instructions could name the same large part millions of times.
    """

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, size: int) -> None:
        """Use some of the budget."""
        self.left -= size
        if self.left < 0:
            raise PickleError(
                f"it repeats its parts until they are more than {GREATEST_GROWTH} times its size"
            )


class Machine:
    """Carries out the instructions of a pickle that make plain data.

    Args:
        known: What stands for a name that the pickle uses; raises a PickleError for others.
        most: Bytes that may be made.
        persistent: What stands for an object that is kept outside the pickle, by its description;
            None: there is none.
    """

    def __init__(
        self,
        known: Callable[[Any, Any], "Known"],
        most: int,
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self.known, self.most, self.persistent = known, most, persistent
        self.budget = Budget(most)
        self.stack: list[Any] = []

    def run(self, text: Any) -> Any:
        """The data of a pickle, given as an open file, or what has `read` and `readline`.

        Raises:
            PickleError: It holds anything but plain data; a damaged one raises other errors, too.
        """
        stack, memo = self.stack, dict[Any, Any]()
        for number, (opcode, argument, _) in enumerate(pickletools.genops(text)):
            if number > MOST_INSTRUCTIONS:
                raise PickleError(f"it has more than {MOST_INSTRUCTIONS} instructions")
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
                return _plain(stack.pop(), 0, Budget(self.most))
            elif name not in ("PROTO", "FRAME"):
                self._combine(name, argument)
        raise ValueError("it ends too early")

    def _combine(self, name: str, argument: Any) -> None:
        """Carry out an instruction that makes something out of what is on the stack."""
        stack = self.stack
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
                pair = name == "SETITEM"
                items = [stack.pop(), stack.pop()][::-1] if pair else _since_mark(stack)
                _enter(_expect(dict, stack[-1]), items)
            case "GLOBAL":
                stack.append(self.known(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                named, module = stack.pop(), stack.pop()
                stack.append(self.known(module, named))
            case "BINPERSID" if self.persistent is not None:
                stack.append(self.persistent(stack.pop()))
            case "REDUCE" | "NEWOBJ" | "BUILD":
                self._make(name)
            case _:
                raise PickleError(f"it has the instruction {name}, which plain data do not need")

    def _make(self, name: str) -> None:
        """Carry out an instruction that calls a name, or gives a state to what one has made."""
        stack = self.stack
        given = stack.pop()
        if name == "BUILD":
            built = stack[-1]
            if isinstance(built, _Object):
                built.state = given
            elif isinstance(built, _Type | Array):
                built.build(*_expect(tuple, given))
            elif not isinstance(built, Ordered):
                raise PickleError("it gives a state to what has none")
            self.budget.take(_size(built))
            return
        arguments, function = _expect(tuple, given), _expect(Known, stack.pop())
        if name == "REDUCE":
            stack.append(function.make(*arguments))
            self.budget.take(_size(stack[-1]))
        else:
            stack.append(_expect(_Object, function.make()))


def _since_mark(stack: list[Any]) -> list[Any]:
    items = []
    while (item := stack.pop()) is not _MARK:
        items.append(item)
    return items[::-1]


def _enter(into: dict[Any, Any], items: list[Any]) -> dict[Any, Any]:
    """Put alternating keys and values into a dict; keys are text or numbers, for cheap hashes."""
    for key, value in zip(items[::2], items[1::2], strict=True):
        plain = key.value[()].item() if isinstance(key, Array) and key.value.shape == () else key
        if not isinstance(plain, str | int | float):
            raise PickleError(f"it has a {type(plain).__name__} for a key, not text or a number")
        into[plain] = value
    return into


def _expect(kind: type[_Kind], value: Any) -> _Kind:
    if not isinstance(value, kind):
        raise PickleError(
            f"it has a {type(value).__name__} where a {kind.__name__.strip('_').lower()} belongs"
        )
    return value


class _Type:
    """Stands for a NumPy dtype, of numbers alone."""

    def __init__(self, name: Any, *flags: Any) -> None:
        if not isinstance(name, str) or name not in _NUMBERS:
            raise PickleError("it has arrays of other things than numbers")
        self.dtype = np.dtype(name)

    def build(self, version: Any, order: Any, *rest: Any) -> None:
        """Take the byte order; fields and shapes of records are refused."""
        record = any(part is not None for part in rest[:3])
        if record or not isinstance(order, str) or order not in "<>=|":
            raise PickleError("it has arrays of records, not of numbers")
        if order in "<>":
            self.dtype = self.dtype.newbyteorder("<" if order == "<" else ">")


class Ordered(dict[Any, Any]):
    """Stands for an ordered dict, whose attributes are left out."""


class Array:
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
        raise PickleError("it has an array of Python objects, not of numbers")
    sides = shape if isinstance(shape, tuple) else (shape,)
    if not all(isinstance(side, int) and side >= 0 for side in sides):
        raise PickleError("it has an array without a sound shape")
    # A shape that does not fit the bytes is an error, so the array is never larger than they are.
    array = np.frombuffer(data, kind.dtype).reshape(sides, order=order)
    return array.astype(kind.dtype.newbyteorder("="), copy=False)


def _from_buffer(data: Any, kind: Any, shape: Any, order: Any, axes: Any = None) -> Array:
    """Protocol 5; `axes` says how an array lay in memory that was in neither order."""
    if order == "K" and isinstance(axes, tuple):
        return Array(_numbers(data, kind, shape, "C").transpose(axes))
    return Array(_numbers(data, kind, shape, order))


def _encode(text: Any, encoding: Any = "") -> bytes:
    """Bytes as protocols before 3 write them."""
    if not isinstance(text, str) or not isinstance(encoding, str) or encoding != "latin1":
        raise PickleError("it calls a codec")
    return text.encode("latin1")


class _Object:
    """Stands for an object that is no data, such as a space among the attributes of a buffer."""

    def __init__(self, *arguments: Any) -> None:
        self.state: Any = None


class _Buffer(_Object):
    """Stands for a buffer of Stable-Baselines3, whose attributes are data."""


class Known:
    """A name that a pickle may use, and what is called in its place."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make


def _no_array(*arguments: Any) -> Any:
    raise PickleError("it calls numpy.ndarray")


_NAMES = {("numpy", "dtype"): Known(_Type), ("numpy", "ndarray"): Known(_no_array)}
_NAMES["_codecs", "encode"] = Known(_encode)
_NAMES["__builtin__", "bytes"] = Known(lambda: b"")  # how protocols before 3 write no bytes
for _core in ("numpy.core", "numpy._core"):  # before and after NumPy 2
    _NAMES[f"{_core}.multiarray", "_reconstruct"] = Known(lambda *arguments: Array())
    _NAMES[f"{_core}.multiarray", "scalar"] = Known(
        lambda kind, data: Array(_numbers(data, kind, (), "C"))
    )
    _NAMES[f"{_core}.numeric", "_frombuffer"] = Known(_from_buffer)


_BUFFERS = re.compile(r"stable_baselines3\.common\.buffers\.\w*Buffer")
_OBJECTS = re.compile(
    r"(gymnasium|gym)\.spaces\.\w+\.\w+|torch\.device|"
    r"numpy\.random\.(_pickle|_pcg64|_mt19937|bit_generator)\.\w+"
)
"""What is among the attributes of buffers; nothing of it is imported or called."""


def known(module: Any, name: Any) -> Known:
    """What stands for the name of an array of numbers, or of an object whose state is left out.

    Raises:
        PickleError: It is another name.
    """
    full = f"{_expect(str, module)}.{_expect(str, name)}"
    if _BUFFERS.fullmatch(full) or _OBJECTS.fullmatch(full):
        return Known(_Buffer if _BUFFERS.fullmatch(full) else _Object)
    if (module, name) not in _NAMES:
        printable = ascii(full[:80])[1:-1]
        raise PickleError(f"it names {printable}, which would be run")
    return _NAMES[module, name]


def _size(value: Any) -> int:
    """About how many bytes a value takes, its parts left out."""
    if isinstance(value, Array):
        return value.value.nbytes + 32
    if isinstance(value, bytes):
        return len(value)
    return 64 if isinstance(value, dict | list | tuple) else 8


def _plain(value: Any, depth: int, budget: Budget) -> Any:
    """The data with arrays in place of what stood for them; repeated parts count each time."""
    budget.take(_size(value))
    if depth > DEEPEST:
        raise PickleError(f"its containers are nested deeper than {DEEPEST} levels")
    match value:
        case Array():
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
    raise PickleError(f"it holds a {type(value).__name__.strip('_').lower()}, which is no data")
