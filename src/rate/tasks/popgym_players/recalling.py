"""Players of the games of pure recall, which a perfect memory wins: repeat, recite backwards, count."""

from collections import Counter
from typing import Any

import gymnasium


class RepeatFirstPlayer:
    """Names the suit of the first card for ever."""

    def __init__(self, environment: gymnasium.Env[Any, Any], seed: int) -> None:
        self._first: int | None = None

    def act(self, observation: Any, reward: float) -> int:
        """Return the first observation of the episode."""
        if self._first is None:
            self._first = int(observation)
        return self._first


class RepeatPreviousPlayer:
    """Names the suit that was seen k - 1 steps before the present one, as the environment's k counts the present."""

    def __init__(self, environment: gymnasium.Env[Any, Any], seed: int) -> None:
        self._delay = int(environment.unwrapped.k)  # type: ignore[attr-defined]  # POPGym has no types
        self._seen: list[int] = []

    def act(self, observation: Any, reward: float) -> int:
        """Return the observation to repeat; before there is one, any action is free."""
        self._seen.append(int(observation))
        return self._seen[-self._delay] if len(self._seen) >= self._delay else 0


class AutoencodePlayer:
    """Remembers all suits while it watches and recites them in reverse."""

    def __init__(self, environment: gymnasium.Env[Any, Any], seed: int) -> None:
        self._seen: list[int] = []
        self._watching = True

    def act(self, observation: Any, reward: float) -> int:
        """Return the last suit not recited yet; the last one is shown together with the call to recite."""
        watching, suit = (int(part) for part in observation)
        if self._watching:
            self._seen.append(suit)
        self._watching &= bool(watching)
        return self._seen.pop() if self._seen and not self._watching else 0


class CountRecallPlayer:
    """Counts every value that was dealt and answers queries from the counts."""

    def __init__(self, environment: gymnasium.Env[Any, Any], seed: int) -> None:
        self._counts: Counter[int] = Counter()

    def act(self, observation: Any, reward: float) -> int:
        """Return how often the queried value has been dealt, the card that comes with the query included."""
        dealt, query = (int(part) for part in observation)
        self._counts[dealt] += 1
        return self._counts[query]


PLAYERS: dict[str, type] = {
    "Autoencode": AutoencodePlayer,
    "CountRecall": CountRecallPlayer,
    "RepeatFirst": RepeatFirstPlayer,
    "RepeatPrevious": RepeatPreviousPlayer,
}
"""Player by the name of the environment's class without its size."""
