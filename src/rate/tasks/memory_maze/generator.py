"""A generator of mazes with halls, for Pythons that have no package for it."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rate.tasks.memory_maze.layout import Size

ATTEMPTS = 200
"""Places that are tried for halls."""


def generate(size: "Size", seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A maze of halls that are joined by corridors without dead ends.

    Args:
        size: How large it is, and how many halls of what size it has at most.
        seed: Decides everything.

    Returns:
        Cells as characters, "*" wall, " " free, "P" start and "G" target (one of each in a hall),
        and where halls are, [side + 2, side + 2] both.
    """
    random, count = np.random.RandomState(seed), size.side + 2
    regions = np.zeros((count, count), int)  # 0 is wall
    halls = _place_halls(random, regions, size)
    _fill_corridors(random, regions)
    free = _join(random, regions)
    _remove_dead_ends(free, halls)
    text = np.where(free, " ", "*")
    for hall in range(1, halls.max() + 1):
        cells = np.argwhere((halls == hall) & free)
        start, target = random.choice(len(cells), 2, replace=False)
        text[tuple(cells[start])], text[tuple(cells[target])] = "P", "G"
    return text, halls > 0


def _place_halls(random: np.random.RandomState, regions: np.ndarray, size: "Size") -> np.ndarray:
    """Number halls with odd sides at odd places that do not touch; returns their numbers."""
    sides = range(size.hall[0], size.hall[1] + 1, 2)
    placed = 0
    for _ in range(ATTEMPTS):
        height, width = random.choice(sides), random.choice(sides)
        row, column = (
            1 + 2 * random.randint((len(regions) - side) // 2) for side in (height, width)
        )
        if placed < size.halls and not regions[row : row + height, column : column + width].any():
            placed += 1
            regions[row : row + height, column : column + width] = placed
    return regions.copy()


def _fill_corridors(random: np.random.RandomState, regions: np.ndarray) -> None:
    """Dig corridors through all that is left, one region for each connected one."""
    last = len(regions) - 2
    for start in [(r, c) for r in range(1, last + 1, 2) for c in range(1, last + 1, 2)]:
        if regions[start]:
            continue
        number = regions.max() + 1
        regions[start], path = number, [start]
        while path:
            row, column = path[-1]
            ways = [
                (row + down, column + right)
                for down, right in ((2, 0), (-2, 0), (0, 2), (0, -2))
                if 1 <= row + down <= last
                and 1 <= column + right <= last
                and not regions[row + down, column + right]
            ]
            if not ways:
                path.pop()
                continue
            way = ways[random.randint(len(ways))]
            regions[way] = regions[(row + way[0]) // 2, (column + way[1]) // 2] = number
            path.append(way)


def _join(random: np.random.RandomState, regions: np.ndarray) -> np.ndarray:
    """Open walls between regions until all are connected; returns what is free."""
    doors = [
        (row, column, tuple(sorted(pair)))
        for row, column in np.argwhere(regions[1:-1, 1:-1] == 0) + 1
        for pair in (
            (regions[row - 1, column], regions[row + 1, column]),
            (regions[row, column - 1], regions[row, column + 1]),
        )
        if pair[0] and pair[1] and pair[0] != pair[1]
    ]
    random.shuffle(doors)
    group, free = np.arange(regions.max() + 1), regions > 0
    for row, column, (one, other) in doors:
        if group[one] != group[other]:
            group[group == group[other]] = group[one]
            free[row, column] = True
    return free


def _remove_dead_ends(free: np.ndarray, halls: np.ndarray) -> None:
    """Fill corridor cells that have one free neighbour, until there is none."""
    while True:
        neighbours = free[:-2, 1:-1].astype(int) + free[2:, 1:-1] + free[1:-1, :-2] + free[1:-1, 2:]
        ends = free[1:-1, 1:-1] & (neighbours <= 1) & (halls[1:-1, 1:-1] == 0)
        if not ends.any():
            return
        free[1:-1, 1:-1][ends] = False
