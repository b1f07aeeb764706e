import json
import timeit
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from rate.dataset import write_dataset
from rate.episode import Episode
from rate.spaces import (
    LARGEST_LEAF,
    PLAIN,
    Checker,
    SpaceError,
    as_leaf,
    check_leaf,
    fitted,
    flatten,
    from_json,
    from_text,
    is_image,
    leaves,
    pick,
    to_json,
    unflatten,
    usable,
)

VECTOR = spaces.Box(-1.0, 1.0, (3,))
IMAGE = spaces.Box(0, 255, (4, 5, 3), np.uint8)
NESTED = spaces.Dict(
    {
        "camera": spaces.Dict({"front": IMAGE, "rear": IMAGE}),
        "joints": spaces.Tuple([VECTOR, spaces.Discrete(3)]),
        "lamp": spaces.MultiBinary(2),
    }
)
SPACES: dict[str, gymnasium.Space[Any]] = {
    "vector": VECTOR,
    "float64": spaces.Box(-np.pi, np.pi, (2,), np.float64),
    "scalar": spaces.Box(0.0, 1.0, ()),
    "unbounded": spaces.Box(-np.inf, np.inf, (2,)),
    "half-bounded": spaces.Box(
        np.array([0.1, -np.inf], np.float32), np.array([np.inf, 0.3], np.float32)
    ),
    "large integers": spaces.Box(-(2**62), 2**62, (1,), np.int64),
    "image": IMAGE,
    "discrete": spaces.Discrete(4),
    "discrete from -1": spaces.Discrete(3, start=-1),
    "multi-discrete": spaces.MultiDiscrete([2, 3]),
    "multi-discrete matrix": spaces.MultiDiscrete(
        np.array([[2, 3], [4, 5]]), start=np.array([[1, 2], [3, 4]])
    ),
    "multi-binary": spaces.MultiBinary(4),
    "multi-binary list": spaces.MultiBinary([4]),
    "multi-binary matrix": spaces.MultiBinary([2, 3]),
    "nested": NESTED,
    "ordered": spaces.Dict([("z", VECTOR), ("a", VECTOR)]),
    "tuple": spaces.Tuple([spaces.Discrete(2), VECTOR]),
}
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())


def same(left: Any, right: Any) -> bool:
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return np.array_equal(left, right) and np.asarray(left).dtype == np.asarray(right).dtype


@every_space
def test_json_gives_back_an_equal_space(space: gymnasium.Space[Any]) -> None:
    text = json.dumps(to_json(space), allow_nan=False)
    copy = from_json(json.loads(text))
    assert copy == space
    assert list(leaves(copy)) == list(leaves(space))
    assert json.dumps(to_json(copy)) == text


@every_space
def test_unflatten_undoes_flatten(space: gymnasium.Space[Any]) -> None:
    space.seed(0)
    value = space.sample()
    arrays = flatten(space, value)
    assert list(arrays) == list(leaves(space))
    restored = unflatten(space, arrays)
    assert same(restored, value)
    assert space.contains(restored)


@every_space
def test_batches_flatten_like_single_values(space: gymnasium.Space[Any]) -> None:
    space.seed(0)
    values = [space.sample() for _ in range(6)]
    single = [flatten(space, value) for value in values]
    stacked = {path: np.stack([arrays[path] for arrays in single]).reshape(2, 3, *leaf.shape or ())
               for path, leaf in leaves(space).items()}  # fmt: skip
    assert same(flatten(space, unflatten(space, stacked)), stacked)
    for path, leaf in leaves(space).items():
        check_leaf(leaf, stacked[path], path)


def test_batches_of_a_vector_environment_flatten() -> None:
    batch = gymnasium.vector.utils.create_empty_array(NESTED, 2)
    arrays = flatten(NESTED, batch)
    assert arrays["camera/front"].shape == (2, 4, 5, 3)
    assert same(unflatten(NESTED, arrays), batch)


def test_paths_of_leaves() -> None:
    assert list(leaves(VECTOR)) == ["observation"]
    assert list(leaves(SPACES["tuple"])) == ["0", "1"]
    assert list(leaves(NESTED)) == ["camera/front", "camera/rear", "joints/0", "joints/1", "lamp"]


