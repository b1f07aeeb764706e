"""Steps a second of one core in environments that render pictures, by processor time, the engine's
process included."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import Any
from unittest.mock import patch

import gymnasium
import numpy as np

from benchmarks.rows import Measurement
from rate.acting.rollout import Serial
from rate.tasks.lookup import find
from rate.tasks.memory_maze.picture import render_numpy
from rate.tasks.task import Environments, Task

ATARI = ("atari/Pong", "atari/Breakout")
GYMNASIUM = "Gymnasium's AtariPreprocessing, with stacks"
ENVS = (1, 8)
"""Environments that are stepped together."""
ACTIONS = "random actions"


def measure(quick: bool) -> Iterator[Measurement]:
    """Random actions in Memory Maze of two sizes, ViZDoom-Two-Colors, and two games of Atari."""
    steps = 100 if quick else 1000
    for name in ("memory-maze/9x9", "memory-maze/15x15", "vizdoom-two-colors/2100"):
        try:
            task = find(name)
        except ModuleNotFoundError as error:
            print(f"not measured: {error}")
            continue
        for form, drawn in forms(name):
            for count in ENVS:
                label = "1 environment" if count == 1 else f"{count} environments"
                with drawn:
                    value = speed(task, count, steps)
                yield Measurement("simulators", f"{name}{form}, {label}", ACTIONS, value, "steps/s")
    if find_spec("memory_maze"):
        label = "memory-maze/9x9, the package memory-maze"
        yield Measurement("simulators", label, ACTIONS, packaged(steps), "steps/s")
    if find_spec("ale_py"):
        for name in ATARI:
            rates = by_turns(name, steps)
            for label, value in rates.items():
                ratio = value / rates[GYMNASIUM]
                yield Measurement("atari", label, name, value, "steps/s", ratio)


def forms(name: str) -> list[tuple[str, AbstractContextManager[Any]]]:
    """Ways in which a task's pictures are drawn: Memory Maze has two, where Numba is installed."""
    if not name.startswith("memory-maze"):
        return [("", nullcontext())]
    drawn = patch("rate.tasks.memory_maze.environment.render", render_numpy)
    compiled = [(", Numba", nullcontext())] if find_spec("numba") else []
    return [(", NumPy", drawn), *compiled]


def speed(task: Task, count: int, steps: int) -> float:
    """Steps a second of one core, all environments together."""
    environments: Environments = task.batch() if task.batch else Serial(task.environment)
    environments.reset(range(count))  # with which machine code is compiled, too
    actions = int(environments.action_space.n)  # type: ignore[attr-defined]
    generator, done, spent = np.random.default_rng(0), 0, 0.0
    for first in range(count, count + steps, count):
        started = _processor_time()
        ended = np.zeros(count, bool)
        for _ in range(100):
            _, _, *ends = environments.step(generator.integers(actions, size=count))
            done += int((~ended).sum())
            ended |= ends[0] | ends[1]
        spent += _processor_time() - started
        if done >= steps:
            break
        environments.reset(range(first, first + count))
    if isinstance(environments, Serial):
        environments.close()
    return done / spent


def packaged(steps: int) -> float:
    """Steps a second of the packaged Memory Maze."""
    from memory_maze import tasks

    environment = tasks.memory_maze_9x9(seed=0, discrete_actions=True)
    environment.reset()
    generator, started = np.random.default_rng(0), _processor_time()
    for _ in range(steps):
        environment.step(int(generator.integers(6)))
    return steps / (_processor_time() - started)


def by_turns(name: str, steps: int, turns: int = 5) -> dict[str, float]:
    """Steps a second of a game of Atari here, in Gymnasium's wrapper, and in ale-py's vector
    environment of one row: medians over turns, by processor time of this process."""
    import ale_py
    from ale_py.vector_env import AtariVectorEnv
    from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

    from rate.tasks.atari.emulator import rom_of

    gymnasium.register_envs(ale_py)
    game = name.partition("/")[2]
    options = {"frameskip": 1, "repeat_action_probability": 0.0, "disable_env_checker": True}
    plain = AtariPreprocessing(gymnasium.make(f"ALE/{game}-v5", **options))
    options = {"num_threads": 1, "reward_clipping": False, "use_fire_reset": False}
    row = AtariVectorEnv(rom_of(game), 1, **options)
    row.reset(seed=1)
    stepped = {
        "the environment alone": find(name).environment(),
        GYMNASIUM: FrameStackObservation(plain, 4),
    }
    for environment in stepped.values():
        environment.reset(seed=1)
    rates: dict[str, list[float]] = {"ale-py's AtariVectorEnv": [], **{one: [] for one in stepped}}
    drawn = np.random.default_rng(0).integers(row.single_action_space.n, size=(turns, steps, 1))
    for actions in drawn:
        started = time.process_time()
        for action in actions:
            row.step(action)
        rates["ale-py's AtariVectorEnv"].append(steps / (time.process_time() - started))
        for label, environment in stepped.items():
            spent = 0.0
            for action in actions[:, 0]:
                started = time.process_time()
                *_, terminated, truncated, _ = environment.step(action)
                spent += time.process_time() - started
                if terminated or truncated:
                    environment.reset()
            rates[label].append(steps / spent)
    return {label: float(np.median(of)) for label, of in rates.items()}


def _processor_time() -> float:
    """Seconds of this process and of all its children that still run."""
    import psutil

    process = psutil.Process()
    every = [process, *process.children(recursive=True)]
    times = [one.cpu_times() for one in every]
    return float(sum(time.user + time.system for time in times))
