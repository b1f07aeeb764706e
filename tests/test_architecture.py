"""The layout: imports point one way, files are data, and no model, task, objective or experiment is
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
        "messages",
        "episode",
        "extras",
        "segment",
        "spaces",
        "images",
        "storage",
        "system",
        "configs",
        "values",
    },
    {"dataset", "models", "tasks"},
    {"objectives"},
    {"recipe"},
    {"runs"},
    {"acting", "reporting"},
    {"training", "inspection", "experiments", "exporting"},
    {"reproduction"},
    {"launch"},
    {"cli", "__main__", "__init__"},
]
"""Packages from the bottom up; a package imports from those below it, and from those beside it
unless listed as APART."""

APART = [
    {"dataset", "models", "tasks"},
    {"acting", "reporting"},
    {"training", "inspection", "experiments", "exporting"},
    {"episode", "spaces", "storage", "segment"},
]
"""Packages that never import one another."""

TORCH_FREE = {
    "storage",
    "system/interruption.py",
    "system/progress.py",
    "system/provenance.py",
    "spaces",
    "images",
    "episode",
    "tasks",
    "reporting",
    "values",
    "acting/rollout.py",
}
"""Packages and modules for reports and simulators, which need no torch."""


def package(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def modules(tree: ast.AST) -> set[str]:
    """Every module that is imported anywhere in a file, `from rate import x` as rate.x."""
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import of {node.module}"
            from_rate = {f"rate.{alias.name}" for alias in node.names}
            imported |= from_rate if node.module == "rate" else {node.module or ""}
    return imported


def packages_imported(tree: ast.AST) -> set[str]:
    return {name.split(".")[1] for name in modules(tree) if name.startswith("rate.")}


def calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))


def test_every_package_has_a_layer():
    assert sorted(name for layer in LAYERS for name in layer) == sorted(
        {package(path) for path in FILES}
    )


def test_the_readme_shows_the_layout():
    readme = (SOURCE.parents[1] / "README.md").read_text(encoding="utf-8")
    tree = readme.partition("    src/rate/\n")[2].partition("    tests/")[0]
    shown = {word.strip("/") for word in re.findall(r"[a-z_]+(?:/|\.py)", tree)}
    modules = {path.name for path in SOURCE.glob("[!_]*.py")}
    packages = {path.parent.name for path in FILES if path.name == "__init__.py"} - {SOURCE.name}
    assert modules | packages <= shown


@every_file
def test_imports_point_one_way(path):
    height = {name: level for level, layer in enumerate(LAYERS) for name in layer}
    here = package(path)
    if here in ("__init__", "__main__"):
        return  # the public names, imported when first used
    for other in packages_imported(FILES[path]) - {here}:
        assert height[other] <= height[here], f"{here} must not import {other}"
        assert not any({here, other} <= group for group in APART), (
            f"{here} and {other} are independent"
        )


def test_packages_do_not_import_in_a_circle():
    graph: dict[str, set[str]] = {}
    for path, tree in FILES.items():
        if package(path) not in ("__init__", "__main__"):
            graph.setdefault(package(path), set()).update(packages_imported(tree) - {package(path)})
    left = dict(graph)
    while free := [name for name, needed in left.items() if not needed & left.keys()]:
        for name in free:
            del left[name]
    assert not left, f"circular imports among {sorted(left)}"


@every_file
def test_reports_and_simulators_need_no_torch(path):
    if {package(path), path.relative_to(SOURCE).as_posix()} & TORCH_FREE:
        assert not [
            name
            for name in modules(FILES[path])
            if name.partition(".")[0] in ("torch", "safetensors")
        ]
        assert not packages_imported(FILES[path]) & {"models", "segment", "training"}


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
    if package(path) != "cli":
        assert not [call for call in calls(FILES[path]) if ast.unparse(call.func) == "print"]


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


KNOWN = {
    *models.names(),
    *lookup.discover(),
    *experiments.names(),
    *("minigrid", "vizdoom", "atari", "mujoco"),
    *(path.stem for path in (SOURCE / "objectives").glob("[!_]*.py")),
    *(path.stem.replace("_", "-") for path in (SOURCE / "objectives").glob("[!_]*.py")),
} - {*get_args(LayerKind), *get_args(ValveKind)}
"""Names of models, task families, objectives and experiments; a part may have the name of the model
it comes from."""


@every_file
def test_no_model_task_or_objective_is_known_by_its_name(path):
    """No comparison with a name that a model, task family, objective or experiment bears; data and
    spaces decide instead."""
    if package(path) == "experiments" or path.name == "released.py":
        return  # names of variants; the authors' own names of their weights
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
            assert not texts & KNOWN, ast.unparse(node)
