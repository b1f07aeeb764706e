"""Recordings that several tests of datasets write and read."""

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from rate.dataset import Dataset, write_dataset
from rate.episode import Episode
from rate.spaces import flatten

VECTOR = spaces.Box(-10.0, 10.0, (3,))
IMAGE = spaces.Box(0, 255, (4, 5, 3), np.uint8)
ACTIONS = spaces.Discrete(3)
OBSERVATIONS: dict[str, gymnasium.Space[Any]] = {
    "vector": VECTOR,
    "image": IMAGE,
    "discrete": spaces.Discrete(4, start=-1),
    "multi-discrete": spaces.MultiDiscrete([2, 3]),
    "nested": spaces.Dict(
        {
            "camera/left": spaces.Box(0, 255, (2, 2, 3), np.uint8),
            "body": spaces.Dict({"arm": VECTOR, "on": ACTIONS}),
        }
    ),
    "tuple": spaces.Tuple([VECTOR, spaces.MultiBinary(2)]),
}
ACTION_SPACES = {
    "discrete": ACTIONS,
    "multi-discrete": spaces.MultiDiscrete([2, 3]),
    "box": spaces.Box(-1.0, 1.0, (2,)),
}


def recorded(
    lengths: Iterable[int],
    observation_space: gymnasium.Space[Any] = VECTOR,
    action_space: gymnasium.Space[Any] = ACTIONS,
    seed: int = 0,
) -> list[Episode]:
    """Random episodes of the given lengths; every second one is cut, and has no seed."""
    random = np.random.default_rng(seed)
    observation_space.seed(seed)
    action_space.seed(seed)
    episodes = []
    for index, steps in enumerate(lengths):
        samples = [flatten(observation_space, observation_space.sample()) for _ in range(steps + 1)]
        last = np.arange(steps) == steps - 1
        episodes.append(
            Episode(
                {path: np.stack([sample[path] for sample in samples]) for path in samples[0]},
                np.stack([action_space.sample() for _ in range(steps)]),
                random.normal(size=steps).astype(np.float32),
                last & (index % 2 == 0),
                last & (index % 2 == 1),
                seed=None if index % 2 else index,
            )
        )
    return episodes


def repeating(frames: int, steps: int) -> Episode:
    """An episode that sees few different frames."""
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (frames, 4, 5, 3), np.uint8)
    (template,) = recorded([steps], IMAGE)
    return replace(
        template, observations={"observation": pictures[random.integers(frames, size=steps + 1)]}
    )


def assert_equal(left: Episode, right: Episode) -> None:
    assert list(left.observations) == list(right.observations)
    pairs = [(leaf, right.observations[path]) for path, leaf in left.observations.items()]
    pairs += [(getattr(left, name), getattr(right, name)) for name in ("actions", "rewards")]
    pairs += [
        (getattr(left, name), getattr(right, name)) for name in ("terminations", "truncations")
    ]
    for one, other in pairs:
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)
    assert left.seed == right.seed


@cache
def memory_dataset(lengths: tuple[int, ...]) -> Dataset:
    """A dataset whose observation, action and reward tell the episode and step they belong to."""
    space = spaces.Box(-np.inf, np.inf, (2,))
    episodes = []
    for index, steps in enumerate(lengths):
        where = np.stack([np.full(steps + 1, index + 1), np.arange(steps + 1)], 1).astype(
            np.float32
        )
        ends = np.arange(steps) == steps - 1
        episodes.append(
            Episode(
                {"observation": where},
                where[:-1, 1] + 1,
                where[:-1, 1],
                ends,
                np.zeros(steps, bool),
            )
        )
    with tempfile.TemporaryDirectory() as folder:
        actions = spaces.Box(0.0, np.inf, ())
        return write_dataset(Path(folder) / "data", episodes, space, actions)
