"""Parts of environments written as NumPy batches: the dynamics exist once, and one row is a
Gymnasium environment."""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np

from rate.spaces import flatten, unflatten
from rate.tasks.task import Environments


class BatchOfOne(gymnasium.Env[Any, Any]):
    """A Gymnasium environment that is the only row of a batch.

    A subclass names the batch, `batch_type`, whose arguments are those of the environment. A reset
    with a seed plays the batch's episode of that seed; a reset without one draws a seed from
    `np_random`.

    Raises:
        gymnasium.error.ResetNeeded: Stepped before a reset or after the end of an episode.
        gymnasium.error.InvalidAction: The action is not in the action space.
    """

    batch_type: Callable[..., Environments]
    batch: Environments

    def __init__(self, *options: Any, render_mode: str | None = None, **named: Any) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(
                f"render_mode is {render_mode!r}, allowed: {self.metadata['render_modes']} or None"
            )
        self.batch = type(self).batch_type(*options, **named)
        self.render_mode = render_mode
        self.observation_space = self.batch.observation_space
        self.action_space = self.batch.action_space
        self._running = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; `options` are not used."""
        super().reset(seed=seed)
        episode = int(self.np_random.integers(2**62)) if seed is None else seed
        self._running = True
        return self._row(self.batch.reset([episode])), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one action."""
        if not self._running:
            raise gymnasium.error.ResetNeeded(
                "the episode has ended or not begun: call reset() before step()"
            )
        if not self.action_space.contains(action):
            raise gymnasium.error.InvalidAction(
                f"the action is {action!r}, allowed: {self.action_space}"
            )
        values, rewards, terminations, truncations = self.batch.step(np.asarray(action)[None])
        self._running = not (terminations[0] or truncations[0])
        return self._row(values), float(rewards[0]), bool(terminations[0]), bool(truncations[0]), {}

    def _row(self, values: Any) -> Any:
        leaves = flatten(self.observation_space, values)
        return unflatten(self.observation_space, {path: leaf[0] for path, leaf in leaves.items()})


class RowNoise:
    """Uniform integers, one per row and step, from each row's own generator.

    Numbers are drawn in blocks, so a step costs one array access whatever the number of rows.
    """

    def __init__(
        self, generators: Sequence[np.random.Generator], low: int, high: int, block: int = 256
    ) -> None:
        """Prepare the numbers.

        Args:
            generators: One per row.
            low: Least number.
            high: Greatest number, included.
            block: Steps for which numbers are drawn at once.
        """
        self._generators = generators
        self._low, self._high = low, high
        self._numbers = np.empty((block, len(generators)), np.int8)
        self._next = block

    def draw(self) -> np.ndarray:
        """Return the next int8 [n]; a view that stays valid until the next call."""
        block = len(self._numbers)
        if self._next == block:
            for row, generator in enumerate(self._generators):
                self._numbers[:, row] = generator.integers(
                    self._low, self._high, block, np.int8, endpoint=True
                )
            self._next = 0
        self._next += 1
        numbers: np.ndarray = self._numbers[self._next - 1]
        return numbers


def generators(seeds: Sequence[int]) -> list[np.random.Generator]:
    """Return one generator per seed, so that an episode does not depend on the others in its
    batch."""
    return [np.random.default_rng(int(seed)) for seed in seeds]


def parity(seed: int) -> int:
    """Return the cue of a seed, 0 for even and 1 for odd: any even run of consecutive seeds is
    balanced."""
    return int(seed) % 2


def cues(seeds: Sequence[int]) -> np.ndarray:
    """Return the cue of every seed, int64 [n]."""
    return np.array([parity(seed) for seed in seeds], np.int64)


def lengths(seeds: Sequence[int], choices: Sequence[int]) -> np.ndarray:
    """Return one of the choices per seed, int64 [n].

    Pairs of consecutive seeds take turns, so cues are balanced within each choice.
    """
    return np.array([choices[int(seed) // 2 % len(choices)] for seed in seeds], np.int64)


def checked(actions: np.ndarray, running: np.ndarray, count: int) -> np.ndarray:
    """Return discrete actions [n] with those of ended rows replaced by 0.

    Args:
        actions: Actions [n].
        running: Whether the episode of each row goes on, [n].
        count: Number of allowed actions.

    Raises:
        ValueError: There is not one integer per row, or an action of a running row lies outside 0
            to `count - 1`.
    """
    actions = np.asarray(actions)
    if actions.shape != running.shape or actions.dtype.kind not in "iu":
        raise ValueError(
            f"actions are {actions.dtype} of shape {actions.shape}, expected integers of "
            f"shape {running.shape}"
        )
    actions = np.where(running, actions, 0)
    if ((actions < 0) | (actions >= count)).any():
        raise ValueError(f"actions are {actions.tolist()}, allowed: 0 to {count - 1}")
    return actions
