"""The shape of the house: imports point one way, files stay small, files are data, and nothing is
known by its name."""

import ast
import re
from pathlib import Path
from typing import get_args

import pytest

from rate import experiments, models
from rate.models.nn.transformer import LayerKind
from rate.models.nn.valve import ValveKind
from rate.tasks import lookup

SOURCE = Path(models.__file__).parents[1]
FILES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(SOURCE.rglob("*.py"))}

LAYERS = [
    {
        "addresses",
        "episode",
        "extras",
        "segment",
        "spaces",
        "images",
        "files",
        "progress",
        "provenance",
        "compute",
        "processes",
    },
    {"dataset", "models", "tasks"},
    {"recipe"},
    {"objectives", "runs"},
    {"acting", "reporting"},
    {"training", "inspection", "experiments"},
    {"reproduction"},
    {"cli", "__main__", "__init__"},
]
"""Packages from the bottom up; a package imports from those below it, and from those beside it
unless listed as APART."""

APART = [
    {"dataset", "models", "tasks"},
    {"acting", "reporting"},
    {"training", "inspection", "experiments"},
    {"episode", "spaces", "files", "segment"},
]
"""Packages that never import one another."""

TORCH_FREE = {
    "files",
    "spaces",
    "images",
    "episode",
    "tasks",
    "reporting",
    "progress",
    "provenance",
    "acting/rollout.py",
}
"""Packages and modules for reports and simulators, which need no torch."""


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def modules(tree: ast.AST) -> set[str]:
    """Every module that is imported anywhere in a file, `from rate import x` as rate.x."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import of {node.module}"
            module = node.module or ""
            found |= (
                {f"rate.{alias.name}" for alias in node.names} if module == "rate" else {module}
            )
    return found


def rooms_imported(tree: ast.AST) -> set[str]:
    return {name.split(".")[1] for name in modules(tree) if name.startswith("rate.")}


def calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))


def test_every_room_has_its_place():
    assert sorted(name for layer in LAYERS for name in layer) == sorted(
        {room(path) for path in FILES}
    )


@every_file
def test_imports_point_one_way(path):
    height = {name: level for level, layer in enumerate(LAYERS) for name in layer}
    here = room(path)
    if here in ("__init__", "__main__"):
        return  # the public names, imported when first used
    for other in rooms_imported(FILES[path]) - {here}:
        assert height[other] <= height[here], f"{here} must not import {other}"
        assert not any({here, other} <= group for group in APART), (
            f"{here} and {other} are independent"
        )


def test_no_rooms_import_one_another():
    graph: dict[str, set[str]] = {}
    for path, tree in FILES.items():
        if room(path) not in ("__init__", "__main__"):
            graph.setdefault(room(path), set()).update(rooms_imported(tree) - {room(path)})
    left = dict(graph)
    while free := [name for name, needed in left.items() if not needed & left.keys()]:
        for name in free:
            del left[name]
    assert not left, f"circular imports among {sorted(left)}"


@every_file
def test_reports_and_simulators_need_no_torch(path):
    if {room(path), path.relative_to(SOURCE).as_posix()} & TORCH_FREE:
        assert not [
            name
            for name in modules(FILES[path])
            if name.partition(".")[0] in ("torch", "safetensors")
        ]
        assert not rooms_imported(FILES[path]) & {"models", "segment", "training"}


@every_file
def test_nothing_is_unpickled_and_nothing_is_evaluated(path):
    assert not modules(FILES[path]) & {
        "pickle",
        "dill",
        "joblib",
        "marshal",
        "shelve",
        "cloudpickle",
    }
    for call in calls(FILES[path]):
        name = ast.unparse(call.func)
        assert name not in (
            "torch.load",
            "eval",
            "exec",
            "pickle.load",
            "yaml.load",
            "yaml.unsafe_load",
        ), name
        if name in ("np.load", "numpy.load", "np.lib.format.open_memmap"):
            assert any(
                keyword.arg == "allow_pickle" and not ast.literal_eval(keyword.value)
                for keyword in call.keywords
            )
        for keyword in call.keywords:
            if keyword.arg == "allow_pickle":
                assert ast.unparse(keyword.value) == "False"


@every_file
def test_only_the_command_line_prints(path):
    if room(path) != "cli":
        assert not [call for call in calls(FILES[path]) if ast.unparse(call.func) == "print"]


@every_file
def test_files_are_small_and_finished(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 400, f"{len(lines)} lines"
    assert not [line for line in lines if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line)]


@every_file
def test_classes_and_modules_are_named_for_what_they_are(path):
    assert path.stem not in ("utils", "util", "common", "core", "helpers", "misc")
    for node in ast.walk(FILES[path]):
        if isinstance(node, ast.ClassDef):
            assert not re.search(
                r"(Trainer|Runner|Manager|Handler|Factory|Builder|Registry|Callback|Mixin)$",
                node.name,
            )


@every_file
def test_annotations_are_real(path):
    assert "__future__" not in modules(FILES[path])


@every_file
def test_no_model_or_task_is_known_by_its_name(path):
    """No comparison with a name that a model, task family or experiment bears; data and spaces
    decide instead."""
    if room(path) == "experiments" or path.name == "released.py":
        return  # names of variants; the authors' own names of their weights
    known = {
        *models.names(),
        *lookup.discover(),
        *experiments.names(),
        "minigrid",
        "vizdoom",
        "atari",
        "mujoco",
    }
    known -= {
        *get_args(LayerKind),
        *get_args(ValveKind),
    }  # a part may be called like the model it comes from
    for node in ast.walk(FILES[path]):
        compared: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            compared = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            compared = [node.value]
        for part in compared:
            values = part.elts if isinstance(part, ast.Tuple | ast.List | ast.Set) else [part]
            texts = {
                value.value
                for value in values
                if isinstance(value, ast.Constant) and isinstance(value.value, str)
            }
            assert not texts & known, ast.unparse(node)
