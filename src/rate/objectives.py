"""What a policy is trained for: (policy, outputs, segment, weights) -> loss and metrics."""

from torch import Tensor

from rate.models.policy import Policy
from rate.segment import Segment


def behaviour_cloning(policy: Policy, outputs: Tensor, segment: Segment, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted sum of the loss of the recorded actions, and of how many were predicted right (two scalars).

    outputs: [B, K, outputs]; weights: [B, K], zero on padded steps and summing to one over the whole batch.
    Cross-entropy for discrete actions, squared error for continuous ones (method, section 9).
    """
    losses = policy.head.loss(outputs, segment.actions)
    correct = policy.head.correct(outputs.detach(), segment.actions)
    return (losses * weights).sum(), (correct * weights).sum()
