"""Memory Maze: `memory-maze/9x9` to `15x15`; arguments of `MemoryMaze` are its options.

The expert `data` errs as often as the agent that the paper's data are from.
"""

import re
from functools import partial
from typing import Any

import gymnasium

from rate.tasks.memory_maze.environment import MemoryMaze as MemoryMaze
from rate.tasks.memory_maze.environment import MemoryMazes
from rate.tasks.memory_maze.expert import MemoryMazeDataExpert, MemoryMazeExpert
from rate.tasks.memory_maze.layout import default_generator
from rate.tasks.task import Family, Task, total_return

REFERENCES = {"random": 0.0, "data": 4.7, "human": 26.4, "online agents": 33.0}
"""Known returns in mazes of 9 x 9 cells."""


def _task(size: str, **arguments: Any) -> Task:
    match = re.fullmatch(r"([0-9]{1,3})x\1", size)
    if match is None:
        raise ValueError(f"{size!r} is not of the form <S>x<S>, a number of cells along both sides")
    side = int(match[1])
    # A name says which mazes there are, so a machine without the package adds it.
    own = default_generator() == "own" and "generator" not in arguments
    generator = arguments.setdefault("generator", default_generator())
    mazes = MemoryMazes(side, **arguments)
    return Task(
        name=f"memory-maze/{size}" + (",environment.generator=own" if own else ""),
        environment=partial(MemoryMaze, side, **arguments),
        horizon=mazes.limit,
        target_return=18.1,
        score=total_return,
        metric="return",
        description=f"Memory Maze of {side} x {side} cells, mazes of the generator {generator}",
        expert=partial(MemoryMazeExpert, side, generator),
        experts={"data": partial(MemoryMazeDataExpert, side, generator)},
        batch=partial(MemoryMazes, side, **arguments),
        reference=REFERENCES if side == 9 else {},
        num_envs=50,
    )


TASKS: dict[str, Family] = {
    "memory-maze": Family(
        _task,
        "<S>x<S>",
        "9x9,horizon=150",
        "Memory Maze: find coloured domes again and again in a maze of 9, 11, 13 or 15 cells",
        "memory-maze",
        ("mujoco", "PIL"),
        ("generator", "free_reward"),
    )
}

gymnasium.register(id="rate/MemoryMaze-v0", entry_point="rate.tasks.memory_maze:MemoryMaze")