def test_paths_that_collide_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"'a/b'; rename"):
        leaves(spaces.Dict({"a/b": VECTOR, "a": spaces.Dict({"b": VECTOR})}))


@pytest.mark.parametrize("space", [spaces.Dict({}), spaces.Tuple([])])
def test_a_space_without_leaves_is_an_error(space: gymnasium.Space[Any]) -> None:
    with pytest.raises(ValueError, match="no leaf"):
        leaves(space)


@pytest.mark.parametrize(
    "space", [spaces.Text(4), spaces.Sequence(VECTOR), spaces.Box(0, 1, (2, 0))]
)
def test_unsupported_spaces_are_an_error(space: gymnasium.Space[Any]) -> None:
    for function in (to_json, leaves):
        with pytest.raises(ValueError, match=r"supported are|holds 1 to"):
            function(space)
        with pytest.raises(ValueError, match=r"supported are|holds 1 to"):
            function(spaces.Dict({"a": space}))


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"camera": 1},
        [1],
        None,
        {**NESTED.sample(), "more": 1},
        {**NESTED.sample(), "joints": (1,)},
    ],
    ids=["empty", "missing", "list", "none", "extra", "short tuple"],
)
def test_values_of_another_structure_are_an_error(value: Any) -> None:
    with pytest.raises(ValueError, match="expected a"):
        flatten(NESTED, value)


def test_leaves_of_another_space_are_an_error() -> None:
    with pytest.raises(ValueError, match="has the leaves"):
        unflatten(NESTED, {"camera/front": np.zeros(3)})


def test_is_image() -> None:
    assert is_image(IMAGE)
    assert not any(is_image(space) for name, space in SPACES.items() if name != "image")
    assert not is_image(spaces.Box(0.0, 1.0, (4, 5, 3)))


@pytest.mark.parametrize(
    ("space", "value", "dtype"),
    [
        (VECTOR, [0.5, 0.5, 0.5], np.float32),
        (VECTOR, [0, 1, 0], np.float32),
        (spaces.Discrete(4), 3, np.int64),
        (IMAGE, np.zeros((4, 5, 3), np.int64), np.uint8),
        (spaces.MultiBinary(2), np.array([True, False]), np.int8),
        # Whole numbers that would change, and fractions in place of whole numbers, stay for
        # check_leaf to name.
        (IMAGE, np.full((4, 5, 3), 256), np.int64),
        (spaces.Discrete(4), 1.5, np.float64),
    ],
)
def test_as_leaf_casts_without_loss(space: gymnasium.Space[Any], value: Any, dtype: type) -> None:
    array = as_leaf(space, value)
    assert array.dtype == dtype
    assert np.array_equal(array, value)


