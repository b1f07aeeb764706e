"""A trained policy as an agent that steps for as long as it is asked to, at constant cost per
step."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rate.models.backbone import Memory, Stream
from rate.models.policy import Policy
from rate.runs.checkpoint import load_policy
from rate.spaces import flatten


class Actor:
    """Acts with a policy: appends to cached keys and values, and writes memory once per complete
    segment.

    policy: a trained policy, put in evaluation mode by the actor. target_return: the return asked
    for at the start of each episode; rewards received are taken off it. sample: draw actions in
    place of taking the most likely ones. Row k draws from a generator seeded by the k-th seed, so
    actions do not depend on how many episodes run side by side.
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
        """Begin new episodes: in all of `batch` rows, or, in the middle of others, in `rows`
        (integers) alone."""
        if rows is None:
            self.steps = np.zeros(batch, dtype=np.int64)
            self.stream = self._start(
                self.policy.initial_memory(batch), np.arange(batch), self.steps
            )
            self.returns_to_go = np.full(batch, self.target_return, dtype=np.float64)
            self.actions = np.zeros(
                (batch, *(self.policy.action_space.shape or ())), self.policy.action_space.dtype
            )
            self.generators = [np.random.default_rng()] * batch
        else:
            rows = np.asarray(rows)
            self.steps[rows] = 0
            self.stream.put(
                rows, self._start(self.policy.initial_memory(len(rows)), rows, self.steps[rows])
            )
            self.returns_to_go[rows] = self.target_return
        if self.sample:
            for row, seed in zip(
                range(batch) if rows is None else rows,
                seeds or itertools.repeat(None),
                strict=False,
            ):
                self.generators[row] = np.random.default_rng(seed)

    @torch.inference_mode()
    def act(
        self, observations: object, rewards: np.ndarray, forced: np.ndarray | None = None
    ) -> np.ndarray:
        """Actions [n, ...] for observations [n, ...] (a batch in the space's own structure).

        rewards: [n], what the step before paid (ignored in a row's first step). forced: actions
        that are executed in place of the policy's own.
        """
        outputs = self.outputs(observations, rewards)
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
        remembers these."""
        leaves = {
            path: torch.from_numpy(np.ascontiguousarray(leaf)).to(self.device)
            for path, leaf in flatten(self.policy.observation_space, observations).items()
        }
        going = self.steps > 0
        self.returns_to_go -= np.where(going, rewards, 0.0)
        returns_to_go = torch.from_numpy(self.returns_to_go.astype(np.float32)).to(self.device)
        within = self.steps % self.segment_length
        timesteps = self._timesteps()
        self.steps += 1
        if within.all():
            return self.policy.observe(
                self.stream, leaves, returns_to_go, self._executed(), timesteps
            )
        if going.any():
            self._append_actions(np.flatnonzero(going), timesteps)
            self._turn_over(np.flatnonzero(going & (within == 0)))
        return self.policy.observe(self.stream, leaves, returns_to_go, timesteps=timesteps)

    def _timesteps(self) -> Tensor | None:
        """Indices of the steps that are about to be taken [n], if the model embeds them."""
        return (
            torch.from_numpy(self.steps.copy()).to(self.device)
            if self.policy.config.timesteps
            else None
        )

    def _executed(self) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.actions)).to(self.device)

    def _append_actions(self, rows: np.ndarray, timesteps: Tensor | None) -> None:
        """Put the last actions of `rows` into the context, one step before `timesteps`."""
        before = None if timesteps is None else timesteps - 1
        if len(rows) == len(self.steps):
            return self.policy.record(self.stream, self._executed(), before)
        stream, selected = self.stream.rows(rows), torch.from_numpy(rows).to(self.device)
        self.policy.record(
            stream, self._executed()[selected], None if before is None else before[selected]
        )
        self.stream.put(rows, stream)

    def _turn_over(self, rows: np.ndarray) -> None:
        """Write memory from the complete segments of `rows` and begin their next ones."""
        commit, steps = self.policy.backbone.commit, self.steps[rows] - 1
        if len(rows) == len(self.steps):
            self.stream = self._start(commit(self.stream), rows, steps)
        elif len(rows):
            self.stream.put(rows, self._start(commit(self.stream.rows(rows)), rows, steps))

    def _start(self, memory: Memory, rows: np.ndarray, steps: np.ndarray) -> Stream:
        """Begin segments of `rows` at `steps`, [n] each, with their memory: the one place where
        memory is handed over."""
        return self.policy.backbone.start(memory)


def load_agent(
    path: str | Path,
    *,
    target_return: float | None = None,
    sample: bool = False,
    device: str = "cpu",
) -> Actor:
    """The trained agent of a run folder or checkpoint, ready to act.

        agent = rate.load_agent("runs/demo/rate")
        agent.reset(n)
        actions = agent.act(observations, rewards)  # arrays of n observations, rewards and actions

    target_return: the return to ask for, by default the one the checkpoint names. sample: draw
    actions in place of taking the most likely ones.
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
