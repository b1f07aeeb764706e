"""The pictures of `picture`, drawn pixel by pixel in machine code by Numba.

Every formula is that of the NumPy form, in the same precision. Only imported where Numba is
installed.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numba
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

AHEAD_OF_CAMERA, UP = float(FORWARD[0]), float(FORWARD[1])
COVERED = 2 * np.tan(VIEW / 2) / PIXELS / CELL * SIZE
"""Texels that a pixel covers, for each unit of distance."""


class Lens(NamedTuple):
    """The arrays of `Camera`."""

    ahead: np.ndarray
    left: np.ndarray
    angle: np.ndarray
    rise: np.ndarray
    norm: np.ndarray
    floor: np.ndarray
    fan: np.ndarray
    nearest: np.ndarray
    sky: np.ndarray
    widest: float


class Place(NamedTuple):
    """One maze, and from where it is seen."""

    walls: np.ndarray
    floors: np.ndarray
    targets: np.ndarray
    x: float
    y: float
    direction: float


class Paint(NamedTuple):
    """Texels of all surfaces, where each begins, and the colours of targets."""

    texels: np.ndarray
    offsets: np.ndarray
    colours: np.ndarray


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        return numba.njit(cache=True, error_model="numpy")(function)
    except RuntimeError:  # there is no folder to keep the machine code in
        return numba.njit(error_model="numpy")(function)


def render_compiled(scene: Scene, poses: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """`render` by Numba."""
    eye = camera()
    frame = (COLOURS[goal] * 255 * 0.7).astype(np.uint8)
    pictures = np.empty((len(poses), PIXELS**2, 3), np.uint8)
    for row, (x, y, direction) in enumerate(poses):
        x, y = x + AHEAD * np.cos(direction), y + AHEAD * np.sin(direction)
        place = Place(
            scene.walls[row], scene.floors[row], scene.targets[row], x, y, float(direction)
        )
        _draw(place, _lens(), _paint(), pictures[row])
    pictures[:, eye.frame] = frame[:, None]
    return pictures.reshape(len(poses), PIXELS, PIXELS, 3)


@cache
def _lens() -> Lens:
    return Lens(*(getattr(camera(), name) for name in Lens._fields))


@cache
def _paint() -> Paint:
    return Paint(*surfaces(), COLOURS)


@_compiled
def _follow(place: Place, angle: float) -> tuple[bool, float, int]:
    """The first wall in a direction: whether it stands across the x axis, its coordinate, and its
    picture."""
    count = len(place.walls)
    steps = np.cos(angle), np.sin(angle)
    starts = place.x / CELL + count / 2, place.y / CELL + count / 2
    best, line, across, kind = np.inf, 0.0, False, 0
    for axis in range(2):
        step, other_step = steps[axis], steps[1 - axis]
        start, other_start = starts[axis], starts[1 - axis]
        forward = step > 0
        slope = 1 / max(abs(step), 1e-9)
        at = np.floor(start) + 1 if forward else np.ceil(start) - 1
        travelled = abs(at - start) * slope
        while travelled < best:
            cell = min(max(int(at) - (0 if forward else 1), 0), count - 1)
            beside = min(max(int(other_start + travelled * other_step), 0), count - 1)
            column, up = (cell, beside) if axis == 0 else (beside, cell)
            found = place.walls[count - 1 - up, column]
            if found >= 0:
                best, line, across, kind = travelled, at, axis == 0, found
            at += 1 if forward else -1
            travelled += slope
    return across, (line - count / 2) * CELL, kind


@_compiled
def _texel(paint: Paint, kind: int, u: float, v: float, away: float) -> int:
    """Index of the colour of a surface at a place u (to the right) and v (down) of a cell."""
    level, covered = 0, away * COVERED
    while covered > 2**0.5 and level < LEVELS - 1:  # the nearest whole logarithm
        level, covered = level + 1, covered / 2
    side = SIZE >> level
    column = min(max(int(u * side), 0), side - 1)
    row = min(max(int((v - np.floor(v)) * side), 0), side - 1)
    return int(paint.offsets[kind, level]) + row * side + column


@_compiled
def _domes(place: Place, lens: Lens) -> np.ndarray:
    """Of each target: vector to its centre, direction in the picture, and half the angle that it
    takes, negative if it lies outside; [targets, 4]."""
    domes = np.empty((len(place.targets), 4))
    for target in range(len(place.targets)):
        x, y = place.targets[target, 0] - place.x, place.targets[target, 1] - place.y
        angle = (np.arctan2(y, x) - place.direction + np.pi) % (2 * np.pi) - np.pi
        width = np.arcsin(min(1.0, TARGET_RADIUS / max(np.hypot(x, y), 1e-9)))
        domes[target] = x, y, angle, width if abs(angle) - width < lens.widest else -1.0
    return domes


@_compiled
def _hit(dome: np.ndarray, ray: np.ndarray, limit: float) -> float:
    """Ray parameter at which a target's dome is seen, 0 if it is not."""
    squared = (ray**2).sum()
    half = ray[0] * dome[0] + ray[1] * dome[1] - ray[2] * HEIGHT
    centre = dome[0] ** 2 + dome[1] ** 2 + HEIGHT**2
    inside = half**2 - squared * (centre - TARGET_RADIUS**2)
    if inside <= 0:
        return 0.0
    at = (half - np.sqrt(inside)) / squared
    return at if 0 < at < limit else 0.0


