"""Environments that go wrong in one way each, at a step of choice."""

import os
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

OBSERVATIONS: dict[str, Any] = {
    "column": np.zeros((3, 1), np.float32),
    "longer": np.zeros(4, np.float32),
    "scalar": 0.0,
    "none": None,
    "text": "abc",
    "dictionary": {"a": np.zeros(3, np.float32)},
    "ragged": [[0.0], [0.0, 0.0], 0.0],
    "outside": np.full(3, 1.5, np.float32),
    "nan": np.array([0, np.nan, 0]),
    "complex": np.zeros(3, complex),
    "objects": np.array([None, 0, 0]),
}
REWARDS: dict[str, Any] = {
    "none": None,
    "nan": np.nan,
    "infinite": -np.inf,
    "text": "1",
    "too-large": 1e39,
    "two": np.zeros(2),
    "complex": 1j,
}
ENDS: dict[str, Any] = {"none": None, "text": "False", "two": np.zeros(2, bool), "number": 2}


class Leave(BaseException):
    """What a simulator of its own kind may raise."""


ERRORS: dict[str, BaseException] = {
    "key": KeyError("left"),
    "assertion": AssertionError(),
    "memory": MemoryError(),
    "exit": SystemExit(0),
    "exit-text": SystemExit("bye"),
    "generator": GeneratorExit(),
    "own": Leave("gone"),
    "stop": StopIteration(),
}


def spin() -> None:
    while True:
        pass


def deny() -> None:
    while True:
        try:
            time.sleep(0.05)
        except Exception:
            continue


HANGS: dict[str, Callable[[], Any]] = {
    "sleep": lambda: time.sleep(60),
    "loop": spin,
    "deny": deny,
    "lock": lambda: [lock := threading.Lock(), lock.acquire(), lock.acquire()],
    "pipe": lambda: os.read(os.pipe()[0], 1),
}


class Faulty(gymnasium.Env[Any, Any]):
    """Observations in Box(-1, 1, (3,)), five steps; a fault of a kind in one of them (0: reset)."""

    observation_space = spaces.Box(-1, 1, (3,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, fault: str = "", at: int = 2) -> None:
        self.kind, _, self.which = fault.partition("/")
        self.at = at

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.time = 0
        return self._observed(), {}

    def step(self, action: Any) -> Any:
        self.time += 1
        observation, wrong = self._observed(), self.time == self.at
        reward = REWARDS[self.which] if wrong and self.kind == "reward" else 1.0
        end = ENDS[self.which] if wrong and self.kind == "end" else self.time == 5
        returned = observation, reward, end, False, {}
        if wrong and self.kind == "returned":
            return {"four": returned[:4], "none": None, "text": "abcde"}[self.which]
        return returned

    def _observed(self) -> Any:
        if self.time == self.at:
            if self.kind == "raises":
                raise ERRORS[self.which]
            if self.kind == "interrupt":
                raise KeyboardInterrupt
            if self.kind == "hangs":
                HANGS[self.which]()
            if self.kind == "observation":
                return OBSERVATIONS[self.which]
        return self.np_random.uniform(-1, 1, 3).astype(np.float32)


def quits(**_: Any) -> Faulty:
    raise SystemExit(3)


class Mine(Faulty):
    """Has everything for itself, next to what many share without harm."""

    names = ("a", "b")
    layout = np.eye(3)

    def __init__(self, layout: Any = layout) -> None:
        super().__init__()
        self.grid, self.count = layout, 0

    def step(self, action: Any) -> Any:
        self.count += 1
        return super().step(action)


GENERATOR = np.random.default_rng(0)
ONE = Faulty()
POSITION = np.zeros(3, np.float32)


class Simulator:
    """One for all."""

    def __init__(self) -> None:
        self.time = 0


SIMULATOR = Simulator()


class OfModule(Faulty):
    def _observed(self) -> Any:
        return GENERATOR.uniform(-1, 1, 3).astype(np.float32)


class OfNumPy(Faulty):
    def _observed(self) -> Any:
        return np.random.uniform(-1, 1, 3).astype(np.float32)


class OfPython(Faulty):
    def _observed(self) -> Any:
        return np.full(3, random.random(), np.float32)


class OfClass(Faulty):
    generator = random.Random(0)

    def _observed(self) -> Any:
        return np.full(3, self.generator.random(), np.float32)


class OfArray(Faulty):
    def __init__(self, position: Any = POSITION) -> None:
        super().__init__()
        self.position = position

    def _observed(self) -> Any:
        self.position += np.float32(1e-3)
        return np.clip(self.position, -1, 1)


class OfSimulator(Faulty):
    def __init__(self) -> None:
        super().__init__()
        self.simulator = SIMULATOR

    def _observed(self) -> Any:
        self.simulator.time += 1
        return np.full(3, self.simulator.time % 2, np.float32)


SHARING: dict[str, Callable[[], gymnasium.Env[Any, Any]]] = {
    "object": lambda: ONE,
    "wrapped": lambda: gymnasium.wrappers.TimeLimit(ONE, 3),
    "module": OfModule,
    "numpy": OfNumPy,
    "python": OfPython,
    "class": OfClass,
    "array": OfArray,
    "simulator": OfSimulator,
}
