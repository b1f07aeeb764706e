from itertools import combinations
from typing import Any

import gymnasium
import numpy as np
import pytest

from rate.tasks.popgym.battleship import BattleshipExpert, placements
from rate.tasks.popgym.cartpole import CartPole
from rate.tasks.popgym.experts import EXPERTS
from rate.tasks.popgym.labyrinths import EscapeExpert
from rate.tasks.popgym.minesweeper import neighbours, probabilities
from rate.tasks.popgym.particle_filter import ParticleFilter, log_normal_clipped
from rate.tasks.popgym.pendulum import Pendulum

pytest.importorskip("popgym")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

LEAST = {
    "Battleship": (0.50, 0.50, 0.50),
    "LabyrinthEscape": (0.95, 0.90, 0.85),
    "LabyrinthExplore": (0.95, 0.90, 0.845),
    "MineSweeper": (0.50, 0.40, 0.40),
    "NoisyPositionOnlyCartPole": (0.95, 0.50, 0.30),
    "NoisyPositionOnlyPendulum": (0.86, 0.68, 0.62),
    "PositionOnlyCartPole": (1.0, 1.0, 1.0),
    "PositionOnlyPendulum": (0.87, 0.82, 0.75),
    "VelocityOnlyCartPole": (1.0, 1.0, 1.0),
}
"""Mean return that is beaten on few seeds, by size; results/popgym-experts.jsonl has the scores
over many."""
SIZES = ("Easy", "Medium", "Hard")
every_task = pytest.mark.parametrize(
    ("name", "size"), [(name, size) for name in LEAST for size in SIZES]
)


def make(name: str, size: str) -> gymnasium.Env[Any, Any]:
    import popgym.envs

    if name.startswith("Labyrinth"):
        pytest.importorskip("mazelib")
    return next(kind for kind in popgym.envs.ALL if kind.__name__ == name + size)()


def play(
    environment: gymnasium.Env[Any, Any], expert: Any, seed: int
) -> tuple[float, list[Any], list[Any]]:
    """Play one episode; return its return, what was seen, to the last, and what was done."""
    observation, _ = environment.reset(seed=seed)
    reward, total, ended = 0.0, 0.0, False
    seen, done = [], []
    while not ended:
        seen.append((observation, reward))
        done.append(expert.act(observation, reward))
        assert environment.action_space.contains(done[-1])
        observation, reward, terminated, truncated_, _ = environment.step(done[-1])
        total += float(reward)
        ended = terminated or truncated_
    seen.append((observation, reward))
    return total, seen, done


@every_task
def test_an_expert_beats_its_bound(name: str, size: str) -> None:
    seeds = range(20 if name == "MineSweeper" else 5)
    returns = [
        play(environment := make(name, size), EXPERTS[name](environment, seed), seed)[0]
        for seed in seeds
    ]
    assert np.mean(returns) >= LEAST[name][SIZES.index(size)] - 1e-6


@pytest.mark.parametrize(("name", "size"), [(name, size) for name in EXPERTS for size in SIZES])
def test_an_expert_reads_nothing_hidden(name: str, size: str) -> None:
    """An environment that was never reset holds its fixed definitions and no state; it is all that
    an expert needs."""
    expert = EXPERTS[name]
    environment = make(name, size)
    environment.reset(seed=7)  # a state that an expert could read, were it to
    _, seen, done = play(environment, expert(environment, 3), 3)
    blind = expert(make(name, size), 3)
    for (observation, reward), action in zip(seen[:-1], done, strict=True):
        np.testing.assert_array_equal(blind.act(observation, reward), action)


@every_task
def test_an_expert_may_be_asked_after_the_end(name: str, size: str) -> None:
    """In a batch of episodes the rows that have ended go on to be asked; what they are shown has no
    meaning."""
    environment = make(name, size)
    expert = EXPERTS[name](environment, 5)
    _, seen, _ = play(environment, expert, 5)
    nothing = np.zeros_like(seen[0][0]) if isinstance(seen[0][0], np.ndarray) else 0
    for observation, reward in [seen[-1], *[(nothing, 0.0)] * 30]:
        assert environment.action_space.contains(expert.act(observation, reward))


