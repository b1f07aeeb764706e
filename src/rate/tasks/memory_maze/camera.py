"""The camera and the mazes of a batch as arrays: what pictures are drawn from."""

from collections.abc import Sequence
from functools import cache

import numpy as np

from rate.tasks.memory_maze.layout import Maze
from rate.tasks.memory_maze.surfaces import CORRIDOR, HALL, sky

PIXELS = 64
BORDER = 2
"""Pixels of the frame that shows the wanted colour."""
HEIGHT, AHEAD = 0.9, 0.15
"""Place of the camera over the floor, and before the axis of the ball."""
VIEW = np.radians(80)
"""Vertical angle of view."""
FORWARD = np.array([0.99503719021, -0.09950371902])
"""Direction of the camera, along the ground and up."""
AMBIENT, DIFFUSE = 0.3, 0.6
COLOURS = (
    np.array(
        [
            (170, 38, 30),
            (99, 170, 88),
            (39, 140, 217),
            (93, 105, 199),
            (220, 193, 59),
            (220, 128, 107),
        ]
    )
    / 220
)
"""Colours of the targets, [6, 3], 0 to 1."""
FAN = 512
"""Horizontal directions that are followed."""


class Camera:
    """Numbers of every pixel [4096] that no maze changes."""

    def __init__(self) -> None:
        edge = np.tan(VIEW / 2)
        across = (np.arange(PIXELS) + 0.5) / PIXELS * 2 - 1
        right, up = np.meshgrid(across * edge, -across * edge)
        along, rise = FORWARD
        ahead, height = along - up * rise, rise + up * along
        self.ahead, self.left = ahead.ravel(), -right.ravel()
        """Horizontal part of the ray, as seen from the agent."""
        self.length = np.hypot(self.ahead, self.left)
        self.angle = np.arctan2(self.left, self.ahead)
        """Its direction, counterclockwise from the camera's."""
        self.rise = height.ravel()
        """Vertical part of the ray."""
        self.norm = np.sqrt(self.length**2 + self.rise**2)
        self.widest = float(np.abs(self.angle).max())
        fan = np.linspace(-self.widest, self.widest, FAN)
        self.fan = fan
        self.nearest = np.rint((self.angle + self.widest) / (2 * self.widest) * (FAN - 1)).astype(
            int
        )
        """Index of each pixel's direction in the fan."""
        with np.errstate(divide="ignore"):
            self.floor = np.where(self.rise < 0, -HEIGHT / self.rise, np.inf)
        """Ray parameter at which the floor is reached."""
        self.sky = sky(np.arctan2(self.rise, self.length))
        inner = slice(BORDER, PIXELS - BORDER)
        frame = np.ones((PIXELS, PIXELS), bool)
        frame[inner, inner] = False
        self.frame = frame.ravel()


@cache
def camera() -> Camera:
    """The one camera that there is."""
    return Camera()


class Scene:
    """Mazes of a batch as arrays."""

    def __init__(self, mazes: Sequence[Maze]) -> None:
        cells = np.stack([maze.cells for maze in mazes])
        self.count = cells.shape[1]
        blocks = mazes[0].blocks
        textures = np.stack([maze.textures for maze in mazes])
        self.walls = np.where(cells, textures[:, blocks[:, None], blocks[None]], -1)
        """Picture of the wall in each cell, -1 where there is none, [n, side, side]."""
        halls = np.stack([maze.halls for maze in mazes])
        self.floors = np.where(halls, HALL, CORRIDOR)
        self.targets = np.stack([maze.targets for maze in mazes])
