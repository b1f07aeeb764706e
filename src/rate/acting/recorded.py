"""Evaluation without an environment: how well a policy predicts recorded actions."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor

from rate.dataset import Dataset, Windows, open_dataset, read_windows, split
from rate.models.heads import CategoricalHead, ContinuousHead
from rate.models.policy import Policy
from rate.runs.checkpoint import load_policy
from rate.runs.folder import Run
from rate.segment import Segment
from rate.storage.files import append_jsonl, require_appendable
from rate.system.compute import Compute, with_changes
from rate.system.progress import progress_bar
from rate.system.provenance import commit
from rate.tasks.task import differing_space
from rate.values import Checked, Range, checks_arguments

BINS = 10
"""Bins of confidence in a calibration."""
ROWS = 64
"""Episodes that are read together."""


@dataclass(frozen=True)
class Reading(Checked):
    """Which policy reads which episodes."""

    checkpoint: Literal["last", "best"] = "last"
    """The last checkpoint, or the best by validation."""
    episodes: Annotated[int, Range(0)] = 1000
    """Episodes that are read at most, those that come first; 0: all."""
    held_out: bool = True
    """Of the dataset that the policy was trained on, read those episodes alone that were held out,
    if there are any."""


@checks_arguments
def evaluate_recorded(
    run: str | Path,
    dataset: str | Path,
    reading: Reading = Reading(),
    compute: Compute = Compute(),
    *,
    trust: bool = False,
    show_progress: bool = False,
    **changes: Any,
) -> dict[str, Any]:
    """Score a policy on recorded episodes, without an environment.

    Episodes are read from their beginning, with memory carried through and the returns-to-go of the
    recording. Rows are appended to recorded.jsonl in the run folder: likelihood and accuracy of the
    recorded actions, by distance from the episode's beginning and by position in the segment, and
    for choices a calibration.

    Args:
        run: Run folder.
        dataset: Folder of the dataset.
        reading: Which checkpoint reads which episodes.
        compute: Where to compute.
        trust: Also run the code that the run's files name: a model or an encoder of your own.
        show_progress: Show a progress bar.
        **changes: Fields of `reading` and `compute` by name, such as `episodes=20`.

    Returns:
        The row. "log_likelihood" is the mean over steps, in nats; a policy of real actions without
        a distribution has "squared_error" instead.

    Raises:
        ValueError: The dataset has other spaces than the policy, or there is no such checkpoint.
    """
    reading, compute = with_changes(changes, reading, compute)
    known, data = Run(run), open_dataset(dataset)
    require_appendable(known.recorded_file)
    recipe, facts = known.recipe(trust), known.provenance()
    policy, header = load_policy(known.checkpoint(reading.checkpoint), trust=trust)
    _check_spaces(policy, data)
    compute.use_threads()
    known_data = data.content_hash == facts.get("dataset")
    seen = (recipe.selection.fraction, facts["seed"]) if known_data else None
    episodes, unseen = _chosen(data, reading, seen)
    steps = _read(policy.to(compute.device()), data, episodes, f"read {dataset}", show_progress)
    row = {
        "variant": known.name,
        "checkpoint": reading.checkpoint,
        "recipe": recipe.hash,
        "seed": facts["seed"],
        "update": header.get("update"),
        "dataset": data.content_hash,
        "held_out": unseen,
        "episodes": len(episodes),
        **summary(steps),
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    append_jsonl(known.recorded_file, row)
    return row


def _check_spaces(policy: Policy, dataset: Dataset) -> None:
    if difference := differing_space(policy, dataset):
        name, trained, offered, reason = difference
        raise ValueError(
            f"the policy was trained for the {name} {trained}, but {dataset.path} has {offered}: "
            f"{reason}"
        )


def _chosen(
    dataset: Dataset, reading: Reading, seen: tuple[float, int] | None
) -> tuple[np.ndarray, bool]:
    """Indices of the episodes to read, and whether they were held out from training.

    `seen` is the fraction that was held out and the seed, if the policy was trained on this data.
    """
    episodes, unseen = np.arange(len(dataset)), False
    if reading.held_out and seen is not None:
        _, held_out = split(dataset, *seen)
        episodes, unseen = (held_out, True) if len(held_out) else (episodes, False)
    return episodes[: reading.episodes or None], unseen


@dataclass(frozen=True)
class Steps:
    """What a policy made of recorded steps, [n] each."""

    measure: str
    """What `values` are."""
    values: np.ndarray
    """Log-likelihood of the recorded action, or squared error."""
    correct: np.ndarray
    """Whether the most likely action is the recorded one."""
    confidence: np.ndarray
    """Probability of the most likely action; NaN where there is no choice."""
    distance: np.ndarray
    """Steps from the episode's beginning."""
    position: np.ndarray
    """Steps from the segment's beginning."""
    episode: np.ndarray
    """Number of the episode."""


