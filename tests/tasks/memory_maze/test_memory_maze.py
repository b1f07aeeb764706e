"""Memory Maze beside recorded episodes of the packaged environment; what its expert may know."""

from collections import deque
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from numpy.lib.stride_tricks import sliding_window_view

pytest.importorskip("mujoco")

from rate.acting.rollout import outcomes
from rate.tasks.lookup import find
from rate.tasks.memory_maze.camera import COLOURS, Scene
from rate.tasks.memory_maze.environment import MemoryMazes, touched_at_origin
from rate.tasks.memory_maze.expert import Eye, goal_in
from rate.tasks.memory_maze.layout import TEXTURES, Size, default_generator, draw
from rate.tasks.memory_maze.physics import Ball
from rate.tasks.memory_maze.picture import render, render_numpy
from rate.tasks.memory_maze.walker import Sight, Walker

DATA = Path(__file__).parents[2] / "data"
SIDES = (9, 11, 13, 15)
needs_labmaze = pytest.mark.skipif(default_generator() == "own", reason="labmaze is not installed")


def recorded(seed):
    return np.load(DATA / "memory_maze" / f"9x9_seed{seed}.npz", allow_pickle=False)


@needs_labmaze
@pytest.mark.parametrize("seed", [0, 1])
def test_layout_and_draws_are_those_that_were_recorded(seed):
    trace, maze = recorded(seed), draw(Size(9), seed, "labmaze")
    layout = np.array([list(row) for row in trace["layout"]])
    np.testing.assert_array_equal(maze.cells, np.char.isdigit(layout))
    pictures = dict(pair.split("=") for pair in str(trace["wall_textures"]).split())
    for row, column in np.argwhere(maze.cells):
        block = maze.blocks[row], maze.blocks[column]
        assert TEXTURES[maze.textures[block]] == pictures[layout[row, column]]
    np.testing.assert_array_equal(maze.targets, trace["targets"][:, :2])
    assert (*maze.start, 0, maze.heading, 0) == tuple(trace["start_qpos"])


@needs_labmaze
@pytest.mark.parametrize("seed", [0, 1])
def test_motion_and_rewards_are_those_that_were_recorded_to_the_last_bit(seed):
    trace, mazes = recorded(seed), MemoryMazes()
    mazes.reset([seed])
    for step, action in enumerate(trace["actions"]):
        assert mazes.goal[0] == trace["wanted"][step]
        # Without pictures, which take most of the time.
        mazes.observe = lambda: np.zeros(1)
        _, rewards, _, _ = mazes.step(np.array([action]))
        np.testing.assert_array_equal(mazes.balls[0].data.qpos, trace["qpos"][step + 1])
        assert rewards[0] == trace["rewards"][step]


@needs_labmaze
@pytest.mark.parametrize("seed", [0, 1])
def test_pictures_look_like_those_that_were_recorded(seed):
    trace, maze = recorded(seed), draw(Size(9), seed, "labmaze")
    steps = trace["picture_steps"]
    x, y, _, heading, _ = trace["qpos"][steps].T
    pictures = render(
        Scene([maze] * len(steps)), np.stack([x, y, -heading], 1), trace["wanted"][steps]
    )
    difference = np.abs(pictures.astype(int) - trace["pictures"].astype(int))
    assert difference.mean() < 2.5
    assert difference.mean((1, 2, 3)).max() < 4.5
    frame = pictures[:, 0].astype(int) - trace["pictures"][:, 0].astype(int)
    assert not frame.any(), "the wanted colour"


def places(mazes, random):
    """A place in each maze, off the walls, and a direction."""
    for maze in mazes:
        cells = np.argwhere(~maze.cells)
        middle = maze.place(*cells[random.integers(len(cells))])
        yield (*(middle + random.uniform(-0.78, 0.78, 2)), random.uniform(-7, 7))


@pytest.mark.parametrize("side", SIDES)
def test_machine_code_draws_the_pictures_of_numpy(side):
    """Rounding may decide otherwise on the border of two texels, in one pixel of ten thousand."""
    pytest.importorskip("numba")
    from rate.tasks.memory_maze.compiled import render_compiled

    random = np.random.default_rng(side)
    mazes = [draw(Size(side), seed, default_generator()) for seed in range(24)]
    scene, goal = Scene(mazes), np.arange(24) % Size(side).targets
    differing = 0
    for _ in range(3):
        poses = np.array(list(places(mazes, random)))
        poses[0, :2] = mazes[0].targets[0]  # inside a dome
        poses[1, 2] = np.pi / 2  # along an axis
        one, other = render_numpy(scene, poses, goal), render_compiled(scene, poses, goal)
        differing += int((one != other).any(-1).sum())
    assert differing <= 72 * 64 * 64 / 10_000


