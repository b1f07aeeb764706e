"""Attention maps: the attention weights of every position of a segment."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rate.models.policy import Policy
from rate.models.rate import Config, MemoryTransformer
from rate.segment import Segment


@dataclass(frozen=True)
class AttentionMap:
    """Attention weights of one segment; the queries are the last keys, or all of them."""

    weights: Tensor
    """Weights [layers, heads, queries, keys]; rows add up to 1."""
    roles: tuple[str, ...]
    """Role of every key: "past" (cached hidden states), "read" or "write" (memory tokens), or the
    name of a token."""
    steps: tuple[int, ...]
    """Step of the episode that a key's token belongs to; -1 for other keys."""


@torch.no_grad()
def attention_maps(policy: Policy, segments: Sequence[Segment]) -> list[AttentionMap]:
    """One map per segment; none for models other than memory transformers.

    Memory is carried from segment to segment, and written from complete ones, as in acting.

    Args:
        policy: The policy.
        segments: Consecutive segments of one episode (B = 1).
    """
    if not isinstance(policy.backbone, MemoryTransformer):
        return []
    memory, maps, config = policy.initial_memory(1), [], policy.config
    for number, segment in enumerate(segments):
        complete = segment.steps == (config.stride if number else config.first_segment)
        weights: list[Tensor] = []
        _, after = policy.backbone(policy.encode(segment), memory, int(complete), record=weights)
        layers = torch.stack([layer[0] for layer in weights])
        keys = layers.shape[-1]
        positions = _positions(policy.backbone.config, segment, complete, keys)
        maps.append(AttentionMap(layers, *positions))
        memory = after
    return maps


def _positions(
    config: Config, segment: Segment, complete: bool, keys: int
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Roles and steps of the keys: [past | read memory | tokens | write memory]."""
    read, names = ("read",) * config.memory_tokens, config.tokens
    first, last = (int(segment.timesteps[0, index]) for index in (0, -1))
    before = keys - len(read) - len(names) * segment.steps
    # A memory that is never written has no write tokens, not even in complete segments.
    written = complete and before >= config.memory_tokens
    write = ("write",) * (config.memory_tokens if written else 0)
    past = before - len(write)
    if config.context_steps:  # Plain context consists of ordinary tokens.
        first, past = first - past // len(names), 0
    roles = ("past",) * past + read + names * (last + 1 - first) + write
    steps = tuple(step for step in range(first, last + 1) for _ in names)
    return roles, (-1,) * (past + len(read)) + steps + (-1,) * len(write)
