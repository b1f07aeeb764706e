"""The selective scan of Mamba, chunk by chunk, with a hand-written gradient that keeps no state but
one a chunk.

With step sizes D_t (delta), rates A, and write and read vectors B_t and C_t (Gu and Dao 2023,
section 3.2):

    h_t = exp(D_t A) * h_{t-1} + D_t B_t u_t,    y_t = C_t . h_t

Each state decays by itself, so the recurrence is associative. A chunk of g x g tokens is cut into g
groups; one pass finds the decay and the end of all groups side by side, one goes from group to
group, one fills all groups in. The gradient obeys the same recurrence backwards, dh_t = C_t dy_t +
exp(D_{t+1} A) * dh_{t+1}. Nothing is ever divided by a product of decays, which would overflow, and
what is at work at one time fits into the processor's cache.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

CPU_CHUNK, ACCELERATOR_CHUNK = 16, 256
"""Tokens whose states are held at one time: few stay in a CPU's cache, many keep an accelerator
busy."""


def selective_scan(
    values: Tensor,
    delta: Tensor,
    rates: Tensor,
    write: Tensor,
    read: Tensor,
    state: Tensor,
    carry: bool = True,
) -> tuple[Tensor, Tensor]:
    """The outputs of n tokens, and the state after them, in float32 at least.

    Args:
        values: u, [B, n, E].
        delta: Step sizes, [B, n, E], positive.
        rates: A, [E, S], negative.
        write: B, [B, n, S].
        read: C, [B, n, S].
        state: h before the first token, [B, E, S].
        carry: Whether the state after the tokens is used; else the given one comes back.

    Returns:
        y [B, n, E] and h [B, E, S].
    """
    precise = torch.promote_types(values.dtype, torch.float32)
    values, delta, rates, write, read = (
        tensor.to(precise) for tensor in (values, delta, rates, write, read)
    )
    if torch.compiler.is_compiling():
        outputs, after = _in_order(values, delta, write, read, rates, state.to(precise))
        return outputs, after if carry else state
    tokens = values.shape[1]
    group, groups = _chunk(tokens, CPU_CHUNK if values.device.type == "cpu" else ACCELERATOR_CHUNK)
    padding = -tokens % (group * groups)
    # A token of step size zero leaves the state as it is.
    time_first = (
        functional.pad(tensor.transpose(0, 1), (0, 0, 0, 0, 0, padding)).contiguous()
        for tensor in (values, delta, write, read)
    )
    outputs, after = _Scan.apply(*time_first, rates, state.to(precise), (groups, group))
    return outputs[:tokens].transpose(0, 1), after if carry else state


def _in_order(
    values: Tensor, delta: Tensor, write: Tensor, read: Tensor, rates: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """The recurrence token by token in plain operations, which a compiler can follow."""
    outputs = []
    for token in range(values.shape[1]):
        step = delta[:, token, :, None]
        written = step * values[:, token, :, None] * write[:, token, None]
        state = (step * rates).exp() * state + written
        outputs.append((state * read[:, token, None]).sum(-1))
    return torch.stack(outputs, 1), state


def _chunk(tokens: int, longest: int) -> tuple[int, int]:
    """Tokens in a group and groups in a chunk, about as many."""
    length = min(tokens, longest)
    group = math.isqrt(length)
    return group, -(-length // group)


def _states(
    decay: Tensor, drive: Tensor, state: Tensor, backwards: bool = False
) -> tuple[Tensor, Tensor]:
    """All h_t = decay_t * h_{t-1} + drive_t of one chunk [groups, group, ...], and the last one;
    `backwards` from its end."""
    groups, group = range(decay.shape[0]), list(range(decay.shape[1]))
    if backwards:
        groups, group = groups[::-1], group[::-1]
    ends, product = drive[:, group[0]], decay[:, group[0]]
    for token in group[1:]:
        ends = torch.addcmul(drive[:, token], decay[:, token], ends)
        product = product * decay[:, token]
    states = torch.empty_like(drive)
    current = torch.empty_like(ends)
    for index in groups:
        current[index] = state
        state = torch.addcmul(ends[index], product[index], state)
    for token in group:
        current = torch.addcmul(drive[:, token], decay[:, token], current, out=states[:, token])
    return states.flatten(0, 1), state


class _Scan(torch.autograd.Function):
    """Chunks one after another; tensors are time first, [n, B, E or S], and inside a chunk [n, B,
    E, S]."""

    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        delta: Tensor,
        write: Tensor,
        read: Tensor,
        rates: Tensor,
        state: Tensor,
        shape: tuple[int, int],
    ) -> tuple[Tensor, Tensor]:
        groups, group = shape
        drive = delta * values
        starts, outputs = [], torch.empty_like(values)
        for chunk in _slices(len(values), group * groups):
            starts.append(state)
            decay = (delta[chunk, ..., None] * rates).exp_()
            written = drive[chunk, ..., None] * write[chunk, :, None]
            states, state = _states(
                decay.unflatten(0, (groups, group)), written.unflatten(0, (groups, group)), state
            )
            torch.sum(states.mul_(read[chunk, :, None]), -1, out=outputs[chunk])
        ctx.save_for_backward(values, delta, write, read, rates, *starts)
        ctx.shape = shape
        return outputs, state

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        outputs_gradient, incoming = gradients
        values, delta, write, read, rates, *starts = ctx.saved_tensors
        shape, length = ctx.shape, math.prod(ctx.shape)
        drive = delta * values
        d_drive, d_delta, d_write, d_read = (
            torch.empty_like(tensor) for tensor in (drive, delta, write, read)
        )
        d_rates = torch.zeros_like(rates)
        # One token more than the chunk: a state's gradient comes through the decay of the token
        # after it.
        decay = drive.new_empty(length + 1, *incoming.shape)
        decay[length] = 1
        for chunk, start in zip(_slices(len(values), length)[::-1], starts[::-1], strict=True):
            torch.mul(delta[chunk, ..., None], rates, out=decay[:length]).exp_()
            buffer = drive[chunk, ..., None] * write[chunk, :, None]
            states, _ = _states(
                decay[:length].unflatten(0, shape), buffer.unflatten(0, shape), start
            )
            d_outputs = outputs_gradient[chunk]
            d_read[chunk] = (d_outputs[:, :, None] @ states).squeeze(2)
            torch.mul(d_outputs[..., None], read[chunk, :, None], out=buffer)
            d_states, incoming = _states(
                decay[1:].unflatten(0, shape), buffer.unflatten(0, shape), incoming, True
            )
            d_write[chunk] = (drive[chunk, :, None] @ d_states).squeeze(2)
            d_drive[chunk] = torch.mul(d_states, write[chunk, :, None], out=buffer).sum(-1)
            # Through the decay exp(D_t A): dh_t * exp(D_t A) * h_{t-1}.
            d_exponent = d_states.mul_(decay[:length])
            d_exponent[0] *= start
            d_exponent[1:] *= states[:-1]
            d_rates += torch.mul(d_exponent, delta[chunk, ..., None], out=buffer).sum((0, 1))
            d_delta[chunk] = d_exponent.mul_(rates).sum(-1)
            decay[length] = decay[0]
        d_delta.addcmul_(d_drive, values)
        d_values, d_state = d_drive.mul_(delta), decay[length] * incoming
        return d_values, d_delta, d_write, d_read, d_rates, d_state, None


def _slices(tokens: int, length: int) -> list[slice]:
    return [slice(start, start + length) for start in range(0, tokens, length)]
