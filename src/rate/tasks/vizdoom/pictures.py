"""Textures and sprites of ViZDoom-Two-Colors, painted with NumPy, as PNG files for the engine."""

import struct
import zlib

import numpy as np

GREEN, RED = (110, 255, 100), (220, 40, 30)
"""The engine shows the nearest colours that its palette has: a darker green would be lost on the
floor."""


def wall() -> np.ndarray:
    """Grey stone blocks, uint8 [64, 64, 4]; the engine repeats it."""
    y, x = np.mgrid[:64, :64]
    shifted = (x + 16 * (y // 16 % 2)) % 32
    joint = (y % 16 == 0) | (shifted == 0)
    shade = 112 + 20 * np.sin(2 * np.pi * (y // 16 + (x + 16 * (y // 16 % 2)) // 32) / 5)
    shade = np.where(joint, 64, shade)
    return _opaque(np.stack([shade, shade * 0.96, shade * 0.9], -1))


def floor() -> np.ndarray:
    """Olive acid in slow waves, uint8 [64, 64, 4]. It has no fine pattern: that would alias."""
    y, x = np.mgrid[:64, :64] * (2 * np.pi / 64)
    wave = np.sin(x + np.sin(y)) + np.cos(y - np.sin(x))
    return _opaque(np.stack([62 + 8 * wave, 84 + 10 * wave, 40 + 6 * wave], -1))


def ceiling() -> np.ndarray:
    """Dark blue panels, uint8 [64, 64, 4]."""
    y, x = np.mgrid[:64, :64]
    shade = np.where((y % 64 < 2) | (x % 64 < 2), 0.7, 1.0)[..., None]
    return _opaque(shade * np.array([44, 48, 66]))


def pillar(colour: tuple[int, int, int]) -> np.ndarray:
    """A column of 48 x 112 map units, uint8 [112, 48, 4]."""
    y, x = np.mgrid[:112, :48]
    light = 1 - 0.55 * np.abs((x - 18) / 30) ** 1.5
    light = np.where((y < 8) | (y >= 104), light * 0.8, light)
    inside = (np.abs(x - 23.5) < 20) | (y < 8) | (y >= 104)
    return _cut(light, colour, inside)


def item(colour: tuple[int, int, int]) -> np.ndarray:
    """A vest of 32 x 26 map units, uint8 [26, 32, 4]."""
    y, x = np.mgrid[:26, :32]
    away = np.abs(x - 15.5)
    body = (away < 10) & (y >= 3)
    shoulders = (away < 15.5) & (y < 11)
    neck = (away < 4) & (y < 6)
    light = 1 - 0.35 * away / 16 - 0.25 * (y > 22)
    return _cut(light, colour, (body | shoulders) & ~neck)


def sprite(picture: np.ndarray) -> bytes:
    """A PNG that stands on its point: without the offsets the engine would hang it from there."""
    height, width = picture.shape[:2]
    return png(picture, offsets=(width // 2, height))


def png(picture: np.ndarray, offsets: tuple[int, int] | None = None) -> bytes:
    """A PNG file of uint8 [height, width, 4], with the engine's chunk of offsets if given."""
    height, width = picture.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in picture)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))]
    if offsets is not None:
        chunks.append((b"grAb", struct.pack(">ii", *offsets)))
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _opaque(colours: np.ndarray) -> np.ndarray:
    picture = np.full((64, 64, 4), 255, np.uint8)
    picture[..., :3] = colours.clip(0, 255)
    return picture


def _cut(light: np.ndarray, colour: tuple[int, int, int], inside: np.ndarray) -> np.ndarray:
    """A colour in some light, transparent outside."""
    painted = (light[..., None] * np.array(colour)).clip(0, 255)
    alpha = np.where(inside, 255, 0)[..., None]
    return np.concatenate([painted, alpha], -1).astype(np.uint8)
