import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from recordings import ACTIONS, IMAGE, OBSERVATIONS, memory_dataset, recorded, repeating

from rate.dataset import (
    Batch,
    BatchReader,
    Dataset,
    Loader,
    Sampler,
    Windows,
    read_windows,
    write_dataset,
)
from rate.dataset.sampler import Sampling
from rate.episode import Episode, returns_to_go
from rate.images import FrameStack, channel_axis, stack

LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=6).map(tuple)


def windows_of(*windows: tuple[int, int, int]) -> Windows:
    return Windows(*(np.array(part, np.int64) for part in zip(*windows, strict=True)))


def reader_of(dataset: Dataset, **options: Any) -> BatchReader:
    window = options.pop("window", 9)
    sampler = Sampler(dataset.lengths, 6, window, "random", 0)
    arguments = {"stages": [sampler], "updates": 5, "micro_batch": 4, **options}
    return BatchReader(dataset, **arguments)


def tensors(batch: Batch) -> list[torch.Tensor]:
    return [
        tensor
        for part in batch.parts
        for value in vars(part).values()
        for tensor in (value.values() if isinstance(value, dict) else [value])
        if isinstance(tensor, torch.Tensor)
    ]


def assert_same(one: Batch, other: Batch) -> None:
    assert one.update == other.update
    np.testing.assert_array_equal(one.lengths, other.lengths)
    assert [part.lengths for part in one.parts] == [part.lengths for part in other.parts]
    pairs = list(zip(tensors(one), tensors(other), strict=True))
    assert all(left.dtype == right.dtype and torch.equal(left, right) for left, right in pairs)
    assert len(pairs) >= 7 * len(one.parts)


# Reading windows


@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, window=st.integers(1, 8), sampling=st.sampled_from(get_args(Sampling)))
def test_segments_hold_their_windows_and_padding_is_zero(
    lengths: tuple[int, ...], window: int, sampling: Any
) -> None:
    assume(sampling != "full" or max(lengths) >= window)  # shorter ones are refused
    dataset = memory_dataset(lengths)
    sampler = Sampler(dataset.lengths, 8, window, sampling, 3)
    for update in range(3):
        windows = sampler.plan(update)
        segment = read_windows(dataset, windows)
        assert (len(segment), segment.steps) == (8, windows.lengths.max())
        assert segment.lengths == tuple(windows.lengths)
        for row in range(8):
            episode = dataset.episode(int(windows.episodes[row]))
            start, size = windows.starts[row], windows.lengths[row]
            here = slice(start, start + size)
            expected = {
                "actions": episode.actions[here],
                "rewards": episode.rewards[here],
                "returns_to_go": returns_to_go(episode.rewards)[here],
                "terminations": episode.terminations[here],
                "timesteps": np.arange(start, start + size),
                "mask": np.ones(size, bool),
            }
            pairs = [(getattr(segment, name), value) for name, value in expected.items()]
            pairs.append(
                (segment.observations["observation"], episode.observations["observation"][here])
            )
            for tensor, value in pairs:
                assert tensor[row, :size].numpy().dtype == value.dtype
                np.testing.assert_array_equal(tensor[row, :size].numpy(), value)
                assert not tensor[row, size:].any()


@pytest.mark.parametrize("observation_space", OBSERVATIONS.values(), ids=OBSERVATIONS.keys())
def test_segments_of_every_space(tmp_path: Path, observation_space: gymnasium.Space[Any]) -> None:
    episodes = recorded([3, 1, 5], observation_space)
    dataset = write_dataset(tmp_path / "data", episodes, observation_space, ACTIONS)
    segment = read_windows(dataset, windows_of((2, 1, 4), (0, 0, 3), (1, 0, 1)), True)
    for path, leaf in segment.observations.items():
        np.testing.assert_array_equal(leaf[0].numpy(), episodes[2].observations[path][1:5])
        np.testing.assert_array_equal(leaf[1, :3].numpy(), episodes[0].observations[path][:3])
        assert not leaf[2, 1:].any()
        after = segment.next_observation[path]
        for row, (index, step) in enumerate(((2, 5), (0, 3), (1, 1))):
            np.testing.assert_array_equal(after[row], episodes[index].observations[path][step])


