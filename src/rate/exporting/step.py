"""The acting step of a policy as a pure function: observations and state in, actions and state out.

Shapes are fixed except for the number of rows. There are two functions: `step` for rows that are
all within a segment, and `boundary_step`, which also serves rows that begin an episode or a
segment: it completes the segment with the last action and writes memory where `ends` says so.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from rate.acting.graphed import FixedSteps, begun
from rate.images import stack
from rate.models.heads import torch_dtype
from rate.models.policy import Policy
from rate.spaces import is_image, leaves

POSITIONS, FRAMES = "positions", "frames."
"""Names of state entries besides those of the backbone: positions, and the earlier frames of a
leaf."""


@dataclass(frozen=True)
class Port:
    """One input or output of a step."""

    name: str
    """Its name in the exported graph."""
    shape: tuple[int, ...]
    """Shape of one row; the batch axis comes before it."""
    dtype: torch.dtype
    """Type of its numbers."""

    def example(self, batch: int) -> Tensor:
        """Zeros in its shape, for tracing."""
        return torch.zeros(batch, *self.shape, dtype=self.dtype)

    def to_json(self) -> dict[str, Any]:
        """The port as JSON data."""
        return {
            "name": self.name,
            "shape": ["batch", *self.shape],
            "dtype": str(self.dtype).removeprefix("torch."),
        }


class Step(nn.Module):
    """A step of fixed shape; `inputs` and `outputs` name what it takes and gives, in order.

    Args:
        policy: The policy, in evaluation mode.
        boundary: Whether rows may begin an episode or a segment.
    """

    def __init__(self, policy: Policy, boundary: bool) -> None:
        super().__init__()
        self.policy, self.boundary = policy, boundary
        self.images = {
            path: leaf.shape or ()
            for path, leaf in leaves(policy.observation_space).items()
            if policy.stack_frames > 1 and is_image(leaf)
        }
        self.state = {name: value for name, value in initial_state(policy).items() if value.size}
        self.empty = {
            name: value for name, value in initial_state(policy).items() if not value.size
        }
        self.given = dict(self._given())
        self.observed = {
            path: Port(f"observation.{path}", leaf.shape or (), torch_dtype(leaf.dtype))
            for path, leaf in leaves(policy.observation_space).items()
        }

    def _given(self) -> Iterator[tuple[str, Port]]:
        policy = self.policy
        if "return_to_go" in policy.tokens:
            yield "returns_to_go", Port("return_to_go", (), torch.float32)
        if "action" in policy.tokens:
            space = policy.action_space
            yield "actions", Port("action", space.shape or (), torch_dtype(space.dtype))
        if policy.config.timesteps:
            yield "timesteps", Port("timestep", (), torch.int64)
        if self.boundary:
            yield "going", Port("going", (), torch.bool)
            yield "ends", Port("ends", (), torch.bool)

    @property
    def inputs(self) -> list[Port]:
        """What `forward` takes, in order: observations, what else is given, and the state."""
        return [*self.observed.values(), *self.given.values(), *self._state_ports("state.")]

    @property
    def outputs(self) -> list[Port]:
        """What `forward` gives, in order: actions, outputs of the head, and the state."""
        space = self.policy.action_space
        width = self.policy.head.linear.out_features
        return [
            Port("actions", space.shape or (), torch_dtype(space.dtype)),
            Port("outputs", (width,), torch.float32),
            *self._state_ports("next_state."),
        ]

    def _state_ports(self, prefix: str) -> list[Port]:
        return [
            Port(prefix + name, value.shape[1:], torch_dtype(value.dtype))
            for name, value in self.state.items()
        ]

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        """Actions, outputs of the head, and the state after the step, [B, ...] each; see `inputs`
        and `outputs`."""
        observed = dict(zip(self.observed, values, strict=False))
        rest = values[len(observed) :]
        given = dict(zip(self.given, rest, strict=False))
        state = dict(zip(self.state, rest[len(given) :], strict=True))
        batch = values[0].shape[0]
        blank = values[0].new_zeros((batch,))
        given = {"returns_to_go": blank, "actions": blank, **given}
        frames = self._stacked(observed, state, given.get("going"))
        kept = {name: state[name].clone() for name in state if not name.startswith(FRAMES)}
        positions = kept.pop(POSITIONS)
        for name, value in self.empty.items():
            kept[name] = torch.zeros(batch, *value.shape[1:], dtype=torch_dtype(value.dtype))
        steps = FixedSteps(self.policy, kept, positions)
        with PlainAttention():
            outputs = steps.outputs(observed, given)
        after = {**steps.tensors, POSITIONS: steps.positions, **frames}
        actions = self.policy.head.greedy(outputs)
        return actions, outputs, *(after[name] for name in self.state)

    def _stacked(
        self, observed: dict[str, Tensor], state: dict[str, Tensor], going: Tensor | None
    ) -> dict[str, Tensor]:
        """Put stacked frames in place of the images in `observed`; returns those to keep."""
        after = {}
        for path, shape in self.images.items():
            newest = observed[path].unsqueeze(1)
            earlier = state[FRAMES + path]
            if going is not None:
                rows = going.view(-1, *[1] * (earlier.dim() - 1))
                earlier = torch.where(rows, earlier, newest.expand_as(earlier))
            frames = torch.cat([earlier, newest], 1)
            observed[path], after[FRAMES + path] = stack(frames, shape), frames[:, 1:]
        return after


class PlainAttention(TorchFunctionMode):
    """Attention as products and a softmax: what PyTorch's own kernel gives has a layout in memory
    that no other runtime shares."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        return _attend(*args, **(kwargs or {}))


def _attend(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None = None,
    dropout: float = 0.0,
    *,
    scale: float | None = None,
) -> Tensor:
    """`scaled_dot_product_attention` without dropout, as this library calls it."""
    scores = query @ keys.transpose(-1, -2) * (scale or query.shape[-1] ** -0.5)
    if mask is not None:
        hidden = torch.where(mask, 0.0, -torch.inf) if mask.dtype == torch.bool else mask
        scores = scores + hidden
    return scores.softmax(-1) @ values


@torch.no_grad()
def initial_state(policy: Policy) -> dict[str, np.ndarray]:
    """The state before an episode's first step by name, [1, ...] each."""
    stream = begun(policy)
    state = {name: tensor.detach().numpy().copy() for name, tensor in stream.tensors.items()}
    state[POSITIONS] = stream.positions.numpy().copy()
    for path, leaf in leaves(policy.observation_space).items():
        if policy.stack_frames > 1 and is_image(leaf):
            state[FRAMES + path] = np.zeros(
                (1, policy.stack_frames - 1, *(leaf.shape or ())), np.uint8
            )
    return state
