import numpy as np
import pytest

from rate.acting.rollout import rollout
from rate.spaces import flatten
from rate.tasks.lookup import find
from rate.tasks.recall import ANSWERS, OBSERVATIONS, QUERY, VARIANTS, Recall, RecallOracle, Recalls


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_every_symbol_can_be_read_back(name: str) -> None:
    symbols = np.array([4, 0, 3, 1, 2, 2])
    np.testing.assert_array_equal(
        OBSERVATIONS[name].read(OBSERVATIONS[name].write(symbols)), symbols
    )


@pytest.mark.parametrize("code", [*OBSERVATIONS.values(), *ANSWERS.values()])
def test_every_symbol_lies_in_the_space(code: object) -> None:
    for symbol in range(len(next(iter(code.leaves.values())))):  # type: ignore[attr-defined]
        values = code.write(np.array([symbol]))  # type: ignore[attr-defined]
        value = values[0] if not isinstance(values, dict | tuple) else None
        if value is None:
            value = (
                {key: leaf[0] for key, leaf in values.items()}
                if isinstance(values, dict)
                else tuple(leaf[0] for leaf in values)
            )
        assert code.space.contains(value)  # type: ignore[attr-defined]


@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_the_order_of_symbols(observation: str) -> None:
    batch = Recalls(6, observation)
    code = OBSERVATIONS[observation]
    symbols = [code.read(batch.reset(range(8)))]
    symbols += [code.read(batch.step(np.zeros(8, np.int64))[0]) for _ in range(6)]
    np.testing.assert_array_equal(symbols[0], np.arange(8) % 2)
    assert (symbols[5] == QUERY).all()
    assert set(np.unique(np.array(symbols)[[1, 2, 3, 4, 6]])) == {2, 3}


def test_what_follows_the_cue_is_exactly_the_same_for_the_other_cue() -> None:
    seen = []
    for flip in (0, 1):
        batch = Recalls(6, "image")
        batch.reset(range(8))
        batch.cue ^= flip
        seen.append(np.stack([batch.step(np.zeros(8, np.int64))[0] for _ in range(6)]))
    np.testing.assert_array_equal(seen[0], seen[1])


@pytest.mark.parametrize(
    ("answer", "action", "right"),
    [
        ("discrete", 1, 1),
        ("discrete", 0, 0),
        ("multidiscrete", [1, 2], 1),
        ("multidiscrete", [1, 1], 0),
        ("multidiscrete", [0, 2], 0),
        ("multidiscrete", [0, 0], 0),
        ("box", [0.01], 1),
        ("box", [1.0], 1),
        ("box", [0.0], 0),
        ("box", [-0.5], 0),
    ],
)
def test_the_answer_to_the_second_symbol(answer: str, action: object, right: float) -> None:
    environment = Recall(2, "vector", answer)
    environment.reset(seed=1)
    given = np.array(action, environment.action_space.dtype)
    assert environment.step(given)[1:4] == (0.0, False, False)
    assert environment.step(given)[1:4] == (right, True, False)


@pytest.mark.parametrize("family", VARIANTS)
def test_the_expert_answers_the_query_only(family: str) -> None:
    task = find(f"{family}/5")
    oracle = RecallOracle(*VARIANTS[family])
    for episode in rollout(oracle, task, range(4)):
        assert episode.total_return == 1
        neutral = episode.actions[0]
        assert all((action == neutral).all() for action in episode.actions[:-1])


def test_the_smallest_recall_can_be_solved() -> None:
    for family in VARIANTS:
        task = find(f"{family}/2")
        assert task.expert is not None
        assert [episode.total_return for episode in rollout(task.expert(), task, range(4))] == [
            1
        ] * 4


def test_one_step_is_too_short() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        Recall(1)


def test_images_are_one_colour() -> None:
    value, _ = Recall(4, "image").reset(seed=0)
    image = flatten(Recall(4, "image").observation_space, value)["observation"]
    assert image.shape == (16, 16, 3)
    assert image.dtype == np.uint8
    assert len(np.unique(image.reshape(-1, 3), axis=0)) == 1


def test_spaces_are_not_shared() -> None:
    first, second = Recalls(3), Recalls(3)
    assert first.action_space is not second.action_space
    assert first.observation_space is not second.observation_space
