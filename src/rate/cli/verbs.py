"""Verbs that act on tasks, runs and experiments; `data` and `train` have modules of their own."""

from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from rich.markdown import Markdown
from rich.table import Column, Table

from rate.cli.console import err, out, show_names
from rate.cli.films import film, film_options
from rate.cli.parse import Reader, mirror, parse
from rate.tasks.gym.options import Options, join, read_arguments

if TYPE_CHECKING:
    from rate.runs.folder import Run

ARGUMENTS: dict[Any, type | Reader] = {
    Mapping: Reader(Sequence[str], read_arguments, "[KEY=VALUE ...]")
}
"""How the keyword arguments of an environment are read."""


_GATE = """A folder of runs, such as `rate train --seeds` makes, stands for all runs in it.

With --at-least SCORE the exit status is 1 if the mean score of a task is below it.

--target-return with several numbers scores the policy with each of them, and draws what it obtains
against what was asked for, beside the returns of its data.

With --dataset DATASET in place of tasks it scores the policy on recorded data, without an
environment."""


def list_(arguments: list[str]) -> None:
    """List models, tasks and experiments by name."""
    from rate import experiments, models, tasks

    sources: dict[str, Callable[[], dict[str, str]]] = {
        "models": models.names,
        "tasks": tasks.families,
        "experiments": experiments.names,
    }

    def names(what: Literal["all", "models", "tasks", "experiments"] = "all") -> None:
        """List models, tasks and experiments by name.

        Args:
            what: What to list.
        """
        for title, found in sources.items():
            if what in ("all", title):
                show_names(title, found())

    names(**parse(names, arguments, "rate list"))


def collect(arguments: list[str]) -> None:
    """Record episodes of a task's expert into a dataset."""
    from rate.acting.collection import collect as run

    added = _task_options("horizon", "expert", "environment")
    options = parse(run, arguments, "rate collect", added=added)
    options["task"] = join(options["task"], options.pop("added"))
    dataset = run(**options, show_progress=True)
    out.print(
        f"{options['output']}: {len(dataset)} episodes, {dataset.steps} steps, mean return "
        f"{dataset.returns.mean():.3f}, content {dataset.content_hash[:12]}"
    )


def evaluate(arguments: list[str]) -> int:
    """Score a trained policy and show the scores; returns 1 if one is below what is asked for."""
    from rate.acting.corruption import Corruption
    from rate.acting.evaluation import evaluate as run
    from rate.runs.folder import Run, runs_in

    if any(word.partition("=")[0] == "--dataset" for word in arguments):
        _evaluate_recorded(arguments)
        return 0
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--at-least", type=float)
    parser.add_argument("--target-return", type=float, nargs="+", default=[])
    gate, arguments = parser.parse_known_args(arguments)
    if len(gate.target_return) == 1:
        arguments += ["--target-return", str(gate.target_return[0])]
    corrupt = {"what": "corrupt", "strength": "corrupt_strength", "step": "corrupt_from"}
    options = parse(
        run,
        arguments,
        "rate evaluate",
        types={Corruption | None: mirror(Corruption, corrupt, absent="nothing")},
        added=_task_options("horizon", "environment"),
        about=_GATE,
    )
    added = options.pop("added")
    options["tasks"] = [join(task, added) for task in options["tasks"]]
    if swept := len(gate.target_return) > 1:
        asked = [Options(target_return=target) for target in gate.target_return]
        options["tasks"] = [join(task, one) for task in options["tasks"] for one in asked]
    named, video = options.pop("run"), options["protocol"].video
    runs = runs_in(named) or [Run(named)]
    rows, sweeps, several = [], [], len(runs) > 1
    for one in runs:
        place = Path(video, one.name) if video and several else video
        rows += (found := run(one.path, **options, video=place, show_progress=True))
        sweeps += [_sweep(one, found)] if swept else []
    out.print(_scores(rows, several))
    for path in sweeps:
        out.print(f"written: {path}")
    below = [row for row in rows if gate.at_least is not None and row["value"] < gate.at_least]
    for row in below:
        err.print(f"{row['task']}: {row['value']:.3f} is below {gate.at_least:g}")
    return int(bool(below))


def _scores(rows: Sequence[Mapping[str, Any]], several: bool) -> Table:
    """A table of scores; those of several runs have the names of their runs."""
    numbers = "mean", "standard error", "episodes", "steps/s"
    table = Table(Column("task", overflow="fold"), "checkpoint", "metric", *numbers)
    for row in rows:
        score = f"{row['value']:.3f}", f"{row['standard_error']:.3f}", str(row["episodes"])
        speed = row["steps"] / max(row["seconds"], 1e-9)
        task = f"{row['variant']}: {row['task']}" if several else row["task"]
        table.add_row(task, row["checkpoint"], row["metric"], *score, f"{speed:.0f}")
    return table


