"""Experts of Memory Maze: they remember the maze and the domes that they have seen.

An expert moves a twin of the agent's body and learns of its maze through an `Eye` alone.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from rate.tasks.memory_maze.camera import COLOURS
from rate.tasks.memory_maze.layout import (
    CELL,
    Generator,
    Maze,
    Size,
    default_generator,
    draw,
    wall_distances,
)
from rate.tasks.memory_maze.physics import Ball
from rate.tasks.memory_maze.walker import (
    TARGET_ANGLE,
    TARGET_DISTANCE,
    Sight,
    Walker,
    cells_of,
    wrapped,
)

RAYS = np.radians(np.linspace(-38, 38, 25))
"""Directions in which the eye looks for walls."""


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
            angle = wrapped(np.arctan2(away[1], away[0]) - direction)
            if distance < TARGET_DISTANCE and abs(angle) < TARGET_ANGLE:
                free = wall_distances(self._maze.cells, place, away[None] / max(distance, 1e-9))
                if free[0] > distance:
                    seen[colour] = target
        return seen


class MemoryMazeExpert:
    """Explores, remembers, and goes to wanted domes directly."""

    errors = (0.0, 0.0)
    """Least and greatest chance of an action to be a random one; that of an episode is drawn."""

    def __init__(self, side: int = 9, generator: Generator | None = None) -> None:
        self._size = Size(side)
        self._draw = partial(draw, self._size, generator=generator or default_generator())

    def reset(self, batch: int, seeds: Sequence[int] | None = None) -> None:
        """Begin new episodes."""
        if seeds is None:
            raise ValueError("the expert plays along with episodes of known seeds: give seeds")
        self._twins = []
        for seed in seeds:
            maze = self._draw(seed=int(seed) % 2**32)
            generator = np.random.default_rng(int(seed))
            errors = float(generator.uniform(*self.errors))
            walker = Walker(len(maze.cells), generator, errors)
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
    """Errs so often that its episodes of 1000 steps return 4.7, as those of the paper's data do; in
    some episodes more often than in others."""

    errors = (0.58, 1.0)


def goal_in(picture: np.ndarray) -> int:
    """The target whose colour the frame of a picture has."""
    frame = picture[0, 0].astype(float)
    return int(np.abs(COLOURS * 255 * 0.7 - frame).sum(1).argmin())
