"""The command line as people meet it: what it answers, and its exit status (0 done, 2 bad input,
130 interrupted)."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from importlib.metadata import version
from itertools import pairwise

import pytest

import rate
from rate import experiments
from rate.cli import VERBS, main
from rate.dataset.card import seal
from rate.experiments.outline import scores_of
from rate.models import config_class, names
from rate.objectives import OBJECTIVES
from rate.recipe import OptimiserConfig, Recipe, SelectionConfig
from rate.storage.files import read_jsonl

SIZES = [
    "--model.segment-length",
    4,
    "--model.width",
    16,
    "--updates",
    3,
    "--batch-size",
    8,
    "--threads",
    1,
]
SIZES += ["--optimiser.warmup", 1]


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("NO_COLOR", "1")


def answer(capsys, *arguments) -> tuple[int | str | None, str]:
    """Exit status of a command, and everything it said in one line."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as end:
        code = end.code
    captured = capsys.readouterr()
    return code, " ".join((captured.out + captured.err).split())


def rate_process(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "rate", *map(str, arguments)], capture_output=True, text=True
    )


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_without_a_verb_the_usage_names_every_verb(arguments, capsys):
    code, text = answer(capsys, *arguments)
    assert code == 0
    assert all(f"rate {verb}" in text for verb in VERBS)


@pytest.mark.parametrize(
    ("verb", "flags"),
    [
        ("list", ["what", "all", "models", "tasks", "experiments"]),
        ("collect", ["TASK", "--output", "--episodes", "--seed", "--num-envs"]),
        ("train", ["MODEL", "--dataset", "--run", "[options]", "--resume", "rate", "dt", "mlp"]),
        (
            "evaluate",
            [
                "RUN",
                "--tasks",
                "--checkpoint",
                "--episodes",
                "--first-seed",
                "--num-envs",
                "--sample",
            ],
        ),
        ("evaluate", ["--target-return", "--accelerator", "--devices", "--threads"]),
        (
            "reproduce",
            ["EXPERIMENT", "--output", "--seeds", "--variants", "--jobs", "--threads", "--smoke"],
        ),
        ("report", ["FOLDER"]),
        ("inspect", ["RUN", "--task", "--checkpoint", "--episodes"]),
        ("record", ["RUN", "--task", "--output", "--episodes", "--every", "--frames-per-second"]),
        ("evaluate", ["--video"]),
    ],
)
def test_the_help_of_every_verb_mentions_every_field(verb, flags, capsys):
    code, text = answer(capsys, verb, "--help")
    assert code == 0
    assert [flag for flag in flags if flag.lower() not in text.lower()] == []


def flags_of(config: type, prefix: str = "") -> set[str]:
    """Flags of a configuration class, without the parts that are classes themselves."""
    names = {field.name for field in fields(config)} - {
        "model",
        "objective",
        "optimiser",
        "selection",
    }
    return {f"--{prefix}{name.replace('_', '-')}" for name in names}


def explained(capsys, monkeypatch, *command: str) -> dict[str, bool]:
    """Flags in the help of a command, and whether something is said of each."""
    monkeypatch.setenv("COLUMNS", "80")  # narrow, so that flags are printed in one column
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    lines = [line.strip("│ ") for line in capsys.readouterr().out.splitlines()]
    return {
        flag: bool(re.search(r" {2,}[^( ].{10}", line) or re.match(r"[^(-].{10}", below))
        for line, below in pairwise(lines)
        for flag in re.findall(r"^(--[a-z][a-z.-]*)", line)
    }


@pytest.mark.parametrize("model", names())
def test_the_help_of_every_model_explains_every_field(model, capsys, monkeypatch):
    flags = flags_of(config_class(model), "model.") | flags_of(Recipe) | {"--objective"}
    flags |= flags_of(OptimiserConfig, "optimiser.") | flags_of(SelectionConfig, "selection.")
    flags |= flags_of(OBJECTIVES.find("behaviour-cloning"), "objective.")
    flags |= {"--run", "--seed", "--devices", "--accelerator", "--threads", "--loggers"}
    flags |= {"--loader-workers", "--eval-workers"}
    found = explained(capsys, monkeypatch, "train", model)
    assert flags - {flag for flag, said in found.items() if said} == set()


