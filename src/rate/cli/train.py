"""`rate train`: one command per model, whose options are those of its configuration."""

import dataclasses
import shlex
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from rate.cli.console import out, show_names
from rate.cli.launching import launcher_fields, show_plan, start
from rate.cli.parse import parse
from rate.system.compute import Compute, is_first_process

if TYPE_CHECKING:
    from rate.recipe import Recipe

USAGE = """rate train MODEL --dataset FOLDER --run FOLDER [options]: train a policy.
rate train MODEL --help explains every option of a model and of the training.
rate train --recipe FILE --run FOLDER [options]: train by a recipe.json, or by that of a run;
options replace its own.
rate train MODEL --seeds 0-9 --jobs 2 ...: several seeds, in the folders seed-0 ... of the run.
rate train --resume RUN continues an interrupted run to the same weights; --updates N prolongs it.

MODEL is one of these, or the address of a configuration of yours: module:Config or file.py:Config.
"""


def train(arguments: list[str]) -> None:
    """Train a policy, or resume an interrupted run."""
    from rate import models
    from rate.runs.folder import read_recipe

    resume = [word for word in arguments if word.partition("=")[0] == "--resume"]
    if resume:
        words = [word.partition("=")[2] if word in resume else word for word in arguments]
        return _resume([word for word in words if word])
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--recipe", default="")
    parser.add_argument("--trust", action="store_true")
    first, rest = parser.parse_known_args(arguments)
    if first.recipe:
        return _train_as(read_recipe(first.recipe, first.trust), rest)
    if not arguments or arguments[0] in ("-h", "--help"):
        out.print(USAGE)
        return show_names("models", models.names())
    return _train(*arguments)


def _train_as(recipe: "Recipe", arguments: list[str]) -> None:
    """Train by a recipe, with the options that replace its own; a model may be named if it is the
    recipe's."""
    from rate import models
    from rate.objectives import OBJECTIVES

    model = models.model_name(recipe.model)
    if arguments and not arguments[0].startswith("-"):
        if arguments[0] != model:
            raise ValueError(f"the recipe is of the model {model}: leave {arguments[0]!r} out")
        del arguments[0]
    _train(model, *arguments, recipe=recipe, objective=OBJECTIVES.name_of(recipe.objective))


def _train(
    model: str,
    *arguments: str,
    recipe: "Recipe | None" = None,
    objective: str = "behaviour-cloning",
) -> None:
    from rate import models
    from rate.models.backbone import ModelConfig
    from rate.objectives import OBJECTIVES
    from rate.objectives.objective import ObjectiveConfig
    from rate.training import train as run

    config = models.config_class(model)
    name = _objective(arguments, objective)
    kind = OBJECTIVES.find(name)
    if recipe and not isinstance(recipe.objective, kind):
        recipe = dataclasses.replace(recipe, objective=kind())
    options = parse(
        run,
        arguments,
        f"rate train {model}",
        types={ModelConfig: config, ObjectiveConfig: kind},
        added=_added(
            arguments, name, objective, f"{', '.join(OBJECTIVES.names())}, or module:Config"
        ),
        about=f"{model}: {config.__doc__}",
        defaults={"recipe": recipe} if recipe else {},
    )
    added = options.pop("added")
    if added.launcher and not added.seeds:
        raise ValueError("--launcher starts several runs: give their --seeds, such as 0-9")
    if not added.seeds:
        return _finish(run(**options, show_progress=True))
    from rate.launch.seeds import plan_seeds, read_seeds, train_seeds

    del options["seed"]
    options |= {"seeds": read_seeds(added.seeds), "jobs": added.jobs}
    if added.launcher:
        plan, given = plan_seeds(**options), dataclasses.asdict(options["compute"])
        compute = Compute(**{item.name: given[item.name] for item in dataclasses.fields(Compute)})
        show_plan(plan)
        return start(plan, added, jobs=added.jobs, compute=compute)
    runs = train_seeds(**options, show_progress=True)
    folder = shlex.quote(str(options["run"]))
    next_verbs = f"rate evaluate {folder} --tasks ..., then rate report {folder}"
    out.print(f"{len(runs)} runs trained in {folder}. Next: {next_verbs}")


def _objective(arguments: Sequence[str], default: str) -> str:
    """The objective that the command line names; it decides which options there are."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--objective", default=default)
    return str(parser.parse_known_args(arguments)[0].objective)


def _added(arguments: Sequence[str], objective: str, default: str, allowed: str) -> type:
    """A dataclass of the options that are not those of `rate.train`."""
    texts = {
        "objective": f"What the policy is trained for: {allowed}; --help explains its options.",
        "seeds": "Train one run with each of these seeds, such as 0-9, in folders of the run's.",
        "jobs": "Runs side by side, with one thread each.",
    }
    hints = {"objective": f"(default: {default})"}
    fields: list[tuple[str, Any, Any]] = [
        ("objective", str, objective),
        ("seeds", tuple[str, ...], ()),
        ("jobs", int, 1),
    ]
    return dataclasses.make_dataclass(
        "Added",
        [
            (
                name,
                Annotated[
                    kind, tyro.conf.arg(help=texts[name], help_behavior_hint=hints.get(name))
                ],
                value,
            )
            for name, kind, value in fields
        ]
        + launcher_fields(arguments),
    )


def _resume(arguments: list[str]) -> None:
    from rate.training import resume as run

    _finish(run(**parse(run, arguments, "rate train --resume"), show_progress=True))


def _finish(run: Path) -> None:
    """Say how long training took and what to do next."""
    from rate.runs.folder import Run
    from rate.runs.metrics import spent

    if not is_first_process():
        return
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
