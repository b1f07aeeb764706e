"""Transformer-XL relative attention without a time x time bias (method of Dai et al. 2019, in
factored form).

The score of query i and key j is [(q_i + u) . k_j + (q_i + v) . W_r R_(i-j)] / sqrt(head width),
where R_p holds the sines and cosines of p * omega. With w_i = W_r^T (q_i + v) split into its sine
half a and cosine half b, angle addition gives

    w_i . R_(i-j) = (a sin_i + b cos_i) . cos_j + (b sin_i - a cos_i) . sin_j ,

so the positional term is a plain product of rotated queries with a constant table over key
positions: nothing is shifted, keys do not depend on the query's offset, negative distances are
exact, and cached decoding is plain attention.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rate.models.nn.blockwise import BlockwiseAttention


class Positions(nn.Module):
    """Sines and cosines of absolute positions, [length, width / 2] each, for all layers of a
    model."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        if width % 2:
            raise ValueError(f"width must be even for sinusoidal positions, but {width} was given")
        frequencies = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
        angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies
        self.register_buffer("sin", angles.sin().float(), persistent=False)
        self.register_buffer("cos", angles.cos().float(), persistent=False)
        self.register_buffer(
            "table", torch.cat([angles.cos(), angles.sin()], -1).float(), persistent=False
        )
        self.sin: Tensor
        self.cos: Tensor
        self.table: Tensor
        """What keys hold at each position, [length, width]: cosines, then sines."""


class RelativeAttention(nn.Module):
    """Multi-head relative attention; heads x head width need not equal the model's width."""

    def __init__(self, width: int, heads: int, head_width: int, attention_dropout: float) -> None:
        super().__init__()
        self.heads, self.head_width = heads, head_width
        self.query_key_value = nn.Linear(width, 3 * heads * head_width, bias=False)
        self.position = nn.Linear(width, heads * head_width, bias=False)
        self.output = nn.Linear(heads * head_width, width, bias=False)
        self.attention_dropout = attention_dropout

    def project(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of inputs [B, n, d], each [B, h, n, head width]."""
        batch, length, _ = inputs.shape
        projected = self.query_key_value(inputs).view(batch, length, 3, self.heads, self.head_width)
        return tuple(projected.permute(2, 0, 3, 1, 4))  # type: ignore[return-value]

    def keys_values(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values alone, for cached hidden states."""
        batch, length, _ = inputs.shape
        weight = self.query_key_value.weight[self.heads * self.head_width :]
        projected = F.linear(inputs, weight).view(batch, length, 2, self.heads, self.head_width)
        return tuple(projected.permute(2, 0, 3, 1, 4))  # type: ignore[return-value]

    def rotate(self, queries: Tensor, sin: Tensor, cos: Tensor) -> Tensor:
        """Positional side of queries [B, h, n, head width] that already hold v, [B, h, n, d].

        sin and cos are the queries' positions, [n, d / 2], or [B, 1, n, d / 2] if rows differ.
        """
        weight = self.position.weight.view(self.heads, self.head_width, -1)
        a, b = torch.matmul(queries, weight).chunk(2, -1)
        return torch.cat([a * sin + b * cos, b * sin - a * cos], -1)

    def merge(self, attended: Tensor) -> Tensor:
        """Output projection of attended values [B, h, n, head width], [B, n, d]."""
        return self.output(attended.transpose(1, 2).flatten(2))

    def attend(
        self,
        content: Tensor,
        rotated: Tensor,
        keys: Tensor,
        values: Tensor,
        table: Tensor,
        mask: Tensor,
        blocks: Sequence[int] = (),
    ) -> Tensor:
        """Attended values [B, h, n, head width].

        content: q + u, [B, h, n, head width]; rotated: see `rotate`, [B, h, n, d]; keys, values:
        [B, h, t, head width]; table: [t, d]; mask: 0 where allowed and -inf elsewhere, [n, t], or
        [B, 1, n, t] if rows differ. blocks: where to cut the queries for speed; the last n keys are
        then the queries' own, and no query may see a key behind the end of its block.
        """
        dropout = self.attention_dropout if self.training else 0.0
        scale = self.head_width**-0.5
        if content.device.type != "cpu":
            queries = torch.cat([content, rotated], -1)
            keys = torch.cat([keys, table.expand(*keys.shape[:-1], -1)], -1)
            return F.scaled_dot_product_attention(queries, keys, values, mask, dropout, scale=scale)
        batch, heads, length, _ = content.shape
        mask = (
            mask.expand(batch, heads, -1, -1).flatten(0, 1)
            if mask.dim() == 4
            else mask.expand(batch * heads, -1, -1)
        )
        parts = (part.flatten(0, 1) for part in (content, rotated, keys, values))
        attended: Tensor = BlockwiseAttention.apply(
            *parts, table, mask, (0, *blocks, length), scale, dropout
        )
        return attended.view(batch, heads, length, -1)

    def attend_few(
        self,
        content: Tensor,
        rotated: Tensor,
        keys: Tensor,
        values: Tensor,
        table: Tensor,
        mask: Tensor,
        blocks: Sequence[int] = (),
    ) -> Tensor:
        """As `attend`, for few queries against many keys: nothing of the size of the keys is copied
        or cut."""
        batch, heads, length, _ = content.shape
        scale = self.head_width**-0.5
        bias = (torch.matmul(rotated * scale, table.T) + mask).flatten(0, 1)
        scores = torch.baddbmm(
            bias, content.flatten(0, 1), keys.flatten(0, 1).transpose(1, 2), alpha=scale
        )
        return torch.bmm(scores.softmax(-1), values.flatten(0, 1)).view(batch, heads, length, -1)
