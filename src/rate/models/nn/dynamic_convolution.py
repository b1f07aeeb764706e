"""Dynamic convolution: every position predicts its own causal kernel."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rate.models.nn.cpu import Dropout

GROUP = 4
"""Channels that share a kernel."""


class DynamicConvolution(nn.Module):
    """Mixes the last k positions with weights that the newest of them predicts, one set for each
    group of four channels.

    The kernel's taps have offsets -(k - 1) ... 0. The released one is centred before it is masked
    and so loses its later half: its kernel of 6 sees offsets -2 ... 0 and is the same as a kernel
    of 3 here (11 there is 6 here).
    """

    def __init__(self, channels: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.taps = kernel
        self.inputs = nn.Linear(channels, 2 * channels)
        self.kernel = nn.Linear(channels, kernel * channels // GROUP)
        self.dropout = Dropout(dropout)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.output = nn.Linear(channels, channels)

    def gate(self, inputs: Tensor) -> Tensor:
        """What is mixed, [B, n, c], from inputs [B, n, c]: a gated linear unit."""
        return F.glu(self.inputs(inputs), -1)

    def windows(self, gated: Tensor) -> Tensor:
        """The last k positions of each, [B, n, k, c], oldest first, from gated inputs [B, k - 1 +
        n, c]."""
        return gated.unfold(1, self.taps, 1).transpose(2, 3)

    def forward(self, gated: Tensor, windows: Tensor, allowed: Tensor) -> Tensor:
        """Outputs [B, n, c].

        Args:
            gated: The positions' own gated inputs, [B, n, c].
            windows: Inputs at the taps, [B, n, k, c].
            allowed: Which taps take part, [b, n, k] boolean with b = 1 or B; the softmax runs over
                these alone.
        """
        logits = self.dropout(self.kernel(gated)).unflatten(-1, (self.taps, -1))
        weights = logits.masked_fill(~allowed[..., None], -torch.inf).softmax(2)
        mixed = (windows.unflatten(-1, (-1, GROUP)) * weights[..., None]).sum(2)
        return self.output(mixed.flatten(2) + self.bias)
