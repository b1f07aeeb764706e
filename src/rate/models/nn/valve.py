"""The Memory Retention Valve: what of the written memory reaches the next segment."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rate.models.nn.transformer import CrossAttention

Activation = Literal["relu", "leaky-relu", "tanh", "none"]
ACTIVATIONS = {"relu": torch.relu, "leaky-relu": F.leaky_relu, "tanh": torch.tanh}

ValveStart = Literal["unit", "small"]
UNIT_GAIN = 5.0
"""What the output map of a cross-attention valve is multiplied by so that memory of unit deviation
keeps it: as linear maps start, memory shrinks to a fifth at every transition."""

ValveKind = Literal["ca-2", "ca-1", "gate", "gru", "lstm", "none"]


class Valve(nn.Module):
    """Memory for the next segment from incoming and written memory [B, m, d], and a state of the
    valve's own, if it has one."""

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        """State before the first segment of `batch` episodes: nothing, unless the valve carries
        more than memory."""
        return ()

    def forward(self, incoming: Tensor, written: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """The memory handed to the next segment [B, m, d], followed by the valve's state after
        it."""
        raise NotImplementedError


class CrossAttentionValve(CrossAttention, Valve):
    """MRV-CA-2: the incoming memory asks, the freshly written memory answers; MRV-CA-1 with
    `swapped` roles.

    M' = W_o concat_heads(softmax(Q K^T / sqrt(d / H)) V) with Q from the incoming memory and K, V
    from phi(written); no residual and no norm.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        activation: Activation,
        dropout: float,
        *,
        swapped: bool = False,
        start: ValveStart = "small",
    ) -> None:
        if width % heads:
            raise ValueError(f"the valve's {heads} heads must divide the width, but it is {width}")
        super().__init__(width, heads, width // heads, dropout, bias=True)
        self.activation, self.swapped = ACTIVATIONS.get(activation, nn.Identity()), swapped
        if start == "unit":
            with torch.no_grad():
                self.output.weight *= UNIT_GAIN
            nn.init.zeros_(self.value.bias)
            nn.init.zeros_(self.output.bias)

    def forward(self, incoming: Tensor, written: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        written = self.activation(written)
        asking, answering = (written, incoming) if self.swapped else (incoming, written)
        return (self.attend(asking, *self.keys_values(answering)),)


class GateValve(Valve):
    """MRV-G: the gate of GTrXL between incoming and written memory, token by token.

    r = sigma(M W_r + M~ U_r), z = sigma(M W_z + M~ U_z - b), g = tanh(M W_g + (M~ * r) U_g), M' =
    (1 - z) * M + z * g. The paper prints U_r in g and a sigmoid around M'; GTrXL, where the gate
    comes from, has neither, nor have we.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.incoming = nn.Linear(width, 3 * width, bias=False)
        self.written = nn.Linear(width, 2 * width, bias=False)
        self.candidate = nn.Linear(width, width, bias=False)
        self.bias = nn.Parameter(torch.full((width,), 2.0))

    def forward(self, incoming: Tensor, written: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        reset, update, candidate = self.incoming(incoming).chunk(3, -1)
        reset_written, update_written = self.written(written).chunk(2, -1)
        reset = torch.sigmoid(reset + reset_written)
        update = torch.sigmoid(update + update_written - self.bias)
        candidate = torch.tanh(candidate + self.candidate(written * reset))
        return ((1 - update) * incoming + update * candidate,)


class RecurrentValve(Valve):
    """MRV-GRU and MRV-LSTM: a cell reads the written memory, token by token; its hidden state is
    the memory.

    The cell state of the LSTM starts at zero and travels with the memory.
    """

    def __init__(self, width: int, cell: type[nn.GRUCell] | type[nn.LSTMCell], tokens: int) -> None:
        super().__init__()
        self.cell = cell(width, width)
        self.carries_cell = cell is nn.LSTMCell
        self.tokens, self.width = tokens, width

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        shape = (batch, self.tokens, self.width)
        return (self.cell.weight_ih.new_zeros(shape),) if self.carries_cell else ()

    def forward(self, incoming: Tensor, written: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        shape = incoming.shape
        inputs, hidden = written.reshape(-1, self.width), incoming.reshape(-1, self.width)
        if not self.carries_cell:
            return (self.cell(inputs, hidden).view(shape),)
        hidden, cell = self.cell(inputs, (hidden, state[0].reshape(-1, self.width)))
        return hidden.view(shape), cell.view(shape)


def build_valve(
    kind: ValveKind,
    tokens: int,
    width: int,
    heads: int,
    activation: Activation,
    dropout: float,
    start: ValveStart,
) -> Valve | None:
    """The valve of a kind for `tokens` memory tokens of a width; None hands on the written memory
    as it is."""
    match kind:
        case "ca-2" | "ca-1":
            swapped = kind == "ca-1"
            return CrossAttentionValve(
                width, heads, activation, dropout, swapped=swapped, start=start
            )
        case "gate":
            return GateValve(width)
        case "gru":
            return RecurrentValve(width, nn.GRUCell, tokens)
        case "lstm":
            return RecurrentValve(width, nn.LSTMCell, tokens)
        case "none":
            return None
