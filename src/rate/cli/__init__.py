"""The command `rate`: verbs over tyro. Each parses, calls one public function, and prints."""

import sys
import warnings
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.table import Column, Table
from rich.text import Text

from rate.cli.console import err, out, show_names
from rate.cli.data import data
from rate.cli.train import train

USAGE = """rate: agents that must remember.

  rate list        models, tasks and experiments
  rate collect     record an expert's episodes into a dataset
  rate data        import, export, describe and check recorded data
  rate train       train a policy; rate train MODEL --help explains every field
  rate evaluate    score a trained policy by acting step by step
  rate inspect     look into a trained policy: its attention, its memory, and noise in its place
  rate reproduce   run an experiment of the paper, from data to report
  rate report      tables and figures of a run or experiment

rate VERB --help explains a verb. A first look:

  rate collect tmaze-uniform/90 --output data/tmaze
  rate train rate --dataset data/tmaze --run runs/first
  rate evaluate runs/first --tasks tmaze/90 tmaze/900 tmaze/9600
  rate report runs/first
"""


def list_(
    what: Annotated[Literal["all", "models", "tasks", "experiments"], tyro.conf.Positional] = "all",
) -> None:
    """List models, tasks and experiments by name.

    Args:
        what: What to list.
    """
    from rate import experiments, models, tasks

    sources: dict[str, Callable[[], dict[str, str]]] = {
        "models": models.names,
        "tasks": tasks.families,
        "experiments": experiments.names,
    }
    for title, names in sources.items():
        if what in ("all", title):
            show_names(title, names())


def collect(
    task: Annotated[str, tyro.conf.Positional],
    output: Path,
    episodes: int = 2000,
    seed: int = 0,
    num_envs: int | None = None,
    workers: int = 1,
    lengths: tuple[int, int] | None = None,
    expert: str | None = None,
    horizon: int | None = None,
    environment: tuple[str, ...] = (),
) -> None:
    """Record episodes of a task's expert into a dataset.

    Args:
        task: Task such as tmaze-uniform/90, gym:CartPole-v1 or my_package.mazes:make; `rate list
        tasks` shows all. output: Folder of the new dataset. episodes: Number of episodes. seed:
        Block of episode seeds; blocks never overlap with one another or with evaluation. num_envs:
        Environments stepped together; by default the task's own number; no influence on the data.
        workers: Processes that play; no influence on the data. lengths: Least and most steps; only
        such episodes with a positive return are kept, and played until there are enough. expert:
        Who acts: random, or module:Class of an agent; by default the task's own expert. horizon:
        Steps after which an episode is cut off; by default the task's own. environment: Keyword
        arguments of the environment, such as size=5 noise=0.1.
    """
    from rate.acting.collection import collect as run
    from rate.tasks.gym.options import Options, join, read_arguments

    task = join(task, Options(horizon, expert=expert, environment=read_arguments(environment)))
    dataset = run(
        task,
        output,
        episodes=episodes,
        seed=seed,
        num_envs=num_envs,
        workers=workers,
        lengths=lengths,
        show_progress=True,
    )
    out.print(
        f"{output}: {len(dataset)} episodes, {dataset.steps} steps, mean return "
        f"{dataset.returns.mean():.3f}, "
        f"content {dataset.content_hash[:12]}"
    )


def evaluate(
    run: Annotated[Path, tyro.conf.Positional],
    tasks: tuple[str, ...],
    checkpoint: Literal["last", "best"] = "last",
    episodes: int = 100,
    first_seed: int = 0,
    num_envs: int | None = None,
    workers: int = 1,
    sample: bool = False,
    target_return: float | None = None,
    horizon: int | None = None,
    environment: tuple[str, ...] = (),
    corrupt: Literal["nothing", "memory", "cache", "all"] = "nothing",
    corrupt_strength: float = 1.0,
    corrupt_from: int = 0,
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    devices: int = 1,
    threads: int = 0,
) -> None:
    """Score a trained policy by acting step by step; rows are appended to scores.jsonl in the run
    folder.

    Args:
        run: Run folder. tasks: Tasks to score on, such as tmaze/90 tmaze/900. checkpoint: The last
        checkpoint, or the best by validation. episodes: Episodes per task, one per seed.
        first_seed: Seed of the first episode. num_envs: Environments stepped together; by
        default the task's own number; no influence on the scores. workers: Processes that share
        the episodes; no influence on the scores. sample: Draw actions in place of taking the most likely ones. target_return: Return asked for; by
        default the task's own, or else the best one in the data. horizon: Steps after which an
        episode is cut off; by default the task's own. environment: Keyword arguments of the
        environment, such as size=5 noise=0.1. corrupt: What is mixed with white noise when it is
        handed from segment to segment. corrupt_strength: Share of noise, from 0 to 1. corrupt_from:
        First step of an episode from which on there is noise. accelerator: Where to compute.
        devices: Devices that workers take turns on. threads: CPU threads; 0 leaves the number to
        PyTorch.
    """
    from rate.acting.corruption import Corruption
    from rate.acting.evaluation import evaluate as score
    from rate.tasks.gym.options import Options, join, read_arguments

    added = Options(horizon, environment=read_arguments(environment))
    corruption = (
        None if corrupt == "nothing" else Corruption(corrupt, corrupt_strength, corrupt_from)
    )
    rows = score(
        run,
        [join(task, added) for task in tasks],
        checkpoint=checkpoint,
        episodes=episodes,
        first_seed=first_seed,
        num_envs=num_envs,
        workers=workers,
        sample=sample,
        target_return=target_return,
        corruption=corruption,
        accelerator=accelerator,
        devices=devices,
        threads=threads,
        show_progress=True,
    )
    table = Table(
        Column("task", overflow="fold"), "metric", "mean", "standard error", "episodes", "steps/s"
    )
    for row in rows:
        speed = row["steps"] / max(row["seconds"], 1e-9)
        table.add_row(
            row["task"],
            row["metric"],
            f"{row['value']:.3f}",
            f"{row['standard_error']:.3f}",
            str(row["episodes"]),
            f"{speed:.0f}",
        )
    out.print(table)


