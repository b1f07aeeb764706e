"""Experts of Memory Maze: they remember the maze and the domes that they have seen.

An expert moves a twin of the agent's body and learns of its maze through an `Eye` alone.
"""

from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from rate.tasks.memory_maze.layout import CELL, Generator, Maze, Size, draw, wall_distances
from rate.tasks.memory_maze.physics import Ball

RAYS = np.radians(np.linspace(-38, 38, 25))
"""Directions in which the eye looks for walls."""
TARGET_ANGLE, TARGET_DISTANCE = np.radians(34), 14.0
"""Angle and distance within which it recognises a dome."""
HALF_WIDTH = 0.24
"""Half the width of the way that the body needs."""
IN_PLACE, STRAIGHT = 0.9, 0.17
"""Angles above which it turns on the spot, and below which it goes straight ahead."""
UNKNOWN, FREE, WALL = range(3)
NOTHING, FORWARD, LEFT, RIGHT, FORWARD_LEFT, FORWARD_RIGHT = range(6)


class Sight(NamedTuple):
    """What is seen from one place."""

    pose: tuple[float, float, float]
    """Coordinates and direction of the agent."""
    free: np.ndarray
    """Cells that are seen to be free, [k, 2] rows and columns."""
    walls: np.ndarray
    """Cells that are seen to be walls, [k, 2]."""
    targets: dict[int, np.ndarray]
    """Coordinates of the domes in view, by their colour."""


class Eye:
    """Looks at a maze: nothing of it is known but what a look shows."""

    def __init__(self, maze: Maze) -> None:
        self._maze = maze

    def look(self, pose: tuple[float, float, float]) -> Sight:
        """See what is in view."""
        x, y, direction = pose
        place = np.array([x, y])
        angles = direction + RAYS
        ways = np.stack([np.cos(angles), np.sin(angles)], 1)
        distances = wall_distances(self._maze.cells, place, ways)
        steps = np.arange(0, distances.max(), CELL / 4)
        points = place + ways[:, None] * steps[:, None]
        seen = steps < distances[:, None] - 1e-6
        behind = place + ways * (distances + 1e-6)[:, None]
        count = len(self._maze.cells)
        return Sight(
            pose,
            np.unique(cells_of(count, points[seen]), axis=0),
            np.unique(cells_of(count, behind), axis=0),
            self._targets(place, direction),
        )

    def _targets(self, place: np.ndarray, direction: float) -> dict[int, np.ndarray]:
        seen = {}
        for colour, target in enumerate(self._maze.targets):
            away = target - place
            distance = float(np.hypot(*away))
            angle = _wrapped(np.arctan2(away[1], away[0]) - direction)
            if distance < TARGET_DISTANCE and abs(angle) < TARGET_ANGLE:
                free = wall_distances(self._maze.cells, place, away[None] / max(distance, 1e-9))
                if free[0] > distance:
                    seen[colour] = target
        return seen


def cells_of(count: int, points: np.ndarray) -> np.ndarray:
    """Rows and columns of the cells of points [..., 2], in a maze of so many rows."""
    column = np.floor(points[..., 0] / CELL + count / 2)
    row = np.floor(count / 2 - points[..., 1] / CELL)
    return np.stack([row, column], -1).astype(int).clip(0, count - 1)


