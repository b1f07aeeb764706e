from collections import Counter

import gymnasium
import numpy as np
import pytest

from rate.acting.rollout import rollout
from rate.tasks.aar import (
    STAY,
    ActionAssociativeRetrieval,
    ActionAssociativeRetrievalOracle,
    ActionAssociativeRetrievals,
)
from rate.tasks.lookup import find


def play(actions: list[int], stay: int = 3) -> tuple[float, list[list[float]]]:
    """Total return and [state, flag] of every observation."""
    environment = ActionAssociativeRetrieval(stay=stay)
    seen = [environment.reset(seed=0)[0][:2].tolist()]
    total = 0.0
    for step, action in enumerate(actions, start=1):
        observation, reward, terminated, truncated, _ = environment.step(action)
        seen.append(observation[:2].tolist())
        total += reward
        assert (terminated, truncated) == (step == stay + 2, False)
    return total, seen


@pytest.mark.parametrize("item", [0, 1])
def test_repeating_the_first_action_after_the_stay_is_rewarded(item: int) -> None:
    total, seen = play([item, STAY, STAY, STAY, item])
    assert total == 1
    assert seen == [[0, 0], [1, 0], [1, 0], [1, 0], [1, 1], [0, 0]]


@pytest.mark.parametrize(
    "actions",
    [
        [0, 2, 2, 2, 1],  # the other item
        [0, 2, 2, 2, 2],  # stays to the end
        [2, 2, 2, 2, 0],  # nothing to remember
        [2, 2, 2, 2, 2],
        [0, 0, 2, 2, 0],  # moves in between
        [0, 0, 0, 2, 0],
        [1, 2, 2, 0, 1],
    ],
)
def test_everything_else_is_not(actions: list[int]) -> None:
    assert play(actions)[0] == 0


def test_all_sequences_of_actions() -> None:
    """Exactly two of the 3^5 sequences are right."""
    sequences = np.stack(np.meshgrid(*[range(3)] * 5, indexing="ij"), axis=-1).reshape(-1, 5)
    batch = ActionAssociativeRetrievals((3,))
    batch.reset(range(len(sequences)))
    rewards = np.stack([batch.step(sequences[:, time])[1] for time in range(5)])
    assert not rewards[:4].any()
    assert sequences[rewards[4] > 0].tolist() == [[0, 2, 2, 2, 0], [1, 2, 2, 2, 1]]


def test_observations_after_the_first_action_do_not_depend_on_it() -> None:
    """Exact: the same seeds with the other first action are seen as the same."""
    seen = []
    for item in (0, 1):
        batch = ActionAssociativeRetrievals((5, 9))
        batch.reset(range(20))
        steps = [batch.step(np.full(20, item if time == 0 else STAY))[0] for time in range(10)]
        seen.append(np.stack(steps))
    np.testing.assert_array_equal(seen[0], seen[1])


def test_the_prompt_is_taken_and_balanced() -> None:
    episodes = list(rollout(ActionAssociativeRetrievalOracle(), find("aar/6"), range(10)))
    assert [int(episode.actions[0]) for episode in episodes] == [0, 1] * 5
    assert [episode.actions.tolist() for episode in episodes[:2]] == [
        [0, 2, 2, 2, 2, 0],
        [1, 2, 2, 2, 2, 1],
    ]
    assert all(episode.terminations[-1] for episode in episodes)


def test_segments_have_the_lengths_of_the_reference() -> None:
    task = find("aar-segments/90x3")
    episodes = list(rollout(ActionAssociativeRetrievalOracle(), task, range(12)))
    assert Counter((len(episode) - 2, int(episode.actions[0])) for episode in episodes) == {
        (stay, item): 2 for stay in (27, 57, 87) for item in (0, 1)
    }
    assert task.horizon == 89


def test_without_a_prompt_the_oracle_begins_with_0() -> None:
    oracle = ActionAssociativeRetrievalOracle()
    oracle.reset(2)
    assert oracle.act(np.zeros((2, 3)), np.zeros(2)).tolist() == [0, 0]
    assert oracle.act(np.array([[1, 0, 0], [1, 1, 0]]), np.zeros(2)).tolist() == [STAY, 0]


def test_the_smallest_retrievals_can_be_solved() -> None:
    for name in ("aar/4", "aar-segments/5x1"):
        episodes = rollout(ActionAssociativeRetrievalOracle(), find(name), range(4))
        assert [episode.total_return for episode in episodes] == [1] * 4


def test_a_stay_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        ActionAssociativeRetrieval(stay=0)


def test_the_registered_id_makes_the_environment() -> None:
    environment = gymnasium.make("rate.tasks.aar:rate/ActionAssociativeRetrieval-v0", stay=4)
    observation, _ = environment.reset(seed=0)
    assert observation.shape == (3,)
