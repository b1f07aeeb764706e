"""Evaluation: a policy acts step by step, one episode per seed, and every score is kept."""

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rate.acting.corruption import Corruption
from rate.acting.environments import Stepping
from rate.acting.films import film
from rate.acting.rollout import Outcome
from rate.acting.video import require_videos
from rate.acting.workers import Acting, play, ticks
from rate.models.sampling import Sampling, Temperature
from rate.runs.checkpoint import load_policy
from rate.runs.folder import Run
from rate.storage.files import append_jsonl, read_jsonl, require_appendable
from rate.system.compute import Compute, with_changes
from rate.system.processes import Processes
from rate.system.progress import progress_bar
from rate.system.provenance import commit, packages
from rate.tasks.gym.options import split
from rate.tasks.lookup import find
from rate.tasks.task import Task, differing_space
from rate.values import Checked, FirstSeed, NotNegative, Positive, checks_arguments


@dataclass(frozen=True)
class Protocol(Checked):
    """What is evaluated, how, and what becomes of the rows; all but this last has an influence on
    the scores."""

    checkpoint: str = "last"
    """The last checkpoint, the best by validation, both of them, or one that was kept, such as
    update-600."""
    episodes: Positive = 100
    """Episodes per task."""
    first_seed: FirstSeed = 0
    """Seed of the first episode; the k-th has seed `first_seed + k`."""
    sample: bool = False
    """Draw actions in place of taking the most likely ones."""
    temperature: Temperature = 1.0
    """What logits are divided by where actions are drawn."""
    top_k: NotNegative = 0
    """Categories among which actions are drawn, the likeliest ones; 0: all."""
    target_return: float | None = None
    """Return that is asked for; by default the task's own, else the checkpoint's. Rewards received
    are taken off it step by step."""
    restart_return: bool = False
    """Ask for the whole return again at the beginning of each segment (the paper's evaluation on
    MuJoCo)."""
    corruption: Corruption | None = None
    """Noise mixed into memory. Rows hold it as "corruption" and are a variant of their own, so that
    they never stand for the policy as it is."""
    labels: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Further entries for the rows, such as experiment and variant."""
    output: str | Path | None = field(default=None, compare=False)
    """File to append the rows to, as JSON lines; by default scores.jsonl in the run folder."""
    video: str | Path | None = field(default=None, compare=False)
    """Folder for videos of the best, the typical and the worst episode of each task; a report shows
    those that are in the folder films of its run."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"last|best|both|update-\d+", self.checkpoint):
            raise ValueError(
                f"checkpoint is {self.checkpoint!r}: it must be last, best, both, or one that was "
                "kept, such as update-600"
            )
        if not (self.sample or Sampling(self.temperature, self.top_k).plain):
            raise ValueError("temperature and top_k are for actions that are drawn: add sample")

    @property
    def sampling(self) -> Sampling | Literal[False]:
        """What actions are drawn from; False: the most likely ones are taken."""
        return Sampling(self.temperature, self.top_k) if self.sample else False


@checks_arguments
def evaluate(
    run: str | Path,
    tasks: Sequence[str],
    protocol: Protocol = Protocol(),
    compute: Compute = Compute(),
    stepping: Stepping = Stepping(),
    *,
    trust: bool = False,
    show_progress: bool = False,
    **changes: Any,
) -> list[dict[str, Any]]:
    """Score a run's policy on tasks.

    A row per task is appended to scores.jsonl in the run folder as soon as the task is done, unless
    the same row is there already.

    Args:
        run: Run folder.
        tasks: Names of tasks, such as tmaze/90.
        protocol: What is evaluated, and how.
        compute: Where to compute. Several workers have one thread each unless it says otherwise,
            and take turns on its devices.
        stepping: How environments are stepped. No influence on the scores.
        trust: Also run the code that the run's files name: a model or an encoder of your own. Tasks
            that are given are code of yours.
        show_progress: Show a progress bar.
        **changes: Fields of `protocol`, `compute` and `stepping` by name, such as `episodes=20` or
            `workers=2`.

    Returns:
        The rows.

    Raises:
        ValueError: An option makes no sense, there is no such task or checkpoint, or a task has
            other spaces than the policy.
        OSError: Rows cannot be written; this is tried before anything is played.
        TypeError: A change is no field of `protocol`, `compute` or `stepping`.
    """
    protocol, compute, stepping = with_changes(changes, protocol, compute, stepping)
    names = ("last", "best") if protocol.checkpoint == "both" else (protocol.checkpoint,)
    each = [replace(protocol, checkpoint=name) for name in names]
    folder, played, rows = Run(run), [find(name) for name in tasks], []
    facts = [_facts(folder, one, compute, played, trust) for one in each]
    output = Path(protocol.output or folder.scores_file)
    require_appendable(output)
    if protocol.video is not None:
        require_videos(Path(protocol.video))
    compute.use_threads()
    with Processes(stepping.workers, threads=compute.threads or 1) as processes:
        for one, known in zip(each, facts, strict=True):
            for task in played:
                place = compute, stepping, show_progress
                rows.append(_score(processes, folder, task, one, known, *place))
                _append(output, rows[-1])
    return rows


