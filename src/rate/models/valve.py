"""The Memory Retention Valve: what of the written memory reaches the next segment (method, section 8)."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["relu", "leaky-relu", "tanh", "none"]
ACTIVATIONS = {"relu": torch.relu, "leaky-relu": F.leaky_relu, "tanh": torch.tanh, "none": lambda written: written}


class CrossAttentionValve(nn.Module):
    """MRV-CA-2: the incoming memory asks, the freshly written memory answers; no residual and no norm.

    M' = W_o concat_heads(softmax(Q K^T / sqrt(d / H)) V) with Q from the incoming memory and K, V from phi(written).
    """

    def __init__(self, width: int, heads: int, activation: Activation, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"the valve's {heads} heads must divide the width, but it is {width}")
        self.heads = heads
        self.activation = ACTIVATIONS[activation]
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.dropout = dropout

    def forward(self, incoming: Tensor, written: Tensor) -> Tensor:
        """The memory handed to the next segment, from incoming and written memory [B, m, d]."""
        written = self.activation(written)
        query, key, value = (
            projection(inputs).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection, inputs in ((self.query, incoming), (self.key, written), (self.value, written))
        )
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        return self.output(attended.transpose(1, 2).flatten(2))
