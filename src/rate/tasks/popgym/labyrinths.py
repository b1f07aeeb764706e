"""Players of the labyrinths (RATE, Table 9): a map is drawn from what was seen, and unseen parts
are walked to.

A labyrinth is a tree of corridors on a square grid: junctions sit at odd rows and columns, and the
walk starts in its outer wall. Positions here are relative to the start.
"""

from collections import deque
from typing import Any

import gymnasium
import numpy as np

Position = tuple[int, int]
WALL, START, GOAL = 1, 2, 3
MOVES: tuple[Position, ...] = ((0, -1), (0, 1), (-1, 0), (1, 0))
"""Step of each action: left, right, up, down."""


ACROSS = 1.0
"""Steps that one square of distance from the far wall is worth."""


def beside(position: Position) -> list[Position]:
    """Return the positions one move away, in the order of the actions."""
    return [(position[0] + row, position[1] + column) for row, column in MOVES]


class LabyrinthMap:
    """What was seen of a labyrinth, and where in it the walker stands.

    ``inward`` is the direction from the start into the labyrinth and ``width`` the number of
    squares across it.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.here: Position = (0, 0)
        self.seen: dict[Position, int] = {}
        self.visited: set[Position] = set()
        self.inward: Position = (0, 0)
        self._center: Position | None = None

    def look(self, view: np.ndarray) -> None:
        """Add a view [3, 3] of the squares around the walker.

        At the upper and the left edge the view is not centered on the walker, but begins at the
        edge and is filled up with walls behind; only the start lies there, and it shows itself.
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
        """Return whether a square was seen and is no wall."""
        return self.seen.get(position, WALL) != WALL

    def depth(self, position: Position) -> int:
        """Return how far a square lies from the outer wall that holds the start; the far wall is at
        width - 1."""
        return position[0] * self.inward[0] + position[1] * self.inward[1]

    def side(self, position: Position) -> int:
        """Return how far a square lies beside the start."""
        return position[0] * self.inward[1] + position[1] * self.inward[0]

    def routes(self) -> dict[Position, Position | None]:
        """Return every square that can be walked to and the square before it, in the order of
        distance."""
        before: dict[Position, Position | None] = {self.here: None}
        queue = deque([self.here])
        while queue:
            square = queue.popleft()
            for near in beside(square):
                if near not in before and self.free(near):
                    before[near] = square
                    queue.append(near)
        return before

    def action(self, target: Position, routes: dict[Position, Position | None]) -> int:
        """Return the action of the first step to a square."""
        step = target
        while (before := routes[step]) is not None and before != self.here:
            step = before
        return MOVES.index((step[0] - self.here[0], step[1] - self.here[1]))

    def beyond(self, square: Position) -> set[Position]:
        """Return all squares that may be reached from an unvisited square through what is not known
        to be wall."""
        sides = [self.side(position) for position in self.visited]
        low, high = max(sides) - (self.width - 3), min(sides) + (self.width - 3)
        region = {square}
        queue = deque([square])
        while queue:
            for near in beside(queue.popleft()):
                if near in region or near in self.visited or self.seen.get(near) == WALL:
                    continue
                depth, side = self.depth(near), self.side(near)
                pillar = depth % 2 == 0 and side % 2 == 1
                if not pillar and 0 < depth < self.width and low <= side <= high:
                    region.add(near)
                    queue.append(near)
        return region


class LabyrinthPlayer:
    """Walks to the unvisited square that promises most and looks around there."""

    def __init__(self, environment: gymnasium.Env[Any, Any], seed: int) -> None:
        fixed: Any = environment.unwrapped
        self.map = LabyrinthMap(2 * int(fixed.maze_dims[0]) + 1)
        self._ended = False

    def act(self, observation: Any, reward: float) -> int:
        """Return the move: 0 left, 1 right, 2 up, 3 down."""
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
        """Return what makes an open end worse than others, most important first."""
        return (distance,)


class ExplorePlayer(LabyrinthPlayer):
    """Takes the nearest unvisited square; of two, the one nearer the wall of the start.

    Squares are only walked twice on the way back from a branch, and the last branch needs no way
    back: it should end far away.
    """

    def cost(self, square: Position, distance: int) -> tuple[float, ...]:
        """Return the distance, then the depth."""
        return (distance, self.map.depth(square))


class EscapePlayer(LabyrinthPlayer):
    """Looks for the exit, which lies in the wall opposite the start, where it can still be."""

    def cost(self, square: Position, distance: int) -> tuple[float, ...]:
        """Return whether the exit cannot be behind, then the steps there and the steps across that
        would be left."""
        far = self.map.width - 1
        hopeless = all(self.map.depth(other) < far for other in self.map.beyond(square))
        return (hopeless, distance + ACROSS * (far - self.map.depth(square)))


PLAYERS: dict[str, type] = {"LabyrinthEscape": EscapePlayer, "LabyrinthExplore": ExplorePlayer}
"""Player by the name of the environment's class without its size."""
