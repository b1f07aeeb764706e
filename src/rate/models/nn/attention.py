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
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rate.models.nn.blockwise import QUERY_BLOCK, BlockwiseAttention


class Positions(nn.Module):
    """Sines and cosines of absolute positions, for all layers of a model."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        if width % 2:
            raise ValueError(f"width must be even for sinusoidal positions, but {width} was given")
        frequencies = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
        angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies
        table = torch.cat([angles.cos(), angles.sin()], -1).float()
        self.register_buffer("table", table, persistent=False)
        self.table: Tensor
        """What keys hold at each position, [length, width]: cosines, then sines."""

    def at(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Sines and cosines of queries at positions `index` [b, n], [b, 1, n, width / 2] each."""
        cos, sin = self.table[index][:, None].chunk(2, -1)
        return sin, cos


class View(NamedTuple):
    """Where the queries of one pass stand, and what they see."""

    sin: Tensor
    """Sines of the queries' positions, [b, 1, n, d / 2] with b = 1 or B."""
    cos: Tensor
    """Their cosines, of the same shape."""
    table: Tensor
    """What keys hold at their positions, [t, d], or [B, 1, t, d] if rows differ."""
    mask: Tensor
    """0 where a query sees a key and -inf elsewhere, [b, 1, n, t]."""
    cuts: Sequence[int] = ()
    """Where to cut the queries for speed. Given, the last n keys are the queries' own, and no query
    sees a key behind the end of its block."""


def visible(allowed: Tensor) -> Tensor:
    """The additive mask [b, 1, n, t] of what queries are allowed to see, [b, n, t] boolean."""
    return torch.where(allowed, 0.0, -torch.inf)[:, None]


class RelativeAttention(nn.Module):
    """Multi-head relative attention; heads x head width need not equal the model's width."""

    def __init__(self, width: int, heads: int, head_width: int, attention_dropout: float) -> None:
        super().__init__()
        self.heads, self.head_width = heads, head_width
        self.query_key_value = nn.Linear(width, 3 * heads * head_width, bias=False)
        self.position = nn.Linear(width, heads * head_width, bias=False)
        self.output = nn.Linear(heads * head_width, width, bias=False)
        self.attention_dropout = attention_dropout

    def project(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Queries [B, h, n, w], and keys and values [2, B, h, n, w], of inputs [B, n, d]."""
        projected = self.query_key_value(inputs).unflatten(-1, (3, self.heads, self.head_width))
        projected = projected.permute(2, 0, 3, 1, 4)
        return projected[0], projected[1:]

    def keys_values(self, inputs: Tensor) -> Tensor:
        """Keys and values alone, [2, B, h, n, w], for cached hidden states [B, n, d]."""
        weight = self.query_key_value.weight[self.heads * self.head_width :]
        projected = F.linear(inputs, weight).unflatten(-1, (2, self.heads, self.head_width))
        return projected.permute(2, 0, 3, 1, 4)

    def forward(
        self,
        query: Tensor,
        keys_values: Tensor,
        biases: tuple[Tensor, Tensor],
        view: View,
        record: list[Tensor] | None = None,
    ) -> Tensor:
        """Attended values after the output projection.

        Args:
            query: [B, h, n, w].
            keys_values: Keys and values, [2, B, h, t, w].
            biases: u for content and v for position, [h, w] each.
            view: Where queries and keys stand, and what queries see.
            record: Takes the attention weights [B, h, n, t], if it is given.

        Returns:
            [B, n, d].
        """
        content, rotated = query + biases[0][:, None], self.rotate(query + biases[1][:, None], view)
        keys, values = keys_values
        if record is not None:
            record.append(self.weights(content, rotated, keys, view))
        attended = self.attend(content, rotated, keys, values, view)
        return self.output(attended.transpose(1, 2).flatten(2))

    def rotate(self, queries: Tensor, view: View) -> Tensor:
        """Positional side of queries [B, h, n, w] that already hold v, [B, h, n, d]."""
        weight = self.position.weight.view(self.heads, self.head_width, -1)
        a, b = torch.matmul(queries, weight).chunk(2, -1)
        return torch.cat([a * view.sin + b * view.cos, b * view.sin - a * view.cos], -1)

    def weights(self, content: Tensor, rotated: Tensor, keys: Tensor, view: View) -> Tensor:
        """Attention weights [B, h, n, t] of queries q + u, `content`, and rotated queries."""
        bias, scale = self._bias(rotated, view), self.head_width**-0.5
        flat, columns = content.flatten(0, 1), keys.flatten(0, 1).transpose(1, 2)
        scores = torch.baddbmm(bias.flatten(0, 1), flat, columns, alpha=scale)
        return scores.softmax(-1).view_as(bias)

    def attend(
        self, content: Tensor, rotated: Tensor, keys: Tensor, values: Tensor, view: View
    ) -> Tensor:
        """Attended values [B, h, n, w]."""
        dropout = self.attention_dropout if self.training else 0.0
        scale = self.head_width**-0.5
        if content.device.type != "cpu" or torch.compiler.is_compiling():
            bias = self._bias(rotated, view)
            return F.scaled_dot_product_attention(content, keys, values, bias, dropout, scale=scale)
        if not torch.is_grad_enabled() and content.shape[2] < QUERY_BLOCK:
            # Few queries against many keys: nothing of the size of the keys is copied.
            weights = self.weights(content, rotated, keys, view)
            return torch.matmul(weights, values)
        return BlockwiseAttention.attend(
            content, rotated, keys, values, view.table, view.mask, view.cuts, scale, dropout
        )

    def _bias(self, rotated: Tensor, view: View) -> Tensor:
        """Positional scores with the mask, [B, h, n, t]."""
        table = view.table.transpose(-1, -2)
        return torch.matmul(rotated * self.head_width**-0.5, table) + view.mask
