"""Minigrid-Memory (RATE, App. C.1.4): look at an object, move along a hallway, turn to the same
object.

The dynamics are a NumPy batch: a grid of 501 x 501 cells needs no array, only a rule for what each
cell holds. Tests compare them with the package `minigrid`, step by step. RGB frames are composed of
that package's tiles.
"""

import re
from collections.abc import Sequence
from functools import cache, partial
from typing import Any, Literal

import gymnasium
import numpy as np

from rate.tasks.numpy_batch import BatchOfOne, checked, cues, generators
from rate.tasks.task import Family, Task

LEFT, RIGHT, FORWARD = range(3)
KINDS = 5
UNSEEN, EMPTY, WALL, KEY, BALL = range(KINDS)
EAST, SOUTH, WEST, NORTH = range(4)
STEP_X, STEP_Y = np.array([1, 0, -1, 0]), np.array([0, 1, 0, -1])
VIEW = 3  # the agent observes three by three cells, itself in the middle of the last row
TILE = 28
RELEASED_LIMIT = 845
"""Steps over which the released code scales the reward, for every size of the grid: 5 * 13 ** 2."""

DRAWN, CELL = 40, 12
"""Columns in a picture for people, and pixels along both sides of a cell."""
COLOURS = np.array(
    [(0, 0, 0), (45, 48, 56), (120, 124, 132), (245, 205, 60), (80, 150, 245)], np.uint8
)
"""Colours of UNSEEN, EMPTY, WALL, KEY and BALL in it."""

Observation = Literal["symbolic", "rgb"]


def default_time_limit(size: int) -> int:
    """The paper's 500 steps, or the steps of the longest path (back to the cue, then to the end of
    the hallway) where these are more."""
    return max(500, 2 * size + 10)