def _score(
    processes: Processes,
    run: Run,
    task: Task,
    protocol: Protocol,
    facts: dict[str, Any],
    compute: Compute,
    stepping: Stepping,
    show_progress: bool,
) -> dict[str, Any]:
    """The row of one task."""
    started = time.perf_counter()
    given = protocol.target_return, task.target_return, facts["target_return"]
    asked = replace(protocol, target_return=next(one for one in given if one is not None))
    acting = _acting(run, task, asked, compute, stepping)
    results = _play(processes, run, task, asked, acting, show_progress)
    seconds = round(time.perf_counter() - started, 3)
    scored = {**_scored(task, results), "target_return": asked.target_return}
    row = _row(run.name, facts, protocol, scored, seconds)
    if asked.video is not None:
        film(acting, Path(asked.video), results, run.name, show_progress)
    return row


def _append(output: Path, row: dict[str, Any]) -> None:
    """Append a row unless it is there, from an evaluation that was then interrupted."""

    def lasting(one: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in one.items() if name not in ("seconds", "date")}

    written = read_jsonl(output) if output.exists() else []
    if lasting(json.loads(json.dumps(row))) not in map(lasting, written):
        append_jsonl(output, row)


def _facts(
    run: Run, protocol: Protocol, compute: Compute, tasks: Sequence[Task], trust: bool
) -> dict[str, Any]:
    """What rows say of the policy, once it is known that it can be scored on the tasks."""
    recipe, made = run.recipe(trust), run.provenance()
    policy, header = load_policy(run.checkpoint(protocol.checkpoint), trust=trust)
    for task in tasks:
        check_spaces(task, policy)
    if protocol.corruption:
        protocol.corruption.entries(policy)
    return {
        "recipe": recipe.hash,
        "seed": made["seed"],
        "dataset": made.get("dataset", ""),
        "training_commit": made.get("commit", ""),
        "update": header.get("update"),
        "device": compute.device(),
        "target_return": header["target_return"],
    }


def _acting(
    run: Run, task: Task, protocol: Protocol, compute: Compute, stepping: Stepping
) -> Acting:
    return Acting(
        run.checkpoint(protocol.checkpoint),
        task.name,
        protocol.target_return,
        protocol.sampling,
        protocol.restart_return,
        protocol.corruption,
        compute,
        stepping,
    )


def _play(
    processes: Processes,
    run: Run,
    task: Task,
    protocol: Protocol,
    acting: Acting,
    show_progress: bool,
) -> list[Outcome]:
    num_envs = acting.stepping.num_envs
    seeds = range(protocol.first_seed, protocol.first_seed + protocol.episodes)
    total = ticks(processes, protocol.episodes, task, num_envs)
    title = f"evaluate {run.name} on {task.name}"
    with progress_bar(title, total, show=show_progress) as advance:
        return list(play(processes, acting, seeds, num_envs=num_envs, progress=advance))


def _row(
    name: str, facts: dict[str, Any], protocol: Protocol, scored: dict[str, Any], seconds: float
) -> dict[str, Any]:
    corruption = protocol.corruption
    return {
        "experiment": "",
        "variant": f"{name}, {corruption}" if corruption else name,
        "checkpoint": protocol.checkpoint,
        "recipe": facts["recipe"],
        "dataset": facts["dataset"],
        "seed": facts["seed"],
        **scored,
        "actions": str(protocol.sampling or "greedy"),
        "first_seed": protocol.first_seed,
        "update": facts["update"],
        "training_commit": facts["training_commit"],
        "commit": commit(),
        "packages": packages(),
        "device": facts["device"],
        **({"corruption": asdict(corruption)} if corruption else {}),
        **({"restart_return": True} if protocol.restart_return else {}),
        "seconds": seconds,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **protocol.labels,
    }


def _scored(task: Task, results: Sequence[Outcome]) -> dict[str, Any]:
    """What a row says of its task and of the episodes played in it."""
    scores = np.array([task.score(result.total_return, result.length) for result in results])
    returns = np.array([result.total_return for result in results])
    error = scores.std(ddof=1) / np.sqrt(len(scores)) if len(scores) > 1 else 0.0
    row: dict[str, Any] = {
        "task": task.name,
        "metric": task.metric,
        **({"reference": dict(task.reference)} if task.reference else {}),
        "x": _size(task.name),
        "value": float(scores.mean()),
        "standard_error": float(error),
        "episodes": len(scores),
        "scores": [round(float(score), 6) for score in scores],
    }
    if not np.array_equal(scores, returns):
        row["returns"] = [round(float(one), 6) for one in returns]
    if task.cue:
        row["cues"] = [int(task.cue(result.seed)) for result in results]
    if task.group:
        row["groups"] = [task.group(result.seed) for result in results]
    return {**row, "steps": int(sum(result.length for result in results))}


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
    if difference := differing_space(policy, task):
        name, trained, offered, reason = difference
        raise ValueError(
            f"the policy was trained for the {name} {trained}, but {task.name} has {offered}: "
            f"{reason}"
        )