def test_frames_that_repeat_are_read_once(tmp_path: Path) -> None:
    episodes = [repeating(5, 60), repeating(5, 30)]
    dataset = write_dataset(tmp_path / "data", episodes, IMAGE, ACTIONS)
    windows = Sampler(dataset.lengths, 2, 20, "random", 0).plan(3)
    segment = read_windows(dataset, windows)
    assert len(segment.frames["observation"]) == 5
    assert all(part.frames is segment.frames for part in segment.split(8))
    for row in range(2):
        start, length = windows.starts[row], windows.lengths[row]
        seen = segment.frames["observation"][segment.observations["observation"][row, :length]]
        images = episodes[windows.episodes[row]].observations["observation"]
        assert np.array_equal(seen.numpy(), images[start : start + length])


@pytest.mark.parametrize(
    "windows",
    [
        ([0], [0], [4]),
        ([0], [-1], [1]),
        ([0], [0], [0]),
        ([2], [0], [1]),
        ([], [], []),
        ([0], [0, 0], [1]),
    ],
)
def test_windows_outside_their_episode_are_refused(windows: tuple[list[int], ...]) -> None:
    with pytest.raises(ValueError, match=r"take windows|episodes"):
        read_windows(
            memory_dataset((3, 4)), Windows(*(np.array(part, np.int64) for part in windows))
        )


def test_reading_takes_no_loop_over_rows() -> None:
    """A batch of a thousand rows takes much less than a thousand times as long as one row."""
    dataset = memory_dataset((12,) * 6)
    plan = Sampler(dataset.lengths, 1000, 12, "first", 0).plan(0)
    read_windows(dataset, plan)

    def seconds(rows: int) -> float:
        started = time.perf_counter()
        read_windows(dataset, plan[:rows])
        return time.perf_counter() - started

    assert min(seconds(1000) for _ in range(5)) < 100 * min(seconds(1) for _ in range(5))


# Stacked frames


def film(steps: int, distinct: bool, shape: tuple[int, ...], seed: int = 0) -> Episode:
    """An episode whose frames are all different, or three that repeat."""
    random = np.random.default_rng(seed)
    frames = random.integers(0, 256, (steps + 1 if distinct else 3, *shape), np.uint8)
    (template,) = recorded([steps], spaces.Box(0, 255, shape, np.uint8))
    order = np.arange(steps + 1) if distinct else np.arange(steps + 1) % 3
    template.observations["observation"] = frames[order]
    return template


def seen_images(segment: Any, shape: tuple[int, ...]) -> torch.Tensor:
    """The images of a segment [B, K, ...], however it holds them."""
    values = segment.observations["observation"]
    if not segment.frames:
        return values
    images = segment.frames["observation"][values]
    return stack(images, shape) if values.dim() == 3 else images


@pytest.mark.parametrize("next_observation", [False, True])
@pytest.mark.parametrize("distinct", [False, True])
@pytest.mark.parametrize("shape", [(8, 9, 2), (2, 9, 8)])
def test_loader_and_agent_stack_the_same_frames(
    tmp_path: Path, shape: tuple[int, ...], distinct: bool, next_observation: bool
) -> None:
    episodes = [film(steps, distinct, shape, seed) for seed, steps in enumerate((7, 12, 1))]
    space = spaces.Box(0, 255, shape, np.uint8)
    dataset = write_dataset(tmp_path / "data", episodes, space, ACTIONS)
    windows = windows_of((1, 2, 9), (0, 0, 7), (1, 0, 4), (2, 0, 1))
    segment = read_windows(dataset, windows, next_observation, stack_frames=3)
    images = seen_images(segment, shape)
    axis = channel_axis(shape)
    for row in range(len(windows)):
        frames = FrameStack(space, 3)
        start, length = windows.starts[row], windows.lengths[row]
        for step, image in enumerate(episodes[windows.episodes[row]].observations["observation"]):
            pushed = frames.push({"observation": image[None]}, np.array([step == 0]))
            expected = pushed["observation"][0]
            assert expected.shape[axis] == 6
            if start <= step < start + length:
                np.testing.assert_array_equal(images[row, step - start].numpy(), expected)
            if next_observation and step == start + length:
                after = segment.next_observation["observation"][row]
                np.testing.assert_array_equal(after.numpy(), expected)


