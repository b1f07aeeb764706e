"""Inspection of a run: attention maps of its policy, probes of its memory, and scores with noise in
place of memory."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import torch

from rate.acting.evaluation import check_spaces
from rate.acting.recording import own_task
from rate.inspection.findings import Findings, Inspection
from rate.reporting import report
from rate.runs.checkpoint import load_policy
from rate.runs.folder import Run
from rate.storage.files import atomic_write
from rate.storage.folders import require_writable
from rate.system.compute import Threads, with_changes
from rate.system.provenance import commit
from rate.tasks.lookup import find
from rate.values import Checked, FirstSeed, Range, checks_arguments


@dataclass(frozen=True)
class InspectionConfig(Checked):
    """Which policy is inspected, and on which episodes."""

    checkpoint: Literal["last", "best"] = "last"
    """The last checkpoint, or the best one by validation."""
    episodes: Annotated[int, Range(2)] = 100
    """Number of episodes, one per seed; at least 2."""
    first_seed: FirstSeed = 0
    """Seed of the first episode."""
    threads: Threads = 1
    """CPU threads; 0 leaves the number to PyTorch."""


@checks_arguments
def inspect(
    run: str | Path,
    task: str | None = None,
    config: InspectionConfig = InspectionConfig(),
    *,
    output: str | Path | None = None,
    trust: bool = False,
    show_progress: bool = False,
    **changes: Any,
) -> Path:
    """Inspect attention and memory of a run's policy while it acts greedily.

    Writes inspection.json and pictures: attention maps (Fig. 2 of the paper), memory over
    time, a linear probe for the cue, and the score with noise in place of memory (Fig. 8, 13, 16).
    What a model or task does not have (attention, memory, a cue) is left out, and a note says so.

    Args:
        run: Run folder.
        task: Task to act in, such as tmaze/90; by default the task that the run's data is from.
        config: Checkpoint and episodes.
        output: Folder for the figures and inspection.json; by default the run folder, whose report
            is then written anew.
        trust: Also run the code that the run's files name: its task, a model or an encoder of your
            own. A task that is given is code of yours.
        show_progress: Whether to show a progress bar.
        changes: Fields of `config` by name.

    Returns:
        The folder that was written to.

    Raises:
        ValueError: The task has other spaces than the policy, a number is too small, or the run
            does not name its task.
        TypeError: There is no option of a given name.
    """
    (config,) = with_changes(changes, config)
    inspected = Run(run)
    chosen = find(task or own_task(inspected, trust))
    policy, header = load_policy(inspected.checkpoint(config.checkpoint), trust=trust)
    check_spaces(chosen, policy)
    if chosen.target_return is None:
        chosen = replace(chosen, target_return=float(header["target_return"]))
    if config.threads:
        torch.set_num_threads(config.threads)
    require_writable(folder := Path(output or run))
    seeds = range(config.first_seed, config.first_seed + config.episodes)
    findings = Inspection(policy, chosen, seeds, show_progress).findings()
    about = {
        "task": chosen.name,
        "checkpoint": config.checkpoint,
        "update": header.get("update"),
        "episodes": config.episodes,
        "first_seed": config.first_seed,
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    _write(folder, about, findings)
    if output is None:
        report(run)
    return folder


def _write(folder: Path, about: dict[str, Any], findings: Findings) -> None:
    """Write figures and inspection.json, and remove the figures of an earlier inspection."""
    for old in folder.glob("inspect-*.png"):
        old.unlink()
    for name, (png, _) in findings.pictures.items():
        atomic_write(folder / name, png)
    content = {
        **about,
        "figures": [
            {"file": name, "caption": caption} for name, (_, caption) in findings.pictures.items()
        ],
        "table": [list(row) for row in findings.table],
        "notes": findings.notes,
        **findings.numbers,
    }
    # The JSON file is written last: the figures that it names are then there.
    atomic_write(Run(folder).inspection_file, json.dumps(content, indent=2) + "\n")
