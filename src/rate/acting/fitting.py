"""Agents in environments whose spaces have other bounds, or wider numbers, than their own."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from rate.messages import brief
from rate.spaces import Checker, SpaceError, fitted, nearest, unflatten
from rate.tasks.task import Agent, Environments

__all__ = ["fit"]


def fit(agent: Agent, environments: Environments) -> Agent:
    """The agent for these environments: itself, unless it states spaces of its own that differ.

    Args:
        agent: Who acts. A trained policy states the spaces that it was trained for, as
            `observation_space` and `action_space`.
        environments: Where it acts.

    Raises:
        ValueError: the spaces differ in more than bounds and width, see `rate.spaces.fitted`.
    """
    seen = getattr(agent, "observation_space", environments.observation_space)
    chosen = getattr(agent, "action_space", environments.action_space)
    if seen == environments.observation_space and chosen == environments.action_space:
        return agent
    fitted(chosen, environments.action_space, actions=True)
    return _Fitted(agent, seen, environments)


class _Fitted:
    """Brings observations to the dtypes of the agent's space, and actions to the environment's."""

    def __init__(self, agent: Any, seen: Any, environments: Environments) -> None:
        self._agent, self._offered = agent, environments.observation_space
        self._space = fitted(seen, environments.observation_space)
        self._check = Checker(self._space, "observations")
        self._actions = environments.action_space
        # Policies that take the bounds of recorded data for those of the environment meet others.
        agent.check = False

    def reset(self, batch: int, seeds: Sequence[int] | None = None) -> None:
        self._agent.reset(batch, seeds)

    def act(
        self, observations: Any, rewards: np.ndarray, forced: np.ndarray | None = None
    ) -> np.ndarray:
        try:
            leaves = self._check(observations, len(rewards))
        except SpaceError as error:
            raise ValueError(
                f"the policy has not learned what it observes: {error}. Import or collect its data "
                f"with the environment's observation space, {brief(self._offered)}"
            ) from error
        actions: np.ndarray = self._agent.act(unflatten(self._space, leaves), rewards, forced)
        if isinstance(self._actions, spaces.Box):
            executed = nearest(self._actions, actions)
            self._agent.actions = executed.astype(actions.dtype)  # what it remembers
            return executed
        return actions.astype(self._actions.dtype)
