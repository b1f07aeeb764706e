"""Environments as a user of the library would write them, who knows nothing of it but Gymnasium."""

from itertools import count
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

OBSERVATIONS: dict[str, spaces.Space[Any]] = {
    "vector": spaces.Box(-np.inf, np.inf, (3,), np.float64),
    "image": spaces.Box(0, 255, (12, 12, 3), np.uint8),
    "codes": spaces.Box(0, 255, (3, 3, 3), np.uint8),
    "choices": spaces.MultiDiscrete([3, 5], start=[1, 0]),
    "dict": spaces.Dict(
        {"camera": spaces.Box(0, 255, (3, 12, 12), np.uint8), "place": spaces.Discrete(4, start=-1)}
    ),
    "tuple": spaces.Tuple(
        (spaces.MultiBinary(3), spaces.Dict({"speed": spaces.Box(-1, 1, (), np.float32)}))
    ),
}
ACTIONS: dict[str, spaces.Space[Any]] = {
    "discrete": spaces.Discrete(3, start=1),
    "choices": spaces.MultiDiscrete([2, 3], start=[-5, 4]),
    "numbers": spaces.Box(-2, 2, (2,), np.float32),
    "binary": spaces.MultiBinary(2),
    "dict": spaces.Dict({"turn": spaces.Discrete(3, start=-1), "grip": spaces.MultiBinary(2)}),
    "tuple": spaces.Tuple((spaces.Box(-1, 1, (2,), np.float32), spaces.Box(0, 5, (), np.float32))),
}


class Drawn(gymnasium.Env[Any, Any]):
    """Draws its observations and the length of its episodes, from 2 to 6 steps; pays 1 for every
    third step."""

    def __init__(
        self, observations: str = "vector", actions: str = "discrete", longest: int = 6
    ) -> None:
        self.observation_space = OBSERVATIONS[observations]
        self.action_space = ACTIONS[actions]
        self.longest = longest

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.drawing = np.random.default_rng(seed)
        self.left = int(self.drawing.integers(2, self.longest + 1))
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        assert self.left > 0, "an episode that has ended was stepped"
        self.left -= 1
        return self._observe(), float(self.left % 3 == 0), self.left == 0, False, {}

    def _observe(self) -> Any:
        self.observation_space.seed(int(self.drawing.integers(2**31)))
        return self.observation_space.sample()


def make(**options: Any):
    return gymnasium.wrappers.TimeLimit(Drawn(**options), 50)


class Forgetful(Drawn):
    """Counts its episodes, and draws by their number whatever the seed."""

    episodes = count()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        return super().reset(seed=next(self.episodes))


def endless() -> gymnasium.Env[Any, Any]:
    return Drawn()


def resetting() -> gymnasium.Env[Any, Any]:
    return gymnasium.wrappers.Autoreset(make())


def learning() -> gymnasium.Env[Any, Any]:
    return gymnasium.wrappers.NormalizeObservation(make())


def no_environment() -> dict[str, int]:
    return {"not": 1}


def worded() -> gymnasium.Env[Any, Any]:
    found = make()
    found.action_space = spaces.Tuple((spaces.Discrete(2), spaces.Box(0, 1, (1,), np.float32)))
    return found


def side_by_side(mode: str = "NextStep", rows: int = 3, observations: str = "vector") -> VectorEnv:
    return SyncVectorEnv(
        [lambda: make(observations=observations)] * rows, autoreset_mode=AutoresetMode(mode)
    )


def in_processes(mode: str = "NextStep") -> VectorEnv:
    return AsyncVectorEnv([make] * 2, autoreset_mode=AutoresetMode(mode))


def unseeded() -> VectorEnv:
    return gymnasium.make_vec("CartPole-v1", num_envs=3, vectorization_mode="vector_entry_point")


def silent() -> VectorEnv:
    found = side_by_side()
    found.metadata = {}
    return found


class AlwaysFirst:
    """An expert that always takes the first action."""

    def reset(self, batch: int, seeds: Any = None) -> None:
        self.batch = batch

    def act(
        self, observations: Any, rewards: np.ndarray, forced: np.ndarray | None = None
    ) -> np.ndarray:
        return np.ones(self.batch, np.int64) if forced is None else forced


SPEED = OBSERVATIONS["vector"]
WORDY: dict[str, spaces.Space[Any]] = {
    "dict": spaces.Dict({"speed": SPEED, "mission": spaces.Text(9)}),
    "tuple": spaces.Tuple((spaces.Text(9), SPEED)),
    "nested": spaces.Dict({"a": spaces.Tuple((spaces.Text(9), SPEED)), "b": spaces.Text(9)}),
    "others": spaces.Dict(
        {
            "speed": SPEED,
            "graph": spaces.Graph(spaces.Discrete(3), None),
            "several": spaces.Sequence(spaces.Discrete(3)),
            "one of": spaces.OneOf((spaces.Discrete(3), spaces.Box(0, 1))),
        }
    ),
    "empty": spaces.Dict({"speed": SPEED, "none": spaces.Box(0, 1, (0,), np.float32)}),
    "nothing": spaces.Tuple((spaces.Text(9),)),
}
"""Spaces with leaves that no array holds."""


def wordy(kept: str) -> gymnasium.Env[Any, Any]:
    found = Drawn()
    found.observation_space = WORDY[kept]
    return found


def wordy_rows(kept: str, mode: str) -> VectorEnv:
    return SyncVectorEnv([lambda: wordy(kept)] * 2, autoreset_mode=AutoresetMode(mode))


class Faulty(Drawn):
    """Breaks in its second step, in one of several ways."""

    def __init__(self, fault: str) -> None:
        super().__init__(longest=2)
        self.fault = fault
        if fault == "make":
            raise RuntimeError("no display")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        observation, info = super().reset(seed=seed)
        self.left = 5
        return observation if self.fault == "reset" else (observation, info)

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        if self.left == 4:
            return observation, reward, terminated, truncated, info
        if self.fault == "raises":
            return {}["left"]
        if self.fault == "four":
            return observation, reward, terminated, info
        if self.fault == "observation":
            observation[1] = np.nan
        return (
            observation,
            np.nan if self.fault == "reward" else reward,
            terminated,
            truncated,
            info,
        )


class Confused(AlwaysFirst):
    """An expert that breaks, or answers with numbers for a choice."""

    def act(
        self, observations: Any, rewards: np.ndarray, forced: np.ndarray | None = None
    ) -> np.ndarray:
        return np.zeros(3) @ np.zeros(2)


class Undecided(AlwaysFirst):
    """An expert that puts out a number where a choice is asked for."""

    def act(
        self, observations: Any, rewards: np.ndarray, forced: np.ndarray | None = None
    ) -> np.ndarray:
        return np.full(len(rewards), 0.5)


class Trusting(Drawn):
    """Takes any action for granted."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return super().step(self.action_space.start)