@torch.no_grad()
def _read(
    policy: Policy, dataset: Dataset, episodes: np.ndarray, title: str, show_progress: bool
) -> Steps:
    """Read episodes from their beginning, as many side by side as go together."""
    order = episodes[np.argsort(-dataset.lengths[episodes], kind="stable")]
    groups = np.split(order, range(ROWS, len(order), ROWS))
    parts: list[tuple[np.ndarray, ...]] = []
    total = int(dataset.lengths[episodes].sum())
    with progress_bar(title, total, show=show_progress) as advance:
        for group in groups:
            for start, segment, outputs in _segments(policy, dataset, group):
                parts.append(_measured(policy, segment, outputs, start, group))
                advance(len(parts[-1][0]))
    kind = "squared_error" if type(policy.head) is ContinuousHead else "log_likelihood"
    return Steps(kind, *(np.concatenate(part) for part in zip(*parts, strict=True)))


def _segments(
    policy: Policy, dataset: Dataset, episodes: np.ndarray
) -> Iterator[tuple[int, Segment, Tensor]]:
    """First step, segment and outputs of all segments of episodes, the longest of which come
    first; rows leave when their episode has ended."""
    config, lengths, start = policy.config, dataset.lengths[episodes], 0
    memory = policy.initial_memory(len(episodes))
    device = next(policy.parameters()).device
    while active := int((lengths > start).sum()):
        size = config.stride if start else config.first_segment
        here = np.minimum(lengths[:active] - start, size)
        windows = Windows(episodes[:active], np.full(active, start), here)
        segment = read_windows(dataset, windows, stack_frames=policy.stack_frames).to(device)
        complete = int((here == size).sum())
        outputs, memory = policy(segment, tuple(part[:active] for part in memory), complete)
        yield start, segment, outputs
        start += size


def _measured(
    policy: Policy, segment: Segment, outputs: Tensor, start: int, episodes: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Values, correctness, confidence, distance, position and episode of a segment's steps."""
    head, mask = policy.head, segment.mask
    loss = head.loss(outputs, segment.actions)
    values = loss if type(head) is ContinuousHead else -loss
    confidence = torch.full_like(values, torch.nan)
    if isinstance(head, CategoricalHead):
        best = [part.float().log_softmax(-1).amax(-1) for part in outputs.split(head.counts, -1)]
        confidence = torch.stack(best).sum(0).exp()
    correct = head.correct(outputs, segment.actions)
    numbers = [part[mask].float().cpu().numpy() for part in (values, correct, confidence)]
    rows, steps = (part.cpu().numpy() for part in mask.nonzero(as_tuple=True))
    distance = start + steps
    return *numbers, distance, policy.config.progress(distance)[0], episodes[rows]


def summary(steps: Steps) -> dict[str, Any]:
    """What a row says of the steps."""
    names = steps.measure, "accuracy"
    means = {
        name: float(part.mean())
        for name, part in zip(names, (steps.values, steps.correct), strict=True)
    }
    _, numbers = np.unique(steps.episode, return_inverse=True)
    by_episode = np.bincount(numbers, steps.correct) / np.bincount(numbers)
    spread = by_episode.std(ddof=1) / np.sqrt(len(by_episode)) if len(by_episode) > 1 else 0.0
    row: dict[str, Any] = {
        **means,
        "accuracy_standard_error": float(spread),
        "steps": len(steps.values),
        "by_distance": list(_grouped(steps, steps.distance, _edges(steps.distance))),
        "by_position": list(_grouped(steps, steps.position, _edges(steps.position))),
    }
    if not np.isnan(steps.confidence).any():
        row |= _calibration(steps)
    return row


def _edges(numbers: np.ndarray) -> np.ndarray:
    """Edges of groups: single steps at first, then 2, 5 and 10 times a power of ten."""
    edges, scale = [0, 1, 2], 1
    while edges[-1] <= numbers.max():
        edges += [5 * scale, 10 * scale, 20 * scale]
        scale *= 10
    edges = [*[edge for edge in edges if edge <= numbers.max()], int(numbers.max()) + 1]
    return np.unique(edges)


def _grouped(steps: Steps, numbers: np.ndarray, edges: np.ndarray) -> Iterator[dict[str, Any]]:
    group = np.digitize(numbers, edges) - 1
    for index, (low, high) in enumerate(pairwise(edges)):
        here = group == index
        if here.any():
            yield {
                "from": int(low),
                "to": int(high) - 1,
                "steps": int(here.sum()),
                steps.measure: float(steps.values[here].mean()),
                "accuracy": float(steps.correct[here].mean()),
            }


def _calibration(steps: Steps) -> dict[str, Any]:
    """Confidence against accuracy in bins, and their mean distance (expected calibration error)."""
    index = np.minimum((steps.confidence * BINS).astype(int), BINS - 1)
    bins = [
        {
            "steps": int(here.sum()),
            "confidence": float(steps.confidence[here].mean()),
            "accuracy": float(steps.correct[here].mean()),
        }
        for here in (index == number for number in range(BINS))
        if here.any()
    ]
    gaps = [abs(one["confidence"] - one["accuracy"]) * one["steps"] for one in bins]
    return {"calibration": bins, "calibration_error": sum(gaps) / len(steps.values)}