VERBS_OF_DATA = [f"data {verb}" for verb in ("import", "export", "info", "validate")]


@pytest.mark.parametrize("verb", [*(verb for verb in VERBS if verb != "data"), *VERBS_OF_DATA])
def test_the_help_of_every_verb_explains_every_option(verb, capsys, monkeypatch):
    command = "train lstm" if verb == "train" else verb
    found = explained(capsys, monkeypatch, *command.split())
    assert [flag for flag, said in found.items() if not said] == []


@pytest.mark.parametrize("objective", OBJECTIVES.names())
def test_the_help_of_an_objective_explains_its_options(objective, capsys, monkeypatch):
    found = explained(capsys, monkeypatch, "train", "lstm", "--objective", objective)
    assert flags_of(OBJECTIVES.find(objective), "objective.") == {
        flag for flag, said in found.items() if flag.startswith("--objective.") and said
    }


def test_an_objective_is_chosen_and_set(tiny, tmp_path, capsys):
    command = ("train", "lstm", "--dataset", tiny().dataset, "--run", tmp_path / "run", *SIZES)
    options = ("--objective", "cql", "--objective.conservative-weight", 0.5)
    assert answer(capsys, *command, *options)[0] == 0
    recipe = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert recipe["objective"]["name"] == "cql"
    assert recipe["objective"]["conservative_weight"] == 0.5
    code, text = answer(capsys, *command, "--objective", "cqll")
    assert (code, "unknown objective 'cqll'; did you mean 'cql'?" in text) == (2, True)


def test_the_version_is_that_of_the_package(capsys):
    assert answer(capsys, "--version") == (0, f"rate {version('rate-rl')}")
    assert rate.__version__ == version("rate-rl")


