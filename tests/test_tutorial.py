"""The tutorials are tests: their files are written, their commands are run, and their numbers are
compared with the results."""

import importlib.util
import re
import shlex
import sys
from pathlib import Path

import pytest

import rate
from rate.cli import main
from rate.storage.files import read_jsonl

DOCS = Path(__file__).parents[1] / "docs"
TUTORIAL, YOUR_DATA = (
    (DOCS / name).read_text(encoding="utf-8")
    for name in ("tutorial-own-environment.md", "your-data.md")
)


def run(section: str, tutorial: str = TUTORIAL) -> None:
    """Write the files of a section and run its commands and examples, in the order of the text."""
    text = re.search(rf"^## {section}\..*?(?=^## |\Z)", tutorial, re.DOTALL | re.MULTILINE)
    assert text, f"there is no section {section}"
    for kind, content in re.findall(r"^```(.*?)\n(.*?)^```", text[0], re.DOTALL | re.MULTILINE):
        if file := re.fullmatch(r'python title="(\w+\.py)"', kind):
            Path(file[1]).write_text(content, encoding="utf-8")
        elif kind == "python":
            exec(compile(content, "tutorial", "exec"), {"__name__": "example"})
        else:
            assert kind == "sh", kind
            for line in content.replace("\\\n", " ").splitlines():
                program, *arguments = shlex.split(line)
                if program == "pip":
                    assert arguments[0] == "install"
                    assert all(importlib.util.find_spec(package) for package in arguments[1:])
                else:
                    assert (program, main([*arguments, *one_thread(arguments)])) == ("rate", 0), (
                        line
                    )


def one_thread(arguments: list[str]) -> list[str]:
    """Tests share the machine; how many threads compute has no influence on what is said."""
    return ["--threads", "1"] if arguments[0] in ("train", "evaluate") else []


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def scores(run: Path) -> list[float]:
    return [row["value"] for row in read_jsonl(run / "scores.jsonl")]


def plain(text: str) -> str:
    """A text without line breaks."""
    return " ".join(text.split())


def require_stated(values: list[float], *patterns: str) -> None:
    """Compare results with the `mean ± error` behind each pattern in the tutorial, in order.

    Rounding differs between machines, and so do trained policies: three standard errors are
    allowed, and 0.02 besides.
    """
    text = plain(TUTORIAL)
    for value, pattern in zip(values, patterns, strict=True):
        stated = re.search(rf"{pattern} ([\d.]+) ± ([\d.]+)", text)
        assert stated, f"the tutorial states no number for {pattern!r}"
        mean, error = float(stated[1]), float(stated[2])
        assert value == pytest.approx(mean, abs=3 * error + 0.02), pattern


def test_an_environment_of_ones_own_from_nothing_to_a_report(folder, capsys):
    for section in range(1, 6):
        run(str(section))
    printed = capsys.readouterr().out
    assert "of it in choosing the best checkpoint" in printed
    assert "warehouse:Warehouse,horizon=20 1.0" in printed
    near, further, furthest, _ = scores(folder / "runs" / "warehouse")
    require_stated([near, further, furthest], "return is", "at a gap of 4,", "at 6, and")
    assert furthest < further < near
    task = "warehouse:Warehouse,horizon=20,expert=random"
    at_random = rate.collect(task, folder / "random", episodes=600)
    assert f"mean return is {at_random.returns.mean():.2f} here, and 1.00" in plain(TUTORIAL)
    report = (folder / "runs" / "warehouse" / "report.md").read_text()
    assert "Choosing the best checkpoint took" in report
    assert "| 12 |" in report


def test_data_of_ones_own_from_files_to_a_policy(folder, capsys):
    run("1", YOUR_DATA)
    printed = capsys.readouterr().out
    assert "400 of 8 to 8 steps" in printed
    assert "Discrete(2)" in printed
    assert read_jsonl(folder / "runs" / "lamp" / "metrics.jsonl")[-1]["accuracy"] > 0.98
    run("2", YOUR_DATA)
    printed = capsys.readouterr().out
    assert "398 of 400 episodes repeat another one byte for byte" in printed
    assert "400 of 400 episodes do not say with which seed" in printed
    run("3", YOUR_DATA)
    ours, again = (rate.open_dataset(folder / "data" / name) for name in ("lamp", "again"))
    assert ours.content_hash == again.content_hash
    capsys.readouterr()
    run("4", YOUR_DATA)
    assert "0 errors" in capsys.readouterr().out
    assert rate.open_dataset(folder / "data" / "hopper").lengths.tolist() == [
        700,
        300,
        400,
        600,
        100,
        700,
        200,
    ]
    assert rate.open_dataset(folder / "data" / "lift").lengths.tolist() == [50] * 20
    run("5", YOUR_DATA)
    cartpole = rate.open_dataset(folder / "data" / "cartpole")
    assert len(cartpole) == 20
    assert cartpole.card["provenance"]["final_observation"] == "recorded"
    run("6", YOUR_DATA)
    assert rate.open_dataset(folder / "data" / "minigrid").observation_space.dtype == "uint8"
    assert rate.open_dataset(folder / "data" / "tmaze").returns.tolist() == [1, 1]
    run("7", YOUR_DATA)
    assert rate.open_dataset(folder / "data" / "pong").lengths.tolist() == [60] * 10


@pytest.mark.slow
def test_an_environment_of_a_package_from_nothing_to_a_report(folder):
    if importlib.util.find_spec("coggrid") is None:
        pytest.skip("coggrid is not installed: pip install coggrid")
    run("6")
    models = ("rate", "lstm")
    results = [scores(folder / "runs" / f"hidden-{model}")[0] for model in models]
    require_stated(results, "one seed: RATE", "BC-LSTM")
    expert = rate.open_dataset(folder / "data" / "hidden").returns.mean()
    assert f"The expert reaches {expert:.2f} in the data" in plain(TUTORIAL)
    assert "hidden\\_value:make" in (folder / "runs" / "hidden-rate" / "report.md").read_text()
