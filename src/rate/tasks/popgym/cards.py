"""Experts of the card games: recall (repeat, recite backwards, count), hidden pairs, and odds."""

from collections import Counter
from typing import Any

import gymnasium
import numpy as np


class RepeatFirstExpert:
    """Names the suit of the first card for ever."""

    def __init__(self, environment: gymnasium.Env[Any, Any], seed: int) -> None:
        self._first: int | None = None

    def act(self, observation: Any, reward: float) -> int:
        """The first observation of the episode."""
        if self._first is None:
            self._first = int(observation)
        return self._first


class RepeatPreviousExpert:
    """Names the suit observed k - 1 steps before the present one (the environment's k counts the
    present step)."""

    def __init__(self, environment: gymnasium.Env[Any, Any], seed: int) -> None:
        # POPGym has no types
        self._delay = int(environment.unwrapped.k)  # type: ignore[attr-defined]
        self._seen: list[int] = []

    def act(self, observation: Any, reward: float) -> int:
        """The observation to repeat; 0 before there is one, where no action is penalised."""
        self._seen.append(int(observation))
        return self._seen[-self._delay] if len(self._seen) >= self._delay else 0


class AutoencodeExpert:
    """Remembers all suits of the watch phase and recites them in reverse."""

    def __init__(self, environment: gymnasium.Env[Any, Any], seed: int) -> None:
        self._seen: list[int] = []
        self._watching = True

    def act(self, observation: Any, reward: float) -> int:
        """The last suit that is not recited yet; the last suit of the deck is shown together with
        the start of the recital."""
        watching, suit = (int(part) for part in observation)
        if self._watching:
            self._seen.append(suit)
        self._watching &= bool(watching)
        return self._seen.pop() if self._seen and not self._watching else 0


class CountRecallExpert:
    """Counts every value that was dealt and answers queries from the counts."""

    def __init__(self, environment: gymnasium.Env[Any, Any], seed: int) -> None:
        self._counts: Counter[int] = Counter()

    def act(self, observation: Any, reward: float) -> int:
        """How often the queried value was dealt, the card that comes with the query included."""
        dealt, query = (int(part) for part in observation)
        self._counts[dealt] += 1
        return self._counts[query]


class ConcentrationExpert:
    """Turns a pair that it knows, otherwise unseen cards.

    The game has no opponent, so where no match is known an unseen card is always the best second
    card.
    """

    def __init__(self, environment: gymnasium.Env[Any, Any], seed: int) -> None:
        cards: Any = environment.observation_space
        self._unseen = [
            int(card) for card in np.random.default_rng(seed).permutation(len(cards.nvec))
        ]
        self._known: dict[int, int] = {}
        self._first: int | None = None
        self._last: int | None = None

    def act(self, observation: Any, reward: float) -> int:
        """The position of the card to turn."""
        if self._last is not None:
            self._look(int(observation[self._last]))
        if self._first is None:
            self._last = self._first_card()
        else:
            self._last = self._match(self._first, self._known[self._first])
        return self._last

    def _look(self, value: int) -> None:
        """Remember the card turned last; forget both cards of a pair."""
        assert self._last is not None
        self._known[self._last] = value
        if self._first is None:
            self._first = self._last
            return
        if self._first != self._last and self._known[self._first] == value:
            del self._known[self._first], self._known[self._last]
        self._first = None

    def _first_card(self) -> int:
        by_value: dict[int, int] = {}
        for card, value in self._known.items():
            if value in by_value:
                return card
            by_value[value] = card
        return self._turn_unseen()

    def _match(self, first: int, value: int) -> int:
        equal = [card for card, other in self._known.items() if other == value and card != first]
        return equal[0] if equal else self._turn_unseen()

    def _turn_unseen(self) -> int:
        return self._unseen.pop() if self._unseen else next(iter(self._known), 0)


class HigherLowerExpert:
    """Counts the cards that were dealt and bets on the side with more of the remaining cards."""

    HIGHER, LOWER = 0, 1

    def __init__(self, environment: gymnasium.Env[Any, Any], seed: int) -> None:
        deck: Any = environment.unwrapped
        ranks: Any = environment.observation_space
        self._left = np.full(int(ranks.n), deck.deck_size // int(ranks.n))

    def act(self, observation: Any, reward: float) -> int:
        """The more probable side of the next card; equal cards neither win nor lose."""
        rank = int(observation)
        self._left[rank] -= 1
        return (
            self.HIGHER if self._left[rank + 1 :].sum() >= self._left[:rank].sum() else self.LOWER
        )
