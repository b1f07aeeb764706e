"""One update: the loss of a window over its segments, and the optimiser steps of a batch."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import lightning_fabric
import numpy as np
import torch
from torch import Tensor, nn

from rate.dataset import Batch
from rate.models.backbone import Memory
from rate.models.policy import Policy
from rate.objectives.behaviour_cloning import BehaviourCloning
from rate.objectives.objective import Objective
from rate.recipe import OptimiserConfig, Recipe
from rate.segment import Segment


class WindowLoss(nn.Module):
    """An objective summed over consecutive segments; what data-parallel processes share."""

    def __init__(self, policy: Policy, objective: Objective | None = None) -> None:
        super().__init__()
        self.policy = policy
        self.objective = objective or BehaviourCloning()

    def forward(
        self, segments: Iterable[Segment], weights: list[Tensor], memory: Memory, more: bool
    ) -> tuple[Tensor, Tensor, Memory]:
        """The loss of some segments of a window.

        Args:
            segments: Consecutive segments, [B, K] each, rows longest first.
            weights: Weight of each step, [B, K] each.
            memory: Memory of at least the rows whose episode has not ended.
            more: Whether segments follow, so that the last one must write memory.

        Returns:
            Loss and action accuracy (scalars), and the memory of the rows that went on.
        """
        loss, correct = weights[0].new_zeros(()), weights[0].new_zeros(())
        frames: dict[str, Tensor] = {}
        for index, (segment, weight) in enumerate(zip(segments, weights, strict=True)):
            active = segment.active
            if not active:
                break
            if segment.frames:  # all segments have the same ones, and they are encoded once
                frames = frames or self.policy.encoded_frames(segment)
                segment = replace(segment, frames=frames)
            segment, weight = segment.rows(slice(active)), weight[:active]
            memory = tuple(tensor[:active] for tensor in memory)
            complete = segment.complete if more or index + 1 < len(weights) else 0
            part, right, memory = self.objective(self.policy, segment, weight, memory, complete)
            loss, correct = loss + part, correct + right
        return loss, correct, memory


@dataclass
class Window:
    """A micro-batch on its way through the segments of its window."""

    segments: list[Segment]
    """Its segments, [B, K] each."""
    weights: list[Tensor]
    """Weights of their steps, [B, K] each."""
    memory: Memory
    """Memory before the segments that come next, of the rows that go on."""


class Totals(NamedTuple):
    """What an update reports, all processes together."""

    loss: float
    """Loss of the batch."""
    accuracy: float
    """Fraction of actions that were predicted."""
    gradient_norm: float
    """Norm of the gradient before clipping; 0 without clipping."""


@dataclass
class Learner:
    """What takes the updates of a run."""

    fabric: lightning_fabric.Fabric
    """Device, precision and processes."""
    window_loss: Any
    """`WindowLoss` as the fabric, and perhaps the compiler, have set it up."""
    policy: Policy
    """The policy inside it."""
    objective: Objective
    """The objective inside it."""
    optimiser: Any
    """The optimiser as the fabric has set it up."""
    recipe: Recipe
    """What is trained and how."""
    seed: int
    """Seed of the run."""
    before_part: Callable[[], None] = lambda: None
    """Called before each part of an update; what it raises leaves the update undone."""

    def update(self, batch: Batch) -> Totals:
        """Learn from a batch, and read on the host what came of it."""
        return Totals(*self.learn(batch).tolist())

    def learn(self, batch: Batch) -> Tensor:
        """Learn from a batch; returns the totals, [3], on the device."""
        length = segment_length(self.recipe, self.seed, batch.update)
        return self.take([self._window(part, batch.lengths, length) for part in batch.parts])

    def take(self, windows: list[Window]) -> Tensor:
        """Learn from the micro-batches of an update: one optimiser step, or one after each chunk of
        segments; returns the totals, [3], on the device."""
        fabric, recipe = self.fabric, self.recipe
        most = max(len(window.segments) for window in windows)
        size = recipe.bptt_segments or most
        chunks = range(0, most, size)
        totals = torch.zeros(3, device=fabric.device)
        for step in [[start] for start in chunks] if recipe.update_per_segment else [chunks]:
            going = [window for window in windows if step[0] < len(window.segments)]
            for window in going:
                starts = [start for start in step if start < len(window.segments)]
                for start in starts:
                    self.before_part()
                    last = window is going[-1] and start == starts[-1]
                    totals[:2] += self._backward(window, slice(start, start + size), last)
            totals[2] = self._step()
        if fabric.world_size > 1:
            totals[:2] = cast(Tensor, fabric.all_reduce(totals[:2], reduce_op="sum"))
        return totals

    def _window(self, part: Segment, all_lengths: np.ndarray, length: int) -> Window:
        weights = step_weights(part, self.recipe.weighting, all_lengths, length)
        segments = part.to(self.fabric.device).split(length)
        steps = weights.to(self.fabric.device, non_blocking=True).split(length, 1)
        return Window(segments, list(steps), self.policy.initial_memory(len(part)))

    def _backward(self, window: Window, chunk: slice, last: bool) -> Tensor:
        """Add the gradient of a chunk of segments, behind which memory is detached.

        Args:
            window: Where the segments are from.
            chunk: Which segments.
            last: Whether an optimiser step follows.

        Returns:
            Loss and action accuracy, [2].
        """
        more = chunk.stop < len(window.segments)
        with self.fabric.no_backward_sync(self.window_loss, enabled=not last):
            # An iterator, because Fabric converts the tensors of collections and cannot rebuild a
            # frozen Segment.
            loss, correct, memory = self.window_loss(
                iter(window.segments[chunk]), window.weights[chunk], window.memory, more
            )
            self.fabric.backward(loss * self.fabric.world_size)
        window.memory = tuple(tensor.detach() for tensor in memory)
        return torch.stack([loss.detach(), correct])

    def _step(self) -> Tensor:
        """Clip the gradient and take an optimiser step; returns the norm before clipping."""
        if self.scaler:
            # Fabric refuses to do so for fused optimisers, which could unscale by themselves.
            self.scaler.unscale_(self.optimiser.optimizer)
        largest = self.recipe.optimiser.gradient_clip or math.inf
        norm = nn.utils.clip_grad_norm_(self.window_loss.parameters(), largest)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.objective.has_targets:
            self.objective.update_targets(self.policy)
        return norm.detach()

    @property
    def scaler(self) -> torch.amp.GradScaler | None:
        """What scales the loss with float16."""
        return cast(Any, getattr(self.fabric.strategy.precision, "scaler", None))


def segment_length(recipe: Recipe, seed: int, update: int) -> int:
    """Steps of a segment in an update: those of the model, a half or a third of them, what growing
    numbers of segments leave, or the whole window for an objective that splits it by itself."""
    if recipe.objective.whole_windows:
        return recipe.model.window
    length = recipe.model.training_segment_length
    generator = np.random.default_rng([seed, update])
    if recipe.growing_segments:
        bound = 1 + update * recipe.growing_segments // recipe.updates
        return -(-recipe.model.window // int(generator.integers(1, bound + 1)))
    if generator.random() < recipe.shorter_segments:
        return max(1, length // int(generator.integers(2, 4)))
    return length


def step_weights(
    window: Segment, weighting: str, all_lengths: np.ndarray, segment: int = 0
) -> Tensor:
    """Weights of real steps, [B, steps], that sum to one over the whole batch.

    Args:
        window: Rows of the batch.
        weighting: "episode": each row counts the same; "step": each real step does;
            "last-segment": each row counts the same, by the steps of its last segment alone.
        all_lengths: Real steps of all rows of the batch, other processes' included.
        segment: Steps of a segment, for "last-segment".
    """
    lengths = np.array(window.lengths)
    mask = np.arange(window.steps) < lengths[:, None]
    if weighting == "last-segment":
        before = (lengths - 1) // segment * segment
        mask &= np.arange(window.steps) >= before[:, None]
        each = 1.0 / (len(all_lengths) * (lengths - before))
    elif weighting == "episode":
        each = 1.0 / (len(all_lengths) * lengths)
    else:
        each = np.full(len(lengths), 1.0 / all_lengths.sum())
    return torch.from_numpy((mask * each[:, None]).astype(np.float32))


def adamw(module: nn.Module, config: OptimiserConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    matrices = {
        id(part.weight) for part in module.modules() if isinstance(part, nn.Linear | nn.Conv2d)
    }
    groups = [
        {
            "params": [p for p in parameters if id(p) in matrices],
            "weight_decay": config.weight_decay,
        },
        {"params": [p for p in parameters if id(p) not in matrices], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)
