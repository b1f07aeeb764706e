"""Expert of MineSweeper: exact probabilities of mines from the numbers on the opened squares."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import gymnasium
import numpy as np

Square = tuple[int, int]

HOPE = 0.5
"""Assumed probability that all remaining squares are opened after a right guess; otherwise the
expert waits from then on."""
TIE = 1e-9
"""Risks that differ by less count as equal."""


class MineSweeperExpert:
    """Opens the square that is least likely to hold a mine, or waits where a guess costs more.

    To wait is to open an opened square again, at a small fixed cost per step. A mine has a large
    cost and ends the episode, so late in a game waiting is worth more than a guess at even odds.
    """

    def __init__(self, environment: gymnasium.Env[Any, Any], seed: int) -> None:
        fixed: Any = environment.unwrapped
        self._rows, self._columns = (int(size) for size in fixed.dims)
        self._mines = int(fixed.num_mines)
        self._gain = float(fixed.success_reward_scale)
        self._loss = float(fixed.fail_reward_scale)
        self._waiting = float(fixed.bad_action_reward_scale)
        self._steps = int(fixed.max_episode_length)
        self._safe = self._rows * self._columns - self._mines
        self._ended = False
        self._opened: dict[Square, int] = {}
        self._last: Square | None = None

    def act(self, observation: Any, reward: float) -> np.ndarray:
        """The square [row, column] to open."""
        if self._last is not None:
            self._ended |= reward < self._loss / 2 + self._waiting / 2
            if not self._ended:
                self._opened[self._last] = int(observation)
            self._ended |= self._steps == 0 or len(self._opened) == self._safe
            if self._ended:
                return np.array(self._last)
        risks = probabilities(self._rows, self._columns, self._mines, self._opened)
        for square in self._opened:
            risks[square] = np.inf
        self._last = self._safest(risks)
        if self._opened and self._prefers_waiting(float(risks[self._last])):
            self._last = next(iter(self._opened))
        self._steps -= 1
        return np.array(self._last)

    def _safest(self, risks: np.ndarray) -> Square:
        """The square of least risk; among equals one with few neighbours, which is the most likely
        to show zero."""
        squares = [
            (int(row), int(column)) for row, column in np.argwhere(risks <= risks.min() + TIE)
        ]
        return min(squares, key=lambda square: len(neighbours(square, self._rows, self._columns)))

    def _prefers_waiting(self, risk: float) -> bool:
        """Whether waiting to the end has a higher expected return than one guess and what may
        follow it."""
        left = self._safe - len(self._opened)
        after = HOPE * self._gain * (left - 1) + (1 - HOPE) * self._waiting * (self._steps - 1)
        guess = risk * self._loss + (1 - risk) * (self._gain + after)
        return guess < self._waiting * self._steps


def neighbours(square: Square, rows: int, columns: int) -> list[Square]:
    """The squares that touch a square."""
    row, column = square
    return [
        (row + i, column + j)
        for i in (-1, 0, 1)
        for j in (-1, 0, 1)
        if (i or j) and 0 <= row + i < rows and 0 <= column + j < columns
    ]


def probabilities(rows: int, columns: int, mines: int, opened: Mapping[Square, int]) -> np.ndarray:
    """The exact probability of a mine on each square.

    All placements of the mines that agree with the numbers are equally likely.

    Args:
        rows: Rows of the board.
        columns: Columns of the board.
        mines: Number of mines on the board.
        opened: Number of neighbouring mines of each opened square.

    Returns:
        Probabilities [rows, columns], 0 on opened squares.

    Raises:
        ValueError: No placement of the mines agrees with the numbers.
    """
    regions: dict[tuple[Square, ...], list[Square]] = defaultdict(list)
    for row, column in np.ndindex(rows, columns):
        if (row, column) not in opened:
            seen = tuple(
                near for near in neighbours((row, column), rows, columns) if near in opened
            )
            regions[seen].append((row, column))
    regions[()] = regions.pop((), [])  # squares that no number touches are filled last
    numbered = {square: index for index, square in enumerate(opened)}
    touching = [[numbered[square] for square in seen] for seen in regions]
    sizes = [len(squares) for squares in regions.values()]
    total, sums = count_placements(sizes, touching, list(opened.values()), mines)
    if total <= 0:
        raise ValueError(f"no placement of {mines} mines agrees with the numbers {dict(opened)}")
    result = np.zeros((rows, columns))
    for squares, expected in zip(regions.values(), sums / total, strict=True):
        for square in squares:
            result[square] = expected / len(squares)
    return result


def count_placements(
    sizes: Sequence[int], touching: Sequence[Sequence[int]], numbers: Sequence[int], mines: int
) -> tuple[float, np.ndarray]:
    """Count the placements of mines in regions of squares that touch the same numbers.

    Args:
        sizes: Number of squares of each region, in the order in which the regions are filled.
        touching: Indices of the numbers that each region touches; none for the last one.
        numbers: Mines that each number needs.
        mines: Mines to be placed.

    Returns:
        The number of placements, and the mines in each region [regions], summed over all of them.
    """
    last = {number: index for index, region in enumerate(touching) for number in region}

    @cache
    def count(index: int, numbers: tuple[int, ...], mines: int) -> tuple[float, np.ndarray]:
        """The same for the regions from `index` on, and for what is left of numbers and mines."""
        size, total, sums = sizes[index], 0.0, np.zeros(len(sizes))
        if index == len(sizes) - 1:
            total = sums[-1] = float(math.comb(size, mines))
            return total, sums * mines
        for put in range(min([size, mines, *(numbers[number] for number in touching[index])]) + 1):
            left = list(numbers)
            for number in touching[index]:
                left[number] -= put
            if any(left[number] for number in touching[index] if last[number] == index):
                continue
            fewer, rest = count(index + 1, tuple(left), mines - put)
            ways = math.comb(size, put)
            total += ways * fewer
            sums += ways * rest
            sums[index] += ways * fewer * put
        return total, sums

    return count(0, tuple(numbers), mines)