@_compiled
def _surface(
    place: Place, paint: Paint, ray: np.ndarray, reach: float, wall: tuple[bool, int, float]
) -> tuple[int, float]:
    """Texel and light of the wall or floor that a ray meets.

    Args:
        place: Where it is looked from.
        paint: The surfaces.
        ray: The ray of the pixel, [4]: along x, y and up, and its length.
        reach: Ray parameter of the meeting.
        wall: Whether the wall stands across the x axis, its picture, and the height of the
            meeting over the floor, at 0 or less if it is the floor that is met.
    """
    count = len(place.walls)
    x = (place.x + reach * ray[0]) / CELL + count / 2
    y = (place.y + reach * ray[1]) / CELL + count / 2
    across, kind, height = wall
    if height <= 0:
        column = min(max(int(np.floor(x)), 0), count - 1)
        up = min(max(int(np.floor(y)), 0), count - 1)
        floor = place.floors[count - 1 - up, column]
        texel = _texel(paint, floor, x - np.floor(x), 1 - (y - np.floor(y)), reach * ray[3])
        return texel, AMBIENT + DIFFUSE * -UP
    along = y if across else x
    along -= np.floor(along)
    towards = (ray[0] if across else ray[1]) > 0
    if towards == across:  # from left to right as seen from in front of the wall
        along = 1 - along
    facing = np.cos(place.direction) if across else np.sin(place.direction)
    light = AMBIENT + DIFFUSE * max(0.0, (facing if towards else -facing) * AHEAD_OF_CAMERA)
    return _texel(paint, kind, along, (WALL_HEIGHT - height) / CELL, reach * ray[3]), light


@_compiled
def _draw(place: Place, lens: Lens, paint: Paint, picture: np.ndarray) -> None:
    """Fill a picture, uint8 [4096, 3]."""
    cosine, sine = np.cos(place.direction), np.sin(place.direction)
    facing = np.array([cosine * AHEAD_OF_CAMERA, sine * AHEAD_OF_CAMERA, UP])
    count = len(lens.fan)
    across, line, kind = np.empty(count, np.bool_), np.empty(count), np.empty(count, np.int64)
    for index in range(count):
        across[index], line[index], kind[index] = _follow(place, place.direction + lens.fan[index])
    domes, ray, shown = _domes(place, lens), np.empty(4), np.empty(3, np.float32)
    for pixel in range(len(picture)):
        ray[0] = cosine * lens.ahead[pixel] - sine * lens.left[pixel]
        ray[1] = sine * lens.ahead[pixel] + cosine * lens.left[pixel]
        ray[2], ray[3] = lens.rise[pixel], lens.norm[pixel]
        near = lens.nearest[pixel]
        wall_at = (line[near] - (place.x if across[near] else place.y)) / (
            ray[0] if across[near] else ray[1]
        )
        height = HEIGHT + wall_at * ray[2]
        limit = min(wall_at, lens.floor[pixel])
        if height < WALL_HEIGHT and (height > 0 or ray[2] < 0):
            reach = wall_at if height > 0 else lens.floor[pixel]
            wall = across[near], kind[near], height
            texel, light = _surface(place, paint, ray, reach, wall)
            for channel in range(3):
                shown[channel] = paint.texels[texel, channel] * light
        else:
            shown[:] = lens.sky[pixel]
        for target in range(len(domes)):
            dome = domes[target]
            if abs(lens.angle[pixel] - dome[2]) < dome[3] + 1e-3:
                at = _hit(dome, ray[:3], limit)
                if at > 0:
                    limit = at
                    normal = at * ray[:3] - np.array([dome[0], dome[1], -HEIGHT])
                    cos = -(normal * facing).sum() / TARGET_RADIUS
                    light = AMBIENT + DIFFUSE * max(0.0, cos)
                    for channel in range(3):
                        shown[channel] = light * paint.colours[target, channel] * 255
        for channel in range(3):
            picture[pixel, channel] = np.uint8(min(max(shown[channel], 0), 255))
