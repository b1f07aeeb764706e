"""T-Maze (RATE, App. C.1.2 and E.2): observe a clue, move along a corridor, turn to the side that
the clue named."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import gymnasium
import numpy as np

from rate.tasks.numpy_batch import BatchOfOne, RowNoise, checked, cues, generators, lengths, parity
from rate.tasks.task import Family, Task, read_length, read_segments

RIGHT, UP, LEFT, DOWN = range(4)
STEP_X = np.array([1, 0, -1, 0])
STEP_Y = np.array([0, 1, 0, -1])
DRAWN = 60
"""Most cells of a corridor in a picture; of longer ones, one cell stands for several."""
SPARE = 2  # the shortest path has length + 1 steps; the time limit allows one more

Sampling = Literal["turns", "uniform"]


class TMazes:
    """A batch of episodes of `TMaze`, one per row.

    After a reset `length`, `goal`, `x` and `y` [n] hold the state of every row.

    Args:
        length: Corridor length, or all that occur.
        sampling: With "turns" pairs of consecutive seeds cycle through the lengths, with "uniform"
            every episode draws its own.
    """

    def __init__(self, length: int | Sequence[int] = 88, sampling: Sampling = "turns") -> None:
        corridors = length if isinstance(length, Sequence) else (length,)
        if not corridors or min(corridors) < 1:
            raise ValueError(f"corridor lengths are {list(corridors)}, each must be at least 1")
        if sampling not in ("turns", "uniform"):
            raise ValueError(f"sampling is {sampling!r}, allowed: 'turns' or 'uniform'")
        self._corridors = corridors
        self._sampling = sampling
        self.observation_space = gymnasium.spaces.Box(
            np.array([-1, -1, 0, -1], np.float32), np.array([1, 1, 1, 1], np.float32)
        )
        self.action_space = gymnasium.spaces.Discrete(4)

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """Begin one episode per seed: the goal is up for even seeds and down for odd ones."""
        sources = generators(seeds)
        if self._sampling == "turns":
            self.length = lengths(seeds, self._corridors)
        else:
            self.length = np.array(
                [self._corridors[int(source.integers(len(self._corridors)))] for source in sources]
            )
        self.goal = 1 - 2 * cues(seeds)
        self.x = np.zeros(len(seeds), np.int64)
        self.y = np.zeros(len(seeds), np.int64)
        self._noise = RowNoise(sources, -1, 1)
        self._running = np.ones(len(seeds), bool)
        self._elapsed = 0
        observations = self._observe()
        observations[:, 1] = self.goal
        return observations

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Move in every row whose episode has not ended."""
        actions = checked(actions, self._running, 4)
        # An episode ends off the corridor, so every running row is at y = 0 and can leave it only
        # at the junction.
        arrived = self._running & (self.x == self.length)
        self.y = np.where(self._running, STEP_Y[actions] * arrived, self.y)
        self.x = np.clip(self.x + STEP_X[actions] * self._running, 0, self.length)
        self._elapsed += 1
        terminations = arrived & (self.y != 0)
        truncations = self._running & ~terminations & (self._elapsed >= self.length + SPARE)
        rewards = (terminations & (self.y == self.goal)).astype(np.float32)
        self._running &= ~(terminations | truncations)
        return self._observe(), rewards, terminations, truncations

    def _observe(self) -> np.ndarray:
        observations = np.zeros((len(self.x), 4), np.float32)
        observations[:, 0] = self.y
        observations[:, 2] = self._running & (self.x == self.length)
        observations[:, 3] = self._noise.draw()
        return observations