def _sweep(run: "Run", rows: list[dict[str, Any]]) -> Path:
    """Draw obtained against asked returns, with those of the data where it is found."""
    from rate.dataset import open_dataset
    from rate.reporting.sweep import sweep
    from rate.runs.folder import RunError
    from rate.training.data import find_dataset

    try:
        returns = open_dataset(find_dataset(run, None)).returns
    except RunError:
        returns = np.zeros(0)
    return sweep(run, rows, returns)


def _evaluate_recorded(arguments: list[str]) -> None:
    """Score a trained policy on recorded data and show the scores."""
    from rate.acting.recorded import evaluate_recorded as run

    row = run(**parse(run, arguments, "rate evaluate"), show_progress=True)
    measure = "log_likelihood" if "log_likelihood" in row else "squared_error"
    table = Table("steps of the episode", "steps", measure.replace("_", " "), "accuracy")
    for part in row["by_distance"]:
        place = f"{part['from']} to {part['to']}" if part["to"] > part["from"] else part["from"]
        numbers = f"{part[measure]:.4f}", f"{part['accuracy']:.3f}"
        table.add_row(str(place), f"{part['steps']:,}", *numbers)
    table.add_row("all", f"{row['steps']:,}", f"{row[measure]:.4f}", f"{row['accuracy']:.3f}")
    out.print(table)
    which = "held-out episodes" if row["held_out"] else "episodes"
    text = f"{row['episodes']} {which}"
    if "calibration_error" in row:
        text += f"; calibration error {row['calibration_error']:.3f}"
    out.print(text)


def record(arguments: list[str]) -> None:
    """Record a video of a policy, or of a task's expert, at play."""
    from rate.acting.recording import record as run

    added = _task_options("horizon", "expert", "environment")
    options = parse(run, arguments, "rate record", added=added)
    task_options = options.pop("added")
    if options["task"]:
        options["task"] = join(options["task"], task_options)
    elif task_options != Options():
        raise ValueError("options of a task belong to one that is named: give --task")
    for outcome in run(**options, show_progress=True):
        out.print(
            f"seed {outcome.seed}: return {outcome.total_return:.4g} in {outcome.length} steps"
        )
    out.print(f"written: {options['output']}")


def inspect(arguments: list[str]) -> None:
    """Look into a trained policy and show the report."""
    from rate.inspection import inspect as run

    added = _task_options("horizon", "environment")
    options = parse(run, arguments, "rate inspect", added=added)
    task_options = options.pop("added")
    if options["task"]:
        options["task"] = join(options["task"], task_options)
    elif task_options != Options():
        raise ValueError("--horizon and --environment belong to a task: name it with --task")
    folder = run(**options, show_progress=True)
    if options["output"] is None:
        show_report(folder)
    else:
        out.print(f"written: {folder}/inspection.json and inspect-*.png")


def export(arguments: list[str]) -> None:
    """Write a policy as a folder that acts by itself."""
    from rate.exporting import export as run

    folder = run(**parse(run, arguments, "rate export"))
    out.print(f"{folder}: written; see {folder}/README.md, and try python {folder}/example.py")


def convert(arguments: list[str]) -> None:
    """Make a run of a released checkpoint."""
    from rate.runs.conversion import convert as run
    from rate.runs.folder import Run

    options = parse(run, arguments, "rate convert")
    folder = run(**options)
    task = Run(folder).provenance().get("task")
    out.print(f"{folder}: a run; try rate evaluate {folder} --tasks {task or 'TASK'}")


def push(arguments: list[str]) -> None:
    """Share a run, a dataset or an exported policy."""
    from rate.runs.sharing import push as run

    out.print(f"shared: {run(**parse(run, arguments, 'rate push'))}")


def pull(arguments: list[str]) -> None:
    """Fetch what somebody has shared."""
    from rate.runs.sharing import kind_of
    from rate.runs.sharing import pull as run

    folder = run(**parse(run, arguments, "rate pull"))
    out.print(f"{folder}: a {kind_of(folder)}; it comes from others, see SECURITY.md")


def report(arguments: list[str]) -> None:
    """Write a report and show it."""
    from rate.reporting import report as run

    options = parse(run, arguments, "rate report", added=film_options())
    # What is reported on elsewhere is not written to.
    if options.pop("added").films and options["output"] is None:
        named = options["folder"]
        film([named] if isinstance(named, str | Path) else named)
    folder = run(**options).parent
    show_report(folder)
    if options["interactive"]:
        out.print(f"written: {folder}/interactive.html")


def _task_options(*names: str) -> type:
    """A dataclass of these options of a task, which join its name."""
    return mirror(Options, {name: name for name in names}, types=ARGUMENTS)


def show_report(folder: Path) -> None:
    """Print the report in a folder, up to its part about training."""
    text = (folder / "report.md").read_text(encoding="utf-8")
    lines = text.partition("\n## Training")[0].splitlines()
    text = "\n".join(line for line in lines if not line.startswith("!["))
    out.print(Markdown(text, hyperlinks=False))
    out.print(f"\nwritten: {folder}/report.html, report.md, summary.json and figures")
