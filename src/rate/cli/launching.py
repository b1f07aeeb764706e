"""Verbs for many runs: `reproduce`, in this process or as a plan, and `work`."""

import dataclasses
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.table import Table

from rate.cli.console import out
from rate.cli.films import film
from rate.cli.parse import mirror, parse
from rate.cli.verbs import show_report
from rate.launch.plan import Plan

_PLAN = (
    "Write the plan of all jobs to this file, in a folder above the output, and do none of them."
)
_FILMS = (
    "Film the best, the typical and the worst episode of the first run of each variant, where the "
    "simulator and the extra film are installed."
)
_STATUS = "Show what has become of each job, and do none."


def reproduce(arguments: list[str]) -> None:
    """Run an experiment and show its report, or write its plan, or launch that."""
    from rate.reproduction import reproduce as run

    further = {"plan": (Path | None, None, _PLAN), "films": (bool, True, _FILMS)}
    added = launcher_options(arguments, **further)
    options = parse(run, arguments, "rate reproduce", added=added)
    asked = options.pop("added")
    if asked.plan is None and not asked.launcher:
        if len(options["name"]) == 1:
            [options["name"]] = options["name"]
        folder = run(**options, show_progress=True)
        if asked.films and not options["smoke"] and film([folder]):
            import_module("rate.reporting").report(folder)
        return show_report(folder)
    from rate.launch.experiment import plan_experiment

    jobs, compute = options.pop("jobs"), options.pop("compute")
    plan = plan_experiment(options.pop("name"), asked.plan, options.pop("output"), **options)
    show_plan(plan)
    if asked.launcher:
        start(plan, asked, jobs=jobs, compute=compute)


def work(arguments: list[str]) -> None:
    """Do jobs of a plan, launch what does them, or show what has become of them."""
    from rate.launch.claims import Claims
    from rate.launch.plan import read_plan
    from rate.launch.work import EXPIRE, require_done, status
    from rate.launch.work import work as run

    added = launcher_options(arguments, status=(bool, False, _STATUS))
    options = parse(run, arguments, "rate work", added=added)
    asked = options.pop("added")
    if not (asked.status or asked.launcher):
        return _show_status(run(**options, show_progress=True))
    plan = read_plan(options["plan"])
    if asked.status:
        claims = Claims(plan.claims, EXPIRE)
        _show_status(status(plan, claims))
        require_done(plan, claims)
    else:
        plan.require_trusted(options["trust"])
        start(plan, asked, jobs=options["jobs"], compute=options["compute"])


def launcher_options(arguments: Sequence[str], **others: tuple[Any, Any, str]) -> type:
    """A dataclass of the fields of `launcher_fields` and of others.

    Args:
        arguments: The command line.
        others: Further options: type, default and help.
    """
    fields: list[tuple[str, Any, Any]] = [
        (option, Annotated[kind, tyro.conf.arg(help=text)], default)
        for option, (kind, default, text) in others.items()
    ]
    return dataclasses.make_dataclass("Launching", [*fields, *launcher_fields(arguments)])


def launcher_fields(arguments: Sequence[str]) -> list[tuple[str, Any, Any]]:
    """Fields for tyro: the option `--launcher`, and the options of the launcher that the command
    line names."""
    from rate.launch.launcher import LAUNCHERS

    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--launcher", default="")
    name = str(parser.parse_known_args(arguments)[0].launcher)
    allowed = ", ".join(LAUNCHERS.names())
    about = f"Start what works on the plan: {allowed}. Its options are shown where it is named."
    fields: list[tuple[str, Any, Any]] = [
        ("launcher", Annotated[str, tyro.conf.arg(help=about)], "")
    ]
    if name:
        config: Any = mirror(LAUNCHERS.find(name))
        mark = tyro.conf.arg(name="launcher")
        settings = dataclasses.field(default_factory=config)
        fields.append(("settings", Annotated[config, mark], settings))
    return fields


def start(plan: Plan, asked: Any, **options: Any) -> None:
    """Launch a plan, whose code the command has named, and say what comes of it.

    Args:
        plan: The plan.
        asked: What `launcher_options` has read.
        options: Arguments of `rate.launch.launcher.launch`.
    """
    from rate.launch.launcher import launch

    launcher = asked.settings.restore()
    started = launch(plan.path, launcher, trust=True, show_progress=True, **options)
    out.print(f"{started or f'{plan.path}: all done'}")
    report = [job for job in plan.jobs if job.verb == "report"]
    if report and not started:
        show_report(plan.inner(report[0].options["output"]))
    elif started:
        out.print(f"rate work {plan.path} --status shows what has become of the jobs")


def show_plan(plan: Plan) -> None:
    """Say what a plan holds, and what to do with it."""
    counts = Counter(job.verb for job in plan.jobs)
    parts = ", ".join(f"{count} {verb}" for verb, count in counts.items())
    out.print(f"{plan.path}: {len(plan.jobs)} jobs ({parts})")
    out.print(
        f"any number of `rate work {plan.path}`, on all machines that see its folder, do them"
    )


def _show_status(found: dict[str, str]) -> None:
    table = Table("job", "state")
    for name, text in found.items():
        if text != "done":
            table.add_row(name, text)
    counts = Counter(text.partition(":")[0] for text in found.values())
    if table.rows:
        out.print(table)
    out.print(", ".join(f"{count} {state}" for state, count in counts.items()))
