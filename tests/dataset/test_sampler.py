from collections import Counter
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rate.dataset.sampler import Sampler, Sampling, Windows, validation_windows

LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=6)
relaxed = settings(max_examples=60, deadline=None)


def epochs(sampler: Sampler, count: int, windows: int) -> list[Windows]:
    """The windows of the first epochs, each of so many windows."""
    plans = [sampler.plan(update) for update in range(-(-count * windows // sampler.batch_size))]
    joined = Windows(
        *(
            np.concatenate([getattr(plan, name) for plan in plans])
            for name in ("episodes", "starts", "lengths")
        )
    )
    return joined[: count * windows].split(windows)


@relaxed
@given(
    lengths=LENGTHS, window=st.integers(1, 8), batch_size=st.integers(1, 9), seed=st.integers(0, 5)
)
def test_strides_cover_each_step_once_in_order(
    lengths: list[int], window: int, batch_size: int, seed: int
) -> None:
    sampler = Sampler(np.array(lengths), batch_size, window, "stride", seed)
    count = sum(-(-length // window) for length in lengths)
    assert sampler.batches_per_epoch == -(-count // batch_size)
    (epoch,) = epochs(sampler, 1, count)
    for index, length in enumerate(lengths):
        mine = epoch[epoch.episodes == index]
        mine = mine[np.argsort(mine.starts)]
        covered = [
            step
            for start, size in zip(mine.starts, mine.lengths, strict=True)
            for step in range(start, start + size)
        ]
        assert covered == list(range(length))


@relaxed
@given(
    lengths=LENGTHS, window=st.integers(1, 8), batch_size=st.integers(1, 9), count=st.integers(1, 3)
)
def test_uniform_windows_begin_at_every_step_exactly_once_in_an_epoch(
    lengths: list[int], window: int, batch_size: int, count: int
) -> None:
    sampler = Sampler(np.array(lengths), batch_size, window, "uniform", 0)
    steps = sum(lengths)
    assert sampler.batches_per_epoch == -(-steps // batch_size)
    every = [(index, step) for index, length in enumerate(lengths) for step in range(length)]
    for epoch in epochs(sampler, count, steps):
        begins = list(zip(epoch.episodes.tolist(), epoch.starts.tolist(), strict=True))
        assert sorted(begins) == every
        left = np.array(lengths)[epoch.episodes] - epoch.starts
        np.testing.assert_array_equal(epoch.lengths, np.minimum(window, left))


def test_full_windows_are_the_uniform_ones_without_padding() -> None:
    """Episodes take part in proportion to their windows; short ones have none."""
    lengths = np.array([3, 9, 4, 7])
    sampler = Sampler(lengths, 11, 4, "full", 0)
    every = [(1, step) for step in range(6)] + [(2, 0)] + [(3, step) for step in range(4)]
    for epoch in epochs(sampler, 2, len(every)):
        begins = zip(epoch.episodes.tolist(), epoch.starts.tolist(), strict=True)
        assert sorted(begins) == every
        assert set(epoch.lengths.tolist()) == {4}
    assert sampler.coverage == pytest.approx(20 / 23)
    with pytest.raises(ValueError, match="windows of 10 steps, but no episode is as long"):
        Sampler(lengths, 11, 10, "full", 0)


def test_the_first_windows_of_a_uniform_epoch_begin_anywhere_alike() -> None:
    """The order is drawn anew, so that a short training, too, begins at every step alike."""
    sampler = Sampler(np.array([3, 7, 2]), 12, 4, "uniform", 0)
    firsts: Counter[tuple[int, int]] = Counter()
    for update in range(3000):
        windows = sampler.plan(update)
        firsts[int(windows.episodes[0]), int(windows.starts[0])] += 1
    assert len(firsts) == 12
    assert min(firsts.values()) > 0.75 * 3000 / 12
    assert max(firsts.values()) < 1.25 * 3000 / 12


@relaxed
@given(
    lengths=LENGTHS,
    window=st.integers(1, 8),
    batch_size=st.integers(1, 9),
    sampling=st.sampled_from(get_args(Sampling)),
    updates=st.lists(st.integers(0, 60), min_size=1, max_size=5),
)
def test_batches_depend_on_seed_and_update_alone(
    lengths: list[int], window: int, batch_size: int, sampling: Any, updates: list[int]
) -> None:
    assume(sampling != "full" or window <= max(lengths))
    steps = np.array(lengths)
    used = Sampler(steps, batch_size, window, sampling, 7)
    for update in updates:
        fresh = Sampler(steps, batch_size, window, sampling, 7).plan(update)
        again = used.plan(update)
        for name in ("episodes", "starts", "lengths"):
            one, other = getattr(again, name), getattr(fresh, name)
            assert one.shape == (batch_size,)
            assert one.dtype == np.int64
            np.testing.assert_array_equal(one, other)
        left = steps[fresh.episodes] - fresh.starts
        np.testing.assert_array_equal(fresh.lengths, np.minimum(window, left))
        assert (fresh.starts >= 0).all()
        assert (fresh.lengths >= 1).all()


@relaxed
@given(
    lengths=LENGTHS, window=st.integers(1, 8), batch_size=st.integers(1, 9), count=st.integers(1, 4)
)
def test_each_epoch_visits_each_window_once(
    lengths: list[int], window: int, batch_size: int, count: int
) -> None:
    for sampling in ("first", "random"):
        sampler = Sampler(np.array(lengths), batch_size, window, sampling, 0)
        for epoch in epochs(sampler, count, len(lengths)):
            assert sorted(epoch.episodes) == list(range(len(lengths)))


def test_random_starts_are_uniform_and_fresh_in_each_epoch() -> None:
    sampler = Sampler(np.full(6, 12), 6, 9, "random", 0)
    starts = np.stack([sampler.plan(epoch).starts for epoch in range(500)])
    counts = np.bincount(starts.reshape(-1), minlength=4)
    assert len(counts) == 4
    assert counts.min() > 0.9 * starts.size / 4
    assert not np.array_equal(starts[0], starts[1])


def test_the_draws_of_published_runs_stay_the_same() -> None:
    """Numbers of the first release; a change would change every published result."""
    lengths = np.array([5, 9, 3, 12])
    plans = {
        sampling: Sampler(lengths, 6, 4, sampling, 3).plan(1)
        for sampling in ("first", "stride", "random")
    }
    assert {
        name: list(zip(plan.episodes.tolist(), plan.starts.tolist(), strict=True))
        for name, plan in plans.items()
    } == {
        "first": [(2, 0), (3, 0), (0, 0), (3, 0), (2, 0), (1, 0)],
        "stride": [(2, 0), (1, 4), (3, 8), (2, 0), (0, 4), (1, 0)],
        "random": [(2, 0), (3, 3), (0, 0), (3, 5), (2, 0), (1, 0)],
    }


def test_batches_of_some_episodes_hold_no_other() -> None:
    for sampling in get_args(Sampling):
        sampler = Sampler(np.array([3, 9, 4, 7]), 5, 4, sampling, 0, np.array([3, 1]))
        drawn = {int(index) for update in range(9) for index in sampler.plan(update).episodes}
        assert drawn == {1, 3}


def test_another_seed_gives_another_order() -> None:
    lengths = np.tile(np.arange(1, 13), 3)
    plans = [Sampler(lengths, 36, 4, "first", seed).plan(0).episodes.tolist() for seed in range(5)]
    assert len({tuple(plan) for plan in plans}) == 5


def test_windows_are_sorted_longest_first_and_ties_keep_their_order() -> None:
    windows = Windows(np.arange(6), np.zeros(6, np.int64), np.array([2, 5, 2, 7, 5, 1]))
    assert windows.longest_first().episodes.tolist() == [3, 1, 4, 0, 2, 5]
    assert [len(part) for part in windows.split(4)] == [4, 2]


def test_validation_sees_the_windows_that_training_sees() -> None:
    lengths, episodes = np.array([3, 9, 4, 7]), np.array([0, 1, 3])
    windows = validation_windows(lengths, episodes, 5, "first", 9)
    assert windows.episodes.tolist() == [1, 3, 0]
    assert windows.lengths.tolist() == [5, 5, 3]
    assert not windows.starts.any()
    assert len(validation_windows(lengths, episodes, 5, "first", 2)) == 2
    for sampling in ("stride", "random", "uniform"):
        windows = validation_windows(lengths, episodes, 5, sampling, 9)
        assert windows.episodes.tolist() == [1, 3, 1, 0, 3]
        assert windows.starts.tolist() == [0, 0, 5, 0, 5]
        assert windows.lengths.tolist() == [5, 5, 4, 3, 2]
    fewer = validation_windows(lengths, episodes, 5, "stride", 3)
    assert sorted(fewer.episodes.tolist()) == [0, 1, 3], "spread over the data"


@pytest.mark.parametrize(("sampling", "seen"), [("first", 13 / 19), ("stride", 1), ("uniform", 1)])
def test_coverage_is_the_fraction_of_the_steps_in_some_window(sampling: Any, seen: float) -> None:
    sampler = Sampler(np.array([3, 9, 4, 7]), 2, 5, sampling, 0, np.array([0, 1, 3]))
    assert sampler.coverage == pytest.approx(seen)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"window": 0}, "window is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"sampling": "all"}, "allowed are first, stride, random, uniform"),
        ({"episodes": np.array([], np.int64)}, "episodes must be one or more"),
        ({"episodes": np.array([2])}, "one or more of 0 to 1"),
    ],
)
def test_samplers_refuse(change: dict[str, Any], message: str) -> None:
    arguments = {"batch_size": 2, "window": 2, "sampling": "first", "seed": 0, **change}
    with pytest.raises(ValueError, match=message):
        Sampler(np.array([3, 4]), **arguments)


def test_there_is_no_batch_before_the_first() -> None:
    with pytest.raises(ValueError, match="update is -1"):
        Sampler(np.array([3, 4]), 2, 2, "first", 0).plan(-1)
