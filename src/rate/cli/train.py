"""`rate train`: one command per model, whose options are those of its configuration."""

import dataclasses
import shlex
from pathlib import Path

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
    name, *rest = arguments
    config = models.config_class(name)

    from rate.models.backbone import ModelConfig
    from rate.training import train as run

    prog = f"rate train {name}"
    options = parse(run, rest, prog, replaced={ModelConfig: config}, about=config.__doc__ or "")
    return _finish(run(**options, show_progress=True))


def _resume(arguments: list[str]) -> None:
    from rate.training import resume as run

    _finish(run(**parse(run, arguments, "rate train --resume"), show_progress=True))


def _finish(run: Path) -> None:
    """Say how long training took and what to do next."""
    from rate.files import read_jsonl
    from rate.runs.metrics import METRICS, spent

    seconds, selection = spent(read_jsonl(run / METRICS))
    share = selection / max(seconds, 1e-9)
    out.print(f"{run}: {seconds:.0f} s, {share:.0%} of it in choosing the best checkpoint")
    quoted = shlex.quote(str(run))
    evaluate = f"rate evaluate {quoted} --tasks {_own_task(run)}"
    out.print(f"{run}: trained. Next: {evaluate}, then rate report {quoted}")


def _own_task(run: Path) -> str:
    """The task that the run's data is from, without who acted in it, as a shell takes it."""
    from rate.runs import folder as rundir
    from rate.tasks.gym.options import join, split

    _, facts = rundir.read(run)
    if not facts.get("task"):
        return "..."
    base, options = split(facts["task"])
    return shlex.quote(join(base, dataclasses.replace(options, expert=None)))
