"""What the files of a run say is checked against their hashes and types."""

import contextlib
import json
import shutil
from pathlib import Path

import pytest

import rate
from rate.recipe import hash_of
from rate.runs.folder import Run, RunError, _hash


@pytest.fixture
def run(trained, tmp_path) -> Run:
    return Run(shutil.copytree(trained, tmp_path / "run"))


def edit(file: Path, change, digest=None) -> None:
    """Change a JSON file, and seal it again if there is a function that makes its hash."""
    data = json.loads(file.read_text())
    change(data)
    if digest:
        data["hash"] = digest({name: value for name, value in data.items() if name != "hash"})
    file.write_text(json.dumps(data))


def refused(run: Run, file: str) -> str:
    messages = []
    for verb in (rate.resume, lambda run: rate.evaluate(run, ["recall/12"], episodes=1)):
        with pytest.raises(RunError, match=rf"unreadable {file}") as caught:
            verb(run)
        messages.append(str(caught.value))
    assert all(message.isprintable() and len(message) < 600 for message in messages)
    return messages[0]


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("recipe.json", {"updates": 7}),
        ("recipe.json", {"weighting": "step"}),
        ("recipe.json", {"hash": "0" * 12}),
        ("recipe.json", {"hash": None}),
        ("provenance.json", {"seed": 2}),
        ("provenance.json", {"threads": 2}),
        ("provenance.json", {"hash": "x\x1b[31m"}),
    ],
)
def test_a_file_that_was_edited_is_refused(file, change, run):
    edit(run.path / file, lambda data: data.update(change))
    assert "it was damaged or edited" in refused(run, file)


def test_a_recipe_from_which_an_entry_was_removed_is_refused_or_the_same(run):
    whole, recipe, same = json.loads(run.recipe_file.read_text()), run.recipe(), []
    for name in whole:
        edit(run.recipe_file, lambda data, name=name: data.pop(name))
        with contextlib.suppress(RunError):
            assert run.recipe().hash == recipe.hash
            same.append(name)
        run.recipe_file.write_text(json.dumps(whole))
    assert "start_from" in same
    assert not {"hash", "model", "sampling", "updates", "optimiser"} & set(same)


def test_the_dataset_may_move_and_old_provenance_has_no_hash(run):
    edit(run.recipe_file, lambda data: data.update(dataset="elsewhere"))
    edit(run.provenance_file, lambda data: data.pop("hash"))
    assert run.recipe().dataset == "elsewhere"
    assert run.provenance()["seed"] == 0


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ((), []),
        (("weighting",), "x"),
        (("sampling",), None),
        (("updates",), "6"),
        (("updates",), 6.5),
        (("updates",), True),
        (("updates",), 10**30),
        (("batch_size",), [8]),
        (("target_return",), "1"),
        (("target_return",), float("nan")),
        (("dataset",), None),
        (("dataset",), "a\0b"),
        (("dataset",), "\ud800"),
        (("compile",), 1),
        (("objective", "name"), "x"),
        (("objective", "name"), None),
        (("objective",), None),
        (("model",), []),
        (("model", "name"), 5),
        (("model", "width"), {}),
        (("model", "dropout"), "0.1"),
        (("model", "valve"), ["ca-2"]),
        (("optimiser",), "adamw"),
        (("optimiser", "betas"), [0.9]),
        (("optimiser", "betas"), [0.9, "x"]),
        (("optimiser", "decay"), "x" * 5000),
        (("selection", "task"), 5),
        (("riddle",), 5),
    ],
    ids=str,
)
def test_entries_of_a_recipe_have_types(place, value, run):
    def change(data):
        for name in place[:-1]:
            data = data[name]
        data[place[-1]] = value

    if place:
        edit(run.recipe_file, change)
    else:
        run.recipe_file.write_text(json.dumps(value))
    message = refused(run, "recipe.json")
    assert not place or place[-1] in message.lower() or place[-1] == "name"


@pytest.mark.parametrize("value", [None, [5], {}, "\0", -1.5, True, 10**30, ...])
@pytest.mark.parametrize("name", ["seed", "loggers", "dataset", "threads", "accelerator"])
def test_entries_of_provenance_have_types(name, value, run):
    def change(data):
        data.update({name: value})
        if value is ...:
            del data[name]

    edit(run.provenance_file, change, _hash)
    if (name, value) in [("threads", ...), ("accelerator", ...)]:
        assert rate.resume(run) == run.path  # an earlier version had no such option
        return
    with pytest.raises(ValueError, match=name) as caught:
        rate.resume(run)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("content", ["", "{", "[]", "\xff", "[" * 50_000, '{"seed": 1', "5"])
@pytest.mark.parametrize("file", ["recipe.json", "provenance.json"])
def test_a_file_that_is_no_object_is_refused(file, content, run):
    (run.path / file).write_text(content, encoding="latin-1")
    refused(run, file)


def test_resume_checks_what_train_checks(run):
    edit(run.recipe_file, lambda data: data.update(sampling="auto"), hash_of)
    with pytest.raises(RunError, match="leaves sampling or target_return to its data"):
        rate.resume(run)


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"update": None},
        {"update": "1"},
        {"update": 1.5},
        {"update": 1, "seconds": "x"},
        {"update": 1, "selection_seconds": []},
    ],
)
def test_a_row_of_another_form_is_refused(row, run):
    with run.metrics_file.open("a") as file:
        file.write(json.dumps(row) + "\n")
    with pytest.raises(RunError, match=r"unreadable metrics.jsonl"):
        rate.resume(run)


@pytest.mark.parametrize("kept", [0, 1, 5])
def test_rows_that_are_missing_are_said(kept, run):
    lines = run.metrics_file.read_text().splitlines(keepends=True)
    run.metrics_file.write_text("".join(lines[:kept]))
    with pytest.warns(UserWarning, match=f"lacks the rows of {6 - kept} of 6 updates"):
        rate.resume(run)


def test_rows_that_are_there_twice_are_kept_once(run):
    lines = run.metrics_file.read_text()
    run.metrics_file.write_text(lines + lines)
    rate.resume(run)
    assert [row["update"] for row in run.metrics()] == [1, 2, 3, 4, 5, 6]
