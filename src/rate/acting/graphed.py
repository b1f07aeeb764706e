"""Acting steps in two fixed shapes, which CUDA captures as graphs and replays.

One step serves all rows within a segment. The other one also takes rows that begin an episode or a
segment, which masks name: every row writes memory and begins anew, and the rows that should not
keep what they had. Keys and values stay in place, and masks hide the positions that a row has not
reached. Positions are attended to up to the first of a few bounds that no row has passed, so early
steps of a segment cost less than late ones.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial

import numpy as np
import torch
from torch import Tensor

from rate.models.backbone import Memory, Stream
from rate.models.policy import Policy
from rate.system.capture import Capture, values_kept

EVERYWHERE = sys.maxsize
"""No row has written a position from this one on: positions are not bounded on the host."""
BUCKETS = 4
"""Bounds of positions, each with graphs of its own."""


class FixedSteps:
    """Acting steps of fixed shape as functions of tensors alone.

    Args:
        policy: What acts.
        tensors: What the backbone keeps of each row, [B, ...] each; written in place.
        positions: Position of each row's next token, [B] int64; written in place.
    """

    def __init__(self, policy: Policy, tensors: dict[str, Tensor], positions: Tensor) -> None:
        self.policy, self.tensors, self.positions = policy, tensors, positions
        self.stop = EVERYWHERE

    def outputs(self, observed: dict[str, Tensor], given: dict[str, Tensor]) -> Tensor:
        """Action outputs [B, outputs] of the newest observations.

        Args:
            observed: Leaves [B, ...].
            given: "returns_to_go" [B], "actions" of the step before [B, ...], "timesteps" [B] if
                the model embeds them; and if not all rows are within a segment, which rows go on
                with an episode ("going", [B] bool), which of these have completed a segment
                ("ends"), and which begin an episode and are not in their first state yet
                ("begins", may be left out).
        """
        actions: Tensor | None = given["actions"]
        timesteps = given.get("timesteps")
        if "going" in given:
            before = None if timesteps is None else (timesteps - 1).clamp(min=0)
            stream = self._stream()
            self.policy.record(stream, given["actions"], before)
            self._keep(stream, given["going"])
            memory = self.policy.backbone.write_memory(self._stream())
            self._replace(given["ends"], begun(self.policy, memory))
            if "begins" in given:
                self._replace(given["begins"], begun(self.policy))
            actions = None
        stream = self._stream()
        result = self.policy.observe(stream, observed, given["returns_to_go"], actions, timesteps)
        self._keep(stream)
        return result

    def _stream(self) -> Stream:
        return Stream(dict(self.tensors), self.positions, stop=self.stop, aligned=False)

    def _keep(self, stream: Stream, rows: Tensor | None = None) -> None:
        """Take over what is not written in place, for some rows or all. What other rows wrote in
        place lies behind their positions, where nothing is seen before it is written again."""
        new = {name: stream[name] for name in self.tensors}
        for kept, value in [
            *((self.tensors[name], new[name]) for name in new),
            (self.positions, stream.positions),
        ]:
            if value is not kept:
                kept.copy_(value if rows is None else _where(rows, value, kept))

    def _replace(self, rows: Tensor, stream: Stream) -> None:
        """Put the rows in a mask where `stream` stands."""
        for name, kept in self.tensors.items():
            new = stream[name]
            if name.startswith(("keys", "values")):  # nothing is seen behind the stream's positions
                kept, new = kept[:, :, : stream.stop], new[:, :, : stream.stop]
            kept.copy_(_where(rows, new, kept))
        self.positions.copy_(_where(rows, stream.positions, self.positions))


def begun(policy: Policy, memory: Memory | None = None) -> Stream:
    """A segment that begins with a memory, in its largest size; without one, the first of an
    episode, of one row."""
    if memory is None:
        return policy.backbone.start_fixed(1)
    return policy.backbone.start(policy.backbone.full_size(memory))


class GraphedSteps:
    """Episodes of a number of rows with a policy, step by step.

    Args:
        policy: What acts.
        batch: Number of rows.
    """

    def __init__(self, policy: Policy, batch: int) -> None:
        self.policy = policy
        self.device = next(policy.parameters()).device
        self.capture = Capture(self.device, self._unchanged, "acting steps")
        fresh = begun(policy)
        tensors = {
            name: tensor.expand(batch, *tensor.shape[1:]).clone()
            for name, tensor in fresh.tensors.items()
        }
        self.steps = FixedSteps(policy, tensors, fresh.positions.expand(batch).clone())
        self._inputs: dict[str, Tensor] = {}
        self._most, self._tokens = 0, len(getattr(policy.config, "tokens", ()))
        sizes = [tensor.shape[2] for name, tensor in tensors.items() if name.startswith("keys")]
        capacity = max(sizes, default=0) if self._tokens else 0
        self.bounds = [-(-capacity * part // BUCKETS) for part in range(1, BUCKETS)]

    def step(
        self,
        observations: Mapping[str, np.ndarray],
        given: Mapping[str, np.ndarray],
        going: np.ndarray | None = None,
        within: np.ndarray | None = None,
    ) -> Tensor:
        """Action outputs [B, outputs] of the newest observations.

        Args:
            observations: Leaves [B, ...].
            given: "returns_to_go" [B], "actions" of the step before [B, ...], and "timesteps" [B].
            going: Rows whose episode has begun before, [B] bool; None: all rows are within a
                segment.
            within: Steps of each row's segment that lie behind it, [B].
        """
        values = dict(given)
        if not self.policy.config.timesteps:
            del values["timesteps"]
        if going is not None:
            values |= {"going": going, "begins": ~going, "ends": going & (within == 0)}
        observed = {path: self._put(f"/{path}", leaf) for path, leaf in observations.items()}
        inputs = {name: self._put(name, value) for name, value in values.items()}
        body = partial(self.steps.outputs, observed, inputs)
        self._most += self._tokens  # positions of this step are below it
        free = (bound for bound in self.bounds if self._most <= bound and going is None)
        self.steps.stop = next(free, EVERYWHERE)
        outputs = self.capture.run((going is None, self.steps.stop), body).clone()
        if going is not None and self.bounds:
            self._most = int(self.steps.positions.max())
        return outputs

    def _put(self, name: str, value: np.ndarray) -> Tensor:
        """Copy an input to its place on the device."""
        host = torch.from_numpy(np.ascontiguousarray(value))
        if name not in self._inputs:
            self._inputs[name] = torch.empty_like(host, device=self.device)
        # What is not page-locked may change as soon as this returns.
        return self._inputs[name].copy_(host, non_blocking=True)

    def _unchanged(self) -> AbstractContextManager[None]:
        return values_kept(self._state)

    def _state(self) -> Iterator[Tensor]:
        yield from self.steps.tensors.values()
        yield self.steps.positions


def _where(rows: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(rows.view(-1, *[1] * (old.dim() - 1)), new, old)
