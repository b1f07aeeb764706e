"""`rate train`: one command per model, whose options are those of its configuration."""

import dataclasses
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from rate.cli.console import out, show_names


def train(arguments: Sequence[str]) -> None:
    """Train a policy, or resume an interrupted run."""
    from rate import models

    if "--resume" in arguments or any(argument.startswith("--resume=") for argument in arguments):
        return tyro.cli(_resume, prog="rate train", args=arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        out.print(
            "rate train MODEL --dataset FOLDER --run FOLDER [options]: train a policy.\n"
            "rate train MODEL --help explains every option of a model and of the training.\n"
            "rate train --resume RUN continues an interrupted run to the same weights.\n",
            highlight=False,
        )
        return show_names("models", models.names())
    config = models.config_class(arguments[0])
    tyro.cli(
        _train_command(config),
        prog=f"rate train {arguments[0]}",
        args=arguments[1:],
        description=config.__doc__,
    )
    return None


def _train_command(config: type) -> Callable[..., None]:
    """The training command for one model, whose options are those of its configuration."""
    from rate.recipe import Recipe

    recipe_class: Any = dataclasses.make_dataclass(
        "Recipe",
        [("model", config, dataclasses.field(default_factory=config))],
        bases=(Recipe,),
        frozen=True,
    )
    recipe_class.__doc__ = Recipe.__doc__

    def command(
        recipe: Annotated[recipe_class, tyro.conf.arg(name="")],  # type: ignore[valid-type]
        run: Path,
        seed: int = 0,
        devices: int = 1,
        accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto",
        threads: int = 0,
        workers: int = 1,
        loggers: tuple[Literal["tensorboard", "wandb"], ...] = (),
    ) -> None:
        """Train a policy.

        Args:
            recipe: What is trained, on what, and how. run: Folder of the new run. seed: Seed of
            weights, batches and dropout. devices: Data-parallel processes; each batch is shared
            among them. accelerator: Where to compute. threads: CPU threads; 0 measures what is
            fastest. workers: Processes that share the episodes of the selection task. loggers:
            Where metrics go besides metrics.jsonl. W&B takes its key from wandb_config.yaml or
            WANDB_API_KEY.
        """
        from rate.training import train as start

        values = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(Recipe)}
        _finish(
            start(
                Recipe(**values),
                run,
                seed=seed,
                devices=devices,
                accelerator=accelerator,
                thread_count=threads,
                workers=workers,
                loggers=loggers,
                show_progress=True,
            )
        )

    return command


def _resume(resume: Path) -> None:
    """Continue an interrupted or killed run from its last checkpoint.

    Args:
        resume: The run folder.
    """
    from rate.training import resume as start

    _finish(start(resume, show_progress=True))


def _finish(run: Path) -> None:
    from rate.files import read_jsonl
    from rate.runs.metrics import METRICS, spent

    seconds, selection = spent(read_jsonl(run / METRICS))
    out.print(
        f"{run}: {seconds:.0f} s, {selection / max(seconds, 1e-9):.0%} of it in choosing the "
        "best checkpoint",
        highlight=False,
    )
    evaluate = f"rate evaluate {shlex.quote(str(run))} --tasks {_own_task(run)}"
    out.print(
        f"{run}: trained. Next: {evaluate}, then rate report {shlex.quote(str(run))}",
        highlight=False,
    )


def _own_task(run: Path) -> str:
    """The task that the run's data is from, without who acted in it, as a shell takes it."""
    from rate.runs import folder as rundir
    from rate.tasks.gym.options import join, split

    _, facts = rundir.read(run)
    if not facts.get("task"):
        return "..."
    base, options = split(facts["task"])
    return shlex.quote(join(base, options._replace(expert=None)))
