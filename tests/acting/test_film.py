"""Films: the episode that is shown is the one that is scored, for every model and task; files are
complete or absent."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

import rate
from rate.acting.actor import Actor
from rate.acting.film import Filming
from rate.acting.films import extremes
from rate.acting.frame import Frames
from rate.acting.recording import record
from rate.acting.rollout import outcomes
from rate.acting.video import FORMATS, video
from rate.acting.watched import Watched
from rate.cli import main
from rate.models import config_class, names
from rate.models.policy import Policy
from rate.models.rate import MemoryTransformer
from rate.runs.films import FilmError, read_films
from rate.tasks.gym.make import RandomAgent
from rate.tasks.lookup import discover, find
from tests.tasks import outside

RECALL = find("recall/14")


def policy(name: str) -> Policy:
    """A small policy for RECALL, with fresh weights."""
    torch.manual_seed(0)
    known = config_class(name).__dataclass_fields__
    sizes = {"segment_length": 5, "segments": 2, "width": 16, "hidden": 16, "heads": 2}
    config = config_class(name)(**{key: size for key, size in sizes.items() if key in known})
    return Policy(RECALL.observation_space, RECALL.action_space, config)


@pytest.mark.parametrize("name", names())
def test_a_film_shows_the_scored_episode_and_the_memory_of_every_model(name):
    scored = list(outcomes(Actor(policy(name), 1.0, graph="off"), RECALL, [3], num_envs=1))
    agent, frames = Watched(policy(name), 1.0), []
    [outcome] = scored
    assert Filming(agent, RECALL, 1.0).play(3, Frames(), frames.append) == outcome
    assert len(frames) == outcome.length + 1
    assert {(frame.dtype, frame.shape) for frame in frames} == {
        (np.dtype("uint8"), frames[0].shape)
    }
    backbone, activity = agent.policy.backbone, agent.activity()
    assert (activity is not None) == ("memory" in backbone.memory_parts())
    if activity is not None:
        assert activity.contents.ndim == 2
        assert np.isfinite(activity.contents).all()
    if activity is not None and isinstance(backbone, MemoryTransformer):
        assert len(activity.attention) == backbone.config.memory_tokens
        assert (activity.attention >= 0).all()
        assert 0 < activity.attention.sum() <= 1


def test_recurrent_memory_is_shown_after_each_step_and_that_of_segments_where_they_begin():
    changes = {}
    for name in ("lstm", "rate"):
        agent = Watched(policy(name), 1.0)
        agent.reset(1, [0])
        seen = []
        for _ in range(12):
            agent.act(np.zeros((1, 3), np.float32), np.zeros(1, np.float32))
            seen.append(agent.activity().contents)
        changes[name] = [not np.array_equal(before, after) for before, after in pairwise(seen)]
    assert all(changes["lstm"])
    assert [step + 1 for step, changed in enumerate(changes["rate"]) if changed] == [5, 10]


@pytest.mark.parametrize("family", discover())
def test_every_task_has_a_picture(family):
    about = discover()[family]
    missing = [name for name in about.modules if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    task = replace(find(f"{family}/{about.example}"), horizon=3)
    frames = []
    agent = RandomAgent(task.action_space)
    [outcome] = outcomes(agent, task, [2], num_envs=1)
    assert Filming(agent, task).play(2, Frames(), frames.append) == outcome
    assert len(np.unique(frames[0].reshape(-1, 3), axis=0)) > 3


@pytest.mark.parametrize("maker", ["Healthy", "vector"])
def test_what_an_environment_renders_is_shown(maker):
    task, frames = find(f"tests.acting.rendered:{maker},horizon=5"), []
    Filming(RandomAgent(task.action_space), task).play(0, Frames(), frames.append, every=2)
    greens = [frame[60, 200].tolist() for frame in frames]
    assert greens == [[0, 100 + 10 * step, 0] for step in (0, 2, 4, 5)]


@pytest.mark.parametrize("kind", outside.OBSERVATIONS)
def test_observations_of_every_space_are_drawn(kind):
    task, frames = find(f"tests.tasks.outside:Drawn,horizon=5,environment.observations={kind}"), []
    Filming(RandomAgent(task.action_space), task).play(0, Frames(), frames.append)
    assert len(np.unique(frames[0].reshape(-1, 3), axis=0)) > 4
    assert not np.array_equal(frames[0][30:90], frames[1][30:90])


def test_what_an_environment_reports_is_written(monkeypatch):
    written = []
    monkeypatch.setattr(Frames, "_write", lambda self, pen, facts: written.append(dict(facts)))
    task = find("tests.acting.rendered:Healthy,horizon=5")
    film = Filming(RandomAgent(task.action_space), task, 7.0)
    film.play(0, Frames(), lambda frame: None, every=2)
    assert [facts["step"] for facts in written] == ["0", "2", "4", "5"]
    assert [facts["health"] for facts in written] == ["100", "80", "60", "50"]
    assert [facts["return"] for facts in written] == ["0", "2", "4", "5"]
    assert {facts["is red"] for facts in written} == {"yes"}
    assert {facts["asked for"] for facts in written} == {"7"}
    assert written[0].keys() == {"step", "return", "asked for", "health", "is red", "action"}


def test_an_environment_that_cannot_be_rendered_is_drawn_by_its_observations():
    task, frames = find("tests.acting.rendered:Broken,horizon=3"), []
    with pytest.warns(UserWarning, match=r"cannot be rendered \(RuntimeError: no display"):
        Filming(RandomAgent(task.action_space), task).play(0, Frames(), frames.append)
    assert len(frames) == 4


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([2.0], {"typical": 0}),
        ([1.0, 1.0, 1.0], {"typical": 0}),
        ([0.0, 1.0, 1.0], {"typical": 1, "worst": 0}),
        ([0.0, 1.0], {"best": 1, "typical": 0}),
        ([5.0, 1.0, 3.0, 4.0, 2.0], {"best": 0, "typical": 2, "worst": 1}),
    ],
)
def test_the_best_typical_and_worst_episodes_are_found(scores, expected):
    assert extremes(scores) == expected


# Files


@pytest.mark.parametrize("ending", FORMATS)
def test_a_video_has_every_frame_at_its_speed(ending, tmp_path):
    path = tmp_path / f"film{ending}"
    path.write_bytes(b"an older film")
    shades = [20 * number for number in range(10)]
    with video(path, 5.0) as show:
        for shade in shades:
            show(np.full((33, 48, 3), shade, np.uint8))
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    if ending == ".webp":
        with Image.open(path) as image:
            assert (image.n_frames, image.size, image.info["loop"]) == (10, (48, 32), 0)
            image.seek(9)
            assert abs(int(np.asarray(image.convert("RGB")).mean()) - 180) < 6
        return
    import imageio_ffmpeg

    reader = imageio_ffmpeg.read_frames(str(path))
    about = next(reader)
    means = [np.frombuffer(frame, np.uint8).mean() for frame in reader]
    assert (about["size"], about["fps"], about["codec"]) == ((48, 32), 5.0, "h264")
    assert np.abs(np.array(means) - shades).max() < 6


def write(path: Path, frames: list[np.ndarray], error: type[BaseException] | None = None) -> None:
    """Write a video, or fail behind its last frame."""
    with video(path, 5.0) as show:
        for frame in frames:
            show(frame)
        if error:
            raise error


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_of_a_video_that_is_not_finished(error, tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(b"an older film")
    with pytest.raises(error):
        write(path, [np.zeros((32, 32, 3), np.uint8)], error)
    assert path.read_bytes() == b"an older film"
    assert len(list(tmp_path.iterdir())) == 1
    assert not [child for child in psutil.Process().children() if "ffmpeg" in child.name()]


def test_what_cannot_be_written_is_said_before_anything_is_played(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"has the ending '.avi', but it must be one of .mp4"):
        record(task="tmaze/9", output=tmp_path / "film.avi")
    with pytest.raises(OSError, match="its folder does not exist"):
        record(task="tmaze/9", output=tmp_path / "no" / "film.mp4")
    with pytest.raises(ValueError, match="there is nobody to film"):
        record(output=tmp_path / "film.mp4")
    with pytest.raises(ValueError, match="no expert to film"):
        record(task="gym:CartPole-v1", output=tmp_path / "film.mp4")
    with pytest.raises(ValueError, match="no frames"):
        write(tmp_path / "film.mp4", [])
    with pytest.raises(ValueError, match="those before"):
        write(tmp_path / "film.mp4", [np.zeros((size, 32, 3), np.uint8) for size in (32, 64)])
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install .*film"):
        record(task="tmaze/9", output=tmp_path / "film.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit for the size of files")
def test_a_full_disk_is_one_sentence(tmp_path):
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000)); "
        "from rate.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["record", "--task", "minigrid-memory/41", "--output", str(tmp_path / "film.mp4")]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert done.stderr.startswith(f"rate record: cannot write {tmp_path / 'film.mp4'}: ")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)],
)
def test_recording_stops_at_once_and_leaves_nothing(number, status, tmp_path):
    command = [sys.executable, "-m", "rate", "record", "--task", "tmaze/100000"]
    command += ["--output", str(tmp_path / "film.mp4")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    watched = psutil.Process(process.pid)
    until = time.monotonic() + 60
    while not (encoders := watched.children()) and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(process.pid, number)
    _, said = process.communicate(timeout=10)
    assert (process.returncode, said) == (
        status,
        "rate record: interrupted; the same command again starts anew\n",
    )
    psutil.wait_procs(encoders, timeout=5)
    assert not [one for one in encoders if one.is_running()]
    assert not list(tmp_path.iterdir())


# Commands


def test_record_films_a_run_and_several_episodes(trained, tmp_path, capsys):
    film = tmp_path / "film.webp"
    assert main(["record", str(trained), "--output", str(film), "--episodes", "2"]) == 0
    rows = rate.evaluate(trained, ["recall/12"], episodes=2, output=tmp_path / "rows.jsonl")
    shown = capsys.readouterr().out.splitlines()
    expected = [
        f"seed {seed}: return {score:.4g} in 12 steps"
        for seed, score in enumerate(rows[0]["scores"])
    ]
    assert shown == [*expected, f"written: {film}"]
    with Image.open(film) as image:
        assert image.n_frames == 2 * 13


def test_evaluate_films_the_best_typical_and_worst_episodes(trained, tmp_path):
    folder, output = tmp_path / "films", str(tmp_path / "rows.jsonl")
    words = ["evaluate", str(trained), "--tasks", "recall/12", "--output", output]
    words += ["--episodes", "6", "--video", str(folder)]
    [row] = rate.evaluate(trained, ["recall/12"], episodes=6, output=tmp_path / "own.jsonl")
    assert main(words) == 0
    films = read_films(folder)
    assert "typical" in {film.which for film in films}
    assert [film.score for film in films] == sorted((film.score for film in films), reverse=True)
    for film in films:
        assert row["scores"][film.seed] == film.score
        assert (film.task, film.episodes, film.length) == ("recall/12", 6, 12)
        assert (folder / film.file).stat().st_size > 1000
    # The same again replaces them.
    assert main(words) == 0
    assert read_films(folder) == films
    assert len(list(folder.iterdir())) == 1 + 2 * len(films)
    # Of a single episode there is one film, and none is left of those before.
    assert main([*words, "--episodes", "1"]) == 0
    assert [film.which for film in read_films(folder)] == ["typical"]
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize(
    "text",
    ["[", "[1]", '[{"file": "x"}]', '[{"file": "../x.mp4", "task": "a", "which": "best"}]'],
)
def test_a_damaged_list_of_films_is_one_sentence(text, tmp_path):
    (tmp_path / "films.json").write_text(text)
    with pytest.raises(FilmError, match=r"films.json cannot be read"):
        read_films(tmp_path)


def test_films_lie_in_their_folder(trained, tmp_path):
    folder = tmp_path / "films"
    rate.evaluate(trained, ["recall/12"], episodes=1, output=tmp_path / "rows", video=folder)
    listed: Path = folder / "films.json"
    [film] = read_films(folder)
    listed.write_text(listed.read_text().replace(film.file, "../film.mp4"))
    with pytest.raises(FilmError, match="slash"):
        read_films(folder)
