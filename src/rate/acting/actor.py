"""A trained policy as an agent that acts for any number of steps, at constant cost per step."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rate.images import FrameStack
from rate.models.backbone import Memory, Stream
from rate.models.policy import Policy
from rate.runs.checkpoint import load_policy
from rate.spaces import flatten


class Actor:
    """Acts with a policy: appends to cached keys and values, and writes memory once per complete
    segment.

    Args:
        policy: A trained policy, put in evaluation mode by the actor.
        target_return: The return asked for at the start of each episode; rewards received are taken
            off it.
        sample: Draw actions in place of taking the most likely ones. Row k draws from a generator
            seeded by the k-th seed, so actions do not depend on how many episodes run together.
    """

    def __init__(self, policy: Policy, target_return: float, sample: bool = False) -> None:
        self.policy = policy.eval()
        self.target_return = target_return
        self.sample = sample
        self.device = next(policy.parameters()).device
        self.segment_length = policy.config.segment_length

    @torch.inference_mode()
    def reset(
        self, batch: int = 1, seeds: Sequence[int] | None = None, rows: np.ndarray | None = None
    ) -> None:
        """Begin new episodes.

        Args:
            batch: Number of rows.
            seeds: Seeds of the episodes, in the order of the rows that begin.
            rows: Integers; only these rows begin, in the middle of the others' episodes.
        """
        if rows is None:
            rows = np.arange(batch)
            self.steps = np.zeros(batch, dtype=np.int64)
            self.stream = self._start(self.policy.initial_memory(batch), rows, self.steps)
            self.returns_to_go = np.full(batch, self.target_return, dtype=np.float64)
            self.frames = FrameStack(self.policy.observation_space, self.policy.stack_frames)
            space = self.policy.action_space
            self.actions = np.zeros((batch, *(space.shape or ())), space.dtype)
            self.generators = [np.random.default_rng()] * batch
        else:
            rows = np.asarray(rows)
            self.steps[rows] = 0
            begun = self._start(self.policy.initial_memory(len(rows)), rows, self.steps[rows])
            self.stream.put(self._tensor(rows), begun)
            self.returns_to_go[rows] = self.target_return
        if self.sample:
            for row, seed in zip(rows, seeds or itertools.repeat(None), strict=False):
                self.generators[row] = np.random.default_rng(seed)

    @torch.inference_mode()
    def act(
        self, observations: object, rewards: np.ndarray, forced: np.ndarray | None = None
    ) -> np.ndarray:
        """Choose the next actions.

        Args:
            observations: [n, ...], a batch in the space's own structure.
            rewards: [n], what the step before paid; ignored in a row's first step.
            forced: Actions that are executed in place of the policy's own, [n, ...].

        Returns:
            Actions [n, ...].
        """
        outputs = self._outputs(observations, rewards)
        if forced is None:
            uniform = None
            if self.sample:
                components = max(1, int(np.prod(self.actions.shape[1:])))
                uniform = np.stack([generator.random(components) for generator in self.generators])
            self.actions = self.policy.head.choose(outputs, uniform)
        else:
            self.actions = np.asarray(forced)
        return self.actions

    @torch.inference_mode()
    def outputs(self, observations: object, rewards: np.ndarray) -> Tensor:
        """Action outputs [n, outputs] of the policy's head; `act` turns them into actions and
        remembers these. See `act` for the arguments."""
        return self._outputs(observations, rewards)

    def _outputs(self, observations: object, rewards: np.ndarray) -> Tensor:
        values = flatten(self.policy.observation_space, observations)
        if self.policy.stack_frames > 1:
            values = self.frames.push(values, self.steps == 0)
        leaves = {path: self._tensor(leaf) for path, leaf in values.items()}
        going = self.steps > 0
        self.returns_to_go -= np.where(going, rewards, 0.0)
        returns_to_go = self._tensor(self.returns_to_go.astype(np.float32))
        within = self.steps % self.segment_length
        timesteps = self._tensor(self.steps.copy()) if self.policy.config.timesteps else None
        self.steps += 1
        actions = self._tensor(self.actions)
        if within.all():
            return self.policy.observe(self.stream, leaves, returns_to_go, actions, timesteps)
        if going.any():
            self._append_actions(np.flatnonzero(going), actions, timesteps)
            self._end_segments(np.flatnonzero(going & (within == 0)))
        return self.policy.observe(self.stream, leaves, returns_to_go, timesteps=timesteps)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def _append_actions(self, rows: np.ndarray, actions: Tensor, timesteps: Tensor | None) -> None:
        """Put the last actions of `rows` into the context, one step before `timesteps`."""
        before = None if timesteps is None else timesteps - 1
        if len(rows) == len(self.steps):
            return self.policy.record(self.stream, actions, before)
        index = self._tensor(rows)
        stream = self.stream.rows(index)
        self.policy.record(stream, actions[index], None if before is None else before[index])
        self.stream.put(index, stream)

    def _end_segments(self, rows: np.ndarray) -> None:
        """Write memory from the complete segments of `rows` and begin their next ones."""
        write_memory, steps = self.policy.backbone.write_memory, self.steps[rows] - 1
        if len(rows) == len(self.steps):
            self.stream = self._start(write_memory(self.stream), rows, steps)
        elif len(rows):
            index = self._tensor(rows)
            memory = write_memory(self.stream.rows(index))
            self.stream.put(index, self._start(memory, rows, steps))

    def _start(self, memory: Memory, rows: np.ndarray, steps: np.ndarray) -> Stream:
        """Begin segments of `rows` at `steps`, [n] each: the place where memory is passed on."""
        return self.policy.backbone.start(memory)


def load_agent(
    path: str | Path,
    *,
    target_return: float | None = None,
    sample: bool = False,
    device: str | None = None,
) -> Actor:
    """The trained agent of a run folder or checkpoint, ready to act.

        agent = rate.load_agent("runs/demo/rate")
        agent.reset(n)
        actions = agent.act(observations, rewards)  # arrays of n observations, rewards and actions

    Args:
        path: Run folder, or a checkpoint in it.
        target_return: The return to ask for; by default the one that the checkpoint names.
        sample: Draw actions in place of taking the most likely ones.
        device: Where to compute, in PyTorch's words; by default where PyTorch makes tensors.

    Raises:
        CheckpointError: there is no checkpoint, or it is damaged.
        ValueError: this machine cannot compute on the device.
    """
    policy, header = load_policy(path)
    target = header["target_return"] if target_return is None else target_return
    try:
        policy = policy.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"this machine cannot compute on the device {device!r}: {error}"
        ) from error
    return Actor(policy, float(target), sample)
