"""Whether environments that play side by side disturb one another."""

import random
import sys
from collections import deque
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any

import gymnasium
import numpy as np

LARGEST = 2**20
"""Bytes beyond which an array is taken for data that nobody changes."""

_GENERATORS = np.random.Generator | np.random.RandomState | random.Random
_MUTABLE = _GENERATORS | np.ndarray | list | deque | bytearray
_ANY = _MUTABLE | int | float | str
_OTHERS = ("gymnasium", "numpy", "builtins", "abc", "typing", "rate")
"""Packages whose own variables are not watched."""


def shared_state(
    one: gymnasium.Env[Any, Any], other: gymnasium.Env[Any, Any], play: Callable[[], None]
) -> str:
    """What two environments share and one of them changes when it is played.

    Random generators, arrays, lists and numbers are watched: of the modules of their classes, of
    these classes, and the same objects in their attributes; and the global generators of NumPy and
    Python. Episodes that are played side by side would depend on one another.

    Args:
        one: An environment.
        other: Another one from the same maker.
        play: Plays some steps of the other one.

    Returns:
        The object in words; empty if there is none.
    """
    ones, others = list(_wrapped(one)), list(_wrapped(other))
    if any(part is twin for part in ones for twin in others):
        return "what makes them returns the same object each time"
    before = _snapshot(ones, others)
    play()
    after = _snapshot(ones, others)
    changed = [name for name, state in before.items() if after.get(name, state) != state]
    return f"they share {changed[0]}" if changed else ""


def _wrapped(environment: Any) -> Iterator[Any]:
    """The environment and all that it wraps."""
    yield environment
    while isinstance(environment, gymnasium.Wrapper):
        environment = environment.env
        yield environment


def _snapshot(ones: list[Any], others: list[Any]) -> dict[str, object]:
    """The state of all that is shared, by its name."""
    states: dict[str, Any] = {
        "the generator of the module numpy.random": np.random.get_state(),
        "the generator of the module random": random.getstate(),
    }
    for part, twin in zip(ones, others, strict=False):
        for cls in type(part).__mro__:
            if cls.__module__.partition(".")[0] in _OTHERS:
                continue
            states |= _watched(f"{cls.__qualname__}.", vars(cls), _ANY)
            states |= _watched(f"{cls.__module__}.", vars(sys.modules[cls.__module__]), _ANY)
        mine, theirs = getattr(part, "__dict__", {}), getattr(twin, "__dict__", {})
        same = {key: value for key, value in mine.items() if value is theirs.get(key, states)}
        states |= _watched("self.", same, _MUTABLE)
        for name, value in same.items():
            if not isinstance(value, type | ModuleType | FunctionType | gymnasium.Space):
                states |= _watched(f"self.{name}.", getattr(value, "__dict__", {}), _ANY)
    return {name: _written(state) for name, state in states.items()}


def _watched(prefix: str, variables: Any, kinds: Any) -> dict[str, Any]:
    return {
        prefix + name: value
        for name, value in dict(variables).items()
        if isinstance(value, kinds) and getattr(value, "nbytes", 0) <= LARGEST
    }


def _written(state: Any) -> object:
    """What differs if the state differs."""
    match state:
        case np.random.Generator():
            return repr(state.bit_generator.state)
        case np.random.RandomState():
            return repr(state.get_state())
        case random.Random():
            return state.getstate()
        case np.ndarray():
            return state.tobytes()
    return repr(state)
