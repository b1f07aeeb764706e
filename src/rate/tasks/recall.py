"""Recall: a minimal task that needs memory, in every kind of space; for tests and first
experiments."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from rate.spaces import flatten, unflatten
from rate.tasks.numpy_batch import BatchOfOne, RowNoise, cues, generators, parity
from rate.tasks.task import Family, Task, read_length

FIRST_DISTRACTOR, QUERY = 2, 4  # symbols: two cues, two distractors, the query
COLOURS = [[200, 40, 40], [40, 160, 60], [90, 90, 90], [160, 160, 160], [40, 80, 200]]


@dataclass(frozen=True)
class Code:
    """A code of symbols as values of a space."""

    space: gymnasium.Space[Any]
    """Space of the values."""
    leaves: Mapping[str, np.ndarray]
    """Values of all symbols, one array [symbols, ...] per leaf of the space."""

    def write(self, symbols: np.ndarray) -> Any:
        """The values [n, ...] of symbols [n]."""
        return unflatten(self.space, {path: table[symbols] for path, table in self.leaves.items()})

    def read(self, values: Any) -> np.ndarray:
        """The symbols [n] of values [n, ...]."""
        distance: Any = 0.0
        for path, leaf in flatten(self.space, values).items():
            difference = leaf[:, None].astype(np.float32) - self.leaves[path].astype(np.float32)
            distance = distance + np.abs(difference).reshape(*difference.shape[:2], -1).sum(-1)
        nearest: np.ndarray = np.argmin(distance, axis=1)
        return nearest


VECTOR = np.array([[-1, 0, 0], [1, 0, 0], [0, -1, 0], [0, 1, 0], [0, 0, 1]], np.float32)
COUNTS = np.array([[1, 0, 0], [2, 0, 0], [0, 1, 0], [0, 2, 0], [0, 0, 1]], np.int64)
PARTS = (Box(-1, 1, (2,), np.float32), Discrete(2))
IMAGES = np.broadcast_to(np.array(COLOURS, np.uint8)[:, None, None], (5, 16, 16, 3))

OBSERVATIONS: Mapping[str, Code] = {
    "vector": Code(Box(-1, 1, (3,), np.float32), {"observation": VECTOR}),
    "discrete": Code(Discrete(5), {"observation": np.arange(5)}),
    "image": Code(Box(0, 255, (16, 16, 3), np.uint8), {"observation": IMAGES}),
    "dict": Code(
        gymnasium.spaces.Dict({"symbol": PARTS[0], "query": PARTS[1]}),
        {"symbol": VECTOR[:, :2], "query": COUNTS[:, 2]},
    ),
    "tuple": Code(gymnasium.spaces.Tuple(PARTS), {"0": VECTOR[:, :2], "1": COUNTS[:, 2]}),
    "multidiscrete": Code(MultiDiscrete([3, 3, 2]), {"observation": COUNTS}),
}
ANSWERS: Mapping[str, Code] = {
    "discrete": Code(Discrete(2), {"observation": np.arange(2)}),
    "multidiscrete": Code(MultiDiscrete([2, 3]), {"observation": np.array([[0, 0], [1, 2]])}),
    "box": Code(Box(-1, 1, (1,), np.float32), {"observation": np.array([[-1], [1]], np.float32)}),
}


class Recalls:
    """A batch of episodes of `Recall`, one per row.

    After a reset `cue` [n] holds the symbol to remember in every row.

    Args:
        steps: Steps of an episode, at least 2.
        observation: Code of the observations, see `OBSERVATIONS`.
        answer: Code of the actions, see `ANSWERS`.
    """

    def __init__(
        self, steps: int = 10, observation: str = "vector", answer: str = "discrete"
    ) -> None:
        if steps < 2:
            raise ValueError(f"an episode of {steps} steps: the cue and the query need at least 2")
        self._steps = steps
        self._observation, self._answer = OBSERVATIONS[observation], ANSWERS[answer]
        # Spaces carry the random state of their samples, which two batches must not share.
        self.observation_space = copy.deepcopy(self._observation.space)
        self.action_space = copy.deepcopy(self._answer.space)

    def reset(self, seeds: Sequence[int]) -> Any:
        """Begin one episode per seed: the cue is symbol 0 for even seeds and symbol 1 for odd
        ones."""
        self.cue = cues(seeds)
        self._distractors = RowNoise(generators(seeds), FIRST_DISTRACTOR, QUERY - 1)
        self._elapsed = 0
        return self._observation.write(self.cue)

    def step(self, actions: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
        """Show the next symbol; the step after the query is the answer."""
        self._elapsed += 1
        distractors = self._distractors.draw()
        symbols = (
            np.full_like(distractors, QUERY) if self._elapsed == self._steps - 1 else distractors
        )
        ends = np.full(len(self.cue), self._elapsed == self._steps)
        rewards = (ends & self._correct(np.asarray(actions))).astype(np.float32)
        return self._observation.write(symbols), rewards, ends, np.zeros_like(ends)

    def _correct(self, actions: np.ndarray) -> np.ndarray:
        answers = np.sign(actions) if isinstance(self.action_space, Box) else actions
        equal = (answers == self._answer.write(self.cue)).reshape(len(self.cue), -1)
        return np.asarray(equal.all(axis=1))


class Recall(BatchOfOne):
    """Recall the symbol of the first observation.

    ## Description
    The first observation shows one of two symbols, the later ones show distractors, the last one
    asks for the symbol. The task is learned in seconds, with any kind of observation and action
    space.

    ## Action Space
    By `answer`: `discrete` is `Discrete(2)`; `multidiscrete` is `MultiDiscrete([2, 3])`, answered
    by (0, 0) or (1, 2); `box` is `Box(-1, 1, (1,))`, answered by its sign.

    ## Observation Space
    One of five symbols: two cues, two distractors, the query. By `observation`: `vector` is
    `Box(-1, 1, (3,))`, `discrete` is `Discrete(5)`, `image` is a uint8 image [16, 16, 3] of one
    colour, `dict` and `tuple` hold a vector and a `Discrete(2)`, `multidiscrete` is
    `MultiDiscrete([3, 3, 2])`.

    ## Rewards
    1 for the right answer to the query, 0 for every other step.

    ## Starting State
    The cue. It is the first symbol for an even seed and the second for an odd one; without a seed
    it is drawn.

    ## Episode End
    Termination after `steps` actions, of which the last is the answer.

    ## Arguments
    `steps`: steps of an episode, at least 2. `observation` and `answer`: the spaces, see above.

    ## Version History
    v0: first version.
    """

    batch_type = Recalls


class RecallOracle:
    """Reads the cue in the first observation and answers it at the query; gives the first answer
    before."""

    def __init__(self, observation: str = "vector", answer: str = "discrete") -> None:
        self._observation, self._answer = OBSERVATIONS[observation], ANSWERS[answer]

    def reset(self, batch: int, seeds: Sequence[int] | None = None) -> None:
        """Forget the cues of the last episodes."""
        self._cue = np.zeros(batch, np.int64)

    def act(
        self, observations: Any, rewards: np.ndarray, forced: np.ndarray | None = None
    ) -> np.ndarray:
        """One action per row, [n, ...]."""
        symbols = self._observation.read(observations)
        self._cue = np.where(symbols < FIRST_DISTRACTOR, symbols, self._cue)
        answers: np.ndarray = self._answer.write(np.where(symbols == QUERY, self._cue, 0))
        return answers if forced is None else forced


def make(size: str, family: str, observation: str, answer: str) -> Task:
    """The task `recall/<T>` or one of its variants: an episode of T steps."""
    steps = read_length(size, 2)
    return Task(
        name=f"{family}/{steps}",
        environment=partial(Recall, steps, observation, answer),
        horizon=steps,
        target_return=1.0,
        description=f"Recall a symbol after {steps - 1} steps",
        expert=partial(RecallOracle, observation, answer),
        batch=partial(Recalls, steps, observation, answer),
        cue=parity,
        reference={"chance": 0.5, "expert": 1.0},
    )


VARIANTS = {
    "recall": ("vector", "discrete"),
    "recall-discrete": ("discrete", "discrete"),
    "recall-image": ("image", "discrete"),
    "recall-dict": ("dict", "discrete"),
    "recall-tuple": ("tuple", "discrete"),
    "recall-multidiscrete": ("multidiscrete", "multidiscrete"),
    "recall-box": ("vector", "box"),
}
TASKS: dict[str, Family] = {
    family: Family(
        partial(make, family=family, observation=observation, answer=answer),
        "<T>",
        "4",
        f"Recall the first symbol after T - 1 steps; {observation} observations, {answer} actions",
    )
    for family, (observation, answer) in VARIANTS.items()
}