def inspect(
    run: Annotated[Path, tyro.conf.Positional],
    task: str | None = None,
    checkpoint: Literal["last", "best"] = "last",
    episodes: int = 100,
    first_seed: int = 0,
    output: Path | None = None,
    threads: int = 1,
) -> None:
    """Look into a trained policy: attention maps, what memory holds and for how long, and noise in
    its place.

    Args:
        run: Run folder. task: Task to act in, such as tmaze/90; by default the one that the run's
        data is from. checkpoint: The last checkpoint, or the best by validation. episodes:
        Episodes, one per seed. first_seed: Seed of the first episode. output: Folder for figures
        and inspection.json; by default the run folder, whose report is then written anew. threads:
        CPU threads; 0 leaves them as they are.
    """
    from rate.inspection import inspect as look

    folder = look(
        run,
        task,
        checkpoint=checkpoint,
        episodes=episodes,
        first_seed=first_seed,
        output=output,
        threads=threads,
        show_progress=True,
    )
    if output is None:
        _show_report(folder)
    else:
        out.print(f"written: {folder}/inspection.json and inspect-*.png", highlight=False)


def reproduce(
    experiment: Annotated[str, tyro.conf.Positional],
    output: Path | None = None,
    seeds: tuple[int, ...] = (),
    variants: Annotated[tuple[str, ...], tyro.conf.arg(aliases=["--models"])] = (),
    tasks: tuple[str, ...] = (),
    jobs: int = 1,
    threads: int = 0,
    smoke: bool = False,
) -> None:
    """Run an experiment from data to report; run it again to go on where it stopped.

    Args:
        experiment: Name of the experiment; `rate list experiments` shows all.
        output: Folder for everything; by default runs/<experiment>, or runs/<experiment>-smoke.
        seeds: Only these seeds.
        variants: Only these variants.
        tasks: Only these evaluation tasks; in popgym, only policies for them.
        jobs: Runs side by side, with one thread each.
        threads: CPU threads of a single job; 0 measures what is fastest.
        smoke: The same in seconds, to see that it runs; its numbers mean nothing.
    """
    from rate.reproduction import reproduce as run

    folder = run(
        experiment,
        output,
        jobs=jobs,
        smoke=smoke,
        show_progress=True,
        seeds=seeds,
        variants=variants,
        tasks=tasks,
        threads=threads,
    )
    _show_report(folder)


def report(folder: Annotated[Path, tyro.conf.Positional]) -> None:
    """Write report.html, report.md, figures and summary.json for a run or an experiment.

    Args:
        folder: Run folder or experiment folder.
    """
    from rate.reporting import report as write

    write(folder)
    _show_report(folder)


def _show_report(folder: Path) -> None:
    from rich.markdown import Markdown

    text = (folder / "report.md").read_text(encoding="utf-8")
    lines = [
        line
        for line in text.partition("\n## Training")[0].splitlines()
        if not line.startswith("![")
    ]
    out.print(Markdown("\n".join(lines)))
    out.print(
        f"\nwritten: {folder}/report.html, report.md, summary.json and figures", highlight=False
    )


VERBS: dict[str, Callable[..., Any]] = {
    "list": list_,
    "collect": collect,
    "data": data,
    "train": train,
    "evaluate": evaluate,
    "inspect": inspect,
    "reproduce": reproduce,
    "report": report,
}


AGAIN = {"reproduce": "goes on where it stopped"}
"""What an interrupted command does when it is run again; training says by itself how to go on."""


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    """Show a warning as what it says, without the line of code that it comes from."""
    err.print(
        f"rate: warning: {Text.from_ansi(str(message)).plain.removeprefix('WARN: ')}",
        highlight=False,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (0 done, 2 bad input, 130 interrupted)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        out.print(USAGE, highlight=False)
        return 0
    verb, *rest = arguments
    if verb not in VERBS:
        close = get_close_matches(verb, VERBS, 1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        err.print(
            f"rate: unknown verb {verb!r}{hint} Verbs are: {', '.join(VERBS)}", highlight=False
        )
        return 2
    with warnings.catch_warnings():
        warnings.showwarning = _warn
        return _run(verb, rest)


def _run(verb: str, rest: list[str]) -> int:
    """Run a verb and turn what goes wrong into an exit status."""
    try:
        if verb == "data":
            return data(rest)
        if verb == "train":
            train(rest)
        else:
            tyro.cli(VERBS[verb], prog=f"rate {verb}", args=rest)
    except KeyboardInterrupt:
        err.print(
            f"rate {verb}: interrupted; the same command again {AGAIN.get(verb, 'starts anew')}",
            highlight=False,
        )
        return 130
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        err.print(f"rate {verb}: {error}", highlight=False)
        return 2
    except Exception as error:
        from rate.training.interruption import Interrupted

        if isinstance(error, Interrupted):
            again = f"the same command again {AGAIN[verb]}" if verb in AGAIN else error.way_on
            err.print(f"rate {verb}: {error}; {again}", highlight=False)
            return 130
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
