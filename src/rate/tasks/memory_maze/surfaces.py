"""Pictures of walls, floors and sky: those of the package labmaze, or painted ones without it."""

import importlib.util
from functools import cache

import numpy as np

from rate.tasks.memory_maze.layout import TEXTURES

SIZE = 512
"""Side of a picture, which covers a cell."""
LEVELS = 10
"""Each picture is kept in its size and halved again and again, down to one texel."""
CORRIDOR, HALL = len(TEXTURES), len(TEXTURES) + 1
"""Numbers of the floors, behind those of the walls."""

PAINTS = (
    (40, 90, 190),
    (200, 70, 110),
    (110, 200, 90),
    (70, 130, 60),
    (130, 80, 170),
    (230, 90, 80),
    (160, 40, 40),
    (220, 190, 60),
)
"""Colours of painted walls, in the order of TEXTURES."""


@cache
def surfaces() -> tuple[np.ndarray, np.ndarray]:
    """All texels of all pictures and sizes, float32 [texels, 3], and where each begins, [pictures,
    LEVELS]."""
    pictures = _labmaze() if importlib.util.find_spec("labmaze") else _painted()
    parts, offsets, place = [], [], 0
    for picture in pictures:
        for _ in range(LEVELS):
            parts.append(picture.reshape(-1, 3))
            offsets.append(place)
            place += len(parts[-1])
            if len(picture) > 1:
                side = len(picture) // 2
                picture = picture.reshape(side, 2, side, 2, 3).mean((1, 3))
    return np.concatenate(parts).round().astype(np.uint8), np.array(offsets).reshape(-1, LEVELS)


def _labmaze() -> list[np.ndarray]:
    from labmaze import assets
    from PIL import Image

    walls, floors = (
        paths("style_01")
        for paths in (assets.get_wall_texture_paths, assets.get_floor_texture_paths)
    )
    files = [walls[name] for name in TEXTURES] + [floors["blue"], floors["blue_bright"]]
    resize = Image.Resampling.BOX
    return [
        np.asarray(
            Image.open(file).convert("RGBA").convert("RGB").resize((SIZE, SIZE), resize), np.float64
        )
        for file in files
    ]


def _painted() -> list[np.ndarray]:
    """Bricks in eight colours, and two floors of blue slabs."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    pictures = []
    for number, paint in enumerate((*PAINTS, (50, 62, 80), (86, 104, 128))):
        rows = 2 + number % 4
        shifted = x * 2 + (y * rows).astype(int) % 2 * 0.5
        joint = (np.abs(y * rows % 1 - 0.5) > 0.46) | (np.abs(shifted % 1 - 0.5) > 0.48)
        shade = 0.9 + 0.1 * np.cos(2 * np.pi * (shifted.astype(int) * 0.37 + number))
        pictures.append(np.where(joint, 0.6, shade)[..., None] * paint)
    return pictures


def sky(elevation: np.ndarray) -> np.ndarray:
    """Colours [k, 3] of the sky at elevations in radians."""
    return np.array([51, 76, 102.0]) + np.sin(elevation)[:, None] * np.array([45.5, 69, 91.5])
