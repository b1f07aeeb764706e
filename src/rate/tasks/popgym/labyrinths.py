"""Experts of the labyrinths (RATE, Table 9): they build a map from the observations and move to its
unvisited squares.

A labyrinth is a tree of corridors on a square grid: junctions are at odd rows and columns, and the
start is in the outer wall. Positions here are relative to the start.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

Position = tuple[int, int]
WALL, START, GOAL = 1, 2, 3
MOVES: tuple[Position, ...] = ((0, -1), (0, 1), (-1, 0), (1, 0))
"""Step of each action: left, right, up, down."""
ACROSS = 1.0
"""Cost, in steps, of one square of distance to the far wall."""


def beside(position: Position) -> list[Position]:
    """The positions one move away, in the order of the actions."""
    return [(position[0] + row, position[1] + column) for row, column in MOVES]


def reached(start: Position, enters: Callable[[Position], bool]) -> dict[Position, Position | None]:
    """The start and every square reached from it through squares that `enters` admits, in the order
    of distance, and the square before each."""
    before: dict[Position, Position | None] = {start: None}
    queue = deque([start])
    while queue:
        square = queue.popleft()
        for near in beside(square):
            if near not in before and enters(near):
                before[near] = square
                queue.append(near)
    return before


class LabyrinthMap:
    """The squares of a labyrinth that were observed, and the position of the agent.

    Attributes:
        width: Number of squares across the labyrinth.
        here: Position of the agent.
        seen: Kind of every square that was observed.
        visited: Squares where the agent has been.
        inward: Direction from the start into the labyrinth.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.here: Position = (0, 0)
        self.seen: dict[Position, int] = {}
        self.visited: set[Position] = set()
        self.inward: Position = (0, 0)
        self._center: Position | None = None

    def look(self, view: np.ndarray) -> None:
        """Add a view [3, 3] of the squares around the agent.

        At the upper and the left edge the view is not centered on the agent: it begins at the edge
        and is padded with walls. Only the start is there, and the view shows where it is.
        """
        if self._center is None:
            row, column = np.argwhere(view == START)[0]
            self._center = (int(row), int(column))
        center = self._center if self.here == (0, 0) else (1, 1)
        for (row, column), cell in np.ndenumerate(view):
            down, right = row - center[0], column - center[1]
            if max(abs(down), abs(right)) <= 1:
                self.seen[self.here[0] + down, self.here[1] + right] = int(cell)
        if not self.visited:
            self.inward = next(move for move in MOVES if self.free(move))
        self.visited.add(self.here)

    def free(self, position: Position) -> bool:
        """Whether a square was observed and is no wall."""
        return self.seen.get(position, WALL) != WALL

    def depth(self, position: Position) -> int:
        """Distance of a square from the outer wall that holds the start; the far wall is at
        width - 1."""
        return position[0] * self.inward[0] + position[1] * self.inward[1]

    def side(self, position: Position) -> int:
        """Signed distance of a square from the start, along the wall that holds it."""
        return position[0] * self.inward[1] + position[1] * self.inward[0]

    def routes(self) -> dict[Position, Position | None]:
        """Every square that can be reached, in the order of distance, and the square before it."""
        return reached(self.here, self.free)

    def action(self, target: Position, routes: dict[Position, Position | None]) -> int:
        """The action of the first step to a square, by its route."""
        step = target
        while (before := routes[step]) is not None and before != self.here:
            step = before
        return MOVES.index((step[0] - self.here[0], step[1] - self.here[1]))

    def beyond(self, square: Position) -> set[Position]:
        """All squares that may be reached from an unvisited square, unknown squares taken as
        free."""
        sides = [self.side(position) for position in self.visited]
        low, high = max(sides) - (self.width - 3), min(sides) + (self.width - 3)

        def possible(near: Position) -> bool:
            if near in self.visited or self.seen.get(near) == WALL:
                return False
            depth, side = self.depth(near), self.side(near)
            pillar = depth % 2 == 0 and side % 2 == 1
            return not pillar and 0 < depth < self.width and low <= side <= high

        return set(reached(square, possible))


class LabyrinthExpert:
    """Moves to the unvisited square of least cost."""

    def __init__(self, environment: gymnasium.Env[Any, Any], seed: int) -> None:
        fixed: Any = environment.unwrapped
        self.map = LabyrinthMap(2 * int(fixed.maze_dims[0]) + 1)
        self._ended = False

    def act(self, observation: Any, reward: float) -> int:
        """The move: 0 left, 1 right, 2 up, 3 down."""
        if self._ended:
            return 0
        self.map.look(np.asarray(observation)[:9].reshape(3, 3))
        routes = self.map.routes()
        distances: dict[Position, int] = {}
        for square, before in routes.items():
            distances[square] = 0 if before is None else distances[before] + 1
        open_ends = [square for square in routes if square not in self.map.visited]
        self._ended = not open_ends or self.map.seen[self.map.here] == GOAL
        if self._ended:
            return 0
        target = min(open_ends, key=lambda square: self.cost(square, distances[square]))
        action = self.map.action(target, routes)
        move = MOVES[action]
        self.map.here = (self.map.here[0] + move[0], self.map.here[1] + move[1])
        return action

    def cost(self, square: Position, distance: int) -> tuple[float, ...]:
        """Cost of an unvisited square, the most important component first."""
        return (distance,)


class ExploreExpert(LabyrinthExpert):
    """Moves to the nearest unvisited square; among equals to the one nearer the wall of the start.

    Squares are visited twice only on the way back from a branch. The last branch needs no way back,
    so it should end far from the start.
    """

    def cost(self, square: Position, distance: int) -> tuple[float, ...]:
        """The distance, then the depth."""
        return (distance, self.map.depth(square))


class EscapeExpert(LabyrinthExpert):
    """Searches for the exit, which is in the wall opposite the start."""

    def cost(self, square: Position, distance: int) -> tuple[float, ...]:
        """Whether the exit cannot be reached through the square, then the steps to the square and
        from there to the far wall."""
        far = self.map.width - 1
        hopeless = all(self.map.depth(other) < far for other in self.map.beyond(square))
        return (hopeless, distance + ACROSS * (far - self.map.depth(square)))
