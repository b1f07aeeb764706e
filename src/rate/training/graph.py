"""Whole updates of fixed shape; on CUDA each shape is captured once as a graph and replayed.

A small recurrent model keeps a GPU waiting for launches. A graph launches a whole update at once,
but everything in it has a fixed shape. So a batch is copied into buffers of the longest window, and
in each segment a fixed number of rows takes part: those of the longest episodes, at least all whose
episode goes on. Steps behind the end of an episode weigh zero, and no step that counts depends on
them: attention and recurrence are causal, and memory that such a row writes is read by its own
later steps alone. So loss and gradient are those of the update without graphs.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rate.dataset import Batch, BatchReader
from rate.recipe import Recipe
from rate.segment import Segment
from rate.system.capture import Capture, values_kept
from rate.training.devices import TrainingCompute
from rate.training.update import Learner, Window, segment_length, step_weights

SAMPLED = 32
"""Updates whose windows say how many rows take part in each segment."""
STEPS_OF_ROWS = 16
"""Numbers of rows are rounded up to multiples of this fraction of a batch."""
STEPS_OF_FRAMES = 8
"""Numbers of distinct images are rounded up to multiples of this fraction of a batch's steps."""

Rows = tuple[tuple[int, ...], ...]
"""How many rows of each micro-batch take part in each of its segments."""
Shapes = dict[int, tuple[tuple[int, ...], torch.dtype]]


@dataclass(frozen=True, eq=False)
class Buffers:
    """A batch in tensors that stay in their place."""

    parts: list[Segment]
    """Micro-batches, [B, window] each."""
    weights: list[Tensor]
    """Weights of their steps, [B, window] each."""

    def fill(self, batch: Batch, weights: list[Tensor]) -> None:
        """Copy a batch of the same shapes."""
        values = _tensors(batch.parts, weights)
        for buffer, value in zip(_tensors(self.parts, self.weights), values, strict=True):
            buffer[: len(value)].copy_(value, non_blocking=True)


