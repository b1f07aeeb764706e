import functools
import re
import shlex
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from rate.cli import main

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
COMMANDS = re.findall(r"^    (rate [^#\n]+)", README.read_text(encoding="utf-8"), re.MULTILINE)
VERBS = {
    "collect": "rate.acting.collection",
    "evaluate": "rate.acting.evaluation",
    "export": "rate.exporting",
    "inspect": "rate.inspection",
    "convert": "rate.runs.conversion",
    "pull": "rate.runs.sharing",
    "push": "rate.runs.sharing",
    "record": "rate.acting.recording",
    "report": "rate.reporting",
    "reproduce": "rate.reproduction",
    "train": "rate.training",
    "work": "rate.launch.work",
}
"""Modules of the functions behind the verbs."""


class ReachedError(SystemExit):
    """A function was reached with arguments that it takes."""


def test_the_python_example_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    example = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert example, "README.md has no Python example"
    monkeypatch.chdir(tmp_path)
    exec(compile(example[1], "README.md", "exec"), {"__name__": "example"})
    assert "recall/12" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_readme_can_be_typed(command, monkeypatch):
    """Options are read and reach their function, which is not run."""
    verb, *rest = shlex.split(command)[1:]
    if verb == "list":
        assert main([verb, *rest]) == 0
        return
    module = import_module(VERBS[verb])

    @functools.wraps(getattr(module, verb))
    def called(*positional, **options):
        raise ReachedError

    monkeypatch.setattr(module, verb, called)
    monkeypatch.setattr("rate.launch.experiment.plan_experiment", called)
    with pytest.raises(ReachedError):
        main([verb, *rest])


def test_the_readme_names_every_verb_and_every_extra():
    text = README.read_text(encoding="utf-8")
    assert {command.split()[1] for command in COMMANDS} >= {"list", *VERBS}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert [name for name in extras["optional-dependencies"] if f"`{name}`" not in text] == []
