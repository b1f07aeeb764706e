"""Players of the POPGym tasks, which use what was seen in the episode and nothing else.

A player plays one episode of one task. It is made from an environment, of which it reads fixed
definitions such as the size of a board and never the hidden state, and a seed for its own
randomness. Its method ``act`` is called once per step with the observation as the environment
returns it and the reward of the step before, 0 at first; the player remembers what it saw and did.
Every module defines ``PLAYERS``: players by the name of an environment's class without its size. A
player may be asked for actions after the end of its episode; they have no meaning.
"""

import importlib
from functools import cache
from typing import Any, Protocol

import gymnasium

__all__ = ["Player", "players"]

MODULES = ("battleship", "minesweeper", "cards", "cartpole", "pendulum", "bandits", "labyrinths")


class Player(Protocol):
    """Plays one episode of one task from its own memory of what it saw."""

    def __init__(self, environment: gymnasium.Env[Any, Any], seed: int) -> None:
        """Begin an episode; ``environment`` is asked for fixed definitions only."""

    def act(self, observation: Any, reward: float) -> Any:
        """Return the action that follows an observation and the reward that came with it."""


@cache
def players() -> dict[str, type[Player]]:
    """Return every player by the name of its environment's class without the size, such as
    ``RepeatPrevious``."""
    modules = [importlib.import_module(f"rate.tasks.popgym.{module}") for module in MODULES]
    return {name: player for module in modules for name, player in module.PLAYERS.items()}
