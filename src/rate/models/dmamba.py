"""Decision Mamba: selective state spaces over return, observation and action tokens (baselines,
section 9).

Differences from the released code: weights and step sizes start as Mamba's own do (`start` "small"
with `wiped_step_bias` gives the released ones), and states are carried through the whole episode
while acting, in place of recomputing a window. No positions are added.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from rate.models.backbone import Backbone, Memory, ModelConfig
from rate.models.nn.cpu import Dropout
from rate.models.nn.selective_scan import selective_scan
from rate.segment import first_rows
from rate.values import Positive

SHORTEST_STEP, LONGEST_STEP = 0.001, 0.1
"""Range of step sizes at initialisation: states that last from about a thousand tokens down to
one."""


@dataclass(frozen=True)
class Config(ModelConfig):
    """Decision Mamba: remembers in states of constant size, carried from token to token."""

    layers: Positive = 2
    """Blocks of a mixer and a feed-forward network, L."""
    state_size: Positive = 16
    """States of each inner channel."""
    convolution: Positive = 4
    """Tokens that the causal convolution in front of the scan sees."""
    expansion: Positive = 2
    """Inner channels for each channel of the model."""
    start: Literal["mamba", "small"] = "mamba"
    """First weights of linear maps: Mamba's own, by which a first token reaches the last one, or
    draws of deviation 0.02 as released, by which next to nothing of it does."""
    wiped_step_bias: bool = False
    """Whether step sizes begin at softplus(0) = 0.693 for all channels, so that states forget
    within a few tokens, as released."""

    whole_windows: ClassVar[bool] = True

    @property
    def inner(self) -> int:
        """Channels inside a mixer."""
        return self.expansion * self.width

    @property
    def context(self) -> str:
        return f"a state of {self.layers} x {self.inner} x {self.state_size}"

    def build(self) -> "StateSpaceModel":
        return StateSpaceModel(self)


class Mixer(nn.Module):
    """Mamba's token mixer: a gated short convolution and a selective state space of diagonal rates
    (Gu and Dao 2023)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        inner, states = config.inner, config.state_size
        self.sizes = [math.ceil(config.width / 16), states, states]
        self.inputs = nn.Linear(config.width, 2 * inner, bias=False)
        self.convolution = nn.Conv1d(inner, inner, config.convolution, groups=inner)
        self.selection = nn.Linear(inner, sum(self.sizes), bias=False)
        self.step = nn.Linear(self.sizes[0], inner)
        self.log_rates = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(inner, 1))
        self.skip = nn.Parameter(torch.ones(inner))
        self.output = nn.Linear(inner, config.width, bias=False)

    def forward(
        self, tokens: Tensor, history: Tensor, state: Tensor, carry: bool = True
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mix tokens.

        Args:
            tokens: [B, n, d].
            history: Last inputs of the convolution, [B, inner, convolution - 1].
            state: [B, inner, states].
            carry: Whether history and state after the tokens are used.

        Returns:
            Mixed tokens [B, n, d], history and state.
        """
        values, gate = self.inputs(tokens).chunk(2, -1)
        joined = torch.cat([history, values.transpose(1, 2)], 2)
        values = functional.silu(self.convolution(joined)).transpose(1, 2)
        rank, write, read = self.selection(values).split(self.sizes, -1)
        delta = functional.softplus(self.step(rank))
        outputs, state = selective_scan(
            values, delta, -self.log_rates.exp(), write, read, state, carry
        )
        outputs = outputs + self.skip * values
        return self.output(outputs * functional.silu(gate)), joined[..., tokens.shape[1] :], state


class Block(nn.Module):
    """x + Mixer(LN(x)), then x + MLP(LN(x))."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.width
        self.mixer_norm = nn.LayerNorm(width)
        self.mixer = Mixer(config)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
            Dropout(config.dropout),
        )

    @torch.no_grad()
    def initialise(self, residuals: int) -> None:
        """Weights as in `mamba_ssm`: PyTorch's own, those of the step map within 1 / sqrt(rank).

        Those that write into the residual stream are divided by the root of the number of
        `residuals` in the model.
        """
        bound = self.mixer.step.in_features**-0.5
        nn.init.uniform_(self.mixer.step.weight, -bound, bound)
        for part in (self.mixer.output, self.feed_forward[3]):
            assert isinstance(part, nn.Linear)
            part.weight /= math.sqrt(residuals)

    def forward(
        self, tokens: Tensor, history: Tensor, state: Tensor, carry: bool = True
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `Mixer.forward`, with the residual stream in place of mixed tokens."""
        mixed, history, state = self.mixer(self.mixer_norm(tokens), history, state, carry)
        tokens = tokens + mixed
        return tokens + self.feed_forward(tokens), history, state


class StateSpaceModel(Backbone):
    """A stack of blocks; acting runs the same code as training, from the state that the tokens
    before have left.

    Memory is the tuple (last inputs of the convolutions [B, L, inner, convolution - 1], states [B,
    L, inner, states]).
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                if config.start == "small":
                    nn.init.normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for block in self.blocks:
            assert isinstance(block, Block)
            if config.start == "mamba":
                block.initialise(2 * config.layers)
            if not config.wiped_step_bias:
                _initialise_steps(block.mixer.step.bias)

    def initial_memory(self, batch: int) -> Memory:
        config = self.config
        shape = (batch, config.layers, config.inner)
        weight = self.norm.weight
        return weight.new_zeros(*shape, config.convolution - 1), weight.new_zeros(
            *shape, config.state_size
        )

    def forward(self, tokens: Tensor, memory: Memory, complete: int) -> tuple[Tensor, Memory]:
        hidden = self.dropout(tokens)
        after = []
        for level, block in enumerate(self.blocks):
            hidden, *carried = block(hidden, *(tensor[:, level] for tensor in memory), complete > 0)
            after.append(carried)
        if complete:
            written = tuple(torch.stack(tensors, 1) for tensors in zip(*after, strict=True))
            memory = first_rows(written, memory, complete)
        return self.norm(hidden), memory


@torch.no_grad()
def _initialise_steps(bias: Tensor) -> None:
    """Draw step sizes softplus(bias) log-uniformly from their range, as Mamba does."""
    low, high = math.log(SHORTEST_STEP), math.log(LONGEST_STEP)
    delta = torch.empty_like(bias).uniform_(low, high).exp_()
    bias.copy_(delta + torch.log(-torch.expm1(-delta)))  # the inverse of softplus
