"""Gymnasium's vector environments as batches of one episode per row, in every autoreset mode."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from rate.spaces import flatten, pick, unflatten, usable

__all__ = ["FirstRow", "Vectorised"]


class Vectorised:
    """Vector environments side by side, as many as the episodes need, without automatic resets.

    Of an environment that resets in the next step, what follows an episode is not used; one that
    resets in the same step gives the last observation of an episode in its info; one that does not
    reset is reset here.

    Args:
        name: What errors call the environment.
        maker: Makes one vector environment.
        render_mode: Given to the maker, if there is one.

    Raises:
        ValueError: The environment does not say when it resets, or cannot seed its rows one by one.
    """

    def __init__(
        self, name: str, maker: Callable[..., VectorEnv], render_mode: str | None = None
    ) -> None:
        self._name = name
        self._maker = partial(maker, render_mode=render_mode) if render_mode else maker
        self._environments = [self._maker()]
        first = self._environments[0]
        self.observation_space, _ = usable(first.single_observation_space)
        self.action_space = first.single_action_space
        self._rows: int = first.num_envs
        self._mode = _autoreset_mode(name, first)

    def reset(self, seeds: Sequence[int]) -> Any:
        """Begin one episode per seed; rows beyond the last seed are not used."""
        needed = -(-len(seeds) // self._rows)
        while len(self._environments) < needed:
            self._environments.append(self._maker())
        self._used = self._environments[:needed]
        self._count = len(seeds)
        unused = needed * self._rows - len(seeds)
        padded = [int(seed) for seed in seeds] + [int(seeds[-1])] * unused
        self._running = np.arange(len(padded)) < len(seeds)
        return self._batch([self._reset(index, padded) for index in range(needed)])

    def step(self, actions: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
        """Step all rows; what is returned for a row that has ended has no meaning."""
        missing = len(self._running) - len(actions)
        actions = np.concatenate([actions, np.repeat(actions[:1], missing, axis=0)])
        parts = [
            self._step(environment, actions[self._slice(index)], self._running[self._slice(index)])
            for index, environment in enumerate(self._used)
        ]
        rewards, terminations, truncations = (
            np.concatenate([part[entry] for part in parts])[: self._count] for entry in (1, 2, 3)
        )
        self._running[: self._count] &= ~(terminations | truncations)
        return (
            self._batch([part[0] for part in parts]),
            rewards.astype(np.float32),
            terminations,
            truncations,
        )

    def render(self) -> np.ndarray | None:
        """The picture of the first row, if there is one."""
        pictures = self._environments[0].render()
        return None if not pictures else np.asarray(pictures[0])

    def close(self) -> None:
        """Close every environment."""
        for environment in self._environments:
            environment.close()

    def _slice(self, index: int) -> slice:
        return slice(index * self._rows, (index + 1) * self._rows)

    def _reset(self, index: int, seeds: Sequence[int]) -> dict[str, np.ndarray]:
        try:
            # A list is what vector environments of several take, although their annotation knows
            # only one number.
            rows: Any = list(seeds[self._slice(index)])
            values, _ = self._used[index].reset(seed=rows)
        except (TypeError, ValueError, gymnasium.error.Error) as error:
            raise ValueError(
                f"{self._name} cannot be reset with one seed per row ({type(error).__name__}: "
                f"{error}), so the k-th seed would not be the k-th episode: give a function that "
                "makes a single environment"
            ) from error
        return self._leaves(values)

    def _step(
        self, environment: VectorEnv, actions: np.ndarray, running: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
        values, rewards, terminations, truncations, info = environment.step(actions)
        leaves, ended = self._leaves(values), np.asarray(terminations | truncations, bool)
        if self._mode == AutoresetMode.SAME_STEP:
            for row in np.flatnonzero(ended & running):
                last = self._flat(info["final_obs"][row])
                for path, leaf in leaves.items():
                    leaf[row] = last[path]
        terminations, truncations = np.array(terminations, bool), np.array(truncations, bool)
        result = leaves, np.array(rewards), terminations, truncations
        if self._mode == AutoresetMode.DISABLED and ended.any():
            environment.reset(options={"reset_mask": ended})
        return result

    def _leaves(self, values: Any) -> dict[str, np.ndarray]:
        """Copies, because a vector environment may write its next observations into the same
        arrays."""
        return {path: leaf.copy() for path, leaf in self._flat(values).items()}

    def _flat(self, values: Any) -> dict[str, np.ndarray]:
        return flatten(self.observation_space, pick(self.observation_space, values))

    def _batch(self, parts: Sequence[dict[str, np.ndarray]]) -> Any:
        leaves = {
            path: np.concatenate([part[path] for part in parts])[: self._count] for path in parts[0]
        }
        return unflatten(self.observation_space, leaves)


class FirstRow(gymnasium.Env[Any, Any]):
    """A batch of environments as a single one: its first row.

    Args:
        maker: Makes the batch; takes a render mode, if one is asked for.
        render_mode: Such as "rgb_array".
    """

    def __init__(self, maker: Callable[..., Vectorised], render_mode: str | None = None) -> None:
        self._batch = maker(render_mode) if render_mode else maker()
        self.render_mode = render_mode
        self.observation_space = self._batch.observation_space
        self.action_space = self._batch.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(2**31)) if seed is None else seed
        return self._row(self._batch.reset([drawn])), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one step."""
        values, rewards, terminations, truncations = self._batch.step(np.asarray(action)[None])
        return self._row(values), float(rewards[0]), bool(terminations[0]), bool(truncations[0]), {}

    def render(self) -> Any:
        """The picture of the first row."""
        return self._batch.render()

    def close(self) -> None:
        """Close the batch."""
        self._batch.close()

    def _row(self, values: Any) -> Any:
        space = self.observation_space
        return unflatten(space, {path: leaf[0] for path, leaf in flatten(space, values).items()})


def _autoreset_mode(name: str, environment: VectorEnv) -> AutoresetMode:
    given = environment.metadata.get("autoreset_mode")
    try:
        return AutoresetMode(given)
    except ValueError as error:
        modes = ", ".join(f"AutoresetMode.{mode.name}" for mode in AutoresetMode)
        raise ValueError(
            f"{name} is a vector environment whose metadata has the autoreset_mode {given!r}: set "
            f"metadata['autoreset_mode'] to one of {modes}, or give a function that makes a "
            "single environment"
        ) from error
