from collections import Counter, defaultdict

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from rate.acting.rollout import rollout
from rate.tasks.lookup import find
from rate.tasks.tmaze import DOWN, LEFT, RIGHT, UP, TMaze, TMazeOracle, TMazes


def walk(length: int, actions: list[int]) -> list[tuple[int, int]]:
    """Positions by the rules alone, one cell at a time: the cells of the maze are a set."""
    cells = {(x, 0) for x in range(length + 1)} | {(length, 1), (length, -1)}
    moves = {RIGHT: (1, 0), UP: (0, 1), LEFT: (-1, 0), DOWN: (0, -1)}
    places = [(0, 0)]
    for action in actions:
        if places[-1][1] != 0 or len(places) - 1 == length + 2:
            break
        target = places[-1][0] + moves[action][0], places[-1][1] + moves[action][1]
        places.append(target if target in cells else places[-1])
    return places


@pytest.mark.parametrize("length", [1, 2, 5])
def test_movement_follows_the_rules(length: int) -> None:
    rows = 300
    mazes = TMazes((length,))
    first = mazes.reset(range(rows))
    actions = np.random.default_rng(0).choice(4, (length + 2, rows), p=[0.55, 0.15, 0.15, 0.15])
    places = [walk(length, actions[:, row].tolist()) for row in range(rows)]
    assert len({len(place) for place in places}) > 1
    np.testing.assert_array_equal(first[:, 0], 0)
    for time in range(length + 2):
        observations, rewards, terminations, truncations = mazes.step(actions[time])
        for row in range(rows):
            if len(places[row]) <= time + 1:
                continue
            x, y = places[row][time + 1]
            over = y != 0 or time + 1 == length + 2
            assert (mazes.x[row], mazes.y[row]) == (x, y)
            assert observations[row, 0] == y
            assert observations[row, 1] == 0
            assert observations[row, 2] == (x == length and not over)
            assert rewards[row] == (y == mazes.goal[row])
            assert terminations[row] == (y != 0)
            assert truncations[row] == (over and y == 0)


def test_the_clue_and_nothing_else_tells_the_goal() -> None:
    """Exact: with the same seeds and the other goals only the clue and the rewards differ."""
    actions = np.random.default_rng(1).choice(4, (9, 50), p=[0.7, 0.1, 0.1, 0.1])
    seen, rewarded = [], []
    for sign in (1, -1):
        mazes = TMazes((7,))
        mazes.reset(range(50))
        mazes.goal *= sign
        steps = [mazes.step(action) for action in actions]
        seen.append(np.stack([step[0] for step in steps]))
        rewarded.append(np.stack([step[1] for step in steps]))
    np.testing.assert_array_equal(seen[0], seen[1])
    assert (rewarded[0] != rewarded[1]).any()


def test_the_clue_is_shown_once() -> None:
    for episode in rollout(TMazeOracle(), find("tmaze/20"), range(10)):
        clue = episode.observations["observation"][:, 1]
        assert clue[0] == (1 if episode.seed % 2 == 0 else -1)
        assert not clue[1:].any()


def test_the_flag_is_shown_where_the_turn_must_be_made() -> None:
    for episode in rollout(TMazeOracle(), find("tmaze/20"), range(10)):
        flag = episode.observations["observation"][:, 2]
        assert np.flatnonzero(flag).tolist() == [18]
        assert len(episode) == 19


def test_noise_is_uniform_and_independent_of_the_row() -> None:
    mazes = TMazes((998,))
    mazes.reset(range(40))
    noise = np.stack([mazes.step(np.full(40, UP))[0][:, 3] for _ in range(999)])
    assert set(np.unique(noise)) == {-1, 0, 1}
    assert abs(noise.mean()) < 0.02
    assert abs(noise.var() - 2 / 3) < 0.02
    assert np.abs(np.corrcoef(noise.T) - np.eye(40)).max() < 0.2
    alone = TMazes((998,))
    alone.reset([17])
    single = np.stack([alone.step(np.full(1, UP))[0][:, 3] for _ in range(999)])
    np.testing.assert_array_equal(single[:, 0], noise[:, 17])


def test_an_episode_in_the_corridor_times_out_with_one_spare_step() -> None:
    environment = TMaze(length=4)
    environment.reset(seed=0)
    for step in range(1, 7):
        _, reward, terminated, truncated, _ = environment.step(LEFT)
        assert (reward, terminated, truncated) == (0.0, False, step == 6)


