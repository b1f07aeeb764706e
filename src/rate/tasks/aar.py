"""Action Associative Retrieval (RATE, App. D): repeat the first action at the end."""

from collections.abc import Sequence
from functools import partial

import gymnasium
import numpy as np

from rate.tasks.numpy_batch import BatchOfOne, RowNoise, checked, cues, generators, lengths, parity
from rate.tasks.task import Family, Task, read_length, read_segments

STAY = 2
EDGES = 2  # the first and the last action, before and after the stay


class ActionAssociativeRetrievals:
    """A batch of episodes of `ActionAssociativeRetrieval`, one per row.

    After a reset `stay` and `state` [n] hold the state of every row.

    Args:
        stay: Steps to stay, or several numbers, through which pairs of consecutive seeds cycle.
    """

    def __init__(self, stay: int | Sequence[int] = 88) -> None:
        self._stays = tuple(stay) if isinstance(stay, Sequence) else (stay,)
        if not self._stays or min(self._stays) < 1:
            raise ValueError(
                f"numbers of steps to stay are {list(self._stays)}, each must be at least 1"
            )
        self.observation_space = gymnasium.spaces.Box(
            np.array([0, 0, -1], np.float32), np.array([1, 1, 1], np.float32)
        )
        self.action_space = gymnasium.spaces.Discrete(3)

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """Begin one episode per seed."""
        self.stay = lengths(seeds, self._stays)
        self.state = np.zeros(len(seeds), np.int64)
        self._first = np.full(len(seeds), STAY)
        self._faithful = np.ones(len(seeds), bool)
        self._noise = RowNoise(generators(seeds), -1, 1)
        self._running = np.ones(len(seeds), bool)
        self._elapsed = 0
        return self._observe()

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Act in every row whose episode has not ended."""
        actions = checked(actions, self._running, 3)
        last = self._running & (self._elapsed == self.stay + 1)
        if self._elapsed == 0:
            self._first = actions
            self._faithful = actions != STAY
        else:
            self._faithful &= last | ~self._running | (actions == STAY)
        self.state ^= self._running & (actions != STAY)
        rewards = (last & self._faithful & (actions == self._first)).astype(np.float32)
        self._elapsed += 1
        self._running &= ~last
        return self._observe(), rewards, last, np.zeros_like(last)

    def _observe(self) -> np.ndarray:
        observations = np.empty((len(self.state), 3), np.float32)
        observations[:, 0] = self.state
        observations[:, 1] = self._running & (self._elapsed == self.stay + 1)
        observations[:, 2] = self._noise.draw()
        return observations


class ActionAssociativeRetrieval(BatchOfOne):
    """Action Associative Retrieval.

    ## Description
    Two states, S0 and S1. The first action, 0 or 1, leads from S0 to S1 and is the item to
    remember. The agent stays for a number of steps and must then return to S0 by the same action.
    The item is never observed.

    ## Action Space
    `Discrete(3)`: 0 and 1 change the state, 2 stays.

    ## Observation Space
    `Box`, float32, three numbers:

    | entry | values | meaning |
    |---|---|---|
    | state | 0, 1 | S0 or S1 |
    | flag | 0, 1 | 1 in the observation before the last action |
    | noise | -1, 0, 1 | drawn uniformly at every step |

    ## Rewards
    1 for the last action if it equals the first one and the agent stayed in between, 0 for every
    other step.

    ## Starting State
    S0.

    ## Episode End
    Termination after stay + 2 actions. An agent that stays first or moves in between loses the
    reward; the episode goes on.

    ## Arguments
    `stay`: steps to stay, at least 1, or several numbers, through which pairs of consecutive seeds
    cycle.

    ```python
    gymnasium.make("rate.tasks.aar:rate/ActionAssociativeRetrieval-v0", stay=88)
    ```

    ## Version History
    v0: the reward of the released code; in the text of the paper the failure reward is -1, not 0.
    """

    batch_type = ActionAssociativeRetrievals


class ActionAssociativeRetrievalOracle:
    """Remembers the first action, stays, and repeats it at the flag; begins with 0 unless an action
    is imposed."""

    def reset(self, batch: int, seeds: Sequence[int] | None = None) -> None:
        """Forget the first actions of the last episodes."""
        self._first: np.ndarray | None = None

    def act(
        self, observations: np.ndarray, rewards: np.ndarray, forced: np.ndarray | None = None
    ) -> np.ndarray:
        """One action per row, int64 [n]."""
        if self._first is None:
            self._first = (
                np.zeros(len(observations), np.int64) if forced is None else np.array(forced)
            )
            return self._first
        return np.where(observations[:, 1] > 0, self._first, STAY) if forced is None else forced


def first_actions(seeds: Sequence[int]) -> np.ndarray:
    """The action to remember, int64 [n, 1]: 0 for even seeds and 1 for odd ones."""
    return cues(seeds)[:, None]


def _task(name: str, stays: Sequence[int], description: str) -> Task:
    return Task(
        name=name,
        environment=partial(ActionAssociativeRetrieval, stays),
        horizon=max(stays) + EDGES,
        target_return=1.0,
        description=description,
        expert=ActionAssociativeRetrievalOracle,
        batch=partial(ActionAssociativeRetrievals, stays),
        prompt=first_actions,
        cue=parity,
        reference={"chance": 0.5, "expert": 1.0},
    )


def fixed(size: str) -> Task:
    """Action Associative Retrieval: repeat the action taken T - 1 steps ago.

    T - 2 steps to stay, so that an episode has T steps.
    """
    steps = read_length(size, 4)
    return _task(f"aar/{steps}", (steps - EDGES,), f"Action Associative Retrieval of {steps} steps")


def uniform(size: str) -> Task:
    """Action Associative Retrieval with episodes of 3 to T steps.

    1 to T - 2 steps to stay, each number equally often.
    """
    steps = read_length(size, 4)
    stays = tuple(range(1, steps - EDGES + 1))
    return _task(
        f"aar-uniform/{steps}", stays, f"Action Associative Retrieval of 3 to {steps} steps"
    )


def segments(size: str) -> Task:
    """Action Associative Retrieval with episodes of 1 to N segments.

    n T / N - 3 steps to stay for n = 1 ... N, each number equally often.
    """
    steps, count = read_segments(size, 5)
    stays = tuple(steps // count * n - 3 for n in range(1, count + 1))
    return _task(
        f"aar-segments/{steps}x{count}",
        stays,
        f"Action Associative Retrieval of 1 to {count} segments",
    )


TASKS: dict[str, Family] = {
    "aar": Family(fixed, "<T>", "6"),
    "aar-uniform": Family(uniform, "<T>", "6"),
    "aar-segments": Family(segments, "<T>x<N>", "15x3"),
}

gymnasium.register(
    id="rate/ActionAssociativeRetrieval-v0", entry_point="rate.tasks.aar:ActionAssociativeRetrieval"
)
