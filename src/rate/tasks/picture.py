"""Pictures of tasks for people: what an environment renders, or else a drawing of what it
observes."""

import warnings
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from rate.images import channel_axis
from rate.spaces import flatten, is_image, leaves
from rate.tasks.gym.errors import describe_error
from rate.tasks.task import Task

RENDER_MODE = "rgb_array"

_CELLS = 24
"""Most numbers in a row of a drawing."""
_CELL = 40
"""Pixels along both sides of a number, where there are few."""
_NEGATIVE, _ZERO, _POSITIVE = (
    np.array(colour, float) for colour in ((66, 135, 245), (38, 42, 50), (245, 150, 50))
)


def rendering(task: Task) -> gymnasium.Env[Any, Any]:
    """One environment of a task, with the render mode "rgb_array" if it has that.

    Args:
        task: Its `environment` takes `render_mode` where there is something to render.
    """
    make: Any = task.environment
    try:
        environment: gymnasium.Env[Any, Any] = make(render_mode=RENDER_MODE)
    except Exception:
        # Whatever made it fail without pictures, too, is raised here.
        return task.environment()
    return environment


def picture(environment: gymnasium.Env[Any, Any], observation: Any) -> np.ndarray:
    """The present state of an environment, uint8 [height, width, 3].

    Args:
        environment: It is reset, and has not ended for longer than its last step.
        observation: The newest observation, which is drawn if the environment renders nothing.
    """
    if environment.render_mode == RENDER_MODE:
        try:
            rendered = _rgb(np.asarray(environment.render()))
        except Exception as error:
            warnings.warn(
                f"the environment cannot be rendered ({describe_error(error)}): its observations "
                "are drawn instead",
                stacklevel=2,
            )
            rendered = None
        if rendered is not None:
            return rendered
        environment.unwrapped.render_mode = None
    return drawing(environment.observation_space, observation)


def drawing(space: gymnasium.Space[Any], observation: Any) -> np.ndarray:
    """An observation as a picture, uint8 [height, width, 3]: its images, or its numbers as cells.

    A cell is blue for negative numbers, dark for 0 and orange for positive ones, by the bounds of
    its space where these are finite. Discrete values are one cell for each.

    Args:
        space: The observation space.
        observation: One observation.
    """
    parts, values = leaves(space), flatten(space, observation)
    images = [_image(values[path], parts[path]) for path in parts if is_image(parts[path])]
    if images := [image for image in images if image is not None]:
        return _joined(images, axis=1)
    return _joined([_cells(_scaled(parts[path], values[path])) for path in parts], axis=0)


def diverging(values: np.ndarray) -> np.ndarray:
    """Colours, uint8 [..., 3], of numbers [...] in [-1, 1]."""
    values = np.clip(np.nan_to_num(values), -1, 1)[..., None]
    ends = np.where(values < 0, _NEGATIVE, _POSITIVE)
    return (_ZERO + np.abs(values) * (ends - _ZERO)).astype(np.uint8)


def facts(info: Mapping[str, Any], most: int = 4) -> dict[str, str]:
    """The plain values in an environment's info, as text by name: health, colours, counts.

    Args:
        info: What the environment returned beside the observation.
        most: How many are taken.
    """
    shown: dict[str, str] = {}
    for name, value in info.items():
        if isinstance(value, np.ndarray | np.generic) and np.size(value) == 1:
            value = value.item()
        if isinstance(value, bool):
            text = "yes" if value else "no"
        elif isinstance(value, int | float):
            text = f"{value:.4g}" if isinstance(value, float) else str(value)
        elif isinstance(value, str) and len(value) <= 20 and value.isprintable():
            text = value
        else:
            continue
        if not name.startswith("_") and len(shown) < most:
            shown[name.replace("_", " ")] = text
    return shown


def _rgb(array: np.ndarray) -> np.ndarray | None:
    """An array as an RGB picture, if it is one."""
    if array.ndim != 3 or array.shape[-1] < 3 or array.dtype.kind not in "uif":
        return None
    scale = 255 if array.dtype.kind == "f" and array.max(initial=0) <= 1 else 1
    return np.ascontiguousarray(np.clip(array[..., :3] * scale, 0, 255).astype(np.uint8))


def _image(values: np.ndarray, space: gymnasium.Space[Any]) -> np.ndarray | None:
    """An image leaf as RGB, where it is larger than a few cells."""
    axis = channel_axis(space.shape or ())
    image = np.moveaxis(values, axis, 2)
    if min(image.shape[:2]) < 16:
        return None  # cells of a grid, say, in bytes
    # Of several frames or kinds of channels, the last ones.
    return image[..., -3:] if image.shape[2] >= 3 else np.repeat(image[..., -1:], 3, axis=2)


def _scaled(space: gymnasium.Space[Any], value: np.ndarray) -> np.ndarray:
    """A leaf as numbers in [-1, 1], of one or two dimensions."""
    if isinstance(space, spaces.Discrete):
        return (np.arange(min(space.n, 256)) == int(value) - space.start).astype(float)
    numbers = np.asarray(value, float)
    if isinstance(space, spaces.Box):
        largest = np.maximum(np.abs(space.low.astype(float)), np.abs(space.high.astype(float)))
        if np.isfinite(largest).all() and not is_image(space):
            numbers = numbers / np.maximum(largest, 1e-9)
        else:
            numbers = numbers / (1 + np.abs(numbers))
    elif isinstance(space, spaces.MultiDiscrete):
        numbers = numbers / np.maximum(np.asarray(space.nvec, float) - 1, 1)
    if numbers.ndim < 2:
        return numbers.reshape(-1)
    # A grid of cells that have several numbers each becomes one grid beside the other.
    return np.concatenate(list(np.moveaxis(np.atleast_3d(numbers), 2, 0)), 1).reshape(
        len(numbers), -1
    )


def _cells(numbers: np.ndarray) -> np.ndarray:
    """Numbers [n] or [rows, columns] as a picture of coloured cells."""
    if numbers.ndim == 1:
        rows = -(-len(numbers) // _CELLS) or 1
        columns = -(-len(numbers) // rows) or 1
        padded = np.full(rows * columns, np.nan)
        padded[: len(numbers)] = numbers
        numbers = padded.reshape(rows, columns)
    size = max(4, min(_CELL, 480 // max(numbers.shape)))
    colours = diverging(numbers)
    colours[np.isnan(numbers)] = 0
    drawn = colours.repeat(size, 0).repeat(size, 1)
    drawn[size - 1 :: size] = drawn[:, size - 1 :: size] = 0
    return drawn


def _joined(pictures: list[np.ndarray], axis: int) -> np.ndarray:
    """Pictures below one another (axis 0) or side by side (axis 1), on black."""
    across = max(picture.shape[1 - axis] for picture in pictures)
    padded = []
    for part in pictures:
        width = [(0, 0), (0, 0), (0, 0)]
        width[1 - axis] = (0, across - part.shape[1 - axis])
        width[axis] = (0, 6 if part is not pictures[-1] else 0)
        padded.append(np.pad(part, width))
    return np.concatenate(padded, axis)
