"""Experts of the POPGym tasks, which use the observations of the episode and nothing else.

An expert plays one episode of one task.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import gymnasium

from rate.tasks.popgym.bandits import BanditExpert
from rate.tasks.popgym.battleship import BattleshipExpert
from rate.tasks.popgym.cards import (
    AutoencodeExpert,
    ConcentrationExpert,
    CountRecallExpert,
    HigherLowerExpert,
    RepeatFirstExpert,
    RepeatPreviousExpert,
)
from rate.tasks.popgym.cartpole import CartPoleExpert, NoisyCartPoleExpert, VelocityCartPoleExpert
from rate.tasks.popgym.labyrinths import EscapeExpert, ExploreExpert
from rate.tasks.popgym.minesweeper import MineSweeperExpert
from rate.tasks.popgym.pendulum import PendulumExpert


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


EXPERTS: Mapping[str, type[Expert]] = {
    "Autoencode": AutoencodeExpert,
    "Battleship": BattleshipExpert,
    "Concentration": ConcentrationExpert,
    "CountRecall": CountRecallExpert,
    "HigherLower": HigherLowerExpert,
    "LabyrinthEscape": EscapeExpert,
    "LabyrinthExplore": ExploreExpert,
    "MineSweeper": MineSweeperExpert,
    "MultiarmedBandit": BanditExpert,
    "RepeatFirst": RepeatFirstExpert,
    "RepeatPrevious": RepeatPreviousExpert,
    "NoisyPositionOnlyCartPole": NoisyCartPoleExpert,
    "NoisyPositionOnlyPendulum": PendulumExpert,
    "PositionOnlyCartPole": CartPoleExpert,
    "PositionOnlyPendulum": PendulumExpert,
    "VelocityOnlyCartPole": VelocityCartPoleExpert,
}
"""Every expert by the name of its environment's class without the size."""
