"""`rate train`: one command per model, whose options are those of its configuration."""

import dataclasses
import shlex
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from rate.cli.console import out, show_names
from rate.cli.parse import parse

USAGE = """rate train MODEL --dataset FOLDER --run FOLDER [options]: train a policy.
rate train MODEL --help explains every option of a model and of the training.
rate train --resume RUN continues an interrupted run to the same weights.

MODEL is one of these, or the address of a configuration of yours: module:Config or file.py:Config.
"""


def train(arguments: list[str]) -> None:
    """Train a policy, or resume an interrupted run."""
    from rate import models

    resume = [word for word in arguments if word.partition("=")[0] == "--resume"]
    if resume:
        words = [word.partition("=")[2] if word in resume else word for word in arguments]
        return _resume([word for word in words if word])
    if not arguments or arguments[0] in ("-h", "--help"):
        out.print(USAGE)
        return show_names("models", models.names())
    return _train(*arguments)


def _train(model: str, *arguments: str) -> None:
    from rate import models
    from rate.models.backbone import ModelConfig
    from rate.objectives import OBJECTIVES
    from rate.objectives.objective import ObjectiveConfig
    from rate.training import train as run

    config = models.config_class(model)
    name = _objective(arguments)
    options = parse(
        run,
        arguments,
        f"rate train {model}",
        types={ModelConfig: config, ObjectiveConfig: OBJECTIVES.find(name)},
        added=_choice("objective", name, f"{', '.join(OBJECTIVES.names())}, or module:Config"),
        about=f"{model}: {config.__doc__}",
    )
    del options["added"]
    _finish(run(**options, show_progress=True))


def _objective(arguments: Sequence[str]) -> str:
    """The objective that the command line names; it decides which options there are."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--objective", default="behaviour-cloning")
    return str(parser.parse_known_args(arguments)[0].objective)


def _choice(option: str, default: str, allowed: str) -> type:
    """A dataclass of an option that is read before all others, for the help."""
    help_ = f"What the policy is trained for: {allowed}; --help explains the options of it."
    mark = tyro.conf.arg(help=help_, help_behavior_hint="(default: behaviour-cloning)")
    return dataclasses.make_dataclass("Choice", [(option, Annotated[str, mark], default)])


def _resume(arguments: list[str]) -> None:
    from rate.training import resume as run

    _finish(run(**parse(run, arguments, "rate train --resume"), show_progress=True))


def _finish(run: Path) -> None:
    """Say how long training took and what to do next."""
    from rate.runs.folder import Run
    from rate.runs.metrics import spent

    seconds, selection = spent(Run(run).metrics())
    share = selection / max(seconds, 1e-9)
    out.print(f"{run}: {seconds:.0f} s, {share:.0%} of it in choosing the best checkpoint")
    quoted = shlex.quote(str(run))
    evaluate = f"rate evaluate {quoted} --tasks {_own_task(run)}"
    out.print(f"{run}: trained. Next: {evaluate}, then rate report {quoted}")


def _own_task(run: Path) -> str:
    """The task that the run's data is from, without who acted in it, as a shell takes it."""
    from rate.runs.folder import Run
    from rate.tasks.gym.options import join, split

    task = Run(run).provenance().get("task")
    if not task:
        return "..."
    base, options = split(task)
    return shlex.quote(join(base, dataclasses.replace(options, expert=None)))
