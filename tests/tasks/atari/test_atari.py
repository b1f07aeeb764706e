"""Atari beside plain constructions with Gymnasium's wrappers, and players that know the game."""

import warnings
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

from rate.acting.rollout import outcomes, rollout
from rate.dataset import write_dataset
from rate.dataset.loader import read_windows
from rate.dataset.sampler import Windows
from rate.tasks.atari import Atari
from rate.tasks.atari.emulator import NO_OPS, Emulator, Rules, games
from rate.tasks.atari.player import Player
from rate.tasks.lookup import find

pytest.importorskip("ale_py")
pytest.importorskip("cv2")

PAPER = ("Breakout", "Pong", "Qbert", "Seaquest")
FIRE = 1


def plain(game, max_frames, stack=1):
    """What Gymnasium builds, without sticky actions and with a limit of the emulator's frames."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = gymnasium.make(
            f"ALE/{game}-v5",
            frameskip=1,
            repeat_action_probability=0.0,
            max_num_frames_per_episode=max_frames,
            disable_env_checker=True,
        )
    made = AtariPreprocessing(made)
    return FrameStackObservation(made, stack, padding_type="reset") if stack > 1 else made


def random_actions(seed, environment, count):
    return np.random.default_rng(seed).integers(environment.action_space.n, size=count)


@pytest.mark.parametrize(
    ("game", "seed"),
    [("Breakout", 0), ("Pong", 1), ("Qbert", 2_000_007), ("Seaquest", 2**40), ("Freeway", 3)],
)
def test_frames_rewards_and_ends_are_those_of_gymnasiums_wrapper(game, seed):
    ours, theirs = Atari(game, fire=False, max_frames=400), plain(game, 400)
    np.testing.assert_array_equal(ours.reset(seed=seed)[0][0], theirs.reset(seed=seed)[0])
    assert ours.action_space == theirs.action_space
    for action in random_actions(seed, ours, 110):
        frame, *after, _ = ours.step(action)
        expected, *then, _ = theirs.step(action)
        np.testing.assert_array_equal(frame[0], expected)
        assert after == then
        if after[1] or after[2]:
            break
    else:
        pytest.fail("the episode had no end")


def test_fire_is_pressed_at_the_start_and_after_a_lost_life():
    game = "Breakout"
    ours, theirs = Atari(game), plain(game, 28_000)
    frame, _ = ours.reset(seed=5)
    _, info = theirs.reset(seed=5)
    expected, *_ = theirs.step(FIRE)
    np.testing.assert_array_equal(frame[0], expected)
    lives, lost, over = info["lives"], 0, False
    for action in random_actions(5, ours, 4000):
        frame, reward, over, _, info = ours.step(action)
        expected, points, ended, _, then = theirs.step(action)
        if then["lives"] < lives and not ended:
            expected, more, ended, _, then = theirs.step(FIRE)
            points, lost = points + more, lost + 1
        lives = then["lives"]
        np.testing.assert_array_equal(frame[0], expected)
        assert (reward, over, info["lives"]) == (points, ended, lives)
        if over:
            break
    assert over
    assert lost == 4, "a lost life ends no episode"


def test_an_episode_is_truncated_after_its_frames():
    environment = Atari("Pong", max_frames=403)
    environment.reset(seed=1)
    before = environment.emulator._ale.getEpisodeFrameNumber()
    assert 1 + 4 <= before <= NO_OPS + 4
    steps, truncated = 0, False
    while not truncated:
        *_, terminated, truncated, _ = environment.step(0)
        assert not terminated
        steps += 1
    assert environment.emulator._ale.getEpisodeFrameNumber() == 403
    assert steps == -(-(403 - before) // 4)
    assert steps <= find("atari/Pong,environment.max_frames=403").horizon
    assert find("atari/Pong").horizon == 7000
    with pytest.raises(gymnasium.error.ResetNeeded):
        environment.step(0)


def test_starts_have_from_1_to_30_frames_without_an_action():
    emulator = Emulator("Pong", Rules(fire=False))
    counts = []
    for seed in range(8):
        emulator.begin(seed)
        counts.append(emulator._ale.getEpisodeFrameNumber())
    assert 1 <= min(counts) < 10 < 16 < max(counts) <= NO_OPS
    assert len(set(counts)) > 4


def test_rewards_are_raw_points_unless_they_are_clipped():
    task = replace(find("atari/Qbert"), horizon=60)
    (episode,) = rollout(task.expert(), task, [3])
    assert episode.rewards.max() >= 25
    clipped = Atari("Qbert", clip_rewards=True)
    clipped.reset(seed=3)
    rewards = [clipped.step(action)[1] for action in episode.actions]
    np.testing.assert_array_equal(rewards, np.clip(episode.rewards, -1, 1))
    assert task.target_return == 14_000
    assert find("atari/Qbert,environment.clip_rewards=true").target_return is None


def test_frames_are_stored_once_and_stacked_when_they_are_loaded(tmp_path):
    task = replace(find("atari/Breakout"), horizon=40)
    (episode,) = rollout(Player("Breakout", noise=(0.3,)), task, [4])
    data = write_dataset(
        tmp_path / "data", [episode], task.observation_space, task.action_space, task=task.name
    )
    frames = data.arrays["observations/observation"].frames
    assert len(frames) <= 41
    assert frames.shape[1:] == (1, 84, 84)
    windows = Windows(np.array([0]), np.array([0]), np.array([40]))
    segment = read_windows(data, windows, stack_frames=4)
    stacked = segment.observations["observation"].numpy()[0]
    if segment.frames:
        stacked = segment.frames["observation"].numpy()[stacked]
        stacked = stacked[:, :, 0] if stacked.ndim == 5 else stacked
    theirs = plain("Breakout", 28_000, stack=4)
    theirs.reset(seed=4)
    # Gymnasium's stack begins anew with the first frame that the agent sees.
    first, *_ = theirs.step(FIRE)
    theirs.obs_queue.extend([first[-1]] * 4)
    expected, lives = np.repeat(first[-1:], 4, 0), 5
    for ours, action in zip(stacked, episode.actions, strict=True):
        np.testing.assert_array_equal(ours, expected)
        expected, *_, info = theirs.step(action)
        assert info["lives"] == lives, "the seed is one that loses no life so soon"


def test_every_game_is_a_task():
    assert len(games()) > 100
    assert {*PAPER, "MsPacman", "UpNDown"} <= set(games())
    gymnasium.register_envs(pytest.importorskip("ale_py"))
    known = {name.removeprefix("ALE/").removesuffix("-v5") for name in gymnasium.registry}
    assert set(games()) <= known, "games that Gymnasium leaves out end the process"
    for game in games():
        task = find(f"atari/{game}")
        assert task.expert is not None
        assert task.metric == "return"


@pytest.mark.slow
def test_every_game_is_played():
    for game in games():
        task = replace(find(f"atari/{game}"), horizon=4)
        (episode,) = rollout(task.expert(), task, [1])
        assert 1 <= len(episode) <= 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("atari/Pongo", "did you mean Pong"),
        ("atari/pong", "did you mean Pong"),
        ("atari/Combat", "there is no game 'Combat'"),
        ("atari/Pong,environment.max_frames=0", "max_frames must be at least 1"),
        ("atari/Pong,environment.repeat_action_probability=1", "must lie in"),
        ("atari/Pong,environment.frames=3", "no argument 'frames'"),
    ],
)
def test_names_that_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        find(name)


@pytest.mark.parametrize("sticky", [0.0, 0.25])
def test_a_player_stays_in_step_with_the_episode_that_it_plays(sticky):
    rules = Rules(repeat_action_probability=sticky, clip_rewards=True)
    player = Player("Breakout", rules, noise=(0.4,))
    environment = Atari("Breakout", repeat_action_probability=sticky, clip_rewards=True)
    environment.reset(seed=7)
    player.reset(1, [7])
    over, lives = False, []
    while not over:
        (action,) = player.act(np.zeros(1), np.zeros(1))
        *_, over, _, info = environment.step(action)
        assert player._twins[0]._emulator.memory() == environment.emulator.memory()
        lives.append(info["lives"])
    assert {4, 3, 2, 1} <= set(lives)


PROGRESS = {"Breakout": (120, 3), "Pong": (600, 3), "Seaquest": (400, 150), "Qbert": (300, 800)}
"""Decisions, and points that a player has made by then without losing a life or a point."""


@pytest.mark.parametrize(
    "game",
    [game if game == "Breakout" else pytest.param(game, marks=pytest.mark.slow) for game in PAPER],
)
def test_players_make_points_without_losses(game):
    decisions, points = PROGRESS[game]
    task = replace(find(f"atari/{game}"), horizon=decisions)
    player = task.expert()
    (outcome,) = outcomes(player, task, [1])
    assert outcome.length == decisions
    assert outcome.total_return >= points
    assert player._twins[0]._emulator.lives == Emulator(game).lives


def test_noise_goes_by_the_seed():
    player = Player("Pong", noise=(0.0, 0.5))
    player.reset(2, [12, 15])
    assert [twin._noise for twin in player._twins] == [0.0, 0.5]
