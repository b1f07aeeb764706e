"""Attention maps: what every position of a segment attends to, computed apart from acting and
training."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rate.models.policy import Policy
from rate.models.rate import Config, MemoryTransformer
from rate.segment import Segment


@dataclass(frozen=True)
class AttentionMap:
    """Attention weights of one segment, [layers, heads, queries, keys], and what its positions are;
    rows add up to 1.

    roles: of every key "past" (cached hidden states), "read" or "write" (memory tokens), or the
    name of a token. steps: the step of the episode that a token belongs to, and -1 for other keys.
    The queries are the last keys, or all of them.
    """

    weights: Tensor
    roles: tuple[str, ...]
    steps: tuple[int, ...]


@torch.no_grad()
def attention_maps(policy: Policy, segments: Sequence[Segment]) -> list[AttentionMap]:
    """A map for each of the consecutive segments of one episode (B = 1); none for models other than
    memory transformers.

    Memory is handed from segment to segment, and written from complete ones, as when the policy
    acts.
    """
    if not isinstance(policy.backbone, MemoryTransformer):
        return []
    memory, maps = policy.initial_memory(1), []
    for segment in segments:
        complete = segment.steps == policy.config.segment_length
        weights: list[Tensor] = []
        _, after = policy.backbone(policy.encode(segment), memory, int(complete), record=weights)
        layers = torch.stack([layer[0] for layer in weights])
        maps.append(
            AttentionMap(
                layers, *_positions(policy.backbone.config, segment, complete, layers.shape[-1])
            )
        )
        memory = after
    return maps


def _positions(
    config: Config, segment: Segment, complete: bool, keys: int
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Roles and steps of the keys: [past | read memory | tokens | write memory]."""
    read, names, first = (
        ("read",) * config.memory_tokens,
        config.tokens,
        int(segment.timesteps[0, 0]),
    )
    before = keys - len(read) - len(names) * segment.steps
    # A memory that is never written has no write tokens, not even in complete segments.
    write = ("write",) * (
        config.memory_tokens if complete and before >= config.memory_tokens else 0
    )
    past = before - len(write)
    if config.context_segments:  # Plain context are tokens like all others.
        first, past = first - past // len(names), 0
    last = int(segment.timesteps[0, -1])
    roles = ("past",) * past + read + names * (last + 1 - first) + write
    steps = tuple(step for step in range(first, last + 1) for _ in names)
    return roles, (-1,) * (past + len(read)) + steps + (-1,) * len(write)
