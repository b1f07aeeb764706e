"""Memory corruption: does a policy still act well when noise is mixed into what it remembers?
(method: Fig. 8, 13 and 16)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor

from rate.acting.actor import Actor
from rate.models.backbone import Memory, Stream
from rate.models.policy import Policy
from rate.models.sampling import Sampling
from rate.values import Checked, NotNegative, Range

Part = Literal["memory", "cache", "all"]
"""What of a model's memory is meant: what it writes, the earlier states that it keeps, or both."""


@dataclass(frozen=True)
class Corruption(Checked):
    """Noise in what is handed from segment to segment: M <- (1 - strength) M + strength e, with e ~
    N(0, 1) entry by entry.

    Segments that begin at a step in [step, until) are handed such memory, the first segment of an
    episode included. What a policy writes later, in view of the noise, is not touched. The paper
    does not state its noise; unit variance is ours.
    """

    what: Part = "memory"
    """What is corrupted: memory that the model writes, cached or context states of earlier
    segments, or all of it."""
    strength: Annotated[float, Range(0, 1)] = 1.0
    """Share of noise in the mixture, from 0 (untouched) to 1 (nothing but noise)."""
    step: NotNegative = 0
    """First step of an episode from which on segments are handed corrupted memory."""
    until: int | None = None
    """Step of an episode from which on memory is left alone again; None stands for never."""
    seed: NotNegative = 0
    """Seed of the noise; together with an episode's seed and the step it says what the noise is."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.until is not None and self.until <= self.step:
            raise ValueError(
                f"until must be later than step {self.step}, but {self.until} was given"
            )

    def __str__(self) -> str:
        span = f"from step {self.step} on"
        if self.until is not None:
            last = self.until - 1
            span = f"at step {last}" if last == self.step else f"at steps {self.step} to {last}"
        return (
            f"{self.strength:g} noise in {'all memory' if self.what == 'all' else self.what} {span}"
        )

    def entries(self, policy: Policy) -> tuple[int, ...]:
        """Which entries of the policy's memory are meant; a ValueError if it has none of them."""
        parts = policy.backbone.memory_parts()
        found = [
            index for name, part in parts.items() if self.what in (name, "all") for index in part
        ]
        if not found:
            allowed = (
                f"it has {', '.join(parts)}"
                if parts
                else "it carries nothing from segment to segment"
            )
            raise ValueError(
                f"{self.what} was to be corrupted, but this policy has no such thing: {allowed}"
            )
        return tuple(found)

    def covers(self, steps: Sequence[int] | np.ndarray) -> list[int]:
        """The rows that are at a step within the span; `steps` are those of all rows, [B]."""
        last = math.inf if self.until is None else self.until
        return [row for row, step in enumerate(steps) if self.step <= step < last]

    def apply(
        self,
        memory: Memory,
        entries: Sequence[int],
        episodes: Sequence[int],
        steps: Sequence[int] | np.ndarray,
    ) -> Memory:
        """The memory in which rows at steps within the span are mixed with noise.

        Args:
            memory: [B, ...] each.
            entries: Which entries are mixed, see `entries`.
            episodes: Seed of each row's episode, [B].
            steps: The step that each row is at, [B].
        """
        inside = self.covers(steps)
        if not inside or not self.strength:
            return memory
        return tuple(
            self._mix(tensor, index, inside, episodes, steps) if index in entries else tensor
            for index, tensor in enumerate(memory)
        )

    def _mix(
        self,
        tensor: Tensor,
        index: int,
        rows: list[int],
        episodes: Sequence[int],
        steps: Sequence[int] | np.ndarray,
    ) -> Tensor:
        # A generator for each row, segment and entry: the noise does not depend on what else is
        # played or corrupted.
        noise = np.stack(
            [
                np.random.default_rng(
                    [self.seed, episodes[row], int(steps[row]), index]
                ).standard_normal(tensor.shape[1:], np.float32)
                for row in rows
            ]
        )
        mixed = tensor.clone()
        chosen = torch.tensor(rows, device=tensor.device)
        mixed[chosen] = torch.lerp(
            tensor[chosen], torch.from_numpy(noise).to(tensor), self.strength
        )
        return mixed


class Corrupted(Actor):
    """An actor whose memory is corrupted when it is handed to a segment, see `Corruption`; else as
    `Actor`.

    Noise belongs to an episode's seed, so it does not depend on how many episodes run side by side;
    a row without a seed takes its own number.
    """

    def __init__(
        self,
        policy: Policy,
        target_return: float,
        corruption: Corruption,
        sample: bool | Sampling = False,
        check: bool = True,
        restart_return: bool = False,
    ) -> None:
        super().__init__(policy, target_return, sample, check, restart_return=restart_return)
        self.corruption = corruption
        self.entries = corruption.entries(policy)
        self.episodes: dict[int, int] = {}

    def _seed(self, rows: np.ndarray, seeds: Sequence[int] | None) -> None:
        for row, seed in zip(rows, rows if seeds is None else seeds, strict=True):
            self.episodes[int(row)] = int(seed)
        super()._seed(rows, seeds)

    def _start(self, memory: Memory, rows: np.ndarray, steps: np.ndarray) -> Stream:
        episodes = [self.episodes[row] for row in rows]
        config = self.policy.config
        # A window that slides holds nothing at the beginning of an episode.
        empty = config.first_segment != config.stride and not np.any(steps)
        if self.corruption.covers(steps) and not empty:
            # In its largest size, for noise must not depend on what is still empty.
            memory = self.policy.backbone.full_size(memory)
        return super()._start(
            self.corruption.apply(memory, self.entries, episodes, steps), rows, steps
        )
