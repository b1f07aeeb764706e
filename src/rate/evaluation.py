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

from rate import rundir, threads
from rate.checkpoint import load_agent, load_policy
from rate.corruption import Corrupted, Corruption
from rate.files import append_jsonl
from rate.progress import progress_bar
from rate.rollout import outcomes
from rate.tasks import Task, find

SCORES = "scores.jsonl"


def evaluate(
    run: str | Path,
    tasks: Sequence[str],
    *,
    checkpoint: str = "last",
    episodes: int = 100,
    first_seed: int = 0,
    parallel: int = 100,
    sample: bool = False,
    target_return: float | None = None,
    corruption: Corruption | None = None,
    device: str = "cpu",
    thread_count: int = 1,
    show_progress: bool = False,
    **labels: Any,
) -> list[dict[str, Any]]:
    """Score a run's policy on tasks; rows are returned and appended to scores.jsonl in the run folder.

    The k-th episode has seed first_seed + k, whatever `parallel` is. checkpoint: "last" or "best". The return asked for is
    target_return, else the task's own; rewards received are taken off it step by step, and it is not restarted at segment
    borders. sample: draw actions in place of taking the most likely ones. corruption: noise mixed into memory; its rows
    hold it as "corruption", and are a variant of their own, so that they never stand for the policy as it is.
    thread_count: 0 measures what is fastest. labels: further entries for the rows, such as experiment and variant.
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
    for task in found:
        target = task.target_return if target_return is None else target_return
        agent = load_agent(run / f"{checkpoint}.safetensors", target_return=target, sample=sample, device=device)
        if corruption:
            agent = Corrupted(agent.policy, target, corruption, sample)
        _choose_threads(agent, task, min(parallel, episodes), thread_count)
        started = time.perf_counter()
        seeds = range(first_seed, first_seed + episodes)
        with progress_bar(
            f"evaluate {run.name} on {task.name}", -(-episodes // parallel) * task.horizon, show=show_progress
        ) as bar:
            results = list(outcomes(agent, task, seeds, parallel=parallel, progress=bar))
        scores = np.array([task.score(result.total_return, result.length) for result in results])
        size = re.search(r"(\d+)(?:x\d+)?$", task.name)
        rows.append(
            {
                "experiment": "",
                "variant": f"{run.name}, {corruption}" if corruption else run.name,
                "checkpoint": checkpoint,
                "recipe": recipe.hash,
                "seed": facts["seed"],
                "task": task.name,
                "metric": task.metric,
                "x": int(size[1]) if size else None,
                "value": float(scores.mean()),
                "standard_error": float(scores.std(ddof=1) / np.sqrt(len(scores))) if len(scores) > 1 else 0.0,
                "episodes": len(scores),
                "scores": [round(float(score), 6) for score in scores],
                **({"cues": [int(task.cue(seed)) for seed in seeds]} if task.cue else {}),
                "steps": int(sum(result.length for result in results)),
                "actions": "sampled" if sample else "greedy",
                "update": header.get("update"),
                "commit": rundir.commit(),
                "device": device,
                **({"corruption": asdict(corruption)} if corruption else {}),
                "seconds": round(time.perf_counter() - started, 3),
                "date": datetime.now(UTC).isoformat(timespec="seconds"),
                **labels,
            }
        )
        append_jsonl(run / SCORES, rows[-1])
    return rows


def check_spaces(task: Task, policy: Any) -> None:
    """Raise a ValueError unless the task has the spaces that the policy was trained for."""
    for name in ("observation_space", "action_space"):
        wanted, given = getattr(policy, name), getattr(task, name)
        if wanted != given:
            raise ValueError(
                f"the policy was trained for the {name.replace('_', ' ')} {wanted}, but {task.name} has {given}"
            )


def _choose_threads(agent: Any, task: Task, batch: int, thread_count: int) -> None:
    if thread_count:
        torch.set_num_threads(thread_count)
        return
    space = task.observation_space
    zeros = np.zeros((batch, *(space.shape or ())), space.dtype) if space.shape is not None else None
    if zeros is None:
        return

    def few_steps() -> None:
        agent.reset(batch)
        for _ in range(8):
            agent.act(zeros, np.zeros(batch))

    torch.set_num_threads(threads.fastest(few_steps))
