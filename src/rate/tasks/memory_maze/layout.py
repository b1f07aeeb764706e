"""Mazes: walls, halls, targets and the start, drawn from a seed as the packaged environment draws
them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from rate.tasks.memory_maze.generator import generate

CELL = 2.0
"""Side of a cell, in units of length."""
WALL, START, TARGET = "*", "P", "G"
TEXTURES = ("blue", "cerise", "green_bright", "green", "purple", "red_bright", "red", "yellow")
"""Pictures of walls."""
BLOCKS = 3
"""The maze is cut into so many blocks along each side; the walls of a block have one picture."""
TARGET_RADIUS = 0.6

Generator = Literal["labmaze", "own"]


class Size:
    """Numbers that depend on the size of the maze."""

    def __init__(self, side: int) -> None:
        """Look them up.

        Args:
            side: Cells along a side, without the outer walls.
        """
        targets = {9: 3, 11: 4, 13: 5, 15: 6}
        if side not in targets:
            raise ValueError(f"the side is {side}, allowed: {', '.join(map(str, targets))}")
        self.side, self.targets = side, targets[side]
        self.steps = 1000 * (side - 7) // 2
        self.halls = 9 if side == 15 else 6
        self.hall = (3, 3) if side == 15 else (3, 5)


@dataclass(frozen=True)
class Maze:
    """One maze with all that is drawn for an episode at its start."""

    cells: np.ndarray
    """Whether there is a wall, bool [side + 2, side + 2]; row 0 is at the largest y."""
    halls: np.ndarray
    """Whether a cell lies in a hall, bool."""
    textures: np.ndarray
    """Index of the picture of each block's walls among TEXTURES, [3, 3]."""
    targets: np.ndarray
    """Coordinates of the targets, [n, 2]."""
    start: np.ndarray
    """Coordinates of the start, [2]."""
    heading: float
    """Angle of the steering joint at the start, in radians."""
    goal: int
    """The target that is wanted first."""
    random: np.random.RandomState
    """Where later draws come from."""

    @cached_property
    def blocks(self) -> np.ndarray:
        """Block of every cell along one side, [side + 2]."""
        count = len(self.cells)
        return np.searchsorted(
            [count * i // BLOCKS for i in range(1, BLOCKS)], range(count), "right"
        )

    def wall_boxes(self) -> list[tuple[int, int, int, int]]:
        """Rectangles of cells that the walls consist of: first and last row and column, the last
        ones exclusive.

        Blocks one after the other; in each, from the first cell that is not covered to the right
        and then down, with odd sides.
        """
        boxes = []
        for block in np.ndindex(BLOCKS, BLOCKS):
            inside = np.outer(self.blocks == block[0], self.blocks == block[1])
            left = self.cells & inside
            for row, column in np.argwhere(left):
                if left[row, column]:
                    width = _odd(_run(left[row, column:]))
                    full = np.asarray(left[row:, column : column + width].all(1))
                    height = _odd(_run(full))
                    left[row : row + height, column : column + width] = False
                    boxes.append((row, row + height, column, column + width))
        return boxes

    def place(self, row: float, column: float) -> np.ndarray:
        """Coordinates of a place given in rows and columns of cells."""
        return coordinates(len(self.cells), row, column)


def coordinates(count: int, row: float, column: float) -> np.ndarray:
    """Coordinates [2] of a place in a maze of so many rows."""
    middle = (count - 1) / 2
    return np.array([(column - middle) * CELL, (middle - row) * CELL])


def _run(flags: np.ndarray) -> int:
    """Number of flags that are set before the first that is not."""
    return int(len(flags) if flags.all() else flags.argmin())


def _odd(count: int) -> int:
    return count - (count % 2 == 0)


def draw(size: Size, seed: int, generator: Generator) -> Maze:
    """The maze of a seed.

    Args:
        size: How large it is.
        seed: Whole number from 0 to 2**32 - 1.
        generator: "labmaze" for the mazes of the packaged environment, "own" where that package is
            not installed.
    """
    random = np.random.RandomState(seed)
    make = _labmaze if generator == "labmaze" else generate
    text, halls = make(size, int(random.randint(2**31)))
    random.randint(1)  # the picture of walls outside all blocks, of which there are none
    textures = np.array([random.randint(len(TEXTURES)) for _ in range(10)])[: BLOCKS**2]
    places = [tuple(cell) for cell in np.argwhere(text == TARGET)]
    if len(places) < size.targets:
        places = [tuple(cell) for cell in np.argwhere(text != WALL)]
    random.shuffle(places)
    targets = np.array([coordinates(len(text), *place) for place in places[: size.targets]])
    goal = int(random.randint(size.targets))
    starts = np.argwhere(text == START)
    start = coordinates(len(text), *starts[random.randint(len(starts))])
    turn = np.pi * (1 + np.tanh(np.arctanh(random.uniform(-1, 1))))
    half = (longest_ray(text == WALL, targets, start) + turn) / 2
    # By way of a quaternion, as there: its rounding is part of the trajectory.
    heading = float(np.arctan2(2 * np.cos(half) * np.sin(half), 1 - 2 * np.sin(half) ** 2))
    grid = textures.reshape(BLOCKS, BLOCKS)
    return Maze(text == WALL, halls, grid, targets, start, heading, goal, random)


def longest_ray(cells: np.ndarray, targets: np.ndarray, origin: np.ndarray) -> float:
    """Direction in which one sees farthest among ten, in radians."""
    angles = 2 * np.pi * np.arange(10) / 10
    distances = wall_distances(cells, origin, np.stack([np.cos(angles), np.sin(angles)], 1))
    radius = np.sqrt(TARGET_RADIUS**2 - 0.1**2)  # rays are cast at a height of 0.1
    for index, angle in enumerate(angles):
        along = (targets - origin) @ np.array([np.cos(angle), np.sin(angle)])
        squared = ((targets - origin) ** 2).sum(1) - along**2
        hit = (squared < radius**2) & (along > 0)
        near = along[hit] - np.sqrt(radius**2 - squared[hit])
        distances[index] = min(distances[index], near.min(initial=np.inf))
    return float(angles[int(np.argmax(distances))])


def wall_distances(cells: np.ndarray, origin: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Distances [n] to the first wall along directions [n, 2]."""
    count = len(cells)
    lines = (np.arange(1, count) - count / 2) * CELL
    best = np.full(len(directions), np.inf)
    for axis in (0, 1):
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = (lines - origin[axis]) / directions[:, axis, None]
            other = origin[1 - axis] + distance * directions[:, 1 - axis, None]
        ahead = np.where(directions[:, axis, None] > 0, lines + CELL / 2, lines - CELL / 2)
        x, y = (ahead, other) if axis == 0 else (other, ahead)
        solid = _wall_at(cells, x, y) & (distance > 0)
        best = np.minimum(best, np.where(solid, distance, np.inf).min(1))
    return best


def _wall_at(cells: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    count = len(cells)
    with np.errstate(invalid="ignore"):
        column = np.floor(np.nan_to_num(x / CELL, posinf=1e6, neginf=-1e6) + count / 2)
        row = np.floor(count / 2 - np.nan_to_num(y / CELL, posinf=1e6, neginf=-1e6))
    inside = (column >= 0) & (column < count) & (row >= 0) & (row < count)
    column, row = (index.clip(0, count - 1).astype(int) for index in (column, row))
    solid: np.ndarray = cells[row, column] & inside
    return solid


def _labmaze(size: Size, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cells as characters, and where halls are, of the packaged environment's generator."""
    import labmaze

    maze = labmaze.RandomMaze(
        height=size.side + 2,
        width=size.side + 2,
        max_rooms=size.halls,
        room_min_size=size.hall[0],
        room_max_size=size.hall[1],
        max_variations=26,
        spawns_per_room=1,
        objects_per_room=1,
        simplify=True,
        random_seed=seed,
    )
    maze.regenerate()  # the first maze is thrown away, as there
    return np.array(maze.entity_layer), np.array(maze.variations_layer) != "."


def default_generator() -> Generator:
    """labmaze where it is installed."""
    from importlib.util import find_spec

    return "labmaze" if find_spec("labmaze") else "own"