def test_a_stacked_frame_is_sent_once(tmp_path: Path) -> None:
    shape = (8, 9, 1)
    space = spaces.Box(0, 255, shape, np.uint8)
    dataset = write_dataset(tmp_path / "data", [film(20, True, shape)], space, ACTIONS)
    segment = read_windows(dataset, windows_of((0, 4, 16)), stack_frames=4)
    assert segment.observations["observation"].shape == (1, 16, 4)
    # Three frames lie before the window.
    assert segment.frames["observation"].shape == (19, *shape)
    # Few stacks are stacked already, and the segment names them.
    few = write_dataset(tmp_path / "few", [film(20, False, shape)], space, ACTIONS)
    segment = read_windows(few, windows_of((0, 4, 16)), stack_frames=4)
    assert segment.observations["observation"].shape == (1, 16)
    assert segment.frames["observation"].shape == (3, 8, 9, 4)


# Batches


def test_rows_are_shared_among_processes_and_sorted_longest_first() -> None:
    dataset = memory_dataset((3, 9, 4, 7, 12, 1))
    whole = reader_of(dataset).stages[0].plan(2)
    for rank in range(2):
        batch = reader_of(dataset, rank=rank, world_size=2, micro_batch=2)[2]
        mine = whole[rank::2].longest_first()
        assert [part.lengths for part in batch.parts] == [
            tuple(mine.lengths[:2]),
            tuple(mine.lengths[2:]),
        ]
        rows = torch.cat([part.observations["observation"][:, 0] for part in batch.parts])
        np.testing.assert_array_equal(rows[:, 0], mine.episodes + 1)
        np.testing.assert_array_equal(rows[:, 1], mine.starts)
        np.testing.assert_array_equal(batch.lengths, whole.lengths)


def test_stages_of_a_curriculum_follow_one_another() -> None:
    dataset = memory_dataset((3, 9))
    stages = [Sampler(dataset.lengths, 2, 9, "first", 0, np.array([row])) for row in range(2)]
    reader = BatchReader(dataset, stages, updates=4, micro_batch=2)
    assert [batch.parts[0].steps for batch in Loader(reader)] == [3, 3, 9, 9]


@pytest.mark.parametrize("images", [False, True])
@pytest.mark.parametrize("done", [0, 3])
def test_workers_read_the_same_batches(tmp_path: Path, images: bool, done: int) -> None:
    if images:
        dataset = write_dataset(tmp_path / "data", [repeating(5, 60)], IMAGE, ACTIONS)
    else:
        dataset = memory_dataset((3, 9, 4, 7))
    reader = reader_of(dataset)
    expected = [reader[update] for update in range(done, 5)]
    for workers in (0, 2):
        loader = Loader(reader, done, workers=workers)
        batches = list(loader)
        assert len(batches) == len(loader) == 5 - done
        for one, other in zip(batches, expected, strict=True):
            assert_same(one, other)
        assert loader.seconds_waited > 0


