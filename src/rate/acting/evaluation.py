"""Evaluation: a policy acts step by step, one episode per seed, and every score is kept."""

import re
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rate import threads
from rate.acting.corruption import Corruption
from rate.acting.rollout import Outcome
from rate.acting.workers import Acting, Workers
from rate.files import append_jsonl
from rate.progress import progress_bar
from rate.provenance import commit
from rate.runs import folder as rundir
from rate.runs.checkpoint import load_policy
from rate.spaces import flatten, unflatten
from rate.tasks.gym.options import split
from rate.tasks.lookup import find
from rate.tasks.task import Task

SCORES = "scores.jsonl"


def evaluate(
    run: str | Path,
    tasks: Sequence[str],
    *,
    checkpoint: str = "last",
    episodes: int = 100,
    first_seed: int = 0,
    parallel: int = 100,
    workers: int = 1,
    sample: bool = False,
    target_return: float | None = None,
    corruption: Corruption | None = None,
    device: str = "cpu",
    thread_count: int = 1,
    show_progress: bool = False,
    **labels: Any,
) -> list[dict[str, Any]]:
    """Score a run's policy on tasks; rows are returned and appended to scores.jsonl in the run
    folder.

    The k-th episode has seed first_seed + k, whatever `parallel` and `workers` are. workers:
    processes that share the episodes. checkpoint: "last" or "best". The return asked for is
    target_return, else the task's own, else the checkpoint's; rewards received are taken off it
    step by step, and it is not restarted at segment borders. sample: draw actions in place of
    taking the most likely ones. corruption: noise mixed into memory; its rows hold it as
    "corruption", and are a variant of their own, so that they never stand for the policy as it is.
    thread_count: 0 measures what is fastest; workers take one thread each. labels: further entries
    for the rows, such as experiment and variant.
    """
    for name, given in (("episodes", episodes), ("parallel", parallel)):
        if given < 1:
            raise ValueError(f"{name} must be at least 1, but {given} was given")
    run = Path(run)
    recipe, facts = rundir.read(run)
    found = [find(name) for name in tasks]
    policy, header = load_policy(run / f"{checkpoint}.safetensors")
    for task in found:
        check_spaces(task, policy)
    if corruption:
        corruption.entries(policy)
    rows = []
    with Workers(workers) as pool:
        for task in found:
            started = time.perf_counter()
            target = task.target_return if target_return is None else target_return
            acting = Acting(
                run / f"{checkpoint}.safetensors", task.name, target, sample, device, corruption
            )
            if workers == 1:
                _choose_threads(acting, task, min(parallel, episodes), thread_count)
            seeds = range(first_seed, first_seed + episodes)
            ticks = pool.ticks(episodes, parallel, task.horizon)
            with progress_bar(
                f"evaluate {run.name} on {task.name}", ticks, show=show_progress
            ) as bar:
                results = list(pool.outcomes(acting, seeds, parallel=parallel, progress=bar))
            row = {
                "experiment": "",
                "variant": f"{run.name}, {corruption}" if corruption else run.name,
                "checkpoint": checkpoint,
                "recipe": recipe.hash,
                "seed": facts["seed"],
                **_scored(task, seeds, results),
                "actions": "sampled" if sample else "greedy",
                "update": header.get("update"),
                "commit": commit(),
                "device": device,
                **({"corruption": asdict(corruption)} if corruption else {}),
                "seconds": round(time.perf_counter() - started, 3),
                "date": datetime.now(UTC).isoformat(timespec="seconds"),
                **labels,
            }
            rows.append(row)
            append_jsonl(run / SCORES, row)
    return rows


def _scored(task: Task, seeds: range, results: Sequence[Outcome]) -> dict[str, Any]:
    """What a row says of its task and of the episodes played in it."""
    scores = np.array([task.score(result.total_return, result.length) for result in results])
    returns = np.array([result.total_return for result in results])
    return {
        "task": task.name,
        "metric": task.metric,
        "x": _size(task.name),
        "value": float(scores.mean()),
        "standard_error": float(scores.std(ddof=1) / np.sqrt(len(scores)))
        if len(scores) > 1
        else 0.0,
        "episodes": len(scores),
        "scores": [round(float(score), 6) for score in scores],
        **(
            {}
            if np.array_equal(scores, returns)
            else {"returns": [round(float(one), 6) for one in returns]}
        ),
        **({"cues": [int(task.cue(seed)) for seed in seeds]} if task.cue else {}),
        "steps": int(sum(result.length for result in results)),
    }


def _size(name: str) -> float | None:
    """Position of a task on the axis of a figure: its length, or else the last number that its
    environment is given."""
    base, options = split(name)
    length = re.search(r"/(\d+)(?:x\d+)?$", base)
    if length:
        return int(length[1])
    numbers = [value for value in options.environment.values() if type(value) in (int, float)]
    return numbers[-1] if numbers else None


def check_spaces(task: Task, policy: Any) -> None:
    """Raise a ValueError unless the task has the spaces that the policy was trained for."""
    for name in ("observation_space", "action_space"):
        wanted, given = getattr(policy, name), getattr(task, name)
        if wanted != given:
            raise ValueError(
                f"the policy was trained for the {name.replace('_', ' ')} {wanted}, but "
                f"{task.name} has {given}"
            )


def _choose_threads(acting: Acting, task: Task, batch: int, thread_count: int) -> None:
    if thread_count:
        torch.set_num_threads(thread_count)
        return
    space, agent = task.observation_space, acting.agent()
    sample = flatten(space, space.sample())
    values = unflatten(space, {path: np.stack([leaf] * batch) for path, leaf in sample.items()})

    def few_steps() -> None:
        agent.reset(batch)
        for _ in range(8):
            agent.act(values, np.zeros(batch))

    torch.set_num_threads(threads.fastest(few_steps))
