"""Cross-attention, and a bias by which it knows how far apart in time tokens and memory slots are
(baselines, section 11)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CrossAttention(nn.Module):
    """Multi-head attention of one sequence to another; heads x head width need not equal the
    width."""

    def __init__(
        self, width: int, heads: int, head_width: int, dropout: float, bias: bool = False
    ) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, heads * head_width, bias)
        self.key = nn.Linear(width, heads * head_width, bias)
        self.value = nn.Linear(width, heads * head_width, bias)
        self.output = nn.Linear(heads * head_width, width)
        self.dropout = dropout

    def keys_values(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, h, t, head width] of what is attended to, [B, t, d]."""
        return self._heads(self.key(inputs)), self._heads(self.value(inputs))

    def attend(
        self, inputs: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        """Outputs [B, n, d].

        Args:
            inputs: What asks, [B, n, d].
            keys: [B, h, t, w].
            values: [B, h, t, w].
            bias: Added to scores, [B, h, n, t]; -inf where nothing is seen.
        """
        query = self._heads(self.query(inputs))
        attended = F.scaled_dot_product_attention(
            query, keys, values, bias, self.dropout if self.training else 0.0
        )
        return self.output(attended.transpose(1, 2).flatten(2))

    def _heads(self, projected: Tensor) -> Tensor:
        return projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class DistanceBias(nn.Module):
    """A learned bias per head and signed distance; distances of D_max and more count as D_max - 1
    (2 D_max - 1 rows)."""

    def __init__(self, heads: int, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.table = nn.Parameter(torch.zeros(2 * limit - 1, heads))

    def forward(self, distance: Tensor) -> Tensor:
        """Biases [B, h, n, t] of distances [B, n, t] in tokens (integers)."""
        row = distance.clamp(1 - self.limit, self.limit - 1) + self.limit - 1
        return F.embedding(row, self.table).permute(0, 3, 1, 2)
