"""What the agent sees: rays through the pixels of a batch of mazes, in NumPy.

A picture needs no ray per pixel through the maze: how far away a wall is depends on the horizontal
direction alone, so a fan of directions is followed, and every pixel takes the nearest one.
"""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np

from rate.tasks.memory_maze.camera import (
    AHEAD,
    AMBIENT,
    COLOURS,
    DIFFUSE,
    FORWARD,
    HEIGHT,
    PIXELS,
    VIEW,
    Scene,
    camera,
)
from rate.tasks.memory_maze.layout import CELL, TARGET_RADIUS
from rate.tasks.memory_maze.physics import WALL_HEIGHT
from rate.tasks.memory_maze.surfaces import LEVELS, SIZE, surfaces

Draw = Callable[[Scene, np.ndarray, np.ndarray], np.ndarray]


def render(scene: Scene, poses: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Pictures of a batch, in machine code where Numba is installed.

    Both forms use the same formulas; single pixels differ where rounding decides between texels.

    Args:
        scene: The mazes.
        poses: Coordinates and direction of each agent, [n, 3].
        goal: Index of the target whose colour the frame shows, [n].

    Returns:
        uint8 [n, 64, 64, 3].
    """
    return _fastest()(scene, poses, goal)


@cache
def _fastest() -> Draw:
    if find_spec("numba") is None:
        return render_numpy
    from rate.tasks.memory_maze.compiled import render_compiled

    return render_compiled


def render_numpy(scene: Scene, poses: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """`render` in NumPy alone."""
    eye, direction = camera(), poses[:, 2]
    facing = np.stack([np.cos(direction), np.sin(direction)], 1)
    origin = poses[:, :2] + AHEAD * facing
    first = _follow(scene, origin, direction[:, None] + eye.fan)
    # The ray of a pixel along x and y, [n, 4096] each, and the wall of the nearest direction.
    rays = (
        np.outer(facing[:, 0], eye.ahead) - np.outer(facing[:, 1], eye.left),
        np.outer(facing[:, 1], eye.ahead) + np.outer(facing[:, 0], eye.left),
    )
    across = first.across[:, eye.nearest]
    step = np.where(across, rays[0], rays[1])
    begin = np.where(across, origin[:, :1], origin[:, 1:])
    with np.errstate(divide="ignore", invalid="ignore"):
        wall_at = (first.line[:, eye.nearest] - begin) / step
    height = HEIGHT + wall_at * eye.rise
    shown = np.empty((len(poses), PIXELS**2, 3), np.float32)
    shown[:] = eye.sky
    _walls(scene, first, origin, facing, rays, wall_at, height, shown)
    _floor(scene, origin, rays, height <= 0, shown)
    _targets(scene, origin, direction, np.minimum(wall_at, eye.floor), shown)
    pictures = shown.clip(0, 255).astype(np.uint8)
    frame = (COLOURS[goal] * 255 * 0.7).astype(np.uint8)
    pictures[:, eye.frame] = frame[:, None]
    return pictures.reshape(len(poses), PIXELS, PIXELS, 3)


class _First(NamedTuple):
    """The first wall along each direction, [n, FAN] each."""

    across: np.ndarray
    """Whether the wall stands across the x axis, and not the y axis."""
    line: np.ndarray
    """Its coordinate on that axis."""
    kind: np.ndarray
    """Its picture."""


def _follow(scene: Scene, origin: np.ndarray, angle: np.ndarray) -> _First:
    """Follow directions [n, FAN] from one line between cells to the next, along both axes."""
    shape = angle.shape
    best, line = np.full(shape, np.inf), np.zeros(shape)
    across, kind = np.zeros(shape, bool), np.zeros(shape, int)
    last, rows = scene.count - 1, np.arange(len(origin))[:, None]
    step = np.stack([np.cos(angle), np.sin(angle)])
    start = origin.T[:, :, None] / CELL + scene.count / 2  # in cells from the lower left corner
    for axis in (0, 1):
        forward = step[axis] > 0
        sign = np.where(forward, 1.0, -1.0)
        slope = 1 / np.maximum(np.abs(step[axis]), 1e-9)
        at = np.where(forward, np.floor(start[axis]) + 1, np.ceil(start[axis]) - 1)
        travelled = np.abs(at - start[axis]) * slope
        open_ = np.ones(shape, bool)
        while open_.any():
            other = start[1 - axis] + travelled * step[1 - axis]
            cell = (at - ~forward).astype(int).clip(0, last)
            beside = other.astype(int).clip(0, last)
            column, up = (cell, beside) if axis == 0 else (beside, cell)
            found = scene.walls[rows, last - up, column]
            hit = open_ & (found >= 0) & (travelled < best)
            best[hit], kind[hit], across[hit], line[hit] = (
                travelled[hit],
                found[hit],
                axis == 0,
                at[hit],
            )
            open_ &= (found < 0) & (travelled < best)
            at, travelled = at + sign, travelled + slope
    return _First(across, (line - scene.count / 2) * CELL, kind)


def _walls(
    scene: Scene,
    first: _First,
    origin: np.ndarray,
    facing: np.ndarray,
    rays: tuple[np.ndarray, np.ndarray],
    wall_at: np.ndarray,
    height: np.ndarray,
    shown: np.ndarray,
) -> None:
    eye = camera()
    row, pixel = np.nonzero((height > 0) & (height < WALL_HEIGHT))
    nearest, reach = eye.nearest[pixel], wall_at[row, pixel]
    across = first.across[row, nearest]
    x, y = (origin[row, axis] + reach * rays[axis][row, pixel] for axis in (0, 1))
    place = np.where(across, y, x) / CELL + scene.count / 2
    place -= np.floor(place)
    towards = np.where(across, rays[0][row, pixel], rays[1][row, pixel]) > 0
    # From left to right as seen from in front of the wall.
    place = np.where(towards == across, 1 - place, place)
    kind = first.kind[row, nearest]
    texel = _texture(
        kind, place, (WALL_HEIGHT - height[row, pixel]) / CELL, reach * eye.norm[pixel]
    )
    cosine = np.where(across, facing[row, 0], facing[row, 1]) * np.where(towards, 1, -1)
    light = AMBIENT + DIFFUSE * np.maximum(0, cosine * FORWARD[0])
    shown[row, pixel] = texel * light[:, None]


def _floor(
    scene: Scene,
    origin: np.ndarray,
    rays: tuple[np.ndarray, np.ndarray],
    visible: np.ndarray,
    shown: np.ndarray,
) -> None:
    eye = camera()
    row, pixel = np.nonzero(visible & (eye.rise < 0))
    reach = eye.floor[pixel]
    x, y = (
        (origin[row, axis] + reach * rays[axis][row, pixel]) / CELL + scene.count / 2
        for axis in (0, 1)
    )
    column, up = (np.floor(value).astype(int).clip(0, scene.count - 1) for value in (x, y))
    kind = scene.floors[row, scene.count - 1 - up, column]
    texel = _texture(kind, x - np.floor(x), 1 - (y - np.floor(y)), reach * eye.norm[pixel])
    shown[row, pixel] = texel * (AMBIENT + DIFFUSE * -FORWARD[1])


def _targets(
    scene: Scene, origin: np.ndarray, direction: np.ndarray, limit: np.ndarray, shown: np.ndarray
) -> None:
    """Half domes, drawn over what lies behind them."""
    eye = camera()
    limit = limit.copy()
    for index in range(scene.targets.shape[1]):
        away = scene.targets[:, index] - origin
        distance = np.hypot(*away.T)
        angle = (np.arctan2(away[:, 1], away[:, 0]) - direction + np.pi) % (2 * np.pi) - np.pi
        width = np.arcsin(np.minimum(1, TARGET_RADIUS / np.maximum(distance, 1e-9)))
        for row in np.flatnonzero(np.abs(angle) - width < eye.widest):
            pixels = np.flatnonzero(np.abs(eye.angle - angle[row]) < width[row] + 1e-3)
            ray = np.stack(
                [
                    eye.length[pixels] * np.cos(eye.angle[pixels] + direction[row]),
                    eye.length[pixels] * np.sin(eye.angle[pixels] + direction[row]),
                    eye.rise[pixels],
                ],
                1,
            )
            centre = np.array([*away[row], -HEIGHT])
            squared = (ray**2).sum(1)
            half = ray @ centre
            inside = half**2 - squared * (centre @ centre - TARGET_RADIUS**2)
            at = (half - np.sqrt(np.maximum(inside, 0))) / squared
            hit = (inside > 0) & (at > 0) & (at < limit[row, pixels])
            normal = (ray[hit] * at[hit, None] - centre) / TARGET_RADIUS
            facing = np.array(
                [
                    np.cos(direction[row]) * FORWARD[0],
                    np.sin(direction[row]) * FORWARD[0],
                    FORWARD[1],
                ]
            )
            light = AMBIENT + DIFFUSE * np.maximum(0, -(normal @ facing))
            shown[row, pixels[hit]] = light[:, None] * COLOURS[index] * 255
            limit[row, pixels[hit]] = at[hit]


def _texture(kind: np.ndarray, u: np.ndarray, v: np.ndarray, away: np.ndarray) -> np.ndarray:
    """Colours [k, 3] of surfaces at places u (to the right) and v (down), 0 to 1 per cell, seen
    from so far away."""
    flat, offsets = surfaces()
    # Texels that a pixel covers at this distance, as a level of halved pictures.
    covered = away * (2 * np.tan(VIEW / 2) / PIXELS) / CELL * SIZE
    level = np.rint(np.log2(np.maximum(covered, 1))).astype(int).clip(0, LEVELS - 1)
    side = SIZE >> level
    column = (u * side).astype(int).clip(0, side - 1)
    row = ((v % 1.0) * side).astype(int).clip(0, side - 1)
    texels: np.ndarray = flat[offsets[kind, level] + row * side + column]
    return texels