@pytest.mark.parametrize(
    ("space", "array", "message"),
    [
        (VECTOR, np.zeros(3), "dtype is float64"),
        (VECTOR, np.zeros((5, 2), np.float32), r"shape is \(5, 2\)"),
        (VECTOR, np.zeros((), np.float32), r"shape is \(\)"),
        (VECTOR, np.array([0, np.nan, 0], np.float32), "1 of 3 numbers are NaN"),
        (
            SPACES["unbounded"],
            np.array([0, np.inf], np.float32),
            "1 of 2 numbers are NaN or infinite",
        ),
        (VECTOR, np.array([0, 1.5, 0], np.float32), "outside the space"),
        (spaces.Discrete(3, start=-1), np.array([-1, 2]), "for example 2"),
        (spaces.MultiDiscrete([2, 3]), np.array([[1, 2], [2, 0]]), "1 of 4"),
        (spaces.MultiBinary(2), np.array([2, 0], np.int8), "outside"),
        (IMAGE, np.zeros((4, 5), np.uint8), "ends in"),
    ],
)
def test_check_leaf_says_what_is_wrong(
    space: gymnasium.Space[Any], array: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^the thing: .*{message}"):
        check_leaf(space, array, "the thing")


# Checks of batches


def batch_of(space: gymnasium.Space[Any], rows: int) -> Any:
    space.seed(0)
    arrays = [flatten(space, space.sample()) for _ in range(rows)]
    return unflatten(space, {path: np.stack([one[path] for one in arrays]) for path in arrays[0]})


@every_space
def test_checked_batches_are_the_leaves(space: gymnasium.Space[Any]) -> None:
    check, batch = Checker(space, "observations"), batch_of(space, 3)
    assert same(check(batch, rows=3), flatten(space, batch))
    single = space.sample()
    assert same(check(single), flatten(space, single))
    with pytest.raises(SpaceError, match=r"observations.*shape is"):
        check(batch, rows=2)


GRID = spaces.Box(0, 10, (2, 2, 1), np.uint8)


@pytest.mark.parametrize(
    ("space", "value", "message"),
    [
        (spaces.Discrete(4), [0, 4], r"Discrete\(4\), for example 4"),
        (spaces.Discrete(4), [0, -1], "for example -1"),
        (spaces.Discrete(3, start=-1), [-1, 2], "for example 2"),
        (spaces.Discrete(4), [0, 2.5], r"dtype is float64.*\[0.0, 2.5\]"),
        (spaces.MultiDiscrete([4, 4]), [[0, 0], [1, 6]], "1 of 4 .* for example 6"),
        (spaces.MultiBinary(2), [[0, 0], [0, 2]], "for example 2"),
        (VECTOR, [[0, 0, 0], [0, 1.5, 0]], "for example 1.5"),
        (VECTOR, [[0, 0, 0], [0, np.nan, 0]], "1 of 6 numbers are NaN"),
        (SPACES["unbounded"], [[0, 0], [0, -np.inf]], "NaN or infinite"),
        (SPACES["unbounded"], [[0, 0], [0, 1e300]], "NaN or infinite"),
        (SPACES["half-bounded"], [[1, 0], [-0.5, 0]], "for example -0.5"),
        (VECTOR, np.zeros((2, 3, 1)), r"shape is \(2, 3, 1\)"),
        (VECTOR, [0, 0, 0], r"shape is \(3,\)"),
        (VECTOR, [[0, 0, 0], [0, 0]], "not an array"),
        (VECTOR, [["a"] * 3] * 2, "dtype is <U1"),
        (IMAGE, np.arange(2).reshape(2, 1, 1, 1) * np.full((4, 5, 3), 256), "for example 256"),
        (IMAGE, np.zeros((2, 4, 5, 3), np.float32), "dtype is float32"),
        (GRID, [[[[0], [0]]] * 2, [[[0], [11]]] * 2], "for example 11"),
        (spaces.Box(0, 1, (1,), bool), [[0], [2]], "for example 2"),
    ],
    ids=str,
)
def test_what_does_not_lie_in_a_space_is_named(
    space: gymnasium.Space[Any], value: Any, message: str
) -> None:
    for named, checked in ((space, value), (spaces.Dict(part=space), {"part": value})):
        what = "seen" if named is space else r"seen\['part'\]"
        with pytest.raises(SpaceError, match=f"(?s)^{what}: .*{message}") as caught:
            Checker(named, "seen")(checked, rows=2)
        numbers = "example" in message or "NaN" in message
        assert caught.value.row == (1 if numbers else None)


@pytest.mark.parametrize(
    ("space", "value", "clipped"),
    [
        (spaces.Box(-1.0, 1.0, (2,)), [1.0000023, -1.0000001], [1, -1]),
        (spaces.Box(-1.0, 1.0, (2,), np.float64), np.float32([1.0000001, 0]), [1, 0]),
        (spaces.Box(0.0, 1.0, (1,)), [-1e-7], [0]),
        (spaces.Box(0.0, np.inf, (1,)), [-1e-7], [0]),
        (spaces.Box(-250.0, 3.0, (1,), np.float64), [3 + 1e-13], [3]),
        (spaces.Box(0.0, 1.0, (1,), np.float16), np.float16([1.002]), [1]),
        (SPACES["half-bounded"], [0.1 - 1e-8, 0.3 + 1e-7], None),
    ],
)
def test_numbers_outside_by_rounding_are_clipped_once(
    space: spaces.Box, value: Any, clipped: Any
) -> None:
    check = Checker(space, "seen")
    with pytest.warns(UserWarning, match="^seen: .* by rounding"):
        array = check([value], rows=1)["observation"]
    assert space.contains(array[0])
    assert clipped is None or array[0].tolist() == clipped
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(check([value], rows=1)["observation"], array)


@pytest.mark.parametrize(
    ("space", "value"),
    [
        (spaces.Box(-1.0, 1.0, (1,)), 1.00001),
        (spaces.Box(-1.0, 1.0, (1,), np.float64), 1.0000001),
        (spaces.Box(-1e-9, 1e-9, (1,)), 2e-9),
        (spaces.Box(0.0, 1.0, (1,), np.float16), 1.01),
        (spaces.Box(0, 5, (1,), np.int32), 6),
    ],
)
def test_numbers_farther_outside_are_an_error(space: spaces.Box, value: Any) -> None:
    with pytest.raises(SpaceError, match="outside the space"):
        Checker(space, "seen")(np.full((1, 1), value), rows=1)


def test_a_check_takes_microseconds() -> None:
    check, batch = Checker(NESTED, "observations"), batch_of(NESTED, 1)
    seconds = min(timeit.repeat(lambda: check(batch, 1), number=200, repeat=5)) / 200
    assert seconds < 200e-6  # five leaves; about 15e-6 where nothing else runs


BOX = to_json(VECTOR)
DEEP: dict[str, Any] = BOX
for _ in range(5000):
    DEEP = {"type": "Tuple", "spaces": [DEEP]}


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"type": "Text"},
        {"type": ["Box"]},
        {**BOX, "dtype": "object"},
        {**BOX, "dtype": "O8"},
        {**BOX, "dtype": "no such"},
        {**BOX, "shape": [LARGEST_LEAF + 1]},
        {**BOX, "shape": [0]},
        {**BOX, "shape": [2.0]},
        {**BOX, "low": "nan"},
        {**BOX, "low": float("nan")},
        {**BOX, "low": [1, 2]},
        {**BOX, "low": [[1], 2]},
        {**BOX, "low": 2, "high": 1},
        {"type": "Discrete", "n": 0, "start": 0, "dtype": "int64"},
        {"type": "Discrete", "n": 2**70, "start": 0, "dtype": "int64"},
        {"type": "Discrete", "n": 2, "start": 0, "dtype": "float32"},
        {"type": "MultiDiscrete", "nvec": [[2], 3], "start": [0, 0], "dtype": "int64"},
        {"type": "MultiDiscrete", "nvec": [2.5], "start": [0], "dtype": "int64"},
        {"type": "MultiBinary", "n": 3.0},
        {"type": "Dict", "spaces": [BOX]},
        {"type": "Tuple", "spaces": 3},
        DEEP,
    ],
)
def test_other_descriptions_are_an_error(data: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (each kind of damage has its own words)
        from_json(data)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["inf", "-inf", "int8", "float32"]),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


