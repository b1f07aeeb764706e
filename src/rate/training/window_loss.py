"""One window through a policy: segment after segment, memory carried on, rows leaving as their
episodes end."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from rate.models.backbone import Memory
from rate.models.policy import Policy
from rate.objectives import BehaviourCloning, Objective
from rate.segment import Segment


class Learner(nn.Module):
    """Sums an objective over consecutive segments of a window; the module that data-parallel
    processes share."""

    def __init__(self, policy: Policy, objective: Objective | None = None) -> None:
        super().__init__()
        self.policy = policy
        self.objective = objective or BehaviourCloning()

    def forward(
        self,
        segments: Iterable[Segment],
        weights: list[Tensor],
        memory: Memory,
        alive: Tensor,
        more: bool,
    ) -> tuple[Tensor, Tensor, Memory, Tensor]:
        """Loss and share of right actions (scalars), the memory after the segments, and the rows it
        belongs to.

        segments: consecutive parts of one window, [B, K, ...] each; weights: [B, K] each; memory:
        of the rows in `alive` ([A] indices into B); more: whether segments follow, so that memory
        must be written after the last one.
        """
        loss, correct = weights[0].new_zeros(()), weights[0].new_zeros(())
        for index, (segment, weight) in enumerate(zip(segments, weights, strict=True)):
            active = segment.active
            if not active:
                break
            alive, memory = alive[:active], tuple(tensor[:active] for tensor in memory)
            segment, weight = segment.rows(slice(active)), weight[:active]
            write = more or index + 1 < len(weights)
            complete = segment.complete if write else 0
            part, right, memory = self.objective(self.policy, segment, weight, memory, complete)
            loss, correct = loss + part, correct + right
        return loss, correct, memory, alive


def step_weights(
    lengths: np.ndarray, steps: int, weighting: str, all_lengths: np.ndarray
) -> Tensor:
    """Weights of real steps, [B, steps], that sum to one over all rows of the batch, other
    processes' included.

    lengths: real steps of these rows [B]; all_lengths: of all rows of the batch. Weighting
    "episode": each row counts the same; "step": each real step does.
    """
    mask = np.arange(steps) < lengths[:, None]
    each = (
        1.0 / (len(all_lengths) * lengths)
        if weighting == "episode"
        else np.full(len(lengths), 1.0 / all_lengths.sum())
    )
    return torch.from_numpy((mask * each[:, None]).astype(np.float32))
