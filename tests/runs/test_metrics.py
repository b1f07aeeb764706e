import json
import subprocess
import sys
import time
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import rate
from rate.runs import loggers
from rate.runs.folder import Run
from rate.runs.loggers import wandb_key
from rate.runs.metrics import RunLog
from rate.storage.files import read_jsonl


@pytest.fixture
def no_service(tmp_path, monkeypatch):
    """A home without settings of Weights & Biases, and no way to its service."""
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)


def train(recipe, run, **options):
    return rate.train(recipe, run, threads=1, accelerator="cpu", **options)


def test_every_update_is_a_row_with_all_that_was_measured(trained):
    rows = read_jsonl(trained / "metrics.jsonl")
    assert [row["update"] for row in rows] == [1, 2, 3, 4, 5, 6]
    names = {"update", "loss", "accuracy", "gradient_norm", "learning_rate", "steps", "seconds"}
    validated = names | {
        "validation_loss",
        "validation_accuracy",
        "selection_score",
        "selection_seconds",
    }
    assert [set(row) for row in rows] == [names, names, validated] * 2
    assert all(
        row["steps"] == 8 * 12 and row["gradient_norm"] > 0 and 0 <= row["accuracy"] <= 1
        for row in rows
    )


def test_rows_behind_the_checkpoint_and_torn_rows_are_dropped(tmp_path):
    with RunLog(tmp_path, (), after=0) as log:
        for update in (1, 2, 3):
            log.write({"update": update, "loss": 0.5})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"update": 4, "lo')
    with RunLog(tmp_path, (), after=2) as log:
        log.write({"update": 3, "loss": 0.25})
    rows = read_jsonl(tmp_path / "metrics.jsonl")
    assert [(row["update"], row["loss"]) for row in rows] == [(1, 0.5), (2, 0.5), (3, 0.25)]


def test_an_unknown_logger_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match="unknown logger 'telegram': loggers are tensorboard, wandb, trackio"
    ):
        RunLog(tmp_path, ["telegram"], after=0)


def test_tensorboard_shows_the_metrics(tiny, tmp_path):
    run = train(tiny(), tmp_path / "run", loggers=["tensorboard"])
    events = EventAccumulator(str(run)).Reload()
    drawn = [(event.step, event.value) for event in events.Scalars("loss")]
    rows = read_jsonl(run / "metrics.jsonl")
    np.testing.assert_allclose(drawn, [(row["update"], row["loss"]) for row in rows], rtol=1e-6)
    assert len(events.Scalars("validation_loss")) == 2


def test_weights_and_biases_without_key_and_network_logs_offline(
    no_service, tiny, tmp_path, capsys
):
    run = train(tiny(updates=2), tmp_path / "run", loggers=["wandb"])
    assert len(read_jsonl(run / "metrics.jsonl")) == 2
    assert list((run / "wandb").glob("offline-run-*/run-*.wandb"))
    said = " ".join(capsys.readouterr().err.split())
    assert "no key of Weights & Biases" in said
    assert f"logs offline to {run}" in said


@pytest.mark.parametrize("mode", ["offline", "disabled", "dryrun"])
def test_variables_of_weights_and_biases_are_followed(
    mode, no_service, tiny, tmp_path, monkeypatch, recwarn
):
    (tmp_path / "elsewhere").mkdir()
    for name, value in {
        "MODE": mode,
        "PROJECT": "mine",
        "NAME": "named",
        "RUN_ID": "identity",
        "DIR": str(tmp_path / "elsewhere"),
        "API_KEY": "0123456789" * 4,  # a key does not make it go online
    }.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    begun: list[Any] = []
    init = wandb.init
    monkeypatch.setattr(wandb, "init", lambda **options: begun.append(init(**options)) or begun[-1])
    run = train(tiny(updates=2), tmp_path / "run", loggers=["wandb"])
    assert not [warning for warning in recwarn if "Weights & Biases" in str(warning.message)]
    assert not (run / "wandb").exists()
    logged = list((tmp_path / "elsewhere").glob("wandb/offline-run-*-identity"))
    assert len(logged) == (mode != "disabled")
    if mode != "disabled":
        assert begun[0].settings.project == "mine"
        assert begun[0].settings.run_name == "named"


def test_two_runs_of_one_name_have_their_own_identity(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "run").mkdir(parents=True)
    files = [Run(tmp_path / name / "run").wandb_id_file for name in ("a", "b")]
    first, second = map(loggers._identity, files)
    assert first != second
    assert loggers._identity(files[0]) == first


