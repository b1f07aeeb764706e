"""Folders of strangers: names in files are no paths, links lead nowhere, and code that a file names
is not run."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import rate
from rate import addresses
from rate import recipe as recipes
from rate.addresses import UntrustedError
from rate.reporting import report
from rate.reporting.publish import publish
from rate.reporting.tables import markdown_text
from rate.runs.checkpoint import read_tensors, write_tensors
from rate.runs.folder import Run
from rate.storage.untrusted import inside
from rate.tasks.gym.options import addresses as task_addresses

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
    monkeypatch.setattr("rate.storage.untrusted.WINDOWS", True)
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


FILES = [
    "recipe.json",
    "provenance.json",
    "metrics.jsonl",
    "scores.jsonl",
    "last.safetensors",
    "training.safetensors",
    "inspection.json",
]


def verbs(run):
    """What reads or writes a run's folder, by name."""
    return {
        "evaluate": lambda: rate.evaluate(run, ["recall/12"], episodes=2),
        "inspect": lambda: rate.inspect(run, episodes=2),
        "resume": lambda: rate.resume(run),
        "load_agent": lambda: rate.load_agent(run),
        "report": lambda: report(run),
    }


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, "link") for name in FILES),
        *((name, kind) for name in FILES[2:4] for kind in ("dangling link", "pipe")),
    ],
)
def test_nothing_is_read_or_written_through_a_link_in_a_run(inspected, tmp_path, name, kind):
    run, outside = tmp_path / "run", tmp_path / "outside"
    shutil.copytree(inspected, run)
    outside.mkdir()
    target = outside / "target"
    if kind == "link":
        shutil.copy(run / name, target)
        target.write_bytes(target.read_bytes() + b"unfinished")
    (run / name).unlink()
    os.mkfifo(run / name) if kind == "pipe" else (run / name).symlink_to(target)
    before = snapshot(outside)
    refused = 0
    calls = verbs(run)
    del calls["inspect"]  # it takes longest, and reads what others read
    for verb in calls.values():
        try:
            verb()
        except ValueError as error:
            refused += "is a link or a special file" in str(error)
        assert snapshot(outside) == before
    assert refused, "no verb reads this file"


@pytest.mark.parametrize("part", ["card.json", "rewards.npy", "observations", "verified"])
def test_nothing_is_read_or_written_through_a_link_in_a_dataset(recall, tmp_path, part):
    data, outside = tmp_path / "data", tmp_path / "outside"
    shutil.copytree(recall, data)
    (data / part).rename(outside)
    (data / part).symlink_to(outside)
    before = snapshot(tmp_path, data) | {"": outside.is_dir() or outside.read_bytes()}
    if part == "verified":  # it is written anew
        rate.open_dataset(data)
        assert not (data / part).is_symlink()
    else:
        with pytest.raises(ValueError, match="is a link or a special file"):
            rate.open_dataset(data)
    assert snapshot(tmp_path, data) | {"": outside.is_dir() or outside.read_bytes()} == before
    # The folder itself may be a link: whoever names it has chosen it.
    (tmp_path / "chosen").symlink_to(recall)
    assert len(rate.open_dataset(tmp_path / "chosen")) == 64


CODE = """
import gymnasium
from pathlib import Path
Path(__file__).with_name("executed").touch()

def make(**arguments):
    return gymnasium.make("CartPole-v1")
"""
TASKS = [
    "stranger:make,horizon=5",
    "gym:stranger:CartPole-v1",
    "recall/12,expert=stranger:make",
    "os:mkdir,environment.path=executed",
    "rate.storage.files:atomic_write,environment.path=executed,environment.content=x",
    "rate.system.processes:os.mkdir,environment.path=executed",
]
KINDS = ["stranger:make", "stranger.py:make", "./stranger.py:make"]


def in_provenance(run, task):
    change(run / "provenance.json", task=task)
    facts = json.loads((run / "provenance.json").read_text())
    facts.pop("hash", None)
    (run / "provenance.json").write_text(json.dumps(facts))


def in_recipe(part, key):
    def write(run, name):
        recipe = json.loads((run / "recipe.json").read_text())
        recipe[part][key] = name
        del recipe["hash"]
        recipe["hash"] = recipes.hash_of(recipe)
        (run / "recipe.json").write_text(json.dumps(recipe))

    return write


def in_checkpoint(key):
    def write(run, name):
        tensors, header = read_tensors(run / "last.safetensors")
        header["model"][key] = name
        write_tensors(run / "last.safetensors", tensors, header)

    return write


