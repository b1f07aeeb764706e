"""What is faster on a CPU than PyTorch's own: dropout, and attention in blocks.

Dropout masks are made of 16 random bits an element, four to six times as fast as Bernoulli draws.

Attention goes by causal blocks of queries and has a backward pass of its own. Plain autograd would
keep scores, weights and dropped weights of each block, and copy keys once more for their gradient.
This keeps the weights alone and adds up gradients in place. Under autocast it computes in float32.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

QUERY_BLOCK = 64
"""Query rows scored at once: later keys of a causal block are never computed, and scores stay in
the processor's cache."""


_forward_in_float32: Callable[[Any], Any] = torch.amp.custom_fwd(
    device_type="cpu", cast_inputs=torch.float32
)


class Dropout(nn.Dropout):
    """Zeroes elements at a rate that is exact to 2^-16, and scales the others up; elsewhere than on
    a CPU, PyTorch's own."""

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training or not self.p:
            return inputs
        if inputs.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(inputs)
        return inputs * (kept(inputs, self.p) * (1 / (1 - self.p)))


def kept(like: Tensor, rate: float) -> Tensor:
    """True with probability 1 - rate, in the shape of `like`."""
    bits = torch.empty(-(-like.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    return bits.view(torch.int16)[: like.numel()].view(like.shape) >= round(rate * 65536) - 32768


class BlockwiseAttention(torch.autograd.Function):
    """dropout(softmax(scale * (content . keys + rotated . table) + mask)) values.

    See `RelativeAttention` for what these are. Shapes inside, with G = batch x heads: content
    [G, n, w], rotated [G, n, d], keys and values [G, t, w], table [t, d], mask [b, n, t] with b = 1
    or the batch, bounds: 0, cuts, n.
    """

    @staticmethod
    def attend(
        content: Tensor, rotated: Tensor, keys: Tensor, values: Tensor, *view: Any
    ) -> Tensor:
        """Attended values [B, h, n, w]; `view` is (table, mask, cuts, scale, dropout)."""
        table, mask, cuts, scale, dropout = view
        parts = (part.flatten(0, 1) for part in (content, rotated, keys, values))
        bounds = (0, *cuts, content.shape[2])
        attended: Tensor = BlockwiseAttention.apply(
            *parts, table, mask[:, 0], bounds, scale, dropout
        )
        return attended.view(content.shape)

    @staticmethod
    @_forward_in_float32
    def forward(
        ctx: Any,
        content: Tensor,
        rotated: Tensor,
        keys: Tensor,
        values: Tensor,
        table: Tensor,
        mask: Tensor,
        *options: Any,
    ) -> Tensor:
        """Attended values [G, n, w]; `options` are (bounds, scale, dropout)."""
        bounds, scale, dropout = options
        groups, length, width = content.shape
        times = keys.shape[1]
        queries = torch.cat([content, rotated], -1)
        keys = torch.cat([keys, table.expand(groups, -1, -1)], -1)
        attended = torch.empty_like(content)
        saved = []
        for start, stop in pairwise(bounds):
            seen = times - length + stop
            hide = mask[:, start:stop, :seen]
            if len(mask) > 1:  # each row of the batch has a mask of its own, for all of its heads
                hide = hide.repeat_interleave(groups // len(mask), 0)
            scores = torch.baddbmm(
                hide.expand(groups, -1, -1),
                queries[:, start:stop],
                keys[:, :seen].transpose(1, 2),
                alpha=scale,
            )
            weights = scores.softmax(-1)
            saved.append(weights)
            if dropout:
                saved.append(kept(weights, dropout))
                weights = torch.mul(weights, saved[-1], out=scores)
            attended[:, start:stop] = torch.bmm(weights, values[:, :seen])
        ctx.save_for_backward(queries, keys, values, *saved)
        ctx.bounds, ctx.scale, ctx.dropout, ctx.width = bounds, scale, dropout, width
        return attended.div_(1 - dropout)

    @staticmethod
    @once_differentiable
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Any) -> Any:  # type: ignore[override]
        """Gradients of content, rotated, keys and values."""
        queries, keys, values, *saved = ctx.saved_tensors
        gradient = gradients[0] / (1 - ctx.dropout)
        length, times, width = queries.shape[1], keys.shape[1], ctx.width
        every = 2 if ctx.dropout else 1
        of_queries = torch.empty_like(queries)
        of_keys, of_values = torch.zeros_like(values), torch.zeros_like(values)
        for index, (start, stop) in enumerate(pairwise(ctx.bounds)):
            seen = times - length + stop
            weights = used = saved[every * index]
            here = gradient[:, start:stop]
            of_weights = torch.bmm(here, values[:, :seen].transpose(1, 2))
            if ctx.dropout:
                kept = saved[every * index + 1]
                of_weights.mul_(kept)
                used = weights * kept
            # The gradient of a softmax: weights * (g - sum(weights * g)).
            of_weights.sub_((of_weights * weights).sum(-1, keepdim=True))
            of_scores = of_weights.mul_(weights).mul_(ctx.scale)
            of_keys[:, :seen].baddbmm_(of_scores.transpose(1, 2), queries[:, start:stop, :width])
            of_values[:, :seen].baddbmm_(used.transpose(1, 2), here)
            of_queries[:, start:stop] = torch.bmm(of_scores, keys[:, :seen])
        of_content, of_rotated = of_queries[..., :width], of_queries[..., width:]
        return of_content, of_rotated, of_keys, of_values, *[None] * 5