@given(
    data=st.fixed_dictionaries(
        {
            "type": st.sampled_from(
                ["Box", "Discrete", "MultiDiscrete", "MultiBinary", "Dict", "Tuple"]
            )
        },
        optional=dict.fromkeys(
            ("dtype", "shape", "low", "high", "n", "start", "nvec", "spaces"), JSON
        ),
    )
)
def test_any_description_is_a_space_or_a_value_error(data: dict[str, Any]) -> None:
    try:
        space = from_json(data)
    except ValueError:
        return
    assert isinstance(space, gymnasium.Space)


# Spaces in text

TWO = spaces.Tuple((spaces.Discrete(2), spaces.MultiBinary(2)))


@every_space
def test_what_gymnasium_prints_is_read_back(space: gymnasium.Space[Any]) -> None:
    copy = from_text(str(space))
    assert leaves(copy).keys() == leaves(space).keys()
    for one, other in zip(leaves(copy).values(), leaves(space).values(), strict=True):
        assert type(one) is type(other)
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        if isinstance(one, spaces.Box) and isinstance(other, spaces.Box):
            np.testing.assert_allclose(one.low, other.low)  # printed with eight digits
            np.testing.assert_allclose(one.high, other.high)
        else:
            assert one == other
    assert from_text(json.dumps(to_json(space))) == space


