"""The mind of Memory Maze's expert: a memory of what has been seen, and the way to go from it."""

from collections import deque
from typing import NamedTuple

import numpy as np

from rate.tasks.memory_maze.layout import CELL, TARGET_RADIUS, wall_distances

TARGET_ANGLE, TARGET_DISTANCE = np.radians(34), 14.0
"""Angle and distance within which a dome is recognised."""
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


def cells_of(count: int, points: np.ndarray) -> np.ndarray:
    """Rows and columns of the cells of points [..., 2], in a maze of so many rows."""
    column = np.floor(points[..., 0] / CELL + count / 2)
    row = np.floor(count / 2 - points[..., 1] / CELL)
    return np.stack([row, column], -1).astype(int).clip(0, count - 1)


def wrapped(angle: float) -> float:
    """The angle from -pi to pi."""
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


class Walker:
    """Chooses actions from what an eye has seen: goes to the wanted dome if it has been seen, else
    to where it has not looked yet, else where it has not been for longest."""

    def __init__(self, count: int, generator: np.random.Generator, errors: float) -> None:
        """Begin with an empty memory.

        Args:
            count: Rows of the maze, walls included.
            generator: Decides errors, and the way out of a corner.
            errors: Chance of an action to be a random one.
        """
        self._generator, self._errors = generator, errors
        self.known = np.zeros((count, count), int)
        self.targets: dict[int, np.ndarray] = {}
        self._looked = np.zeros((count, count), bool)
        self._visited = np.full((count, count), -1)
        self._time, self._still, self._spun = 0, 0, 0
        self._before = np.zeros(2)
        self._forced: list[int] = []

    def act(self, sight: Sight, goal: int) -> int:
        """The next action."""
        self._remember(sight)
        if not self._forced and (self._still >= 4 or self._spun >= 14):
            self._still = self._spun = 0
            self._forced = [int(self._generator.integers(1, 6))] * int(
                self._generator.integers(2, 5)
            )
        action = self._forced.pop() if self._forced else self._steer(sight, goal)
        if self._errors and self._generator.random() < self._errors:
            action = int(self._generator.integers(6))
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
        self._look(place, sight.pose[2])

    def _look(self, place: np.ndarray, direction: float) -> None:
        """Note the cells in whose middle a dome would have been recognised."""
        cells = np.argwhere((self.known == FREE) & ~self._looked)
        away = self._centres(cells) - place
        distance = np.maximum(np.hypot(*away.T), 1e-9)
        angle = np.arctan2(away[:, 1], away[:, 0]) - direction
        angle = (angle + np.pi) % (2 * np.pi) - np.pi
        # Who stands so close to the middle would stand in a dome.
        self._looked[tuple(cells[distance < TARGET_RADIUS].T)] = True
        inside = (np.abs(angle) < TARGET_ANGLE) & (distance < TARGET_DISTANCE)
        cells, away, distance = cells[inside], away[inside], distance[inside]
        if len(cells):
            reach = wall_distances(self.known != FREE, place, away / distance[:, None])
            self._looked[tuple(cells[reach > distance].T)] = True

    def _steer(self, sight: Sight, goal: int) -> int:
        x, y, direction = sight.pose
        end = self._next_point(np.array([x, y]), goal)
        angle = wrapped(np.arctan2(end[1] - y, end[0] - x) - direction)
        if abs(angle) > IN_PLACE:
            return LEFT if angle > 0 else RIGHT
        if abs(angle) > STRAIGHT:
            return FORWARD_LEFT if angle > 0 else FORWARD_RIGHT
        return FORWARD

    def _next_point(self, place: np.ndarray, goal: int) -> np.ndarray:
        """Where to go in a straight line: along the way as far as the body fits through."""
        count = len(self.known)
        way = self._way(tuple(cells_of(count, place)), goal)
        points = list(self._centres(np.array(way).reshape(-1, 2)))
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
        new = [cell for cell in order if self.known[cell] == UNKNOWN or not self._looked[cell]]
        if new:
            return new[0]
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

    def _centres(self, cells: np.ndarray) -> np.ndarray:
        """Coordinates of the middles of cells [k, 2]."""
        middle = (len(self.known) - 1) / 2
        return np.stack([cells[:, 1] - middle, middle - cells[:, 0]], 1) * CELL