def test_without_numba_pictures_are_drawn_by_numpy(monkeypatch):
    from rate.tasks.memory_maze import picture

    monkeypatch.setattr(picture, "find_spec", lambda name: None)
    assert picture._fastest.__wrapped__() is render_numpy


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("generator", ["labmaze", "own"])
def test_mazes_are_connected_and_have_what_their_size_says(side, generator):
    if generator != default_generator() and generator == "labmaze":
        pytest.skip("labmaze is not installed")
    size = Size(side)
    for seed in range(12):
        maze = draw(size, seed, generator)
        assert maze.cells.shape == (side + 2, side + 2)
        assert maze.cells[[0, -1]].all()
        assert maze.cells[:, [0, -1]].all()
        assert maze.targets.shape == (size.targets, 2)
        assert len(np.unique(maze.targets, axis=0)) == size.targets
        free = {tuple(cell) for cell in np.argwhere(~maze.cells)}
        queue = deque([next(iter(free))])
        reached = set(queue)
        while queue:
            row, column = queue.popleft()
            beside = {(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)}
            new = (beside & free) - reached
            reached |= new
            queue.extend(new)
        assert reached == free
        covered = np.zeros_like(maze.cells)
        for top, bottom, left, right in maze.wall_boxes():
            assert not covered[top:bottom, left:right].any()
            assert (bottom - top) % 2 == (right - left) % 2 == 1
            covered[top:bottom, left:right] = True
        np.testing.assert_array_equal(covered, maze.cells)
    assert size.steps == {9: 1000, 11: 2000, 13: 3000, 15: 4000}[side]


def test_a_wanted_dome_in_the_middle_pays_at_once_only_if_asked():
    seeds = []
    for seed in range(400):
        maze = draw(Size(9), seed, default_generator())
        if touched_at_origin(maze.targets)[maze.goal]:
            seeds.append(seed)
    assert seeds, "one maze in eighty"
    for free, reward in ((True, 1), (False, 0)):
        mazes = MemoryMazes(free_reward=free)
        mazes.reset(seeds[:1])
        assert mazes.step(np.array([0]))[1] == reward


def test_the_frame_names_the_wanted_dome():
    maze = draw(Size(15), 3, default_generator())
    scene, pose = Scene([maze] * 6), np.array([[*maze.start, 0.3]] * 6)
    for goal, picture in enumerate(render(scene, pose, np.arange(6))):
        assert goal_in(picture) == goal
        assert (picture[:2] == (COLOURS[goal] * 178.5).astype(np.uint8)).all()


def test_a_dome_is_seen_in_its_colour_and_hidden_by_walls():
    maze = draw(Size(9), 0, default_generator())
    eye = Eye(maze)
    for target, colour in zip(maze.targets, range(3), strict=True):
        for angle in np.linspace(0, 2 * np.pi, 16, endpoint=False):
            place = target - 1.5 * np.array([np.cos(angle), np.sin(angle)])
            pose = (float(place[0]), float(place[1]), float(angle))
            row, column = np.array([5, 5]) + np.rint([-place[1] / 2, place[0] / 2]).astype(int)
            if maze.cells[row, column] or colour not in eye.look(pose).targets:
                continue
            picture = render(Scene([maze]), np.array([pose]), np.array([0]))[0].astype(float)
            middle = picture[36:44, 28:36].mean((0, 1))
            shade = middle / middle.max() - COLOURS[colour] / COLOURS[colour].max()
            assert np.abs(shade).max() < 0.12
            break


def walk(maze, steps, seed=0):
    """Actions of a walker, and the cells and domes that it had seen before each."""
    ball, eye = Ball(maze), Eye(maze)
    walker = Walker(len(maze.cells), np.random.default_rng(seed), 0.0)
    actions, seen = [], []
    for _ in range(steps):
        action = walker.act(eye.look(ball.pose), maze.goal)
        actions.append(action)
        seen.append(set(walker.targets))
        ball.act(action)
    return actions, seen, walker