class Graphs:
    """The updates of a run in a few fixed shapes.

    Args:
        learner: What takes the updates; on CUDA its learning rate becomes a tensor.
        reader: Where batches come from, which pads all windows to the same number of steps.
    """

    def __init__(self, learner: Learner, reader: BatchReader) -> None:
        self.learner, self.device = learner, learner.fabric.device
        self.computed = self.real = 0
        """Steps computed so far, and how many of them are no padding."""
        self.sampled = [
            [part.lengths for part in reader.windows(update)[1]]
            for start in np.linspace(0, reader.updates, len(reader.stages), endpoint=False)
            for update in range(int(start), min(int(start) + SAMPLED, reader.updates))
        ]
        self._size = cache(self._find_size)
        self._buffers: dict[Any, Buffers] = {}
        self.capture = Capture(self.device, self._unchanged, "updates")
        if self.device.type == "cuda":
            rate = torch.zeros((), device=self.device)
            for group in learner.optimiser.param_groups:
                group["capturable"], group["lr"] = True, rate.fill_(group["lr"])

    def learn(self, batch: Batch) -> Tensor:
        """As `Learner.learn`."""
        recipe, seed = self.learner.recipe, self.learner.seed
        length = segment_length(recipe, seed, batch.update)
        rows = tuple(
            self._rows(index, np.array(part.lengths), length)
            for index, part in enumerate(batch.parts)
        )
        signature, buffers = self._place(batch)
        body = partial(self._body, buffers, length, rows)
        steps = sum(map(sum, rows)) * length
        self.computed, self.real = self.computed + steps, self.real + int(batch.lengths.sum())
        totals = self.capture.run((signature, length, rows), body)
        return totals.clone()  # the next update writes to the same place

    def _rows(self, index: int, lengths: np.ndarray, length: int) -> tuple[int, ...]:
        """Rows of micro-batch `index` that take part in each segment: those of the bucket, or all
        of them where more go on."""
        active = _active(lengths, length)
        sizes = self._size(index, length, len(active))
        if any(count > size for count, size in zip(active, sizes, strict=True)):
            return (len(lengths),) * len(active)
        return sizes

    def _find_size(self, index: int, length: int, segments: int) -> tuple[int, ...]:
        """Rows that the sampled updates of so many segments need, rounded up."""
        counts = [_active(parts[index], length) for parts in self.sampled if index < len(parts)]
        counts = [count for count in counts if len(count) == segments]
        if not counts:
            return (0,) * segments
        size = max(len(parts[index]) for parts in self.sampled if index < len(parts))
        step = -(-size // STEPS_OF_ROWS)
        return tuple(min(size, -(-most // step) * step) for most in np.max(counts, 0).tolist())

    def _place(self, batch: Batch) -> tuple[Any, Buffers]:
        """The buffers of the batch's shapes, filled with it, and what tells these shapes apart."""
        recipe, cuda = self.learner.recipe, self.device.type == "cuda"
        length = segment_length(recipe, self.learner.seed, batch.update)
        given = recipe.weighting, batch.lengths, length
        weights = [step_weights(part, *given) for part in batch.parts]
        weights = [weight.pin_memory() for weight in weights] if cuda else weights
        shapes = [_shapes(part) for part in batch.parts]
        signature = tuple(tuple(shape.values()) for shape in shapes)
        if signature not in self._buffers:
            parts = [
                pytree.tree_map_only(Tensor, partial(self._buffer, shape), part)
                for shape, part in zip(shapes, batch.parts, strict=True)
            ]
            places = [torch.zeros_like(weight, device=self.device) for weight in weights]
            self._buffers[signature] = Buffers(parts, places)
        buffers = self._buffers[signature]
        buffers.fill(batch, weights)
        return signature, buffers

    def _buffer(self, shapes: Shapes, value: Tensor) -> Tensor:
        return torch.zeros(shapes[id(value)][0], dtype=value.dtype, device=self.device)

    def _body(self, buffers: Buffers, length: int, rows: Rows) -> Tensor:
        """The update of the batch in the buffers."""
        windows = []
        for part, weights, counts in zip(buffers.parts, buffers.weights, rows, strict=True):
            # Every row counts as full, so that shapes depend on no length.
            full = replace(part, lengths=(part.steps,) * len(part))
            segments = [
                segment.rows(slice(count))
                for segment, count in zip(full.split(length), counts, strict=False)
            ]
            steps = [
                weight[:count]
                for weight, count in zip(weights.split(length, 1), counts, strict=False)
            ]
            windows.append(Window(segments, steps, self.learner.policy.initial_memory(counts[0])))
        return self.learner.take(windows)

    @contextmanager
    def _unchanged(self) -> Iterator[None]:
        """Give weights, the optimiser's state, the loss scale and the random state their values of
        before at the end; the optimiser's moments begin at zero."""
        scaler = self.learner.scaler
        scale = scaler.state_dict() if scaler else {}
        random = torch.random.fork_rng([self.device] if self.device.type == "cuda" else [])
        with random, values_kept(self._state):
            yield
        if scaler:
            scaler.load_state_dict(scale)

    def _state(self) -> Iterator[Tensor]:
        """Every tensor that an update changes."""
        yield from self.learner.window_loss.parameters()
        yield from self.learner.window_loss.buffers()
        for state in self.learner.optimiser.state.values():
            yield from state.values()


def _active(lengths: np.ndarray, length: int) -> tuple[int, ...]:
    """Rows with a real step in each segment, for windows of these lengths, the longest first."""
    starts = np.arange(0, lengths[0], length)
    counts: Sequence[int] = (lengths[:, None] > starts).sum(0).tolist()
    return tuple(counts)


def _tensors(*values: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(values) if isinstance(leaf, Tensor)]


def _shapes(part: Segment) -> Shapes:
    """Shapes and dtypes of the buffers of a micro-batch, by the tensors' identities."""
    step = -(-part.mask.numel() // STEPS_OF_FRAMES)
    frames = {id(images) for images in part.frames.values()}
    shapes = {}
    for leaf in _tensors(part):
        size = -(-len(leaf) // step) * step if id(leaf) in frames else len(leaf)
        shapes[id(leaf)] = (size, *leaf.shape[1:]), leaf.dtype
    return shapes


def uses_graphs(compute: TrainingCompute, recipe: Recipe, device: torch.device) -> bool:
    """Whether a run computes in fixed shapes; says so if it should but cannot."""
    asked = compute.graph == "on" or (compute.graph == "auto" and device.type == "cuda")
    reason = ""
    if compute.processes > 1:
        reason = "several devices share each batch"
    elif recipe.compile:
        reason = "torch.compile has graphs of its own"
    if asked and reason:
        warnings.warn(f"updates are not replayed as graphs: {reason}", stacklevel=2)
    return asked and not reason