PLACES = [
    *((in_provenance, name, "inspect") for name in TASKS),
    *((in_recipe("selection", "task"), name, "resume") for name in TASKS),
    *((in_recipe("model", "name"), name, verb) for name in KINDS for verb in ("resume", "inspect")),
    *((in_recipe("objective", "name"), name, "evaluate") for name in KINDS),
    (in_recipe("model", "encoder"), "stranger:make", "resume"),
    (in_recipe("model", "encoder"), "observation=stranger:make", "evaluate"),
    *((in_checkpoint("name"), name, verb) for name in KINDS for verb in ("evaluate", "load_agent")),
    (in_checkpoint("encoder"), "stranger:make", "inspect"),
    (in_checkpoint("encoder"), "observation=stranger:make", "load_agent"),
]


@pytest.mark.parametrize(("write", "name", "refused"), PLACES)
def test_code_that_a_file_names_is_not_run(inspected, tmp_path, monkeypatch, write, name, refused):
    shutil.copytree(inspected, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    Path("stranger.py").write_text(CODE)
    write(Path(), name)
    path = list(sys.path)
    for verb, call in verbs(Path()).items():
        if verb == refused:
            with pytest.raises(UntrustedError, match=r"names the code .*--trust"):
                call()
        elif verb != "inspect":  # it takes longest
            with suppress(ValueError):
                call()
        assert not Path("executed").exists()
    assert sys.path == path


def test_code_that_the_user_names_or_trusts_is_run(inspected, tmp_path, monkeypatch):
    shutil.copytree(inspected, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(addresses, "_trusted", set())
    Path("stranger.py").write_text(CODE)
    in_provenance(Path(), "stranger:make,horizon=5")
    for options in ({"trust": True}, {"task": "stranger:make,horizon=5"}):
        with pytest.raises(ValueError, match="the policy was trained for the"):
            rate.inspect(".", episodes=2, **options)
        assert Path("executed").exists()
        Path("executed").unlink()
        del sys.modules["stranger"]
        addresses._trusted.clear()
    # Naming a task that the recipe names, too, is enough to evaluate it.
    in_recipe("selection", "task")(Path(), "stranger:make,horizon=5")
    with pytest.raises(ValueError, match="the policy was trained for the"):
        rate.evaluate(".", ["stranger:make,horizon=6"], episodes=2)
    del sys.modules["stranger"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("tmaze/90", []),
        ("gym:CartPole-v1,horizon=3", []),
        ("gym:CartPole-v1,environment.sutton_barto_reward=True", []),
        ("gym:MiniGrid-Empty-5x5-v0", []),
        ("gym:MiniGrid-Empty-5x5-v0,environment.size=6", ["gym:MiniGrid-Empty-5x5-v0"]),
        ("gym:GymV21Environment-v0,environment.env_id=x", ["gym:GymV21Environment-v0"]),
        ("gym:package:Id-v0", ["gym:package:Id-v0"]),
        ("package:make,expert=other:Agent", ["other:Agent", "package:make"]),
        ("tmaze/90,expert=random", []),
    ],
)
def test_which_names_of_tasks_are_code(name, code):
    assert sorted(task_addresses(name)) == code


def test_workers_import_nothing_from_the_current_folder(inspected, tmp_path):
    """A stranger's folder may hold modules of the names that Python imports first."""
    script = tmp_path / "script.py"  # as the command `rate` is one
    script.write_text("import sys\nfrom rate.cli import main\nif __name__ == '__main__':\n")
    with script.open("a") as file:
        file.write("    sys.exit(main())\n")
    shutil.copytree(inspected, tmp_path / "run")
    for name in ("multiprocessing", "json", "numpy", "rate"):
        (tmp_path / "run" / f"{name}.py").write_text(CODE)
    command = "evaluate . --tasks recall/12 --episodes 4 --workers 2 --threads 1"
    done = subprocess.run(
        [sys.executable, str(script), *command.split()],
        cwd=tmp_path / "run",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "run" / "executed").exists()


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("# x", r"\# x"),
        ("- x", r"\- x"),
        ("1. x", r"1\. x"),
        ("---", r"\---"),
        ("~~~", r"\~~~"),
        ("===", r"\==="),
        ("[x](y)", r"\[x\](y)"),
        ("-0.5 ± 0.1", "-0.5 ± 0.1"),
        ("1.5", "1.5"),
    ],
)
def test_text_of_a_file_is_no_markdown(text, escaped):
    assert markdown_text(text) == escaped
