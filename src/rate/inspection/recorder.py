"""Recording of the memory that a policy carries from segment to segment, and episodes as
segments."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from rate.acting.actor import Actor
from rate.episode import Episode
from rate.models.backbone import Memory, Stream
from rate.models.policy import Policy
from rate.segment import Segment


class Traced(Actor):
    """An `Actor` that keeps its memory at the start of segments that begin at certain steps.

    `kept` holds one flat array [f] for each part, seed and step. Rows are recorded beyond the end
    of their episode, until all episodes of the batch have ended.

    Args:
        policy: The policy.
        target_return: Return that the policy is conditioned on.
        parts: Entries of the memory by what they hold, see `Backbone.memory_parts`.
        at: Steps at which the segments begin.
    """

    def __init__(
        self,
        policy: Policy,
        target_return: float,
        parts: Mapping[str, tuple[int, ...]],
        at: Sequence[int],
    ) -> None:
        super().__init__(policy, target_return)
        self.parts, self.at = parts, set(at)
        self.kept: dict[tuple[str, int, int], np.ndarray] = {}
        self.seeds: Sequence[int] = ()

    def reset(
        self, batch: int = 1, seeds: Sequence[int] | None = None, rows: np.ndarray | None = None
    ) -> None:
        """See `Actor.reset`; seeds name the episodes, and rows without a seed have their number."""
        if rows is None:
            self.seeds = range(batch) if seeds is None else seeds
        super().reset(batch, seeds, rows)

    def _start(self, memory: Memory, rows: np.ndarray, steps: np.ndarray) -> Stream:
        recorded = [
            (place, row, step)
            for place, (row, step) in enumerate(zip(rows, steps, strict=True))
            if step in self.at
        ]
        largest = self.policy.backbone.full_size(memory) if recorded else memory
        for part, entries in self.parts.items() if recorded else ():
            flat = torch.cat([largest[entry].flatten(1) for entry in entries], 1).cpu().numpy()
            for place, row, step in recorded:
                self.kept[part, int(self.seeds[row]), int(step)] = flat[place].copy()
        return super()._start(memory, rows, steps)


def as_segment(episode: Episode, target_return: float) -> Segment:
    """One episode as a segment [1, T, ...], with the returns-to-go of a policy that is conditioned
    on `target_return`."""
    length = len(episode)
    received = np.concatenate([[0.0], np.cumsum(episode.rewards[:-1], dtype=np.float64)])

    def batched(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array))[None]

    return Segment(
        observations={path: batched(leaf[:length]) for path, leaf in episode.observations.items()},
        actions=batched(episode.actions),
        rewards=batched(episode.rewards),
        returns_to_go=batched((target_return - received).astype(np.float32)),
        terminations=batched(episode.terminations),
        timesteps=torch.arange(length)[None],
        mask=torch.ones(1, length, dtype=torch.bool),
    )