def test_one_lost_step_can_be_made_up_for() -> None:
    environment = TMaze(length=2)
    environment.reset(seed=0)
    for action in (LEFT, RIGHT, RIGHT):
        assert not any(environment.step(action)[2:4])
    _, reward, terminated, truncated, _ = environment.step(UP)
    assert (reward, terminated, truncated) == (1.0, True, False)


def test_an_ended_row_takes_any_action_and_earns_nothing() -> None:
    mazes = TMazes((1,))
    mazes.reset([0, 2])
    mazes.step(np.array([RIGHT, UP]))
    assert mazes.step(np.array([UP, RIGHT]))[1].tolist() == [1, 0]
    _, rewards, terminations, truncations = mazes.step(np.array([-99, UP]))
    assert rewards.tolist() == [0, 1]
    assert terminations.tolist() == [False, True]
    assert not truncations.any()


def test_returned_arrays_are_not_written_again() -> None:
    mazes = TMazes((5,))
    first = mazes.reset([0])
    kept = first.copy()
    mazes.step(np.array([RIGHT]))
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(
    "actions", [np.array([4, 0]), np.array([0, -1]), np.array([0]), np.array([0.0, 1.0])]
)
def test_actions_that_are_refused(actions: np.ndarray) -> None:
    mazes = TMazes((5,))
    mazes.reset([0, 1])
    with pytest.raises(ValueError, match="actions are"):
        mazes.step(actions)


def test_the_environment_says_what_was_done_wrong() -> None:
    environment = TMaze(length=1)
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset"):
        environment.step(RIGHT)
    environment.reset(seed=0)
    with pytest.raises(gymnasium.error.InvalidAction, match="Discrete"):
        environment.step(4)
    environment.step(RIGHT)
    environment.step(UP)
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset"):
        environment.step(RIGHT)
    with pytest.raises(ValueError, match="at least 1"):
        TMaze(length=0)
    with pytest.raises(ValueError, match="sampling is 'fair'"):
        TMaze(sampling="fair")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="render_mode"):
        TMaze(render_mode="human")


def test_without_a_seed_goals_are_drawn() -> None:
    environment = TMaze(length=3)
    environment.reset(seed=5)
    clues = [environment.reset()[0][1] for _ in range(200)]
    assert 70 < clues.count(1) < 130
    assert clues != [1, -1] * 100
    environment.reset(seed=5)
    assert [environment.reset()[0][1] for _ in range(200)] == clues


def test_uniform_corridors_take_every_length() -> None:
    task = find("tmaze-uniform/9")
    lengths = Counter(len(episode) - 1 for episode in rollout(TMazeOracle(), task, range(1400)))
    assert set(lengths) == set(range(1, 8))
    assert all(abs(count - 200) < 60 for count in lengths.values())


def test_segments_take_turns_and_are_balanced_within_each_length() -> None:
    task = find("tmaze-segments/90x3")
    assert task.horizon == 90
    goals = defaultdict(list)
    for episode in rollout(TMazeOracle(), task, range(120)):
        goals[len(episode) - 1].append(episode.observations["observation"][0, 1])
    assert {length: len(clues) for length, clues in goals.items()} == {28: 40, 58: 40, 88: 40}
    assert all(sum(clues) == 0 for clues in goals.values())


def test_the_smallest_mazes_can_be_solved() -> None:
    for name in ("tmaze/3", "tmaze-uniform/3", "tmaze-segments/3x1"):
        assert [
            episode.total_return for episode in rollout(TMazeOracle(), find(name), range(4))
        ] == [1] * 4


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_registered_id_passes_gymnasiums_checks_with_rendering() -> None:
    environment = gymnasium.make("rate.tasks.tmaze:rate/TMaze-v0", length=6)
    assert environment.unwrapped.batch.reset([0]).shape == (1, 4)
    check_env(environment.unwrapped)


def test_rendering() -> None:
    environment = TMaze(length=3, render_mode="ansi")
    environment.reset(seed=0)
    assert environment.render() == "###G\nA...\n###.\n"
    for action in (RIGHT, RIGHT, RIGHT, DOWN):
        environment.step(action)
    assert environment.render() == "###G\n....\n###A\n"
    picture = TMaze(length=3, render_mode="rgb_array")
    picture.reset(seed=0)
    assert picture.render().shape == (24, 32, 3)
    assert picture.render().dtype == np.uint8
    assert TMaze(length=3).render() is None
