"""Options behind a task's name: literals, words that are none, and one spelling."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rate.tasks.gym.options import Options, join, read_arguments, split
from rate.tasks.lookup import find


def test_options_are_read_back_as_they_were_given():
    given = Options(
        20, 1.5, "random", "success", {"sizes": [3, 4], "name": "a=b", "number": "3", "flag": True}
    )
    name = join("my.module:make", given)
    assert split(name) == ("my.module:make", given)
    assert split(join(name, Options(horizon=9))) == ("my.module:make", replace(given, horizon=9))
    assert join("tmaze/90", Options()) == "tmaze/90"
    assert read_arguments(("size=5", "name=x", "sizes=[1, 2]")) == {
        "size": 5,
        "name": "x",
        "sizes": [1, 2],
    }
    with pytest.raises(ValueError, match="key=value, such as size=5"):
        read_arguments(("size",))


WORDS = (
    "no", "No", "yes", "YES", "on", "off", "OFF", "y", "N", "t", "F", "TRUE", "FALSE", "tRue",
    "none", "NULL", "nil",
)  # fmt: skip
LITERALS = {
    "False": False, "false": False, "True": True, "None": None, "null": None,
    "5": 5, "1_000": 1000, "0x10": 16, "+5": 5, "-5": -5, ".5": 0.5, "-.5": -0.5, "1e-3": 0.001,
    "5.": 5.0, "inf": math.inf, "-inf": -math.inf, "Infinity": math.inf, "nan": math.nan,
    "(5, 5)": (5, 5), "(5,)": (5,), "()": (), "5, 5": (5, 5), "[1, (2, None)]": [1, (2, None)],
    "[true, null]": [True, None], "(inf, False)": (math.inf, False), "['a', \"b\"]": ["a", "b"],
    '{"a": [1]}': {"a": [1]}, "{'a': (1, 2), 3: None}": {"a": (1, 2), 3: None},
    "'5'": "5", '"5"': "5", '"no"': "no", "'False'": "False",
    "text": "text", "my map": "my map", "4x4": "4x4", "5-3": "5-3", "a.b:c": "a.b:c", "": "",
    "novel": "novel", "one-off": "one-off", "../maps/no": "../maps/no", "1j": "1j", "...": "...",
}  # fmt: skip


@pytest.mark.parametrize(("text", "value"), LITERALS.items(), ids=LITERALS)
def test_values_are_literals_of_python_or_json_with_one_spelling(text, value):
    for name in (f"a:b,environment.x={text}", join("a:b", Options(environment={"x": value}))):
        [read] = split(name)[1].environment.values()
        assert repr(read) == repr(value)  # 1, 1.0 and True are equal, and nan is not
        assert join(name, Options()) == join("a:b", Options(environment={"x": value}))
    assert repr(read_arguments((f"x={text}",))) == repr({"x": value})


@pytest.mark.parametrize(
    "text",
    [*WORDS, "[1, 2", "(5, 5", "[a, b]", "{a: 1}", "{1, 2}", "['a]", "(1 + 1, 2)", "[f(1)]"],
)
def test_words_that_may_be_meant_as_literals_are_refused(text):
    with pytest.raises(ValueError, match=r"^x=.*: .*write "):
        split(f"a:b,environment.x={text}")
    with pytest.raises(ValueError, match="write "):
        read_arguments((f"x={text}",))
    name = join("a:b", Options(environment={"x": text}))  # from Python it is a text
    assert split(name)[1].environment == {"x": text}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.int64(3), "3"),
        (np.float32(0.5), "0.5"),
        (np.bool_(False), "false"),
        (np.array([1, 2]), "[1, 2]"),
        (torch.tensor(2), "2"),
        (Path("maps") / "a", "maps/a"),
        ((np.int8(1), Path("a")), "(1, 'a')"),
    ],
)
def test_values_of_other_libraries_are_spelled_as_those_of_python(value, text):
    assert join("a:b", Options(environment={"x": value})) == f"a:b,environment.x={text}"


def test_a_task_has_one_name_however_its_options_are_written():
    names = {
        find(f"gym:FrozenLake-v1,environment.is_slippery={text},horizon={horizon}").name
        for text in ("False", "false", " False")
        for horizon in ("1_000", "1000")
    }
    assert names == {"gym:FrozenLake-v1,environment.is_slippery=false,horizon=1000"}


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "True", "one"])
def test_a_target_return_is_a_finite_number(text):
    with pytest.raises(ValueError, match=r"target_return is .* finite number"):
        split(f"a:b,target_return={text}")
