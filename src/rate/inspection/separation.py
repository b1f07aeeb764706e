"""How long memory keeps cues apart, measured without a long episode.

Memory is written once from the first segment of episodes with different cues, and then again and
again from one and the same segment, which holds no cue: what still differs is what memory holds of
the cue. A difference that stays as it is after ten transitions stays for a thousand.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from rate.acting.actor import Actor
from rate.acting.rollout import rollout
from rate.inspection.recorder import as_segment
from rate.models.backbone import Memory
from rate.models.policy import Policy
from rate.runs.checkpoint import load_policy
from rate.runs.folder import Run
from rate.segment import Segment
from rate.tasks.lookup import find
from rate.tasks.task import Task

TRANSITIONS = 10
"""Transitions over which the difference is followed."""
EPISODES = 40
"""Episodes that are played."""


def separation_of(run: str | Path, task: str) -> list[float]:
    """The separation of a run's last policy in a task that is given by its name."""
    policy, header = load_policy(Run(run).checkpoint(), trust=True)
    target, chosen = header["target_return"], find(task)
    return separation(policy, chosen, chosen.target_return or float(target))


@torch.no_grad()
def separation(policy: Policy, task: Task, target_return: float) -> list[float]:
    """Root mean square difference between the mean memories of cues, after the first segment and
    after each of ten transitions: [11]. Nothing where it cannot be measured.

    It cannot without a written memory, without a cue, with stacked frames, where the episodes of
    fewer than two cues have two whole segments, or in a simulator, whose episodes take long.
    """
    entries = policy.backbone.memory_parts().get("memory", ())
    length = policy.config.first_segment
    if not task.cue or not task.batch or not entries or policy.stack_frames > 1:
        return []
    agent = Actor(policy, target_return, check=False, graph="off")
    whole = [
        (int(task.cue(seed)), as_segment(episode, target_return).split(length)[:2])
        for seed, episode in enumerate(rollout(agent, task, range(EPISODES)))
        if len(episode) >= 2 * length
    ]
    cues = np.array([cue for cue, _ in whole])
    if len(np.unique(cues)) < 2:
        return []
    firsts = [policy(first, policy.initial_memory(1), 1)[1] for _, (first, _) in whole]
    memory: Memory = tuple(torch.cat(parts) for parts in zip(*firsts, strict=True))
    middle = _repeated(whole[0][1][1], len(cues))
    differences = [_difference(memory, entries, cues)]
    for _ in range(TRANSITIONS):
        memory = policy(middle, memory, len(cues))[1]
        differences.append(_difference(memory, entries, cues))
    return differences


def _repeated(segment: Segment, count: int) -> Segment:
    """The one row of a segment so many times."""
    many = segment.map(lambda tensor: tensor.expand(count, *tensor.shape[1:]))
    return replace(many, lengths=segment.lengths * count)


def _difference(memory: Memory, entries: Sequence[int], cues: np.ndarray) -> float:
    flat = torch.cat([memory[entry].flatten(1) for entry in entries], 1).double().cpu().numpy()
    means = [flat[cues == cue].mean(0) for cue in np.unique(cues)]
    pairs = [np.sqrt(np.mean((one - other) ** 2)) for one, other in combinations(means, 2)]
    return round(float(np.mean(pairs)), 6)
