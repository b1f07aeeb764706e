"""Dropout by 16 random bits an element: on a CPU four to six times as fast as the Bernoulli draws
of `torch.nn.Dropout`."""

import torch
from torch import Tensor, nn


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
