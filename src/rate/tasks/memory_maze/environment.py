"""Memory Maze (RATE, App. C.1.3): find coloured targets again and again, in a maze that has to be
remembered."""

from collections.abc import Sequence

import gymnasium
import numpy as np

from rate.tasks.memory_maze.camera import PIXELS, Scene
from rate.tasks.memory_maze.layout import Generator, Size, default_generator, draw
from rate.tasks.memory_maze.physics import BALL_RADIUS, CONTROLS, REACH, Ball
from rate.tasks.memory_maze.picture import render
from rate.tasks.numpy_batch import BatchOfOne, checked


class MemoryMazes:
    """A batch of episodes of `MemoryMaze`, one per row; the arguments are those of `MemoryMaze`."""

    def __init__(
        self,
        side: int = 9,
        limit: int = 0,
        generator: Generator | None = None,
        free_reward: bool = False,
    ) -> None:
        self.size = Size(side)
        self.limit = limit or self.size.steps
        self.generator: Generator = generator or default_generator()
        if self.generator not in ("labmaze", "own"):
            raise ValueError(f"generator is {generator!r}, allowed: 'labmaze' or 'own'")
        self.free_reward = free_reward
        self.observation_space = gymnasium.spaces.Box(0, 255, (PIXELS, PIXELS, 3), np.uint8)
        self.action_space = gymnasium.spaces.Discrete(len(CONTROLS))

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """Begin one episode per seed."""
        self.mazes = [draw(self.size, int(seed) % 2**32, self.generator) for seed in seeds]
        self.balls = [Ball(maze) for maze in self.mazes]
        self.goal = np.array([maze.goal for maze in self.mazes])
        self._scene = Scene(self.mazes)
        self._running = np.ones(len(seeds), bool)
        self._elapsed = 0
        return self.observe()

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Move in every row whose episode has not ended."""
        actions = checked(actions, self._running, len(CONTROLS))
        rewards = np.zeros(len(self.balls), np.float32)
        for row in np.flatnonzero(self._running):
            touched = self.balls[row].act(int(actions[row]))
            if self.free_reward and self._elapsed == 0:
                touched |= touched_at_origin(self.mazes[row].targets)
            if touched[self.goal[row]]:
                rewards[row] = 1
                self.goal[row] = self._another(int(row), touched)
        self._elapsed += 1
        truncations = self._running & (self._elapsed >= self.limit)
        self._running &= ~truncations
        return self.observe(), rewards, np.zeros_like(truncations), truncations

    def _another(self, row: int, touched: np.ndarray) -> int:
        """A target that is not touched, drawn as the packaged environment draws it."""
        while True:
            drawn = int(self.mazes[row].random.randint(len(touched)))
            if not touched[drawn]:
                return drawn

    def observe(self) -> np.ndarray:
        """What is seen now, uint8 [n, 64, 64, 3]."""
        return render(self._scene, np.array([ball.pose for ball in self.balls]), self.goal)


def touched_at_origin(targets: np.ndarray) -> np.ndarray:
    """Targets [n] that a walker touches that has not yet been put at its start."""
    touched: np.ndarray = (targets**2).sum(1) + BALL_RADIUS**2 < REACH**2
    return touched


class MemoryMaze(BatchOfOne):
    """Find the target of the wanted colour in a maze, again and again.

    ## Description
    A rolling ball with a camera moves in a maze with halls. Coloured domes stand at places that do
    not change in an episode. The frame of the picture has the colour that is wanted; when that dome
    is touched, another colour is wanted. Who remembers where the domes are goes there directly.

    ## Action Space
    `Discrete(6)`: 0 nothing, 1 forward, 2 left, 3 right, 4 forward and left, 5 forward and right;
    each for a quarter of a second.

    ## Observation Space
    `Box`, uint8 [64, 64, 3]: the view in RGB, in a frame of two pixels of the wanted colour.

    ## Rewards
    1 for the action in which the wanted dome is touched, 0 for every other one.

    ## Starting State
    Maze, pictures of walls, places of the domes, start, heading and the first colour are drawn from
    the seed, as in the package memory-maze where the generator is labmaze's.

    ## Episode End
    Truncation after `limit` actions.

    ## Arguments
    `side`: 9, 11, 13 or 15 cells, with 3 to 6 domes. `limit`: actions; 0 for 1000, 2000, 3000 or
    4000 by the side. `generator`: "labmaze" (by default if that package is installed) or "own",
    with the same numbers of halls and domes. `free_reward`: pay for a wanted dome in the middle of
    the maze in the first step, as the package does by mistake.

    ```python
    gymnasium.make("rate.tasks.memory_maze:rate/MemoryMaze-v0", side=9)
    ```

    ## Version History
    v0: motion and rewards are those of memory-maze 1.0.3 to the last bit; pictures differ from its
    renderer's by less than 2 of 255 on average.
    """

    # Gymnasium reads the class attribute.
    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012

    batch_type = MemoryMazes
    batch: MemoryMazes

    def render(self) -> np.ndarray | None:
        """The view in its frame, uint8 [64, 64, 3]."""
        return None if self.render_mode is None else self.batch.observe()[0]
