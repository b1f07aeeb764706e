"""OracleDT: a Decision Transformer that is never without the episode's first observation, an upper
bound.

The paper puts a constant vector for the cue, handed in from outside, at both ends of the sequence.
Here the cue is read where the environment shows it: the token of the first observation is the one
read memory token of every segment, and never updated. A copy behind the segment would be seen by
nothing, and is left out.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rate.models import rate
from rate.models.backbone import Memory, Stream
from rate.models.nn.valve import ValveKind
from rate.segment import first_rows
from rate.values import NotNegative


@dataclass(frozen=True)
class Config(rate.PlainConfig):
    """Decision Transformer over single segments with the first observation always in sight: not a
    memory, an oracle."""

    memory_tokens: NotNegative = 1
    valve: ValveKind = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        fixed = {"memory_tokens": 1, "valve": "none", "cached_states": 0, "context_segments": 0}
        for field, value in fixed.items():
            if getattr(self, field) != value:
                raise ValueError(
                    f"{field} is {getattr(self, field)!r}, but the oracle's one token is "
                    "never updated and it has no other "
                    f"memory: leave {field} at {value!r}"
                )

    @property
    def context(self) -> str:
        return f"its segment of at most {self.segment_length} steps, and the first observation"

    def build(self) -> "OracleTransformer":
        return OracleTransformer(self)


class OracleTransformer(rate.MemoryTransformer):
    """Memory is (pinned token [B, 1, d], nothing, whether it is pinned yet [B])."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        del self.memory_tokens  # there is nothing to learn: the token comes from the episode
        self.register_buffer("memory_tokens", torch.zeros(1, config.width), persistent=False)
        self.observation = config.tokens.index("observation")

    def forward(
        self, tokens: Tensor, memory: Memory, complete: int, record: list[Tensor] | None = None
    ) -> tuple[Tensor, Memory]:
        pinned = self._pinned(tokens, memory)
        hidden, _ = super().forward(tokens, pinned, 0, record)
        return hidden, first_rows(pinned, memory, complete)

    def append(self, stream: Stream, tokens: Tensor) -> Tensor:
        # The pinned token is known with the first observation; it is written anew with each step,
        # which changes nothing and needs no case for rows that begin.
        memory = stream["memory_tokens"], stream["retained"], stream["count"]
        pinned, _, count = self._pinned(tokens, memory)
        stream.tensors["memory_tokens"], stream.tensors["count"] = pinned, count
        before = stream.positions, stream.stop, stream.aligned
        stream.positions = stream.positions.new_full((1,), self.read_start)
        stream.stop, stream.aligned = self.read_start, True
        self._extend(stream, pinned, memory=True, outputs=False)
        stream.positions, stream.stop, stream.aligned = before
        return super().append(stream, tokens)

    def write_memory(self, stream: Stream) -> Memory:
        return stream["memory_tokens"], stream["retained"], stream["count"]

    def start(self, memory: Memory) -> Stream:
        stream = super().start(memory)
        stream.tensors["retained"] = memory[1].clone()
        stream.positions = memory[2].new_full((1,), self.token_start)
        stream.stop = self.token_start
        return stream

    def _read(self, stream: Stream, incoming: Tensor) -> None:
        """Nothing yet: the token of an episode's first segment is known with its first observation
        only."""

    def _pinned(self, tokens: Tensor, memory: Memory) -> Memory:
        """The memory with the first observation's token pinned in rows that have none yet."""
        token, retained, count = memory
        if tokens.shape[1] <= self.observation:  # an action alone, which follows an observation
            return memory
        first = tokens[:, self.observation : self.observation + 1]
        pinned = torch.where(count.bool()[:, None, None], token, first)
        return pinned, retained, torch.ones_like(count)
