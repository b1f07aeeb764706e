"""What is faster on CUDA than plain operations: relative attention that stores no scores.

Positional scores and mask are one bias of PyTorch's memory-efficient attention, made in place by
one product and made again in the backward pass, so that nothing of the size of queries x keys is
kept.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

ALIGNMENT = 8
"""Rows of a bias begin at multiples of this, or else the kernel copies it; also of head widths."""


class RecomputedAttention(torch.autograd.Function):
    """dropout(softmax(scale * (content . keys + rotated . table) + mask)) values.

    See `RelativeAttention` for what these are. Content, queries, keys and values are [B, h, n or t,
    w], weight [h, w, d], sin and cos [b, 1, n, d / 2], table [t, d] or [B, 1, t, d], mask [b, 1, n,
    t]; all but the mask have one dtype. Rotated queries, [h, B, n, d], are as large as all the rest
    that would be kept; they are made again, too.
    """

    @staticmethod
    def forward(
        ctx: Any,
        content: Tensor,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        weight: Tensor,
        *constants: Any,
    ) -> Tensor:
        """Attended values [B, h, n, w]; `constants` are (sin, cos, table, mask, scale, dropout)."""
        sin, cos, table, mask, scale, dropout = constants
        bias = position_bias(rotated_queries(queries, weight, sin, cos), table, mask, scale)
        attended, *random = torch.ops.aten._scaled_dot_product_efficient_attention(
            content, keys, values, bias, True, dropout, False, scale=scale
        )
        kept = content, queries, keys, values, weight, sin, cos, table, mask, attended
        ctx.save_for_backward(*kept, *random)
        ctx.options = scale, dropout
        return attended

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Gradients of content, queries, keys, values and weight."""
        content, queries, keys, values, *others = ctx.saved_tensors
        weight, sin, cos, table, mask, attended, *random = others
        scale, dropout = ctx.options
        bias = position_bias(rotated_queries(queries, weight, sin, cos), table, mask, scale)
        with _deterministic():
            of_content, of_keys, of_values, of_bias = (
                torch.ops.aten._scaled_dot_product_efficient_attention_backward(
                    gradients[0],
                    content,
                    keys,
                    values,
                    bias,
                    attended,
                    *random,
                    dropout,
                    [True] * 4,
                    False,
                    scale=scale,
                )
            )
        of_rotated = torch.matmul(of_bias, table).mul_(scale).transpose(0, 1)
        of_queries, of_weight = gradients_of_rotation(of_rotated, queries, weight, sin, cos)
        return of_content, of_queries, of_keys, of_values, of_weight, *[None] * 6


def position_bias(rotated: Tensor, table: Tensor, mask: Tensor, scale: float) -> Tensor:
    """scale * rotated . table + mask, [B, h, n, t], in rows that begin at aligned places."""
    times = table.shape[-2]
    width = -(-times // ALIGNMENT) * ALIGNMENT
    bias = rotated.new_empty(*rotated.shape[:-1], width)[..., :times]
    bias.copy_(mask.transpose(0, 1))
    if table.dim() == 2:  # the same for all rows: one product
        bias.flatten(0, 2).addmm_(rotated.flatten(0, 2), table.t(), alpha=scale)
    else:
        scores = torch.matmul(rotated, table.transpose(0, 1).transpose(-1, -2))
        bias.add_(scores, alpha=scale)
    return bias.transpose(0, 1)


def rotated_queries(queries: Tensor, weight: Tensor, sin: Tensor, cos: Tensor) -> Tensor:
    """Positional side of queries, [h, B, n, d], in four operations.

    Args:
        queries: [B, h, n, w], with v.
        weight: [h, w, d].
        sin: Sines of the queries' positions, [b, 1, n, d / 2].
        cos: Their cosines.
    """
    batch, heads, length, _ = queries.shape
    product = torch.bmm(queries.transpose(0, 1).flatten(1, 2), _straight_and_turned(weight))
    straight, turned = product.view(heads, batch, length, -1).chunk(2, -1)
    return torch.addcmul(straight * _twice(sin), turned, _twice(cos))


def gradients_of_rotation(
    gradient: Tensor, queries: Tensor, weight: Tensor, sin: Tensor, cos: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of the queries and the weight of `rotated_queries`, given that of its result."""
    batch, heads, length, width = queries.shape
    of_product = torch.cat([gradient * _twice(sin), gradient * _twice(cos)], -1).flatten(1, 2)
    of_queries = torch.bmm(of_product, _straight_and_turned(weight).transpose(1, 2))
    of_both = torch.bmm(queries.transpose(0, 1).flatten(1, 2).transpose(1, 2), of_product)
    straight, of_b, of_minus_a = of_both.split([weight.shape[-1], *sin.shape[-1:] * 2], -1)
    of_weight = straight + torch.cat([-of_minus_a, of_b], -1)
    return of_queries.view(heads, batch, length, width).transpose(0, 1), of_weight


def _straight_and_turned(weight: Tensor) -> Tensor:
    """[a, b] and [b, -a] of a weight [a, b], side by side, [h, w, 2 d]."""
    a, b = weight.chunk(2, -1)
    return torch.cat([weight, b, -a], -1)


def _twice(part: Tensor) -> Tensor:
    """Sines or cosines [b, 1, n, d / 2] for both halves of a width, [1, b, n, d]."""
    return torch.cat([part, part], -1).transpose(0, 1)


@contextmanager
def _deterministic() -> Iterator[None]:
    """Let a kernel add up its gradients in a fixed order."""
    deterministic: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled()
    filling = deterministic.fill_uninitialized_memory
    deterministic.fill_uninitialized_memory = False
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        deterministic.fill_uninitialized_memory = filling