@pytest.mark.parametrize(
    ("text", "space"),
    [
        ("Box(-inf, inf, (4,), float32)", spaces.Box(-np.inf, np.inf, (4,))),
        ("Box(-np.inf, np.inf, shape=(4,))", spaces.Box(-np.inf, np.inf, (4,))),
        ("Box(-5,5,4)", spaces.Box(-5, 5, (4,))),
        ("Box([-5, -9.5], [5,9])", spaces.Box(np.float32([-5, -9.5]), np.float32([5, 9]))),
        ("Box([-1. -2.], [1. 2.], (2,), float32)",
         spaces.Box(np.float32([-1, -2]), np.float32([1, 2]))),
        ("Box([-inf   0.], [1.5e+00 inf], (2,), np.float64)",
         spaces.Box(np.array([-np.inf, 0]), np.array([1.5, np.inf]), dtype=np.float64)),
        ("Box([[0 1]\n [2 3]], [[4 5]\n [6 7]], (2, 2), int64)",
         spaces.Box(np.array([[0, 1], [2, 3]]), np.array([[4, 5], [6, 7]]), dtype=np.int64)),
        ("spaces.Box(low=0, high=255, shape=(8, 8, 3), dtype=np.uint8)",
         spaces.Box(0, 255, (8, 8, 3), np.uint8)),
        ("Box(low=np.array([0.0, 1.0]), high=np.array([1.0, 2.0]), dtype='float32')",
         spaces.Box(np.float32([0, 1]), np.float32([1, 2]))),
        ("Box(False, True, (2,), bool)", spaces.Box(0, 1, (2,), bool)),
        ("Box(0.0, 1.0, (), float64)", spaces.Box(0, 1, (), np.float64)),
        (" Discrete(2, start=0) ", spaces.Discrete(2)),
        ("gymnasium.spaces.Discrete(n=3, start=-1)", spaces.Discrete(3, start=-1)),
        ("Discrete(1_000)", spaces.Discrete(1000)),
        ("MultiDiscrete([2 3])", spaces.MultiDiscrete([2, 3])),
        ("MultiDiscrete([2, 3])", spaces.MultiDiscrete([2, 3])),
        ("MultiDiscrete([2 3], start=[1 -2])", spaces.MultiDiscrete([2, 3], start=[1, -2])),
        ("MultiBinary(4)", spaces.MultiBinary(4)),
        ("MultiBinary((2, 3))", spaces.MultiBinary((2, 3))),
        ("Tuple(Discrete(2), MultiBinary(2))", TWO),
        ("Tuple((Discrete(2), MultiBinary(2),))", TWO),
        ("Dict('b': Discrete(2), \"a c\": Dict('d': Discrete(3)))",
         spaces.Dict([("b", spaces.Discrete(2)), ("a c", spaces.Dict(d=spaces.Discrete(3)))])),
        ("Dict({'b': Discrete(2)})", spaces.Dict(b=spaces.Discrete(2))),
        ("Dict(b=Discrete(2))", spaces.Dict(b=spaces.Discrete(2))),
        ("Dict(OrderedDict([('b', Discrete(2))]))", spaces.Dict(b=spaces.Discrete(2))),
    ],
)  # fmt: skip
def test_spaces_in_text(text: str, space: gymnasium.Space[Any]) -> None:
    assert from_text(text) == space


