"""Options from Python: values become plain ones of their types, within their ranges, at once."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import numpy as np
import pytest
import torch

import rate
from rate.acting.corruption import Corruption
from rate.acting.evaluation import Protocol
from rate.inspection import InspectionConfig
from rate.models import MODELS, names
from rate.objectives import OBJECTIVES
from rate.recipe import OptimiserConfig, Recipe, SelectionConfig
from rate.system.compute import Compute
from rate.training.devices import TrainingCompute
from rate.values import Checked, Positive, Range, Rate, checked, plain

MODEL = MODELS.find("mlp")()
CONFIGS: list[type[Checked]] = [
    *(MODELS.find(name) for name in names()),
    *(OBJECTIVES.find(name) for name in OBJECTIVES.names()),
    *(OptimiserConfig, SelectionConfig, Recipe, Protocol, Compute, TrainingCompute),
    *(Corruption, InspectionConfig),
]


def numbers(config: type[Checked]) -> dict[str, Any]:
    """Fields of a class that are numbers, with their types."""
    hints = get_type_hints(config, include_extras=True)
    plain_hints = get_type_hints(config)
    own = [item.name for item in dataclasses.fields(config)]
    return {name: hints[name] for name in own if plain_hints[name] in (int, float)}


def made(config: type[Checked], **values: Any) -> Any:
    needed = {"dataset": "data", "model": MODEL} if config is Recipe else {}
    return config(**needed, **values)


EVERY = [
    pytest.param(config, name, hint, id=f"{config.__module__}.{config.__name__}.{name}")
    for config in CONFIGS
    for name, hint in numbers(config).items()
]


@pytest.mark.parametrize(("config", "name", "hint"), EVERY)
def test_every_number_has_a_range_and_is_checked(
    config: type[Checked], name: str, hint: Any
) -> None:
    [allowed] = getattr(hint, "__metadata__", ["no range: mark the type with one"])
    assert isinstance(allowed, Range)
    wrong: list[Any] = [float("nan"), float("inf"), "3", True, None, [3], allowed.least - 1]
    wrong += [allowed.most + 1] if allowed.most < 1e9 else []
    wrong += [allowed.least] if "(" in allowed.open else []
    wrong += [allowed.most] if ")" in allowed.open else []
    for value in wrong:
        with pytest.raises(ValueError, match=rf"^{config.prefix}{name} must "):
            made(config, **{name: value})


@pytest.mark.parametrize(("config", "name", "hint"), EVERY)
def test_numbers_of_other_libraries_become_those_of_python(
    config: type[Checked], name: str, hint: Any
) -> None:
    default = getattr(made(config), name)
    kinds = [np.int64, np.int8, np.float32, np.float64, torch.tensor, np.array]
    for kind in kinds if float(default).is_integer() and abs(default) < 128 else kinds[3:]:
        value = getattr(made(config, **{name: kind(default)}), name)
        assert type(value) in (type(default), type(plain(kind(default))))
        assert value == pytest.approx(default)
        json.dumps(dataclasses.asdict(made(config, **{name: kind(default)})), default=repr)
    if type(default) is int:
        assert type(getattr(made(config, **{name: float(default)}), name)) is int
        with pytest.raises(ValueError, match=f"{name} must be a whole number"):
            made(config, **{name: default + 0.5})


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (str, Path("a") / "b", "a/b"),
        (str, np.str_("text"), "text"),
        (bool, np.bool_(True), True),
        (int | None, np.int64(3), 3),
        (float | None, None, None),
        (Sequence[str], "recall/12", ("recall/12",)),
        (Sequence[str], (name for name in ("a", "b")), ("a", "b")),
        (tuple[str, ...], "recall/12", ("recall/12",)),
        (tuple[Positive, Positive], np.array([1, 2]), (1, 2)),
        (tuple[Rate, Rate], [0, 0.5], (0, 0.5)),
        (Literal["a", "b"], np.str_("b"), "b"),
    ],
)
def test_values_become_plain_ones(hint: Any, value: Any, expected: Any) -> None:
    result = checked("x", value, hint)
    assert repr(result) == repr(expected)


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        (bool, 1, "True or False"),
        (bool, "false", "True or False"),
        (int, 2.5, "a whole number"),
        (str, 5, "a text"),
        (Literal["a", "b"], "c", "one of a, b"),
        (Literal["a", "b"], ["a"], "one of a, b"),
        (Sequence[str], 5, "a list or tuple"),
        (Sequence[str], [5], "a text"),
        (tuple[int, int], (1, 2, 3), "2 values"),
        (tuple[Rate, Rate], (0.5, 1.0), r"lie in \[0, 1\)"),
        (Annotated[float, Range(0)], float("-inf"), "a finite number"),
        (Compute, {"threads": 1}, "a Compute"),
    ],
)
def test_other_values_are_refused(hint: Any, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^x must (be )?{message}"):
        checked("x", value, hint)


def test_values_of_python_train_evaluate_and_collect(tmp_path: Path) -> None:
    count: Any = np.int64(24)
    data: Any = rate.collect("recall/12", tmp_path / "data", episodes=count, seed=np.int64(1)).path
    model = MODELS.find("mlp")(segment_length=np.int64(4), segments=3.0, width=np.int32(8))
    options: Any = {"updates": np.int64(2), "target_return": np.float32(1)}
    recipe = Recipe(data, model, **options)
    run = rate.train(recipe, tmp_path / "run", seed=np.int64(1), threads=np.int8(1))
    [row] = rate.evaluate(run, "recall/12", episodes=np.int64(2), workers=np.int64(1), threads=1)
    assert row["task"] == "recall/12"


@pytest.mark.parametrize(
    "options",
    [
        *({"seed": -1}, {"seed": 2**40}, {"seed": 1.5}, {"threads": -1}, {"threads": 10**6}),
        *({"devices": 0}, {"loader_workers": -1}, {"eval_workers": 0}, {"accelerator": "tpu"}),
    ],
    ids=str,
)
def test_what_is_refused_leaves_nothing_behind(options: dict[str, Any], tmp_path: Path) -> None:
    recipe = Recipe("no such dataset", MODEL)
    with pytest.raises(ValueError, match=f"^{next(iter(options))} must "):
        rate.train(recipe, tmp_path / "run", **options)
    assert not list(tmp_path.iterdir())


def test_values_nested_too_deeply_are_a_sentence() -> None:
    value: dict[str, Any] = {}
    for _ in range(100_000):
        value = {"deeper": value}
    with pytest.raises(ValueError, match="nested too deeply"):
        checked("the recipe", value, dict)
