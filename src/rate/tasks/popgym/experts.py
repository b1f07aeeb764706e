"""Experts of the POPGym tasks, which use the observations of the episode and nothing else.

An expert plays one episode of one task. Every module of experts defines `EXPERTS`: expert classes
by the name of an environment's class without its size.
"""

import importlib
from functools import cache
from typing import Any, Protocol

import gymnasium

MODULES = ("battleship", "minesweeper", "cards", "cartpole", "pendulum", "bandits", "labyrinths")


class Expert(Protocol):
    """Plays one episode of one task from its own memory of the observations and its actions."""

    def __init__(self, environment: gymnasium.Env[Any, Any], seed: int) -> None:
        """Begin an episode.

        Args:
            environment: Read for fixed definitions, such as the size of a board, and never for the
                hidden state.
            seed: Seed of the expert's own randomness.
        """

    def act(self, observation: Any, reward: float) -> Any:
        """Choose the action of one step.

        Args:
            observation: Observation as the environment returns it.
            reward: Reward of the previous step, 0 at the first.

        Returns:
            The action; without meaning after the end of the episode.
        """


@cache
def experts() -> dict[str, type[Expert]]:
    """Every expert by the name of its environment's class without the size, such as
    `RepeatPrevious`."""
    modules = [importlib.import_module(f"rate.tasks.popgym.{module}") for module in MODULES]
    return {name: expert for module in modules for name, expert in module.EXPERTS.items()}
