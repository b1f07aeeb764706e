from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rate.episode import Episode, returns_to_go


def fields(steps: int = 3) -> dict[str, Any]:
    return {
        "observations": {"observation": np.zeros((steps + 1, 2), np.float32)},
        "actions": np.arange(steps),
        "rewards": np.ones(steps, np.float32),
        "terminations": np.arange(steps) == steps - 1,
        "truncations": np.zeros(steps, bool),
    }


def test_an_episode_knows_its_length_and_return() -> None:
    episode = Episode(**fields(5), seed=3)
    assert len(episode) == 5
    assert episode.total_return == 5.0
    assert episode.rewards.dtype == np.float32
    assert Episode(**{**fields(2), "rewards": [1, 2]}).rewards.dtype == np.float32


def test_the_return_is_summed_in_double_precision() -> None:
    episode = Episode(
        **{**fields(100_001), "rewards": np.r_[np.float32(1e8), np.full(100_000, 0.01, np.float32)]}
    )
    assert episode.total_return == pytest.approx(1e8 + 1000, abs=1e-3)


def test_a_cut_recording_ends_in_neither_way() -> None:
    Episode(**{**fields(), "terminations": np.zeros(3, bool)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (fields(0), "at least one step"),
        ({"rewards": np.ones((3, 1))}, r"rewards: shape is \(3, 1\)"),
        ({"rewards": np.float32(1)}, "rewards: shape"),
        ({"actions": np.arange(4)}, "actions: 4 entries, but 3 rewards need 3"),
        ({"actions": np.array(1)}, "actions: a single value"),
        ({"observations": {}}, "no leaf"),
        (
            {"observations": {"camera": np.zeros((3, 2))}},
            r"'camera'.*need 4; the observation after the last action",
        ),
        (
            {"observations": {"camera": [[1.0], [1.0, 2.0], [1.0], [1.0]]}},
            "'camera'.*different shapes",
        ),
        ({"observations": {"a": np.full((4, 2), np.nan)}}, r"observations\['a'\]: 8 of 8"),
        ({"rewards": np.array([0, np.inf, 0])}, "rewards: 1 of 3"),
        ({"rewards": np.array([0, 1e300, 0])}, "too large for float32"),
        ({"actions": np.array([0, np.nan, 0])}, "actions: 1 of 3"),
        ({"actions": np.array(["a", "b", "c"])}, "actions: dtype"),
        ({"actions": np.array([None, {}, 1], object)}, "actions: dtype is object"),
        (
            {"terminations": np.array([False, True, False])},
            "terminations: the episode ends at step 1",
        ),
        (
            {"truncations": np.array([True, False, False])},
            "truncations: the episode ends at step 0",
        ),
        ({"terminations": np.array([0, 0, 1])}, r"allowed is bool; convert"),
        ({"terminations": np.zeros(2, bool)}, "terminations: 2 entries"),
        ({"truncations": np.zeros((3, 1), bool)}, "truncations: shape"),
        ({"seed": -1}, "seed: -1"),
        ({"seed": 2**63}, "seed: "),
    ],
)
def test_a_wrong_episode_says_what_is_wrong(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Episode(**{**fields(), **change})


REWARDS = arrays.arrays(np.float32, st.integers(1, 30), elements=st.floats(-100, 100, width=32))


@given(rewards=REWARDS, discount=st.sampled_from([0.0, 0.5, 0.99, 1.0]))
def test_returns_to_go_equal_the_brute_force_sum(rewards: np.ndarray, discount: float) -> None:
    sums = [
        sum(
            discount ** (later - step) * float(rewards[later])
            for later in range(step, len(rewards))
        )
        for step in range(len(rewards))
    ]
    result = returns_to_go(rewards, discount)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, sums, rtol=1e-6, atol=1e-6)


def test_returns_to_go_of_nothing_are_nothing() -> None:
    assert returns_to_go(np.zeros(0)).shape == (0,)


@pytest.mark.parametrize(
    ("rewards", "discount", "message"),
    [
        (np.zeros((2, 2)), 1.0, "shape"),
        (np.zeros(2), 1.1, "discount is 1.1"),
        (np.zeros(2), float("nan"), "discount is nan"),
        (np.full(2, 3e38, np.float32), 1.0, "too large for float32"),
    ],
)
def test_returns_to_go_refuse(rewards: np.ndarray, discount: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        returns_to_go(rewards, discount)
