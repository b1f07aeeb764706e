"""An experiment of small runs, and what must be the same of two reproductions of it."""

import json
from pathlib import Path

import torch

from rate.launch.claims import Claims
from rate.runs.checkpoint import read_tensors
from rate.storage.files import read_jsonl
from rate.system.provenance import ALWAYS

EXPERIMENT = """
from rate.experiments import Collection, Experiment, Page
from rate.models import gru, mlp
from rate.recipe import OptimiserConfig, Recipe

def recipe(model):
    return Recipe(
        dataset="recall", model=model, updates={updates}, batch_size=4, checkpoint_every=2,
        optimiser=OptimiserConfig(warmup=1),
    )

EXPERIMENT = Experiment(
    data={{"recall": Collection("recall/6", 24)}},
    variants={{"gru": recipe(gru.Config(4, 2, 16)), "mlp": recipe(mlp.Config(4, 2, 16))}},
    evaluations=("recall/6",),
    seeds=tuple(range({seeds})),
    episodes=4,
)
PAGE = Page(title="Small runs", axis="delay")
"""


def write_experiment(folder: Path, seeds: int, updates: int) -> str:
    """A file in a folder; of several files of one name, a process would remember the first."""
    name = f"{folder.name.replace('-', '_')}.py"
    (folder / name).write_text(EXPERIMENT.format(seeds=seeds, updates=updates))
    return name


def lasting(rows):
    passing = ("seconds", "date", "commit")
    kept = [{key: one for key, one in row.items() if key not in passing} for row in rows]
    for row in kept:  # a process may have imported simulators for something else
        row["packages"] = {name: row["packages"][name] for name in ALWAYS}
    return sorted(kept, key=json.dumps)


def require_equal(folder, serial):
    assert lasting(read_jsonl(folder / "rows.jsonl")) == lasting(read_jsonl(serial / "rows.jsonl"))
    for run in (serial / "runs").iterdir():
        other = folder / "runs" / run.name
        assert lasting(read_jsonl(other / "scores.jsonl")) == lasting(
            read_jsonl(run / "scores.jsonl")
        )
        updates = [row["update"] for row in read_jsonl(other / "metrics.jsonl")]
        assert updates == [row["update"] for row in read_jsonl(run / "metrics.jsonl")]
        mine, _ = read_tensors(other / "last.safetensors")
        theirs, _ = read_tensors(run / "last.safetensors")
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


MOST_KILLS = 3
"""Kills of one job: a job that takes longer than its processes live is never done."""


def at_work(plan) -> list[int]:
    """Processes that have claimed a job of a plan and not done it, of jobs that were not killed
    `MOST_KILLS` times before."""
    claims, found = Claims(plan.claims, 2), []
    state = claims.state()
    for name in state.attempts.keys() - state.done:
        last = state.attempts[name] - 1
        going = last not in state.ended.get(name, ()) and claims.alive(name, last)
        if going and last < MOST_KILLS:
            found.append(int(claims.facts(f"{name}.{last}.claim")["worker"].split()[1]))
    return found


def interrupted(plan) -> int:
    """Attempts at jobs that came to no end, because their processes were killed."""
    state = Claims(plan.claims, 2).state()
    return sum(state.attempts.values()) - len(state.done)


def require_once(plan):
    """Every job is done, by one attempt, and no attempt came after it."""
    claims = Claims(plan.claims, 2)
    state = claims.state()
    assert state.done == {job.name for job in plan.jobs}
    for name in state.done:
        assert claims.facts(f"{name}.done")["attempt"] == state.attempts[name] - 1
