"""POPGym: 48 small partially observable tasks, 16 games in three sizes each.

The environments are those of the package `popgym`, without its wrappers. A return lies in about
[-1, 1] and is the score. Sources: RATE, App. C.1.5 and Table 9. In that table the rows Medium and
Hard are interchanged in every family; the numbers here are listed under the task they belong to.
"""

import difflib
import importlib
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from rate.spaces import flatten, unflatten
from rate.tasks.popgym.experts import EXPERTS, Expert
from rate.tasks.task import Family, Task, total_return

SIZES = ("Easy", "Medium", "Hard")


class Game(NamedTuple):
    """One game in its three sizes."""

    steps: Sequence[int]
    """Steps of the longest episode."""
    chance: Sequence[float]
    """Mean return of random actions."""
    expert: Sequence[float]
    """Mean return of the expert in this package."""
    description: str
    """What the agent has to do."""


_TABLES = tomllib.loads(Path(__file__).with_name("games.toml").read_text(encoding="utf-8"))

PUZZLES, REACTIVE = (
    {name: Game(**game) for name, game in _TABLES[kind].items()} for kind in ("puzzles", "reactive")
)
"""Tasks that reward memory, and control tasks, where a short memory is enough."""

GAMES: Mapping[str, Game] = {**PUZZLES, **REACTIVE}


class PlayingAgent:
    """Plays every row of a batch with an expert of its own.

    Args:
        expert: Makes the expert of one episode from an environment and a seed.
        environment: Makes the environment that experts read fixed definitions from. It is never
            stepped, so it holds no state of the episodes that are played.
    """

    def __init__(
        self,
        expert: Callable[[Any, int], Expert],
        environment: Callable[[], gymnasium.Env[Any, Any]],
    ) -> None:
        self._expert = expert
        self._definition = environment()
        self._space = self._definition.observation_space
        self._rows: list[Expert] = []

    def reset(self, batch: int, seeds: Sequence[int] | None = None) -> None:
        """Make a new expert for every row."""
        self._rows = [
            self._expert(self._definition, int(seed))
            for seed in (range(batch) if seeds is None else seeds)
        ]

    def act(
        self, observations: Any, rewards: np.ndarray, forced: np.ndarray | None = None
    ) -> np.ndarray:
        """The actions [n, ...] of the experts of all rows.

        Raises:
            ValueError: Actions are imposed, which experts do not take.
        """
        if forced is not None:
            raise ValueError(
                "experts choose all of their actions: leave out the prompt, or record another agent"
            )
        leaves = flatten(self._space, observations)
        actions = []
        for row, (expert, reward) in enumerate(zip(self._rows, rewards, strict=True)):
            value = unflatten(self._space, {path: leaf[row] for path, leaf in leaves.items()})
            actions.append(expert.act(value, float(reward)))
        return np.stack([np.asarray(action) for action in actions])


def make(size: str) -> Task:
    """POPGym: 16 games, each Easy, Medium and Hard; puzzles of memory and control from partial
    observations."""
    if size not in names():
        close = difflib.get_close_matches(size, names(), n=1, cutoff=0.7)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(
            f"POPGym has no {size!r}; {hint}Games are {', '.join(GAMES)}, each {', '.join(SIZES)}"
        )
    level = next(level for level in SIZES if size.endswith(level))
    name = size.removesuffix(level)
    game, position = GAMES[name], SIZES.index(level)
    environment, expert = partial(_environment, size), EXPERTS.get(name)
    return Task(
        name=f"popgym/{size}",
        environment=environment,
        horizon=game.steps[position],
        target_return=1.0,
        score=total_return,
        metric="return",
        description=f"POPGym, {level.lower()}: {game.description}",
        expert=partial(PlayingAgent, expert, environment) if expert else None,
        reference={"chance": game.chance[position], "expert": game.expert[position]},
        num_envs=100,
    )


def names() -> tuple[str, ...]:
    """The names of all 48 tasks without the part before the slash, game by game."""
    return tuple(f"{name}{size}" for name in GAMES for size in SIZES)


def _environment(name: str) -> gymnasium.Env[Any, Any]:
    """Make the environment of a class of the package popgym."""
    module = importlib.import_module("popgym.envs")
    if not hasattr(module, name):  # labyrinths, which POPGym leaves out without mazelib
        raise ModuleNotFoundError(
            f"popgym/{name} needs mazelib, which is not installed: pip install mazelib (it has no "
            "wheel for Python 3.14, where it needs a C compiler)"
        )
    environment: gymnasium.Env[Any, Any] = getattr(module, name)()
    return environment


TASKS: dict[str, Family] = {
    "popgym": Family(
        make, "<Game><Size>", "RepeatPreviousEasy", extra="popgym", modules=("popgym",)
    )
}