def test_trackio_keeps_the_metrics_on_this_machine(no_service, tiny, tmp_path, monkeypatch, capsys):
    """In a process of its own: trackio reads its variables when it is imported."""
    if find_spec("trackio") is None:
        pytest.skip("trackio is not installed: pip install -e '.[trackio]'")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "kept"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    recipe = tiny(updates=4)
    script = f"""
import json, sys
import rate
from rate.recipe import from_json
recipe = from_json(json.loads({json.dumps(recipe.to_json())!r}))
run = rate.train(recipe, sys.argv[1], threads=1, accelerator="cpu", loggers=["trackio"])
rate.resume(run, updates=6)
import trackio
[own] = trackio.Api().runs("rate")
from trackio.sqlite_storage import SQLiteStorage
print(json.dumps({{"name": own.name, "rows": SQLiteStorage.get_logs("rate", own.name)}}))
"""
    options = {"capture_output": True, "text": True, "check": True, "timeout": 300}
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "run"], **options)
    kept = json.loads(done.stdout)  # nothing else is printed
    rows = read_jsonl(tmp_path / "run" / "metrics.jsonl")
    assert kept["name"].startswith("run-")
    assert [(row["step"], row["loss"]) for row in kept["rows"]] == [
        (row["update"], pytest.approx(row["loss"])) for row in rows
    ]
    assert "trackio show --project rate" in " ".join(done.stderr.split())


class Rows:
    """A sink of one's own."""

    def __init__(self):
        self.rows, self.closed = [], 0

    def write(self, row):
        self.rows.append(dict(row))

    def close(self):
        self.closed += 1


def test_objects_of_ones_own_take_the_metrics(tiny, tmp_path):
    own, later = Rows(), Rows()
    run = train(tiny(updates=3), tmp_path / "run", sinks=[own])
    rows = read_jsonl(run / "metrics.jsonl")
    assert (own.rows, own.closed) == (rows, 1)
    rate.resume(run, updates=5, sinks=[later])
    assert [row["update"] for row in later.rows] == [4, 5]
    assert (len(own.rows), later.closed) == (3, 1)


def test_objects_do_not_go_with_several_processes(tiny, tmp_path):
    with pytest.raises(ValueError, match="sinks are objects of this process"):
        train(tiny(updates=3), tmp_path / "run", sinks=[Rows()], devices=2)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_a_key_without_a_service_falls_back_to_offline(no_service, tiny, tmp_path, monkeypatch):
    (tmp_path / "wandb_config.yaml").write_text(f"wandb_api: {'0123456789' * 4}\n")
    monkeypatch.setattr(loggers, "WANDB_TIMEOUT", 3.0)
    started = time.monotonic()
    with pytest.warns(UserWarning, match="Weights & Biases") as caught:
        run = train(tiny(updates=2), tmp_path / "run", loggers=["wandb"])
    assert time.monotonic() - started < 60
    assert [str(warning.message)[:30] for warning in caught] == ["Weights & Biases failed online"]
    assert len(read_jsonl(run / "metrics.jsonl")) == 2
    assert list((run / "wandb").glob("offline-run-*/run-*.wandb"))


def test_the_key_comes_from_the_environment_or_from_the_file(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert wandb_key(tmp_path) == ""
    (tmp_path / "wandb_config.yaml").write_text("wandb_api: secret\n")
    assert wandb_key(tmp_path) == "secret"
    monkeypatch.setenv("WANDB_API_KEY", "stronger")
    assert wandb_key(tmp_path) == "stronger"


@pytest.mark.parametrize(
    "text", ["", "secret", "wandb_api:", "wandb_api: [1]", "key: secret", "a: b: c", "{"]
)
def test_a_key_file_of_another_form_is_refused(text, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    (tmp_path / "wandb_config.yaml").write_text(text)
    with pytest.raises(ValueError, match="must hold one line `wandb_api: <key>`"):
        wandb_key(tmp_path)


def test_provenance_says_where_a_run_comes_from(trained, recall):
    facts = json.loads((trained / "provenance.json").read_text())
    assert facts["dataset"] == rate.open_dataset(recall).content_hash
    assert (facts["seed"], facts["threads"], facts["devices"], facts["accelerator"]) == (
        0,
        1,
        1,
        "cpu",
    )
    assert {"commit", "date", "python", "machine", "packages"} <= facts.keys()
    assert facts["packages"]["torch"]


@pytest.mark.parametrize(
    "content",
    ["[" * 50_000, "wandb_api: 5", 'wandb_api: "a\\nb"', "wandb_api: ä", "\xff\xfe", "5", "", "{"],
)
def test_a_damaged_file_of_the_key_is_a_sentence(no_service, tmp_path, content):
    (tmp_path / "wandb_config.yaml").write_text(content, encoding="latin-1")
    with pytest.raises(ValueError, match="must hold one line `wandb_api: <key>`"):
        wandb_key()


def test_a_file_of_the_key_needs_a_package(no_service, tmp_path, monkeypatch):
    (tmp_path / "wandb_config.yaml").write_text("wandb_api: 0123\n")
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ModuleNotFoundError, match="cannot be read without PyYAML"):
        wandb_key()