def test_the_expert_acts_on_nothing_that_it_has_not_seen():
    """Domes that are not in view may be anywhere, and walls too: actions are the same until they
    are seen."""
    compared = 0
    for seed in range(6):
        maze = draw(Size(9), seed, default_generator())
        actions, seen, walker = walk(maze, 60)
        hidden = [index for index in range(3) if index not in seen[-1]]
        moved = maze.targets.copy()
        unseen = np.argwhere((walker.known == 0) & ~maze.cells)
        for index, cell in zip(hidden, unseen[::-1], strict=False):
            moved[index] = maze.place(*cell)
            compared += 1
        again, seen_again, _ = walk(replace(maze, targets=moved), 60)
        until = next((k for k in range(60) if seen[k] != seen_again[k]), 60)
        assert actions[:until] == again[:until]
        # A ray may touch the corner of a cell that counts as unknown, beside one that it crosses.
        free = np.pad(walker.known == 1, 1)
        beside = sliding_window_view(free, (3, 3)).any((2, 3))
        closed = maze.cells | ((walker.known == 0) & ~beside)
        assert walk(replace(maze, cells=closed), 60)[0] == actions
    assert compared


@pytest.mark.slow
def test_the_expert_finds_more_than_people_do():
    task = find("memory-maze/9x9")
    returns = [played.total_return for played in outcomes(task.expert(), task, range(40))]
    assert np.mean(returns) >= 27


@pytest.mark.slow
def test_the_expert_that_errs_returns_what_the_data_of_the_paper_does():
    task = find("memory-maze/9x9")
    played = outcomes(task.experts["data"](), task, range(40))
    assert np.mean([episode.total_return for episode in played]) == pytest.approx(4.7, abs=0.6)


class Blind(Eye):
    """Sees what the eye sees, and lets nobody ask for more."""

    def __init__(self, maze):
        super().__init__(maze)
        self._maze = Guarded(maze)

    def look(self, pose):
        self._maze.open = True
        try:
            return super().look(pose)
        finally:
            self._maze.open = False


class Guarded:
    """A maze that answers only while it is looked at."""

    def __init__(self, maze):
        self.maze, self.open = maze, False

    def __getattr__(self, name):
        assert self.open, f"{name} is hidden"
        return getattr(self.maze, name)


def test_the_walker_is_given_sights_alone():
    """What it decides by are poses, cells in view and domes in view."""
    maze = draw(Size(9), 2, default_generator())
    ball, eye = Ball(maze), Blind(maze)
    walker = Walker(len(maze.cells), np.random.default_rng(0), 0.0)
    for _ in range(30):
        sight = eye.look(ball.pose)
        copied = Sight(sight.pose, sight.free.copy(), sight.walls.copy(), dict(sight.targets))
        ball.act(walker.act(copied, maze.goal))
    cells = walker.known
    assert not (cells[maze.cells] == 1).any()
    assert not (cells[~maze.cells] == 2).any()


def test_memory_does_not_grow_with_episodes_and_nothing_is_left_behind(tmp_path, monkeypatch):
    task = find("memory-maze/9x9,horizon=3")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    agent = task.expert()

    def shared():
        return set(Path("/dev/shm").iterdir()) if Path("/dev/shm").is_dir() else set()

    process, sizes, before = psutil.Process(), [], shared()
    children, files = process.children(), process.num_fds()
    for first in range(0, 100, 4):
        list(outcomes(agent, task, range(first, first + 4), num_envs=4))
        sizes.append(process.memory_info().rss)
    for seed in range(100):
        environment = task.environment()
        environment.reset(seed=seed)
        environment.close()
        sizes.append(process.memory_info().rss)
    assert max(sizes[4:]) - sizes[4] < 20e6
    assert process.children() == children
    assert process.num_fds() == files
    assert not list(tmp_path.iterdir())
    assert not {path for path in shared() - before if path.owner() == tmp_path.owner()}


def test_names_say_side_and_generator():
    assert find("memory-maze/15x15").horizon == 4000
    name = "memory-maze/9x9,environment.generator=own"
    assert find(name).name == name
    assert "own" in find(name).description
    for wrong in ("9x11", "10x10", "9"):
        with pytest.raises(ValueError, match="memory-maze/9x9"):
            find(f"memory-maze/{wrong}")
    with pytest.raises(ValueError, match="generator, free_reward"):
        find("memory-maze/9x9,environment.halls=3")
