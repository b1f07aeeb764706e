"""What a policy's memory does while it acts: its contents, and the attention that it gets."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rate.acting.actor import Actor
from rate.models.backbone import Backbone, Memory, Stream
from rate.models.nn.transformer import RelativeAttention
from rate.models.policy import Policy
from rate.models.rate import MemoryTransformer
from rate.models.sampling import Sampling


class Activity(NamedTuple):
    """Memory of one episode at one step."""

    contents: np.ndarray
    """What the policy carries, float32 [rows, width]: one row for each memory token, slot or
    recurrent layer."""
    attention: np.ndarray | None
    """Attention of the newest observation to each memory token, [rows], as means over layers and
    heads; None for policies whose memory is not attended to."""


class Watched(Actor):
    """An `Actor` that shows the memory of its first row.

    Memory of a recurrent model changes with each step, that of others where a segment begins.
    Models that write no memory show nothing.

    Args:
        policy: The policy.
        target_return: See `Actor`.
        sample: See `Actor`.
        restart_return: See `Actor`.
    """

    def __init__(
        self,
        policy: Policy,
        target_return: float,
        sample: bool | Sampling = False,
        restart_return: bool = False,
    ) -> None:
        super().__init__(policy, target_return, sample, False, "off", restart_return)
        backbone = policy.backbone
        self._entries = backbone.memory_parts().get("memory", ())
        self._stepwise = type(backbone).write_memory is Backbone.write_memory
        self._contents: np.ndarray | None = None
        self._columns: tuple[int, int] | None = None
        self._weights: list[Tensor] = []
        self._layers = 0
        if isinstance(backbone, MemoryTransformer) and backbone.config.memory_tokens:
            self._columns = backbone.read_start, backbone.token_start
            for part in backbone.modules():
                if isinstance(part, RelativeAttention):
                    self._layers += 1
                    part.register_forward_pre_hook(self._recorded)

    def activity(self) -> Activity | None:
        """The memory of the first row as it was in the last `act`, if there is any."""
        if self._contents is None:
            return None
        attention = None
        if self._columns is not None and self._weights:
            # Keys begin at the first position that is kept; those of memory precede the tokens.
            first, stop = (place - self.stream.first for place in self._columns)
            layers = torch.stack([weights[0, :, -1, first:stop] for weights in self._weights])
            attention = layers.mean((0, 1)).float().cpu().numpy()
        return Activity(self._contents, attention)

    @torch.inference_mode()
    def act(self, observations: Any, rewards: Any, forced: Any = None) -> np.ndarray:
        """See `Actor.act`."""
        self._weights.clear()
        actions = super().act(observations, rewards, forced)
        del self._weights[: -self._layers]  # what comes last are the tokens of this step
        if self._stepwise:
            self._keep(self.policy.backbone.write_memory(self.stream))
        return actions

    def _start(self, memory: Memory, rows: np.ndarray, steps: np.ndarray) -> Stream:
        if 0 in rows:
            self._keep(memory)
        return super()._start(memory, rows, steps)

    def _keep(self, memory: Memory) -> None:
        parts = [memory[entry][0].float().cpu().numpy() for entry in self._entries]
        rows = [part.reshape(-1, part.shape[-1] if part.ndim else 1) for part in parts]
        widest = max((part.shape[1] for part in rows), default=0)
        kept = [part for part in rows if part.shape[1] == widest and part.size]
        self._contents = np.concatenate(kept) if kept else None

    def _recorded(self, module: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """Have attention record its weights, where what asks is a step's tokens."""
        return (*arguments[:4], self._weights)