class TMaze(BatchOfOne):
    """Passive T-Maze with a flag at the junction.

    ## Description
    A corridor of cells x = 0 ... L at y = 0 ends in a junction with the cells y = +1 and y = -1,
    one of which is the goal. The agent starts at x = 0, where it observes the clue, and must turn
    towards the goal at the junction. The turn depends on an observation L steps ago, so without
    memory at most half of the episodes succeed.

    ## Action Space
    `Discrete(4)`: 0 right (x + 1), 1 up (y + 1), 2 left (x - 1), 3 down (y - 1). A move into a wall
    does nothing.

    ## Observation Space
    `Box`, float32, four numbers:

    | entry | values | meaning |
    |---|---|---|
    | y | -1, 0, 1 | vertical coordinate |
    | clue | -1, 0, 1 | side of the goal in the first observation, afterwards 0 |
    | flag | 0, 1 | 1 at the junction, before the turn; 0 in the final observation |
    | noise | -1, 0, 1 | drawn uniformly at every step |

    ## Rewards
    1 for the step onto the goal, 0 for every other step.

    ## Starting State
    At x = 0. The goal is up for an even seed and down for an odd one; without a seed it is drawn.

    ## Episode End
    Termination on either cell beside the junction; truncation after L + 2 steps, one more than the
    shortest path needs.

    ## Arguments
    `length`: corridor length L, at least 1, or several lengths. `sampling`: with several lengths,
    `"turns"` (pairs of consecutive seeds cycle through them) or `"uniform"` (drawn in every
    episode). `render_mode`: `"ansi"` (text), `"rgb_array"` (8 pixels per cell) or None.

    ```python
    gymnasium.make("rate.tasks.tmaze:rate/TMaze-v0", length=88)
    ```

    ## Version History
    v0: as in RATE; the released code differs in the flag of the final observation, after which no
    action is taken.
    """

    # Gymnasium reads the class attribute.
    metadata = {"render_modes": ["ansi", "rgb_array"], "render_fps": 8}  # noqa: RUF012

    batch_type = TMazes
    batch: TMazes

    def render(self) -> Any:
        """Draw the maze: agent A, goal G; or an array uint8 [24, 8 (L + 1), 3] with the agent red,
        the goal green. At most DRAWN cells of the corridor are drawn."""
        if self.render_mode is None:
            return None
        length, x = int(self.batch.length[0]), int(self.batch.x[0])
        drawn = min(length, DRAWN)
        cells = np.full((3, drawn + 1), "#")
        cells[1, :] = cells[:, -1] = "."
        cells[1 - self.batch.goal[0], -1] = "G"
        cells[1 - self.batch.y[0], x * drawn // length] = "A"
        if self.render_mode == "ansi":
            return "\n".join("".join(row) for row in cells) + "\n"
        colours = {"#": (40, 40, 40), ".": (220, 220, 220), "G": (40, 160, 60), "A": (200, 40, 40)}
        pixels = np.array([[colours[cell] for cell in row] for row in cells], np.uint8)
        return pixels.repeat(8, axis=0).repeat(8, axis=1)


class TMazeOracle:
    """Solves the T-Maze from its observations: moves right, remembers the clue, turns at the
    flag."""

    def reset(self, batch: int, seeds: Sequence[int] | None = None) -> None:
        """Forget the clues of the last episodes."""
        self._clue = np.zeros(batch, np.float32)

    def act(
        self, observations: np.ndarray, rewards: np.ndarray, forced: np.ndarray | None = None
    ) -> np.ndarray:
        """One action per row, int64 [n]."""
        self._clue = np.where(observations[:, 1] != 0, observations[:, 1], self._clue)
        turn = np.where(self._clue > 0, UP, DOWN)
        return np.where(observations[:, 2] > 0, turn, RIGHT) if forced is None else forced


def _task(name: str, corridors: Sequence[int], sampling: Sampling, description: str) -> Task:
    return Task(
        name=name,
        environment=partial(TMaze, corridors, sampling),
        horizon=max(corridors) + SPARE,
        target_return=1.0,
        description=description,
        expert=TMazeOracle,
        batch=partial(TMazes, corridors, sampling),
        cue=parity,
        reference={"chance": 0.5, "expert": 1.0},
    )


def fixed(size: str) -> Task:
    """T-Maze: turn to the side that a clue named T - 2 steps ago.

    A corridor of length T - 2, so that an episode has at most T steps.
    """
    steps = read_length(size, 3)
    return _task(f"tmaze/{steps}", (steps - SPARE,), "turns", f"T-Maze of {steps} steps")


def uniform(size: str) -> Task:
    """T-Maze with corridors uniform from 1 to T - 2."""
    steps = read_length(size, 3)
    corridors = range(1, steps - SPARE + 1)
    return _task(f"tmaze-uniform/{steps}", corridors, "uniform", f"T-Maze of at most {steps} steps")


def segments(size: str) -> Task:
    """T-Maze with episodes of at most 1 to N segments.

    Segments have T / N steps; each number of segments is equally frequent.
    """
    steps, count = read_segments(size, 3)
    corridors = tuple(steps // count * n - SPARE for n in range(1, count + 1))
    return _task(
        f"tmaze-segments/{steps}x{count}", corridors, "turns", f"T-Maze of 1 to {count} segments"
    )


TASKS: dict[str, Family] = {
    "tmaze": Family(fixed, "<T>", "9"),
    "tmaze-uniform": Family(uniform, "<T>", "9"),
    "tmaze-segments": Family(segments, "<T>x<N>", "9x3"),
}

gymnasium.register(id="rate/TMaze-v0", entry_point="rate.tasks.tmaze:TMaze")
