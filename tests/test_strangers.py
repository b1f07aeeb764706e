"""Folders of strangers: names in files are no paths, links lead nowhere, and code that a file names
is not run."""

import json
import os
import shutil
from contextlib import suppress

import pytest

import rate
from rate.reporting import report
from rate.reporting.publish import publish
from rate.runs.folder import Run
from rate.untrusted import inside

NAMES = [
    "../outside/x",
    "../../outside/x",
    "..",
    ".",
    "",
    "a/b",
    "/x",
    "a\\b",
    "..\\x",
    "C:x",
    "\\\\server\\x",
    "a\0b",
    "a\nb",
    "a\x1b[2Jb",
    "a\u202eb",
    "a\udc80b",
    "x.",
    "x ",
    "x" * 300,
    "ü" * 200,
]


def snapshot(folder, *left_out):
    """Every file below a folder with its content, and every link with its target."""
    return {
        str(path): os.readlink(path) if path.is_symlink() else path.is_file() and path.read_bytes()
        for path in folder.rglob("*")
        if not any(path.is_relative_to(one) for one in left_out)
    }


def change(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture(scope="session")
def inspected(trained, tmp_path_factory):
    """A run with scores and an inspection."""
    run = tmp_path_factory.mktemp("inspected") / "run"
    shutil.copytree(trained, run)
    rate.evaluate(run, ["recall/12"], episodes=2)
    rate.inspect(run, episodes=2)
    return run


@pytest.fixture
def stranger(inspected, tmp_path):
    """A folder of a suite with one experiment, whose run is inspected; a repository; a folder that
    belongs to neither, with a run of its own."""
    suite = tmp_path / "suite"
    shutil.copytree(inspected, suite / "member" / "runs" / "rate-0")
    shutil.copytree(inspected, tmp_path / "outside" / "private")
    (tmp_path / "outside" / "rate-0").symlink_to(inspected)
    facts = {
        "name": "member",
        "order": ["rate"],
        "seeds": [0],
        "inspected": ["rate"],
        "runs": [{"variant": "rate", "seed": 0, "folder": "runs/rate-0"}],
    }
    (suite / "member" / "experiment.json").write_text(json.dumps(facts))
    rows = [{**row, "experiment": "member", "variant": "rate"} for row in Run(inspected).scores()]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (suite / "member" / "rows.jsonl").write_text(text)
    (suite / "suite.json").write_text(json.dumps({"name": "suite", "members": ["member"]}))
    (tmp_path / "repository" / "results").mkdir(parents=True)
    (tmp_path / "repository" / "results" / "paper.toml").write_text("")
    (tmp_path / "repository" / "README.md").write_text("")
    return suite


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_has_one_part_and_leads_nowhere_else(tmp_path, name):
    for names in ([name], ["folder", name]):
        with pytest.raises(ValueError, match="cannot name a file in"):
            inside(tmp_path, *names)


@pytest.mark.parametrize("name", ["con", "NUL", "com1.png", "Lpt9.tar.gz"])
def test_names_of_devices_are_refused_where_they_are_devices(tmp_path, monkeypatch, name):
    assert inside(tmp_path, name) == tmp_path / name
    monkeypatch.setattr("rate.untrusted.WINDOWS", True)
    with pytest.raises(ValueError, match="is no device"):
        inside(tmp_path, name)


def named_variant(suite, name):
    run = {"variant": name, "seed": 0, "folder": "runs/rate-0"}
    change(suite / "member" / "experiment.json", order=[name], inspected=[name], runs=[run])


def named_folder(suite, name):
    for folder in (name, f"runs/{name}"):
        run = {"variant": "rate", "seed": 0, "folder": folder}
        change(suite / "member" / "experiment.json", runs=[run])


def named_figure(suite, name):
    figures = [{"file": name, "caption": name}]
    change(suite / "member" / "runs" / "rate-0" / "inspection.json", figures=figures)


def named_experiment(suite, name):
    rows = [{**row, "experiment": name} for row in Run(suite / "member" / "runs/rate-0").scores()]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (suite / "member" / "rows.jsonl").write_text(text)
    change(suite / "member" / "experiment.json", name=name)


def named_member(suite, name):
    change(suite / "suite.json", members=[name])


def named_suite(suite, name):
    change(suite / "suite.json", name=name)


@pytest.mark.parametrize(
    ("place", "verb", "folder"),
    [
        (named_variant, report, "member"),
        (named_variant, publish, "member"),
        (named_folder, report, "member"),
        (named_figure, report, "member/runs/rate-0"),
        (named_experiment, publish, "member"),
        (named_member, publish, ""),
        (named_suite, publish, ""),
    ],
)
def test_no_name_in_a_file_is_a_path(stranger, tmp_path, place, verb, folder):
    repository = tmp_path / "repository"
    before = snapshot(tmp_path, stranger, repository)
    for name in (f"{tmp_path}/outside/x", "../outside/x", "../../outside/x", "a\0b"):
        place(stranger, name)
        with suppress(ValueError):
            verb(stranger / folder, *([repository] if verb is publish else []))
        assert snapshot(tmp_path, stranger, repository) == before
        for page in repository.glob("results/*.jsonl"):
            page.unlink()


def test_a_run_outside_the_experiment_is_not_read(stranger, tmp_path):
    change(tmp_path / "outside" / "private" / "recipe.json", dataset="a private name")
    member = stranger / "member"
    for folder in ("../../outside/private", "../private", str(tmp_path / "outside" / "private")):
        shutil.copytree(tmp_path / "outside" / "private", stranger / "private", dirs_exist_ok=True)
        change(stranger / "suite.json", members=[])
        named_folder(stranger, folder)
        run = {"variant": "rate", "seed": 0, "folder": folder}
        change(member / "experiment.json", runs=[run])
        with pytest.raises(ValueError, match="cannot name a file"):
            report(member)
    # A suite names the experiments that share its runs.
    change(stranger / "suite.json", members=["member"])
    change(
        member / "experiment.json", runs=[{"variant": "rate", "seed": 0, "folder": "../private"}]
    )
    assert "a private name" in report(member).read_text()


PICTURES = {
    "text": b"import os",
    "magic": b"\x89PNG\r\n\x1a\n and no more",
    "empty": b"",
    "jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF",
}


@pytest.mark.parametrize("content", [*PICTURES, "cut", "large"])
def test_only_pictures_enter_a_page(stranger, content):
    run = stranger / "member" / "runs" / "rate-0"
    path = run / json.loads((run / "inspection.json").read_text())["figures"][0]["file"]
    data = path.read_bytes()
    wide = data[:16] + (2**30).to_bytes(4, "big") + data[20:]
    path.write_bytes({**PICTURES, "cut": data[: len(data) // 2], "large": wide}[content])
    for folder in (run, stranger / "member"):
        with pytest.raises(ValueError, match="is no picture for a page"):
            report(folder)
        assert not (folder / "report.html").exists() or folder == run