class Walker:
    """Chooses actions from what an eye has seen: goes to the wanted dome if it has been seen, else
    where something is unknown, else where it has not been for longest."""

    def __init__(self, count: int, generator: np.random.Generator, errors: float) -> None:
        """Begin with an empty memory.

        Args:
            count: Rows of the maze, walls included.
            generator: Decides errors, and the way out of a corner.
            errors: Chance of an action to begin one to five times the same random one.
        """
        self._generator, self._errors = generator, errors
        self.known = np.zeros((count, count), int)
        self.targets: dict[int, np.ndarray] = {}
        self._visited = np.full((count, count), -1)
        self._time, self._still, self._spun = 0, 0, 0
        self._before = np.zeros(2)
        self._forced: list[int] = []

    def act(self, sight: Sight, goal: int) -> int:
        """The next action."""
        self._remember(sight)
        if not self._forced and self._errors and self._generator.random() < self._errors:
            self._forced = [int(self._generator.integers(6))] * int(self._generator.integers(1, 6))
        if not self._forced and (self._still >= 4 or self._spun >= 14):
            self._still = self._spun = 0
            self._forced = [int(self._generator.integers(1, 6))] * int(
                self._generator.integers(2, 5)
            )
        action = self._forced.pop() if self._forced else self._steer(sight, goal)
        self._spun = self._spun + 1 if action in (LEFT, RIGHT) else 0
        return action

    def _remember(self, sight: Sight) -> None:
        place = np.array(sight.pose[:2])
        moved = np.hypot(*(place - self._before)) > 0.05
        self._still, self._before = 0 if moved or self._spun else self._still + 1, place
        self.known[tuple(sight.walls.T)] = WALL
        self.known[tuple(sight.free.T)] = FREE
        here = tuple(cells_of(len(self.known), place))
        self.known[here] = FREE
        self._time += 1
        self._visited[here] = self._time
        self.targets |= sight.targets

    def _steer(self, sight: Sight, goal: int) -> int:
        x, y, direction = sight.pose
        end = self._next_point(np.array([x, y]), goal)
        angle = _wrapped(np.arctan2(end[1] - y, end[0] - x) - direction)
        if abs(angle) > IN_PLACE:
            return LEFT if angle > 0 else RIGHT
        if abs(angle) > STRAIGHT:
            return FORWARD_LEFT if angle > 0 else FORWARD_RIGHT
        return FORWARD

    def _next_point(self, place: np.ndarray, goal: int) -> np.ndarray:
        """Where to go in a straight line: along the way as far as the body fits through."""
        count = len(self.known)
        way = self._way(tuple(cells_of(count, place)), goal)
        points = [self._centre(cell) for cell in way]
        if goal in self.targets and way and way[-1] == self._cell(self.targets[goal]):
            points[-1] = self.targets[goal]
        for point in reversed(points):
            if self._fits(place, point):
                return point
        return points[0] if points else place + 1.0

    def _way(self, here: tuple[int, ...], goal: int) -> list[tuple[int, int]]:
        """Cells of the shortest known way to where it should go, without the first one."""
        came: dict[tuple[int, ...], tuple[int, ...]] = {here: here}
        queue, order = deque([here]), []
        while queue:
            cell = queue.popleft()
            order.append(cell)
            for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):
                there = cell[0] + down, cell[1] + right
                inside = min(there) >= 0 and max(there) < len(self.known)
                if inside and there not in came and self.known[there] != WALL:
                    came[there] = cell
                    if self.known[there] == FREE:
                        queue.append(there)
                    else:
                        order.append(there)
        end = self._end(order, goal)
        way: list[tuple[int, int]] = []
        while end != came[end]:
            way.append((end[0], end[1]))
            end = came[end]
        return way[::-1]

    def _end(self, order: list[tuple[int, ...]], goal: int) -> tuple[int, ...]:
        """Where to go, among cells that can be reached, nearest first."""
        if goal in self.targets and self._cell(self.targets[goal]) in order:
            return self._cell(self.targets[goal])
        unknown = [cell for cell in order if self.known[cell] == UNKNOWN]
        if unknown:
            return unknown[0]
        return min(order[1:] or order, key=lambda cell: self._visited[cell])

    def _fits(self, place: np.ndarray, point: np.ndarray) -> bool:
        """Whether the body fits through known free cells on the straight way to a point."""
        away = point - place
        length = float(np.hypot(*away))
        if length < 1e-6:
            return True
        side = np.array([-away[1], away[0]]) / length * HALF_WIDTH
        share = np.linspace(0, 1, max(2, int(length / 0.25) + 1))[:, None]
        edges = np.concatenate([place + share * away + side, place + share * away - side])
        cells = cells_of(len(self.known), edges)
        # The last cell of the way may be one that is not known yet.
        last = cells_of(len(self.known), point)
        return bool(((self.known[tuple(cells.T)] == FREE) | (cells == last).all(1)).all())

    def _cell(self, place: np.ndarray) -> tuple[int, int]:
        row, column = cells_of(len(self.known), place)
        return int(row), int(column)

    def _centre(self, cell: tuple[int, int]) -> np.ndarray:
        middle = (len(self.known) - 1) / 2
        return np.array([(cell[1] - middle) * CELL, (middle - cell[0]) * CELL])


class MemoryMazeExpert:
    """Explores, remembers, and goes to wanted domes directly."""

    errors = 0.0
    """Chance of an action to begin one to five times the same random one."""

    def __init__(self, side: int = 9, generator: Generator | None = None) -> None:
        from rate.tasks.memory_maze.layout import default_generator

        self._size = Size(side)
        self._draw = partial(draw, self._size, generator=generator or default_generator())

    def reset(self, batch: int, seeds: Sequence[int] | None = None) -> None:
        """Begin new episodes."""
        if seeds is None:
            raise ValueError("the expert plays along with episodes of known seeds: give seeds")
        self._twins = []
        for seed in seeds:
            maze = self._draw(seed=int(seed) % 2**32)
            walker = Walker(len(maze.cells), np.random.default_rng(int(seed)), self.errors)
            self._twins.append((Ball(maze), Eye(maze), walker, maze))

    def act(
        self, observations: np.ndarray, rewards: np.ndarray, forced: np.ndarray | None = None
    ) -> np.ndarray:
        """One action per row, int64 [n]."""
        actions = np.zeros(len(self._twins), np.int64)
        for row, (ball, eye, walker, _) in enumerate(self._twins):
            goal = goal_in(observations[row])
            action = walker.act(eye.look(ball.pose), goal)
            actions[row] = action if forced is None else forced[row]
            ball.act(int(actions[row]))
        return actions


class MemoryMazeDataExpert(MemoryMazeExpert):
    """Errs as often as the agent of the paper's data, whose episodes of 1000 steps return 4.7."""

    errors = 0.4


def goal_in(picture: np.ndarray) -> int:
    """The target whose colour the frame of a picture has."""
    from rate.tasks.memory_maze.picture import COLOURS

    frame = picture[0, 0].astype(float)
    return int(np.abs(COLOURS * 255 * 0.7 - frame).sum(1).argmin())


def _wrapped(angle: float) -> float:
    return float((angle + np.pi) % (2 * np.pi) - np.pi)