@pytest.mark.parametrize(
    "text",
    ["", "4", "Discrete", "Discrete()", "Discrete(2.5)", "Discrete(4", "Discrete(4) 5",
     "Discrete(4))", "Discret(4)", "Text(3)", "os.system('ls')", "Box(0, 1, (4,), object)",
     "Box(0, 1, (4,), nonsense)",
     "Box(0, 1, (99999999, 99))", "Box(1, 0, (2,))", "Box([0. ... 9.], 10, (99,))",
     "Box(0 1, (2,))",
     "MultiDiscrete([2 -3])", "MultiBinary(0)", "Dict('a': 3)", "Dict('a' Discrete(2))", "Tuple(1)",
     "{", "{}", "(" * 500, "Discrete(__import__('os'))", "Box(low=0, hihg=1)", "\x00",
     "Box(1e999, 2, (2,))"],
)  # fmt: skip
def test_other_texts_are_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a space .* what Gymnasium prints"):
        from_text(text)


@given(st.text(alphabet="BoxDiscreteMuTplary(),[]{}'\"=:.-+0123456789 einf_", max_size=40))
def test_any_text_is_a_space_or_a_value_error(text: str) -> None:
    try:
        assert isinstance(from_text(text), gymnasium.Space)
    except ValueError:
        return


# One space fitted to another

REAL = spaces.Box(-1.0, 1.0, (2,))
_CHOICES = spaces.Discrete | spaces.MultiDiscrete
FITTING: dict[str, tuple[gymnasium.Space[Any], gymnasium.Space[Any]]] = {
    "bounds": (spaces.Box(-np.inf, np.inf, (2,)), REAL),
    "tighter bounds": (REAL, spaces.Box(-9.0, 9.0, (2,))),
    "width": (REAL, spaces.Box(-1, 1, (2,), np.float64)),
    "narrower": (spaces.Box(-1, 1, (2,), np.float64), spaces.Box(-1, 1, (2,), np.float16)),
    "fewer categories": (spaces.Discrete(445), spaces.Discrete(500)),
    "more categories": (spaces.Discrete(500), spaces.Discrete(445)),
    "bytes as choices": (spaces.MultiDiscrete([250, 9]), spaces.Box(0, 255, (2,), np.uint8)),
    "choices as bytes": (spaces.Box(0, 255, (2,), np.uint8), spaces.MultiDiscrete([250, 9])),
    "flags as choices": (spaces.MultiDiscrete([2, 2]), spaces.MultiBinary(2)),
    "booleans": (spaces.Box(0, 1, (2,), bool), spaces.MultiBinary(2)),
    "picture": (spaces.Box(0, 11, (7, 7, 3), np.uint8), spaces.Box(0, 255, (7, 7, 3), np.int64)),
    "parts": (spaces.Dict(a=REAL, b=spaces.Discrete(3)),
              spaces.Dict(b=spaces.Discrete(3), a=spaces.Box(-5, 5, (2,), np.float64))),
    "tuple": (spaces.Tuple([REAL]), spaces.Tuple([spaces.Box(-5, 5, (2,))])),
}  # fmt: skip


@pytest.mark.parametrize(("trained", "offered"), FITTING.values(), ids=FITTING)
def test_a_policy_meets_values_of_other_bounds_in_its_own_dtype(
    trained: gymnasium.Space[Any], offered: gymnasium.Space[Any]
) -> None:
    met = fitted(trained, offered)
    assert list(leaves(met)) == list(leaves(trained))
    assert all(
        (one.shape, one.dtype) == (other.shape, other.dtype)
        for one, other in zip(leaves(met).values(), leaves(trained).values(), strict=True)
    )
    check = Checker(met, "observations")
    offered.seed(1)
    for _ in range(20):
        value = offered.sample()
        known = not isinstance(trained, _CHOICES) or trained.contains(np.int64(value))
        with nullcontext() if known else pytest.raises(SpaceError, match="outside the space"):
            check(value)