class MinigridMemories:
    """A batch of episodes of `MinigridMemory`, one per row; the arguments are those of
    `MinigridMemory`.

    After a reset `end` (column where the hallway ends), `cue` (object of the start room), `upper`
    (object above the junction), `x`, `y` and `heading` [n] hold the state of every row.
    """

    def __init__(
        self,
        size: int = 41,
        random_hallway: bool = True,
        observation: Observation = "symbolic",
        time_limit: int = 0,
        reward_limit: int = 0,
    ) -> None:
        if size < 7 or size % 2 == 0:
            raise ValueError(f"the size is {size}, but must be odd and at least 7")
        if observation not in ("symbolic", "rgb"):
            raise ValueError(f"observation is {observation!r}, allowed: 'symbolic' or 'rgb'")
        if time_limit < 0 or reward_limit < 0:
            raise ValueError(
                f"time_limit and reward_limit are {time_limit} and {reward_limit}, neither "
                "may be negative"
            )
        self.size = size
        self.random_hallway = random_hallway
        self.time_limit = time_limit or default_time_limit(size)
        self.reward_limit = reward_limit or max(RELEASED_LIMIT, self.time_limit)
        self._rgb = observation == "rgb"
        self.observation_space: gymnasium.Space[Any] = gymnasium.spaces.MultiBinary(
            [VIEW, VIEW, KINDS]
        )
        if self._rgb:
            self.observation_space = gymnasium.spaces.Box(
                0, 255, (VIEW * TILE, VIEW * TILE, 3), np.uint8
            )
        self.action_space = gymnasium.spaces.Discrete(3)

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """Begin one episode per seed: the cue is a key for even seeds and a ball for odd ones."""
        sources = generators(seeds)
        last = self.size - 3
        # As in the package, a random hallway ends in column 4 or later.
        first = 4 if self.random_hallway else last
        self.end = np.array([int(source.integers(first, last + 1)) for source in sources])
        rows = zip(sources, self.end, strict=True)
        self.x = np.array([int(source.integers(1, end + 1)) for source, end in rows])
        self.upper = np.array([(KEY, BALL)[int(source.integers(2))] for source in sources])
        self.cue = KEY + cues(seeds)
        self.y = np.full(len(seeds), self.size // 2)
        self.heading = np.full(len(seeds), EAST)
        self._running = np.ones(len(seeds), bool)
        self._elapsed = 0
        return self._observe()

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Turn or move in every row whose episode has not ended."""
        actions = checked(actions, self._running, 3)
        turn = (actions == RIGHT).astype(np.int64) - (actions == LEFT)
        self.heading = np.where(self._running, (self.heading + turn) % 4, self.heading)
        ahead_x, ahead_y = self.x + STEP_X[self.heading], self.y + STEP_Y[self.heading]
        free = self.cells(ahead_x[:, None], ahead_y[:, None])[:, 0] == EMPTY
        moves = self._running & (actions == FORWARD) & free
        self.x, self.y = np.where(moves, ahead_x, self.x), np.where(moves, ahead_y, self.y)
        self._elapsed += 1
        # In the column of the junction only the two cells that end an episode are off the middle.
        off = self.y - self.size // 2
        terminations = self._running & (self.x == self.end + 1) & (np.abs(off) == 1)
        correct = np.where(self.upper == self.cue, -1, 1) == off
        reward = 1 - 0.9 * self._elapsed / self.reward_limit
        rewards = np.where(terminations & correct, reward, 0.0).astype(np.float32)
        truncations = self._running & ~terminations & (self._elapsed >= self.time_limit)
        self._running &= ~(terminations | truncations)
        return self._observe(), rewards, terminations, truncations

    def cells(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Kinds of the cells at columns x and rows y [n, k]: EMPTY, WALL, KEY or BALL."""
        end, off = self.end[:, None], y - self.size // 2
        wall = (x <= 0) | (y <= 0) | (x >= self.size - 1) | (y >= self.size - 1)
        wall |= (x <= 4) & (np.abs(off) == 2) & (x >= 1)  # start room
        wall |= (x >= 4) & (x < end) & (np.abs(off) == 1)  # hallway
        wall |= ((x == end) & (off != 0)) | (x == end + 2)  # the junction at its end
        kinds = np.where(wall, WALL, EMPTY)
        kinds = np.where((x == 1) & (off == -1), self.cue[:, None], kinds)
        upper = self.upper[:, None]
        kinds = np.where((x == end + 1) & (off == -2), upper, kinds)
        return np.where((x == end + 1) & (off == 2), KEY + BALL - upper, kinds)

    def view(self) -> np.ndarray:
        """The observed cells [n, 3, 3], rows from far to near and columns from left to right;
        UNSEEN behind walls."""
        forward_x, forward_y = STEP_X[self.heading][:, None], STEP_Y[self.heading][:, None]
        far, across = (part.ravel() for part in np.divmod(np.arange(VIEW * VIEW), VIEW))
        far, across = VIEW - 1 - far, across - VIEW // 2
        x = self.x[:, None] + forward_x * far - forward_y * across
        y = self.y[:, None] + forward_y * far + forward_x * across
        cells = self.cells(x, y).reshape(-1, VIEW, VIEW)
        open_ = cells != WALL
        left, middle, right = open_[:, 1].T
        # The cells beside the agent are visible. A visible open cell makes those ahead of it, ahead
        # to the left and right, and beside it visible.
        lit = np.stack([left | middle, left | middle | right, middle | right], 1)
        shine = lit & open_[:, 0]
        lit[:, 1] |= shine[:, 0] | shine[:, 2]
        through = lit[:, 1] & open_[:, 0, 1]
        lit[:, 0] |= through
        lit[:, 2] |= through
        cells[:, 0] = np.where(lit, cells[:, 0], UNSEEN)
        return cells

    def _observe(self) -> np.ndarray:
        cells = self.view()
        if not self._rgb:
            return (cells[..., None] == np.arange(KINDS)).astype(np.int8)
        cells[:, -1, VIEW // 2] = len(tiles()) - 1
        return tiles()[cells].swapaxes(2, 3).reshape(len(cells), VIEW * TILE, VIEW * TILE, 3)


@cache
def tiles() -> np.ndarray:
    """Tiles of UNSEEN, EMPTY, WALL, KEY, BALL and the agent, uint8 [6, 28, 28, 3]."""
    from minigrid.core.grid import Grid
    from minigrid.core.world_object import Ball, Key, Wall

    kinds = [None, None, Wall(), Key("green"), Ball("green")]
    pictures = [
        Grid.render_tile(kind, highlight=index != UNSEEN, tile_size=TILE)
        for index, kind in enumerate(kinds)
    ]
    pictures.append(Grid.render_tile(None, agent_dir=3, highlight=True, tile_size=TILE))
    return np.stack(pictures).astype(np.uint8)


class MinigridMemory(BatchOfOne):
    """Memory in a grid world, with a view of three by three cells.

    ## Description
    A green key or ball is in the start room at the left end of a hallway. The agent starts at a
    random position, faces right, and usually has to go back to observe the object. At the right end
    are a key and a ball: the cell beside the same object as in the start room is success, the cell
    beside the other one is failure.

    ## Action Space
    `Discrete(3)`: 0 turn left, 1 turn right, 2 forward. A wall or object ahead stops the agent.

    ## Observation Space
    `observation="symbolic"`: `MultiBinary` [3, 3, 5], whether each cell (rows from far to near,
    columns from left to right) is unseen, empty, wall, key or ball; the agent is in the middle of
    the last row. Flags are standardised by policies, so that rare objects have large values.
    `"rgb"`: `Box`, uint8 [84, 84, 3], the same cells in tiles of 28 pixels (needs minigrid).

    ## Rewards
    1 - 0.9 t / `reward_limit` for the step onto the success cell after t steps, 0 for every other
    step.

    ## Starting State
    Facing right, in a column drawn uniformly from 1 to the end of the hallway. The object is a key
    for an even seed and a ball for an odd one; without a seed it is drawn.

    ## Episode End
    Termination on the success or failure cell, truncation after `time_limit` steps.

    ## Arguments
    `size`: odd side of the grid, at least 7; the paper tests 11 to 501. `random_hallway`: whether
    the column where the hallway ends is drawn uniformly from 4 to size - 3, or is the last of
    these. `time_limit`: steps, or 0 for `default_time_limit(size)`. `reward_limit`: steps over
    which the reward decreases; 0 for the released code's 845, or the time limit where that is
    longer.

    ```python
    gymnasium.make("rate.tasks.minigrid_memory:rate/MinigridMemory-v0", size=41)
    ```

    ## Version History
    v0: as in RATE, whose head has a fourth action that does nothing.
    """

    # Gymnasium reads the class attribute.
    metadata = {"render_modes": ["ansi", "rgb_array"], "render_fps": 8}  # noqa: RUF012

    batch_type = MinigridMemories
    batch: MinigridMemories

    def render(self) -> Any:
        """Draw the five rows around the hallway: # wall, K key, B ball, and the agent as > v < or
        ^; or an array uint8 [60, 12 columns, 3] of at most DRAWN columns around the agent, with
        keys yellow, balls blue and the agent a red triangle."""
        if self.render_mode is None:
            return None
        middle, columns = self.batch.size // 2, np.arange(self.batch.size)[None]
        x, y, heading = (int(part[0]) for part in (self.batch.x, self.batch.y, self.batch.heading))
        rows = np.concatenate(
            [self.batch.cells(columns, columns * 0 + middle + off) for off in range(-2, 3)]
        )
        if self.render_mode == "rgb_array":
            first = max(0, min(x - DRAWN // 2, self.batch.size - DRAWN))
            return _drawn(rows[:, first : first + DRAWN], x - first, y - middle + 2, heading)
        letters = np.array(list("?.#KB"))[rows]
        letters[y - middle + 2, x] = ">v<^"[heading]
        return "\n".join("".join(row) for row in letters) + "\n"


def _drawn(cells: np.ndarray, x: int, y: int, heading: int) -> np.ndarray:
    """Cells [rows, columns] in colours, with the agent at column x of row y."""
    pixels = COLOURS[cells].repeat(CELL, 0).repeat(CELL, 1)
    pixels[CELL - 1 :: CELL] = pixels[:, CELL - 1 :: CELL] = 20
    along, across = np.meshgrid(np.arange(CELL - 1), np.arange(CELL - 1))
    triangle = np.abs(across - CELL // 2 + 1) * 2 <= CELL - 2 - along  # its tip is in the east
    tile = pixels[y * CELL :, x * CELL :][: CELL - 1, : CELL - 1]
    tile[np.rot90(triangle, -heading)] = 220, 60, 50
    return pixels


class MinigridMemoryExpert:
    """Solves Minigrid-Memory from its observations: goes back to the object, then to the junction,
    and compares.

    Unless the object is in the first view, the expert moves to the left end of the start room, so
    that it observes the object for several steps. At the junction it looks up first and turns
    around if that is the other object. It tracks its heading by its own turns.
    """

    def reset(self, batch: int, seeds: Sequence[int] | None = None) -> None:
        """Forget the objects of the last episodes."""
        self._object = np.zeros(batch, np.int64)
        self._heading = np.full(batch, EAST)
        self._goal = np.full(batch, WEST)

    def act(
        self, observations: np.ndarray, rewards: np.ndarray, forced: np.ndarray | None = None
    ) -> np.ndarray:
        """One action per row, int64 [n]."""
        cells = (
            observations.argmax(-1) if observations.shape[-1] == KINDS else _recognise(observations)
        )
        seen = np.where((cells == KEY) | (cells == BALL), cells, 0).max((1, 2))
        # An agent that turns beside the junction observes an object there, but never while it faces
        # along the hallway.
        first = (self._object == 0) & (seen > 0) & (self._heading % 2 == 0)
        self._object = np.where(first, seen, self._object)
        wall = cells[:, 1, 1] == WALL
        looked = (self._object > 0) & (self._goal == WEST) & ((self._heading != WEST) | wall)
        # With a wall ahead on the way to the right the agent is at the junction; it looks up first.
        arrived = (self._heading == EAST) & (self._goal == EAST) & wall
        other = (self._goal == NORTH) & (self._heading == NORTH) & (seen != self._object)
        self._goal = np.select([looked, arrived, other], [EAST, NORTH, SOUTH], self._goal)
        difference = (self._goal - self._heading) % 4
        turn = np.where(difference == 3, LEFT, RIGHT)
        actions = np.where(difference == 0, FORWARD, turn) if forced is None else forced
        self._heading = (self._heading + (actions == RIGHT) - (actions == LEFT)) % 4
        return actions


def _recognise(frames: np.ndarray) -> np.ndarray:
    """The cells [n, 3, 3] of RGB frames [n, 84, 84, 3] as indices of `tiles`, whose sums differ."""
    seen = frames.reshape(len(frames), VIEW, TILE, VIEW, TILE, 3).sum((2, 4, 5))
    return np.argmax(seen[..., None] == tiles().sum((1, 2, 3)), -1)


def _task(
    family: str,
    size: str,
    random_hallway: bool,
    observation: Observation = "symbolic",
    paper: bool = False,
) -> Task:
    match = re.fullmatch(r"([0-9]{1,5})(?:x([1-9][0-9]{0,6}))?", size)
    if match is None:
        raise ValueError(
            f"{size!r} is not of the form <S> or <S>x<limit>: an odd side, and a time limit in "
            "steps"
        )
    side, limit = int(match[1]), int(match[2] or 0)
    scale = (limit or default_time_limit(side)) if paper else 0
    make = partial(MinigridMemories, side, random_hallway, observation, limit, scale)
    batch = make()
    return Task(
        name=f"{family}/{size}",
        environment=partial(MinigridMemory, *make.args),
        horizon=batch.time_limit,
        target_return=0.96,
        description=f"Minigrid-Memory of {side} x {side} cells, at most {batch.time_limit} steps",
        expert=MinigridMemoryExpert,
        batch=make,
        reference={"chance": 0.5, "expert": 1.0},
    )


_SIZES = "<S>[x<limit>]"

TASKS: dict[str, Family] = {
    "minigrid-memory": Family(
        partial(_task, "minigrid-memory", random_hallway=True),
        _SIZES,
        "41",
        "Minigrid-Memory on S x S cells, symbolic view, hallway of random length",
    ),
    "minigrid-memory-fixed": Family(
        partial(_task, "minigrid-memory-fixed", random_hallway=False),
        _SIZES,
        "11",
        "Minigrid-Memory with the longest hallway of its size",
    ),
    "minigrid-memory-paper": Family(
        partial(_task, "minigrid-memory-paper", random_hallway=True, paper=True),
        _SIZES,
        "41x96",
        "Minigrid-Memory with the reward of the paper, scaled by the time limit and not by 845 "
        "steps",
    ),
    "minigrid-memory-rgb": Family(
        partial(_task, "minigrid-memory-rgb", random_hallway=True, observation="rgb"),
        _SIZES,
        "11x30",
        "Minigrid-Memory seen as RGB frames of 84 x 84 pixels",
        "minigrid",
        ("minigrid",),
    ),
}

gymnasium.register(
    id="rate/MinigridMemory-v0", entry_point="rate.tasks.minigrid_memory:MinigridMemory"
)