@pytest.mark.parametrize(
    "opened", [{}, {(0, 0): 1}, {(0, 0): 1, (1, 1): 2, (2, 3): 0}, {(0, 1): 2, (2, 1): 1}]
)
def test_probabilities_of_mines_are_those_of_all_boards(opened: dict[tuple[int, int], int]) -> None:
    squares = [(row, column) for row in range(3) for column in range(4)]
    agreeing = np.zeros((3, 4))
    total = 0
    for mines in combinations(squares, 3):
        if not set(mines) & opened.keys() and all(
            len(set(neighbours(square, 3, 4)) & set(mines)) == number
            for square, number in opened.items()
        ):
            total += 1
            for mine in mines:
                agreeing[mine] += 1
    assert total
    np.testing.assert_allclose(probabilities(3, 4, 3, opened), agreeing / total, atol=1e-12)


def test_numbers_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="no placement of 1 mines agrees"):
        probabilities(3, 3, 1, {(0, 0): 1, (2, 2): 1, (0, 2): 0})


def test_every_placement_of_a_ship_is_found_once() -> None:
    for ship in (2, 3, 4):
        found = placements(8, ship)
        assert len(np.unique(found, axis=0)) == len(found) == 2 * 8 * (9 - ship)
        assert (found.sum(axis=1) == ship).all()


def test_no_square_is_shot_at_twice() -> None:
    environment = make("Battleship", "Easy")
    _, _, shots = play(environment, BattleshipExpert(environment, 0), 0)
    assert len({tuple(shot.tolist()) for shot in shots}) == len(shots)


@pytest.mark.parametrize("seed", range(12))
def test_the_map_is_the_labyrinth(seed: int) -> None:
    """The view is shifted where the walk starts at the upper or left edge; twelve seeds start at
    every edge."""
    environment: Any = make("LabyrinthEscape", "Medium")
    expert = EscapeExpert(environment, seed)
    play(environment, expert, seed)
    grid = environment.maze.grid
    row, column = environment.maze.start
    for (down, right), cell in expert.map.seen.items():
        position = (row + down, column + right)
        assert cell == (grid[position] if max(position) < len(grid) and min(position) >= 0 else 1)


def test_twelve_seeds_start_at_every_edge() -> None:
    environment: Any = make("LabyrinthEscape", "Medium")
    edges = set()
    for seed in range(12):
        environment.reset(seed=seed)
        row, column = environment.maze.start
        edges.add((row in (0, 14), min(row, column) == 0))
    assert len(edges) == 4


def test_the_filters_know_the_dynamics() -> None:
    cart: Any = make("PositionOnlyCartPole", "Easy")
    cart.reset(seed=0)
    state = np.array([0.1, -0.2, 0.05, 0.3])
    cart.state = state
    cart.step(1)
    np.testing.assert_allclose(
        CartPole(cart).next(state[None], cart.force_mag)[0], cart.state, rtol=1e-12
    )
    pendulum: Any = make("PositionOnlyPendulum", "Easy")
    pendulum.reset(seed=0)
    pendulum.state = np.array([2.0, 7.9])
    pendulum.step(np.array([1.5], np.float32))
    moved = Pendulum.of(pendulum).next(np.array(2.0), np.array(7.9), np.array(1.5))
    np.testing.assert_allclose(moved, pendulum.state, rtol=1e-12)


def test_a_particle_filter_follows_clipped_readings() -> None:
    generator = np.random.default_rng(0)
    particles = ParticleFilter(generator.uniform(-3, 3, (2000, 2)), generator)
    for value in np.clip(0.8 + 0.3 * generator.standard_normal(200), -1, 1):
        particles.update(log_normal_clipped(float(value), particles.particles[:, 0], 0.3, 1.0))
    assert abs(particles.weights @ particles.particles[:, 0] - 0.8) < 0.1
