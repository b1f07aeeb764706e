"""LSDT: the kernel that it convolves with, the window that it sees, and the time steps that it
embeds."""

from dataclasses import replace

import pytest
import torch
from test_contract import OBSERVATIONS, episode, policy_of, small, stepwise, teacher_forced
from torch import Tensor

from rate.models import lsdt
from rate.models.backbone import ModelConfig
from rate.models.nn.dynamic_convolution import GROUP, DynamicConvolution
from rate.segment import Segment


def config(**options: object) -> ModelConfig:
    return small("lsdt", **options)


def convolved(convolution: DynamicConvolution, inputs: Tensor) -> Tensor:
    """A whole sequence [B, n, c] through a dynamic convolution."""
    gated = convolution.gate(inputs)
    padded = torch.nn.functional.pad(gated, (0, 0, convolution.taps - 1, 0))
    taps = torch.arange(inputs.shape[1])[:, None] + torch.arange(1 - convolution.taps, 1)
    return convolution(gated, convolution.windows(padded), (taps >= 0)[None])


def by_definition(convolution: DynamicConvolution, inputs: Tensor, later: int) -> Tensor:
    """Position by position, with a kernel centred so that its last `later` taps lie ahead, and are
    masked."""
    gated = convolution.gate(inputs)
    mixed = torch.zeros_like(gated)
    logits = convolution.kernel(gated)
    for at in range(inputs.shape[1]):
        offsets = [offset for offset in range(later + 1 - convolution.taps, 1) if at + offset >= 0]
        for group in range(gated.shape[2] // GROUP):
            channels = slice(group * GROUP, (group + 1) * GROUP)
            taps = [
                (offset + convolution.taps - 1 - later) * gated.shape[2] // GROUP + group
                for offset in offsets
            ]
            weights = logits[:, at, taps].softmax(-1)
            for number, offset in enumerate(offsets):
                mixed[:, at, channels] += weights[:, number, None] * gated[:, at + offset, channels]
    return convolution.output(mixed + convolution.bias)


@pytest.fixture
def inputs() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(2, 11, 8)


@torch.no_grad()
def test_the_convolution_is_that_of_its_definition(inputs: Tensor) -> None:
    convolution = DynamicConvolution(8, 6, 0.0)
    torch.testing.assert_close(
        convolved(convolution, inputs), by_definition(convolution, inputs, later=0)
    )


@torch.no_grad()
def test_a_released_kernel_of_six_is_a_kernel_of_three(inputs: Tensor) -> None:
    released, ours = DynamicConvolution(8, 6, 0.0), DynamicConvolution(8, 3, 0.0)
    state = released.state_dict()
    state |= {name: state[name][: 3 * 8 // GROUP] for name in ("kernel.weight", "kernel.bias")}
    ours.load_state_dict(state)
    torch.testing.assert_close(convolved(ours, inputs), by_definition(released, inputs, later=3))


def test_the_kernel_sees_the_last_tokens_and_no_other(inputs: Tensor) -> None:
    inputs.requires_grad_()
    convolved(DynamicConvolution(8, 6, 0.0), inputs)[:, 8].sum().backward()
    assert inputs.grad is not None
    assert inputs.grad.abs().sum((0, 2)).nonzero().flatten().tolist() == [3, 4, 5, 6, 7, 8]


@torch.no_grad()
def test_a_whole_window_equals_its_segments() -> None:
    """Training takes in one pass what may be taken segment by segment."""
    policy = policy_of(config())
    window = episode(policy.config.window, 2)
    outputs, _ = policy(window, policy.initial_memory(2))
    memory, parts = policy.initial_memory(2), []
    for segment in window.split(policy.config.segment_length):
        part, memory = policy(segment, memory)
        parts.append(part)
    torch.testing.assert_close(outputs, torch.cat(parts, 1), atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_window_slides() -> None:
    """What lies before the window has no influence; the oldest segment in it has."""
    policy = policy_of(config(stride=config().segment_length))
    length, steps = policy.config.segment_length, episode(5 * policy.config.segment_length, 2)
    before = teacher_forced(policy, steps)
    steps.observations["observation"][:, : 2 * length] += 1.0
    torch.testing.assert_close(
        teacher_forced(policy, steps)[:, 4 * length :], before[:, 4 * length :], atol=0, rtol=0
    )
    steps.observations["observation"][:, 2 * length] += 1.0
    assert (
        teacher_forced(policy, steps)[:, 4 * length :] - before[:, 4 * length :]
    ).abs().min() > 0


def test_one_segment_has_no_context() -> None:
    policy = policy_of(config(segments=1))
    steps = episode(12, 2)
    torch.testing.assert_close(
        stepwise(policy, steps), teacher_forced(policy, steps), atol=1e-5, rtol=0
    )


def later(steps: Segment, by: int) -> Segment:
    return replace(steps, timesteps=steps.timesteps + by)


@torch.no_grad()
def test_time_steps_are_embedded_and_share_the_last_row_past_the_table() -> None:
    policy = policy_of(config(timesteps=10))
    steps = episode(5, 2)
    outputs = [teacher_forced(policy, later(steps, by)) for by in (0, 1, 10, 10**9)]
    assert (outputs[0] - outputs[1]).abs().max() > 1e-4
    torch.testing.assert_close(outputs[2], outputs[3], atol=0, rtol=0)


def test_acting_embeds_true_time_steps_beyond_the_table() -> None:
    policy = policy_of(config(timesteps=7))
    steps = episode(23, 2)
    torch.testing.assert_close(
        stepwise(policy, steps), teacher_forced(policy, steps), atol=1e-5, rtol=0
    )


def test_missing_time_steps_are_an_error_that_says_so() -> None:
    policy = policy_of(config())
    stream = policy.backbone.start(policy.initial_memory(1))
    leaves = {"observation": torch.from_numpy(OBSERVATIONS.sample())[None]}
    with pytest.raises(ValueError, match="pass `timesteps`"):
        policy.observe(stream, leaves, torch.zeros(1))


def test_linear_maps_and_embeddings_start_as_published() -> None:
    policy = policy_of(config())
    for part in policy.modules():
        if isinstance(part, torch.nn.Linear):
            assert part.bias is None or not part.bias.any()
        if isinstance(part, torch.nn.Linear | torch.nn.Embedding):
            assert part.weight.abs().max() <= (6 / sum(part.weight.shape)) ** 0.5


@pytest.mark.parametrize(("width", "convolved"), [(8, 4), (10, 4), (16, 8), (64, 32), (130, 64)])
def test_half_of_any_width_is_convolved(width: int, convolved: int) -> None:
    assert lsdt.Config(width=width).convolved == convolved


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 6, "heads": 1}, "convolution_channels must be a multiple of 4"),
        ({"convolution_channels": 6}, "but 6 was given"),
        ({"convolution_channels": 64}, "below the width 64"),
        ({"heads": 3}, "heads must divide the 32 channels"),
        ({"kernel": 0}, "kernel must be at least 1"),
        ({"feed_forward": 0}, "four times the width"),
        ({"kernel_dropout": 1.0}, "kernel_dropout must lie in"),
    ],
)
def test_wrong_options_say_what_is_allowed(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lsdt.Config(**options)  # type: ignore[arg-type]
