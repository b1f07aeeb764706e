"""Image leaves of an observation: their channel axis, and the last k frames stacked along it.

An image of shape [H, W, C] or [C, H, W] becomes one of k * C channels, the oldest frame first. At
the first steps of an episode its first frame stands for those that lie before it, so a stack never
reaches into another episode.
"""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from rate.spaces import is_image, leaves


def channel_axis(shape: tuple[int, ...]) -> int:
    """Axis that holds the channels of an image of this shape: 2 or 0.

    It is the shorter one of the first and the last axis, and the first if they are equal. Squares
    are read as such, whatever their channels: [n, n, C], and [C, n, n] with C of n + 2 or more.
    """
    first, middle, last = shape
    if middle == last and first > last + 1:
        return 0
    return 2 if last < first or first == middle != last else 0


def stack(frames: Any, shape: tuple[int, ...]) -> Any:
    """Images with the channels of k frames each.

    Args:
        frames: Frames, oldest first, as a NumPy array or a tensor [..., k, *shape].
        shape: Shape of one frame, [H, W, C] or [C, H, W].

    Returns:
        An array or tensor [..., H, W, k * C] or [..., k * C, H, W].
    """
    batch, count, axis = frames.shape[:-4], frames.shape[-4], channel_axis(shape)
    for before in range(-4, axis - 4):
        frames = frames.swapaxes(before, before + 1)
    return frames.reshape(*batch, *_stacked_shape(shape, count))


def stacked_space(space: gymnasium.Space[Any], count: int) -> gymnasium.Space[Any]:
    """The observation space with every image leaf as stacked frames.

    Args:
        space: Space of the observations.
        count: Frames in a stack; 1 leaves the space as it is.

    Raises:
        ValueError: the number is below 1, there is no image to stack, or a stack has so many
            channels that they could no longer be distinguished from its height and width.
    """
    if count < 1:
        raise ValueError(f"stack_frames is {count}, allowed is 1 or more")
    if count == 1:
        return space
    if not any(is_image(leaf) for leaf in leaves(space).values()):
        raise ValueError(
            f"stack_frames is {count}, but no leaf of the observations is an image (uint8, three "
            "dimensions): leave it at 1"
        )
    return _stacked(space, count)


def _stacked(space: gymnasium.Space[Any], count: int) -> gymnasium.Space[Any]:
    if isinstance(space, spaces.Dict):
        return spaces.Dict([(key, _stacked(part, count)) for key, part in space.spaces.items()])
    if isinstance(space, spaces.Tuple):
        return spaces.Tuple([_stacked(part, count) for part in space.spaces])
    if not is_image(space):
        return space
    assert isinstance(space, spaces.Box)
    axis, shape = channel_axis(space.shape), _stacked_shape(space.shape, count)
    if channel_axis(shape) != axis:
        raise ValueError(
            f"stack_frames is {count}, but {shape[axis]} channels are too many for images of shape "
            f"{space.shape}: choose fewer"
        )
    low, high = (np.concatenate([bound] * count, axis) for bound in (space.low, space.high))
    return spaces.Box(low, high, shape, np.uint8)


def _stacked_shape(shape: tuple[int, ...], count: int) -> tuple[int, ...]:
    axis = channel_axis(shape)
    return (*shape[:axis], count * shape[axis], *shape[axis + 1 :])


class FrameStack:
    """The last frames of every image leaf, for agents that act in a batch of environments."""

    def __init__(self, space: gymnasium.Space[Any], count: int) -> None:
        """Begin without observations.

        Args:
            space: Space of the observations.
            count: Frames in a stack.
        """
        images = {path: leaf for path, leaf in leaves(space).items() if is_image(leaf)}
        self.shapes = {path: leaf.shape or () for path, leaf in images.items()} if count > 1 else {}
        self.count = count
        self._last: dict[str, np.ndarray] = {}

    def push(self, observations: Mapping[str, np.ndarray], first: np.ndarray) -> dict[str, Any]:
        """Add the newest observations and return them with stacked images.

        Args:
            observations: Leaves [n, ...].
            first: Whether a row's episode begins with this observation, [n] bool; all of them where
                the number of rows has changed.
        """
        stacked = dict(observations)
        for path, shape in self.shapes.items():
            frames = np.asarray(observations[path])[:, None]
            last = self._last.get(path)
            if last is None or first.all():
                last = np.repeat(frames, self.count, 1)
            else:
                last = np.concatenate([last[:, 1:], frames], 1)
                last[first] = frames[first]
            self._last[path] = last
            stacked[path] = stack(last, shape)
        return stacked