def test_reading_leaves_the_random_state_of_training_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(Loader(reader_of(memory_dataset((3, 9))), workers=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_batches_and_datasets_go_to_processes_that_share_nothing(tmp_path: Path) -> None:
    """As on systems that cannot fork: files are mapped anew, not sent."""
    dataset = write_dataset(tmp_path / "data", [repeating(40, 60)], IMAGE, ACTIONS)
    reader = reader_of(dataset)
    sent = pickle.dumps(reader)
    assert len(sent) < 2000
    batch = pickle.loads(pickle.dumps(pickle.loads(sent)[1]))
    assert_same(batch, reader[1])


def test_a_batch_takes_one_piece_of_shared_memory() -> None:
    function, arguments = reader_of(memory_dataset((3, 9)))[0].__reduce__()
    assert sum(isinstance(argument, torch.Tensor) for argument in arguments) == 1
    assert_same(function(*arguments), reader_of(memory_dataset((3, 9)))[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_come_in_page_locked_memory() -> None:
    for batch in Loader(reader_of(memory_dataset((3, 9))), workers=1, pin_memory=True):
        assert all(tensor.is_pinned() for tensor in tensors(batch))


def test_the_next_batch_is_read_while_the_loop_works() -> None:
    reader = Slow(memory_dataset((3, 9)), [Sampler(np.array([3, 9]), 2, 3, "first", 0)], 4, 2)
    loader = Loader(reader, workers=1)
    for batch in loader:
        if batch.update == 0:
            first = loader.seconds_waited
        time.sleep(0.3)
    assert first >= 0.15
    assert loader.seconds_waited - first < 0.15


class Slow(BatchReader):
    def __getitem__(self, update: int) -> Batch:
        time.sleep(0.15)
        return super().__getitem__(update)


class Deadly(BatchReader):
    def __getitem__(self, update: int) -> Batch:
        if update == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(update)


def test_a_worker_that_dies_is_an_error_where_the_batch_is_missed() -> None:
    handler = signal.getsignal(signal.SIGCHLD)
    sampler = Sampler(np.array([3, 9]), 2, 3, "first", 0)
    loader = Loader(Deadly(memory_dataset((3, 9)), [sampler], 4, 2), workers=1)
    batches = iter(loader)
    assert next(batches).update == 0
    time.sleep(0.5)  # the loop learns from no signal, wherever it is
    with pytest.raises(ChildProcessError, match="one of 1 processes that read the dataset died"):
        next(batches)
    assert signal.getsignal(signal.SIGCHLD) is handler
    assert not multiprocessing.active_children()


class Broken(BatchReader):
    def __getitem__(self, update: int) -> Batch:
        raise RuntimeError("what went wrong")


def test_an_error_of_a_worker_comes_through() -> None:
    sampler = Sampler(np.array([3, 9]), 2, 3, "first", 0)
    with pytest.raises(RuntimeError, match="what went wrong"):
        list(Loader(Broken(memory_dataset((3, 9)), [sampler], 4, 2), workers=1))


def test_there_are_no_fewer_workers_than_none() -> None:
    with pytest.raises(ValueError, match="workers is -1"):
        Loader(reader_of(memory_dataset((3, 9))), workers=-1)


# Ends

SCRIPT = """
import multiprocessing, signal, sys, time
import numpy as np
# Python leaves SIGINT ignored where the tests were started in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)
from rate.dataset import BatchReader, Loader, Sampler, open_dataset

dataset = open_dataset(sys.argv[1])
sampler = Sampler(dataset.lengths, 4, 3, "uniform", 0)
loader = Loader(BatchReader(dataset, [sampler], 10**6, 4), workers=2)
batches = iter(loader)
next(batches)
print(*(child.pid for child in multiprocessing.active_children()), flush=True)
if sys.argv[2] == "stop":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    for batch in batches:
        time.sleep(0.01)
if sys.argv[2] == "wait":
    time.sleep(60)
if sys.argv[2] == "fail":
    raise ValueError("of the loop")
"""


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except OSError:
        return True


@pytest.fixture
def start(tmp_path: Path) -> Any:
    """Starts the script in a process group of its own; gives the process and its workers."""
    dataset = write_dataset(tmp_path / "data", recorded([5, 9]), OBSERVATIONS["vector"], ACTIONS)
    started: list[subprocess.Popen[str]] = []

    def begin(what: str) -> tuple[subprocess.Popen[str], list[int]]:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(dataset.path), what],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout is not None
        return process, [int(pid) for pid in process.stdout.readline().split()]

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


Start = Callable[[str], tuple["subprocess.Popen[str]", list[int]]]


def all_end(pids: list[int], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if all(ended(pid) for pid in pids):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_ends_the_first_and_then_the_workers(
    start: Start, number: signal.Signals
) -> None:
    process, workers = start("stop")
    assert len(workers) == 2
    time.sleep(0.2)
    os.killpg(process.pid, number)
    error = process.communicate(timeout=20)[1]
    assert error.splitlines()[-1] in ("stopped", "KeyboardInterrupt")
    assert error.count("Traceback") <= 1  # none of a worker
    assert all_end(workers, 8)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("what", ["leave", "fail"])
def test_a_loop_that_is_left_early_ends_with_its_workers(start: Start, what: str) -> None:
    process, workers = start(what)
    error = process.communicate(timeout=20)[1]
    assert (process.returncode, error.splitlines()[-1:]) == (
        (1, ["ValueError: of the loop"]) if what == "fail" else (0, [])
    )
    assert all_end(workers, 8)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_workers_end_when_their_parent_is_killed(start: Start) -> None:
    process, workers = start("wait")
    process.kill()
    assert all_end(workers, 12)