def test_options_of_a_task_need_a_task(trained, capsys):
    code, text = answer(capsys, "inspect", trained, "--horizon", 5)
    assert (code, "belong to a task: name it with --task" in text) == (2, True)


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        ("trian", ["unknown verb 'trian'", "did you mean 'train'", "list, collect, data, train"]),
        ("train rat --dataset d --run r", ["unknown model 'rat'", "did you mean 'rate'", "dt-xl"]),
        ("train rate --dataset d --run r --model.widht 3", ["--model.widht", "--model.width"]),
        (
            "train rate --dataset d --run r --model.width 0",
            ["width must be at least 1, but 0 was given"],
        ),
        ("train rate --dataset d --run r --updates many", ["--updates", "many"]),
        ("train rate --dataset d --run r --sampling last", ["last", "first", "stride", "random"]),
        ("train rate --dataset d --run r --loggers telegram", ["telegram", "tensorboard", "wandb"]),
        ("train rate --run r", ["--dataset"]),
        ("train rate --dataset nowhere --run r", ["nowhere", "is not a dataset", "rate collect"]),
        ("train --resume nowhere", ["nowhere is not a run", "recipe.json"]),
        (
            "collect tmaz/90 --output o",
            ["no task 'tmaz/90'", "Did you mean 'tmaze/90'", "recall/<T>"],
        ),
        ("collect tmaze/abc --output o", ["'tmaze/abc' is not a task", "tmaze/"]),
        ("collect recall/4 --output o --episodes 0", ["episodes must be at least 1"]),
        ("evaluate nowhere --tasks recall/4", ["nowhere is not a run"]),
        ("evaluate nowhere", ["--tasks"]),
        ("reproduce dem", ["unknown experiment 'dem'", "did you mean 'demo'", "aar"]),
        (
            "reproduce demo --smoke --variants rat --output o",
            ["unknown variants ['rat']", "rate, dt"],
        ),
        ("report nowhere", ["nowhere does not exist"]),
        ("list models please", ["please"]),
        ("list things", ["things", "'models'", "'tasks'", "'experiments'"]),
    ],
)
def test_a_wrong_word_is_answered_with_what_is_allowed(
    command, parts, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    code, text = answer(capsys, *command.split())
    assert code == 2
    assert [part for part in parts if part not in text] == [], text
    assert not list(tmp_path.iterdir())


def test_a_wrong_word_ends_a_process_with_status_2_and_no_traceback():
    done = rate_process("evaluate", "nowhere", "--tasks", "recall/4")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("rate evaluate: nowhere is not a run")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("what", ["", "models", "tasks", "experiments"])
def test_list_names_everything(what, capsys):
    code, text = answer(capsys, *filter(None, ("list", what)))
    assert code == 0
    found = {"models": names(), "tasks": rate.list_tasks(), "experiments": experiments.names()}
    for title, entries in found.items():
        assert all(name in text for name in entries) == (what in ("", title))


def test_list_and_report_do_not_import_torch(trained, tmp_path):
    rate.evaluate(trained, ["recall/12"], episodes=4)
    script = (
        "import sys; from rate.cli import main; report = "
        f"['report', {str(trained)!r}, '--output', {str(tmp_path)!r}]; "
        "assert [main(words) for words in (['list'], [], ['--version'], report)] == 4 * [0]; "
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").is_file()


def test_from_data_to_report(capsys, tmp_path):
    data, run = tmp_path / "data", tmp_path / "run"
    assert answer(capsys, "collect", "recall/12", "--output", data, "--episodes", 40)[0] == 0
    code, text = answer(
        capsys, "train", "rate", "--dataset", data, "--run", run, "--seed", 7, *SIZES
    )
    assert (code, f"rate evaluate {run}" in text) == (0, True)
    code, text = answer(
        capsys,
        "evaluate",
        run,
        "--tasks",
        "recall/12",
        "recall/24",
        "--episodes",
        4,
        "--threads",
        1,
    )
    assert (code, "recall/24" in text) == (0, True)
    assert [row["task"] for row in read_jsonl(run / "scores.jsonl")] == ["recall/12", "recall/24"]
    code, text = answer(capsys, "report", run)
    assert (code, "report.html" in text) == (0, True)
    assert (run / "report.html").is_file()
    facts = json.loads((run / "recipe.json").read_text())
    assert (facts["model"]["width"], facts["updates"]) == (16, 3)
    code, text = answer(capsys, "train", "rate", "--dataset", data, "--run", run, *SIZES)
    assert (code, "holds a run already" in text) == (2, True)
    code, text = answer(capsys, "collect", "recall/12", "--output", data, "--episodes", 4)
    assert (code, str(data) in text) == (2, True)
    assert len(rate.open_dataset(data)) == 40


SUITES = [
    name for name in experiments.names() if isinstance(experiments.find(name), experiments.Suite)
]
MEMBERS = {member for suite in SUITES for member in experiments.find(suite).members}


def scores_asked(found: experiments.Experiment) -> int:
    return sum(
        len(scores)
        for variant in found.variants
        for seed in found.seeds
        for scores in scores_of(found, variant, seed).values()
    )


@pytest.mark.slow
@pytest.mark.parametrize("suite", SUITES)
def test_every_suite_runs_from_end_to_end_and_shares_what_it_can(suite, capsys, tmp_path):
    code, text = answer(capsys, "reproduce", suite, "--smoke", "--output", tmp_path, "--jobs", 2)
    assert code == 0, text
    for member in experiments.find(suite).members:
        found = experiments.find(member).smoke()
        rows = read_jsonl(tmp_path / member / "rows.jsonl")
        assert len(rows) == scores_asked(found)
        assert {row["experiment"] for row in rows} == {member}
        assert {row["variant"] for row in rows} == set(found.conditions)
        assert (tmp_path / member / "report.html").stat().st_size > 1000
        assert (tmp_path / member / "heat-map.png").exists() == bool(experiments.page(member).grid)
        assert f"{member}/report.html" in (tmp_path / "report.html").read_text()
    wanted = sum(
        len(experiments.find(member).smoke().variants) for member in experiments.find(suite).members
    )
    runs = sorted((tmp_path / "runs").iterdir())
    assert len(runs) < wanted  # shared policies are trained once
    before = {run: (run / "scores.jsonl").read_text() for run in runs}
    assert answer(capsys, "reproduce", suite, "--smoke", "--output", tmp_path, "--jobs", 2)[0] == 0
    assert {
        run: (run / "scores.jsonl").read_text() for run in runs
    } == before  # nothing is done twice


LONG = {
    *("popgym-memory", "minigrid-memory-rgb", "atari", "memory-maze"),
    *("vizdoom", "vizdoom-oracle", "vizdoom-corruption"),
}
"""Experiments like others, which take ten seconds or more."""


@pytest.mark.parametrize(
    "experiment",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in LONG else name
        for name in sorted(experiments.names().keys() - MEMBERS - set(SUITES))
    ],
)
def test_every_experiment_runs_from_end_to_end_and_goes_on_where_it_stopped(
    experiment, capsys, tmp_path
):
    command = ("reproduce", experiment, "--smoke", "--output", tmp_path, "--threads", 1)
    code, text = answer(capsys, *command)
    assert code == 0, text
    rows = read_jsonl(tmp_path / "rows.jsonl")
    found = experiments.find(experiment).smoke()
    assert len(rows) == scores_asked(found)
    assert {row["experiment"] for row in rows} == {experiment}
    assert {row["variant"] for row in rows} == set(found.order)
    assert json.loads((tmp_path / "summary.json").read_text())
    figure = "success.png" if any(row["x"] for row in rows) else "training.png"
    for name in ("report.html", "report.md", figure):
        assert (tmp_path / name).stat().st_size > 1000, name
    assert answer(capsys, *command)[0] == 0
    assert read_jsonl(tmp_path / "rows.jsonl") == rows


def test_an_experiment_can_be_narrowed_and_run_side_by_side(tmp_path, capsys):
    command = (
        "reproduce",
        "demo",
        "--smoke",
        "--output",
        tmp_path,
        "--seeds",
        101,
        102,
        "--variants",
        "dt",
        "--jobs",
        2,
    )
    code, text = answer(capsys, *command)
    assert code == 0, text
    rows = read_jsonl(tmp_path / "rows.jsonl")
    assert {(row["variant"], row["seed"]) for row in rows} == {("dt", 101), ("dt", 102)}
    code, text = answer(capsys, *(word for word in command if word != "--smoke"))
    assert code == 2, text  # the scores of another recipe would pass for those of this one
    assert "made with another recipe" in text
    assert read_jsonl(tmp_path / "rows.jsonl") == rows


HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\x7f[red]x[/red]"


def test_no_control_character_of_a_file_reaches_the_terminal(trained, recall, tmp_path, capsys):
    """Every verb that shows what stands in files, with the same text in all of them."""
    run, data = tmp_path / "run", tmp_path / "data"
    shutil.copytree(trained, run)
    shutil.copytree(recall, data)
    card = json.loads((data / "card.json").read_text())
    card = {key: value for key, value in card.items() if not key.endswith("hash")}
    (data / "card.json").write_text(
        seal({**card, "task": HOSTILE, "provenance": {"commit": HOSTILE, "ignored": [HOSTILE]}})
    )
    for name in ("recipe", "provenance"):
        facts = json.loads((run / f"{name}.json").read_text())
        facts |= {"task": HOSTILE, "command": HOSTILE} if name == "provenance" else {}
        facts.pop("hash") if name == "provenance" else None
        (run / f"{name}.json").write_text(json.dumps(facts))
    row = {"variant": HOSTILE, "task": HOSTILE, "metric": HOSTILE, "checkpoint": HOSTILE}
    row |= {"seed": 0, "scores": [1.0], "value": 1.0, "episodes": 1, "x": 3, "seconds": 1.0}
    (run / "scores.jsonl").write_text(json.dumps(row) + "\n")
    broken = tmp_path / "broken"
    shutil.copytree(run, broken)
    (broken / "recipe.json").write_text(json.dumps({HOSTILE: HOSTILE, "model": {"name": HOSTILE}}))
    shown = ""
    for line in (
        f"report {run}",
        f"data info {data}",
        f"data validate {data}",
        f"inspect {run}",
        f"inspect {broken}",
        f"evaluate {broken} --tasks recall/12",
        f"train --resume {broken}",
        f"report {broken}",
    ):
        main(line.split())
        printed = capsys.readouterr()
        shown += printed.out + printed.err
    assert not set("\x1b\x07\x9b\u202e\x7f") & set(shown)
    assert "\\x1b" in shown
    assert "[red]" in shown  # no markup either
    for name in ("report.md", "report.html"):
        assert not set("\x1b\x07\x9b\u202e\x7f") & set((run / name).read_text())
