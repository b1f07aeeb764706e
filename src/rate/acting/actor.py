"""A trained policy as an agent that acts for any number of steps, at constant cost per step."""

import itertools
import math
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rate.acting.graphed import GraphedSteps
from rate.images import FrameStack
from rate.models.backbone import Memory, Stream
from rate.models.heads import CategoricalHead
from rate.models.policy import Policy
from rate.models.sampling import Sampling
from rate.runs.checkpoint import load_policy
from rate.spaces import PLAIN, Checker, SpaceError, flatten, leaves
from rate.spaces.structure import parts
from rate.system.compute import Switch


class Actor:
    """Acts with a policy: appends to cached keys and values, and writes memory once per complete
    segment.

    Args:
        policy: A trained policy, put in evaluation mode by the actor.
        target_return: The return asked for at the start of each episode; rewards received are taken
            off it.
        sample: Draw actions in place of taking the most likely ones. Row k draws from a generator
            seeded by the k-th seed, so actions do not depend on how many episodes run together.
            A `Sampling` says from what.
        check: Check observations, rewards and imposed actions against the policy's spaces, and what
            it puts out for NaN. Otherwise they are taken as they are.
        graph: Compute steps in two fixed shapes, which CUDA replays as graphs; auto: on CUDA.
        restart_return: Ask for the whole target return again at the beginning of each segment (the
            paper's evaluation on MuJoCo), in place of what is left of it.

    Raises:
        ValueError: The target return is not finite, or a temperature is given where actions are
            no choices.
    """

    def __init__(
        self,
        policy: Policy,
        target_return: float,
        sample: bool | Sampling = False,
        check: bool = True,
        graph: Switch = "auto",
        restart_return: bool = False,
    ) -> None:
        if not math.isfinite(target_return):
            raise ValueError(f"target_return must be a finite number, but it is {target_return}")
        self.sampling = sample if isinstance(sample, Sampling) else Sampling()
        if not self.sampling.plain and not isinstance(policy.head, CategoricalHead):
            raise ValueError(
                f"actions are {self.sampling}, but those of {policy.action_space} are no choices: "
                "leave temperature at 1 and top_k at 0"
            )
        self.policy = policy.eval()
        self.observation_space, self.action_space = policy.observation_space, policy.action_space
        self.target_return = target_return
        self.sample = sample
        self.check = check
        self.restart_return = restart_return
        self.device = next(policy.parameters()).device
        asked = graph == "on" or (graph == "auto" and self.device.type == "cuda")
        # What looks at memory where a segment begins needs it to pass through the host.
        self.graph = asked and type(self)._start is Actor._start
        self.steps = np.zeros(0, np.int64)
        self._observations = Checker(policy.observation_space, "observations")
        self._forced = Checker(policy.action_space, "forced actions")
        first = next(iter(leaves(policy.observation_space).values()))
        self._dimensions = len(first.shape or ())

    @torch.inference_mode()
    def reset(self, batch: int = 1, seeds: Sequence[int] | None = None, rows: Any = None) -> None:
        """Begin new episodes.

        Args:
            batch: Number of rows.
            seeds: Seeds of the episodes, in the order of the rows that begin.
            rows: Numbers of rows, or a boolean for each row; only these rows begin, in the middle
                of the others' episodes.

        Raises:
            ValueError: There are no such rows, or not as many seeds as rows that begin.
        """
        begin = _all_rows(batch) if rows is None else _some_rows(rows, len(self.steps))
        if seeds is not None and (np.ndim(seeds) != 1 or len(seeds) != len(begin)):
            raise ValueError(
                f"seeds are {seeds!r}, but {len(begin)} rows begin: give a list of one seed each"
            )
        if rows is None:
            self.steps = np.zeros(len(begin), dtype=np.int64)
            self.returns_to_go = np.zeros(len(begin), dtype=np.float64)
            self.frames = FrameStack(self.policy.observation_space, self.policy.stack_frames)
            space = self.policy.action_space
            self.actions = np.zeros((len(begin), *(space.shape or ())), space.dtype)
            self.generators = [np.random.default_rng()] * len(begin)
        elif not len(begin):
            return
        self._seed(begin, seeds)
        self.steps[begin] = 0
        self.inside = 0  # steps ahead in which no row begins a segment
        self.returns_to_go[begin] = self.target_return
        if self.graph:
            if rows is None:
                self.graphed = GraphedSteps(self.policy, len(begin))
            return
        stream = self._start(self.policy.initial_memory(len(begin)), begin, self.steps[begin])
        if rows is None:
            self.stream = stream
        else:
            self.stream.put(self._tensor(begin), stream)

    def _seed(self, rows: np.ndarray, seeds: Sequence[int] | None) -> None:
        """Take the seeds of the episodes that begin."""
        if self.sample:
            given = itertools.repeat(None) if seeds is None else seeds
            for row, seed in zip(rows, given, strict=False):
                self.generators[row] = np.random.default_rng(seed)

    @torch.inference_mode()
    def act(self, observations: Any, rewards: Any, forced: Any = None) -> np.ndarray:
        """Choose the next actions.

        A single row may come without the batch axis: one observation and one reward give one
        action.

        Args:
            observations: [n, ...], a batch in the space's own structure, of arrays, lists or
                tensors.
            rewards: [n], what the step before paid; ignored in a row's first step.
            forced: Actions that are executed in place of the policy's own, [n, ...].

        Returns:
            Actions [n, ...].

        Raises:
            SpaceError: What was given lies outside its space, or has another number of rows.
            ValueError: No episode has begun, or the policy puts out no finite numbers.
        """
        single, values = self._leaves(observations)
        outputs = self._outputs(values, rewards)
        if forced is not None:
            self.actions = self._imposed(forced, single)
        else:
            numbers = outputs.float().cpu().numpy()
            if self.check and not _is_finite(numbers):
                raise ValueError(
                    f"the policy puts out {numbers.tolist()}: its weights or the numbers it was "
                    "given are too large; check the checkpoint and the observations"
                )
            uniform = None
            if self.sample:
                if isinstance(self.policy.head, CategoricalHead):
                    numbers = self.sampling.narrowed(numbers, self.policy.head.counts)
                components = max(1, int(np.prod(self.actions.shape[1:])))
                uniform = np.stack([generator.random(components) for generator in self.generators])
            self.actions = self.policy.head.choose(numbers, uniform)
        # A copy, because these are what the next step takes for executed.
        return (self.actions[0] if single else self.actions).copy()

    @torch.inference_mode()
    def outputs(self, observations: Any, rewards: Any) -> Tensor:
        """Action outputs [n, outputs] of the policy's head; `act` turns them into actions and
        remembers these. See `act` for the arguments."""
        return self._outputs(self._leaves(observations)[1], rewards)

    def _leaves(self, observations: Any) -> tuple[bool, dict[str, np.ndarray]]:
        """Whether a single observation came without the batch axis; and the leaves with it."""
        count, space = len(self.steps), self.policy.observation_space
        if not count:
            raise ValueError("no episode has begun: call reset() before act()")
        observations, single = _on_host(observations), False
        if count == 1:
            try:
                single = np.ndim(parts(space, observations)[0]) == self._dimensions
            except ValueError as error:
                raise SpaceError(f"observations: {error}") from error
        if self.check:
            values = self._observations(observations, None if single else count)
        else:
            values = flatten(space, observations)
        return single, {path: leaf[None] for path, leaf in values.items()} if single else values

    def _imposed(self, forced: Any, single: bool) -> np.ndarray:
        actions = np.asarray(_on_host(forced))
        actions = actions[None] if single else actions
        return self._forced(actions, len(self.steps))[PLAIN] if self.check else actions.copy()

    def _outputs(self, values: dict[str, np.ndarray], rewards: Any) -> Tensor:
        """Action outputs for leaves [n, ...]; rewards that are refused change nothing."""
        going = None if self.inside else self.steps > 0
        self.returns_to_go, asked = self._asked(rewards, going)
        if self.policy.stack_frames > 1:
            values = self.frames.push(values, self.steps == 0)
        within = None
        if going is None:
            self.inside -= 1
        else:
            within, left = self.policy.config.progress(self.steps)
            self.inside = int(left.min()) - 1
        if self.graph:
            given = {"returns_to_go": asked, "actions": self.actions, "timesteps": self.steps}
            outputs = self.graphed.step(values, given, going, within)
            self.steps += 1
            return outputs
        leaves = {path: self._tensor(leaf) for path, leaf in values.items()}
        timesteps = self._tensor(self.steps.copy()) if self.policy.config.timesteps else None
        self.steps += 1
        returns_to_go, actions = self._tensor(asked), self._tensor(self.actions)
        if going is None or within is None:
            return self.policy.observe(self.stream, leaves, returns_to_go, actions, timesteps)
        if going.any():
            self._append_actions(np.flatnonzero(going), actions, timesteps)
            self._end_segments(np.flatnonzero(going & (within == 0)))
        return self.policy.observe(self.stream, leaves, returns_to_go, timesteps=timesteps)

    def _asked(self, rewards: Any, going: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Returns-to-go [n] once the rewards of rows in `going` (None: all) are taken off, and the
        same in float32."""
        paid, count = np.asarray(_on_host(rewards)), len(self.steps)
        if paid.shape != (count,) and paid.size == count == 1:
            paid = paid.reshape(1)
        if self.check and (paid.shape != (count,) or paid.dtype.kind not in "biuf"):
            raise SpaceError(
                f"rewards are {reprlib.repr(rewards)}, but must be {count} numbers, one a row"
            )
        returns_to_go = self.returns_to_go - (paid if going is None else np.where(going, paid, 0.0))
        if self.restart_return:
            begins = self.steps % self.policy.config.segment_length == 0
            returns_to_go = np.where(begins, self.target_return, returns_to_go)
        asked = returns_to_go.astype(np.float32)
        if self.check and not _is_finite(asked):
            raise SpaceError(f"rewards are {reprlib.repr(rewards)}, but must be finite numbers")
        return returns_to_go, asked

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


def _all_rows(batch: Any) -> np.ndarray:
    """Numbers of all rows of a batch."""
    if not isinstance(batch, int | np.integer) or batch < 1:
        raise ValueError(f"batch must be a whole number of rows, at least 1, but it is {batch!r}")
    return np.arange(batch)


def _some_rows(rows: Any, count: int) -> np.ndarray:
    """Numbers of the chosen ones among `count` rows."""
    chosen = np.atleast_1d(_on_host(rows))
    if chosen.dtype == bool and chosen.shape == (count,):
        return np.flatnonzero(chosen)
    numbers = set(chosen.ravel().tolist()) if chosen.dtype.kind in "iu" else set()
    if chosen.ndim != 1 or len(numbers) < len(chosen) or not numbers <= set(range(count)):
        raise ValueError(
            f"rows are {reprlib.repr(rows)}, but there are {count} rows under way: give different "
            f"numbers of rows, from 0, or {count} booleans; reset(n) begins n rows"
        )
    return chosen.astype(np.int64)


def _is_finite(array: np.ndarray) -> bool:
    """Whether all floating-point numbers are finite; the sum of squares is the fastest to ask."""
    return math.isfinite(np.vdot(array, array)) or bool(np.isfinite(array).all())


def _on_host(value: Any) -> Any:
    """The value with tensors as arrays."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    if isinstance(value, dict):
        return {key: _on_host(part) for key, part in value.items()}
    return tuple(map(_on_host, value)) if isinstance(value, tuple) else value


def load_agent(
    path: str | Path,
    *,
    target_return: float | None = None,
    sample: bool | Sampling = False,
    device: str | None = None,
    check: bool = True,
    graph: Switch = "auto",
    restart_return: bool = False,
    trust: bool = False,
) -> Actor:
    """The trained agent of a run folder or checkpoint, ready to act.

        agent = rate.load_agent("runs/demo/rate")
        agent.reset()
        action = agent.act(observation, reward)
        agent.reset(n)
        actions = agent.act(observations, rewards)  # arrays of n observations, rewards and actions
        agent.reset(rows=terminated | truncated)  # their next episodes begin

    Args:
        path: Run folder, or a checkpoint in it.
        target_return: The return to ask for; by default the one that the checkpoint names.
        sample: Draw actions in place of taking the most likely ones; a `Sampling` says from what.
        device: Where to compute, in PyTorch's words; by default where PyTorch makes tensors.
        check: Check what the agent is given and what it puts out, see `Actor`.
        graph: Replay steps as CUDA graphs, see `Actor`.
        restart_return: Ask for the whole target return in each segment, see `Actor`.
        trust: Also run the code that the checkpoint names: a model or an encoder of your own.

    Raises:
        CheckpointError: there is no checkpoint, or it is damaged.
        ValueError: this machine cannot compute on the device.
    """
    policy, header = load_policy(path, trust=trust)
    target = header["target_return"] if target_return is None else target_return
    try:
        policy = policy.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"this machine cannot compute on the device {device!r}: {error}"
        ) from error
    return Actor(policy, float(target), sample, check, graph, restart_return)