@pytest.mark.parametrize(
    ("trained", "offered", "message"),
    [
        (REAL, spaces.Box(-1, 1, (3,)), "shapes are"),
        (REAL, spaces.Box(-1, 1, (2,), np.int64), "real numbers, the other whole"),
        (REAL, spaces.MultiDiscrete([2, 2]), "real numbers, the other whole"),
        (spaces.Discrete(2), spaces.MultiDiscrete([2]), "shapes are"),
        (spaces.Dict(a=REAL), spaces.Dict(b=REAL), "keys are"),
        (spaces.Dict(a=REAL), spaces.Dict(a=spaces.Discrete(2)), "'a': "),
        (spaces.Tuple([REAL]), spaces.Tuple([REAL, REAL]), "1 and 2 parts"),
        (spaces.Tuple([REAL]), spaces.Dict({"0": REAL}), "structures differ"),
        (REAL, spaces.Dict(observation=REAL), "structures differ"),
    ],
)
def test_spaces_of_other_kinds_do_not_fit(
    trained: gymnasium.Space[Any], offered: gymnasium.Space[Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fitted(trained, offered)
    with pytest.raises(ValueError, match=r"shapes|numbers|keys|parts|structures"):
        fitted(offered, trained)


def test_what_a_policy_can_choose_must_be_an_action() -> None:
    fitted(spaces.Discrete(3), spaces.Discrete(4), actions=True)
    fitted(spaces.MultiDiscrete([2, 2]), spaces.MultiBinary(2), actions=True)
    fitted(spaces.Box(-np.inf, np.inf, (2,)), REAL, actions=True)  # numbers are clipped
    for trained, offered in (
        (spaces.Discrete(5), spaces.Discrete(4)),
        (spaces.Discrete(2), spaces.Discrete(2, start=1)),
        (spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(2)),
    ):
        with pytest.raises(ValueError, match="more than"):
            fitted(trained, offered, actions=True)


# Leaves that no array holds


@every_space
def test_a_space_that_arrays_hold_is_usable_as_it_is(space: gymnasium.Space[Any]) -> None:
    held, left_out = usable(space)
    assert held is space
    assert not left_out
    value = space.sample()
    assert same(pick(space, value), value)


UNHELD: list[gymnasium.Space[Any]] = [
    spaces.Text(4), spaces.Sequence(VECTOR), spaces.Graph(VECTOR, None), spaces.Box(0, 1, (2, 0)),
    spaces.OneOf((VECTOR, spaces.Discrete(2))), spaces.Dict({}), spaces.Tuple([]),
]  # fmt: skip


@pytest.mark.parametrize("unheld", UNHELD, ids=str)
def test_what_no_array_holds_is_left_out(unheld: gymnasium.Space[Any]) -> None:
    whole = spaces.Dict(
        {"a": VECTOR, "b": unheld, "c": spaces.Tuple([unheld, spaces.Discrete(3), VECTOR])}
    )
    held, left_out = usable(whole)
    assert list(leaves(held)) == ["a", "c/1", "c/2"]
    assert set(left_out) == {"b", "c/0"}
    value = {"a": 1, "b": 2, "c": (3, 4, 5), "d": 6}
    assert pick(held, value) == {"a": 1, "c": {"1": 4, "2": 5}}
    for nothing in (unheld, spaces.Dict(a=unheld), spaces.Tuple([unheld])):
        with pytest.raises(ValueError, match=r"supported|holds 1 to|no leaf"):
            usable(nothing)


@pytest.mark.parametrize("value", [{}, {"a": 1}, {"a": 1, "c": 3}, {"a": 1, "c": (1,)}, 3, None])
def test_values_that_lack_a_part_are_an_error(value: Any) -> None:
    held, _ = usable(spaces.Dict(a=VECTOR, c=spaces.Tuple([spaces.Text(4), VECTOR])))
    with pytest.raises(ValueError, match="expected a value of"):
        pick(held, value)


def test_data_outside_by_rounding_are_written_within_their_space(tmp_path: Path) -> None:
    seen = np.zeros((4, 3), np.float32)
    seen[2, 1] = 1.0000023
    flags = np.zeros(3, bool)
    episode = Episode({PLAIN: seen}, np.zeros(3, np.int64), np.ones(3, np.float32), flags, flags)
    with pytest.warns(UserWarning, match="by rounding, up to 2.*e-06"):
        data = write_dataset(tmp_path / "data", [episode] * 2, VECTOR, spaces.Discrete(2))
    assert data.arrays["observations/observation"].max() == 1
