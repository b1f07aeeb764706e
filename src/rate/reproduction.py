"""Reproducing an experiment: collect, train, evaluate, report; interrupted, it goes on where it stopped."""

import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from pathlib import Path

from rate import training
from rate.collection import collect
from rate.evaluation import SCORES, evaluate
from rate.experiments import Experiment, find
from rate.files import atomic_write, read_jsonl
from rate.progress import progress_bar
from rate.reporting import report
from rate.rundir import RECIPE

ROWS, FACTS = "rows.jsonl", "experiment.json"


def reproduce(
    name: str,
    output: str | Path | None = None,
    *,
    seeds: Sequence[int] | None = None,
    variants: Sequence[str] | None = None,
    jobs: int = 1,
    threads: int = 0,
    smoke: bool = False,
    show_progress: bool = False,
) -> Path:
    """Run an experiment and return its folder, with rows.jsonl, summary.json, report.html, report.md and figures.

    output: the folder, by default runs/<name>. seeds, variants: only these. jobs: processes side by side, one thread each.
    threads: CPU threads of a single job, 0 to measure. smoke: the same in seconds; the numbers then mean nothing. What is
    there already is kept: finished runs and scored tasks are not done again.
    """
    experiment = _narrow(find(name).smoke() if smoke else find(name), seeds, variants)
    output = Path(output or f"runs/{name}")
    output.mkdir(parents=True, exist_ok=True)
    for key, collection in experiment.data.items():
        if not (output / "data" / key / "card.json").exists():
            collect(
                collection.task,
                output / "data" / key,
                episodes=collection.episodes,
                seed=collection.seed,
                show_progress=show_progress,
            )
    atomic_write(output / FACTS, json.dumps(experiment.facts(name), indent=2))
    work = [(variant, seed) for seed in experiment.seeds for variant in experiment.variants]
    if jobs == 1:
        for variant, seed in work:
            _one(name, experiment, output, threads, show_progress, variant, seed)
    else:
        _many(partial(_one, name, experiment, output, 1, False), work, jobs, f"reproduce {name}", show_progress)
    _gather(experiment, output)
    report(output)
    return output


def _narrow(experiment: Experiment, seeds: Sequence[int] | None, variants: Sequence[str] | None) -> Experiment:
    unknown = set(variants or ()) - set(experiment.variants)
    if unknown:
        raise ValueError(f"unknown variants {sorted(unknown)}; variants are: {', '.join(experiment.variants)}")
    kept = {name: recipe for name, recipe in experiment.variants.items() if not variants or name in variants}
    return replace(experiment, variants=kept, seeds=tuple(seeds) if seeds else experiment.seeds)


def _one(
    name: str, experiment: Experiment, output: Path, threads: int, show_progress: bool, variant: str, seed: int
) -> None:
    """Train one variant with one seed and score it, as far as that has not been done yet."""
    run = output / "runs" / f"{variant}-{seed}"
    recipe = experiment.variants[variant]
    recipe = replace(recipe, dataset=str(output / "data" / recipe.dataset))
    if (run / RECIPE).exists():
        training.resume(run, show_progress=show_progress)
    else:
        training.train(recipe, run, seed=seed, accelerator="cpu", thread_count=threads, show_progress=show_progress)
    rows = read_jsonl(run / SCORES) if (run / SCORES).exists() else []
    scored = {(row["task"], row["checkpoint"]) for row in rows}
    wanted = dict.fromkeys(experiment.evaluations, experiment.episodes)
    if seed == experiment.seeds[0]:
        wanted |= experiment.long_evaluations
    for task, episodes in wanted.items():
        if (task, experiment.checkpoint) not in scored:
            evaluate(
                run,
                [task],
                checkpoint=experiment.checkpoint,
                episodes=episodes,
                thread_count=threads,
                show_progress=show_progress,
                experiment=name,
                variant=variant,
            )


def _many(
    one: Callable[[str, int], None], work: list[tuple[str, int]], jobs: int, title: str, show_progress: bool
) -> None:
    context = multiprocessing.get_context("spawn")
    with (
        progress_bar(title, len(work), show=show_progress) as advance,
        ProcessPoolExecutor(jobs, mp_context=context) as pool,
    ):
        futures = [pool.submit(one, variant, seed) for variant, seed in work]
        try:
            for future in as_completed(futures):
                future.result()
                advance(1)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _gather(experiment: Experiment, output: Path) -> None:
    """Put the newest row of every run and task into the experiment's rows.jsonl."""
    newest = {}
    for scores in sorted((output / "runs").glob(f"*/{SCORES}")):
        for row in read_jsonl(scores):
            newest[row["variant"], row["seed"], row["task"], row["checkpoint"]] = row
    atomic_write(output / ROWS, "".join(json.dumps(row) + "\n" for row in newest.values()))
