"""ELMUR: which slot is written, with what, who reads it, and what time means to it."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from test_contract import episode, policy_of, small, stepwise, teacher_forced, window_loss
from torch import Tensor

from rate.models import elmur
from rate.models.backbone import Memory, ModelConfig
from rate.models.nn.transformer import DistanceBias
from rate.models.policy import Policy


def config(**options: object) -> ModelConfig:
    return small("elmur", **options)


@torch.no_grad()
def memories(policy: Policy, segments: int) -> list[Memory]:
    """Memory before, and after each of `segments` segments."""
    found = [policy.initial_memory(2)]
    for segment in episode(segments * policy.config.segment_length, 2).split(
        policy.config.segment_length
    ):
        found.append(policy(segment, found[-1])[1])
    return found


def test_empty_slots_are_written_first_then_the_least_recently_used() -> None:
    found = memories(policy_of(config(memory_slots=2)), 4)
    # Segments of 5 steps have 15 tokens; a slot bears the position of the newest one.
    assert [memory[1][0].tolist() for memory in found] == [
        [-1, -1],
        [14, -1],
        [14, 29],
        [44, 29],
        [44, 59],
    ]
    assert [int(memory[2][0]) for memory in found] == [0, 15, 30, 45, 60]
    for before, after in pairwise(found):
        changed = (before[0] != after[0]).any(3)
        assert (changed == (before[1] != after[1])[:, None]).all(), (
            "one slot of each layer, the one whose position changed"
        )


def test_an_empty_slot_is_replaced_and_a_used_one_is_blended() -> None:
    policies = [policy_of(config(memory_slots=1, blend=blend)) for blend in (1.0, 0.25)]
    whole, quarter = (memories(policy, 1) for policy in policies)
    torch.testing.assert_close(whole[1][0], quarter[1][0], atol=0, rtol=0)
    segment = episode(5, 2, seed=3)
    with torch.no_grad():
        (_, proposed), (_, blended) = (policy(segment, whole[1]) for policy in policies)
    torch.testing.assert_close(blended[0], 0.25 * proposed[0] + 0.75 * whole[1][0])


@torch.no_grad()
def test_empty_slots_are_not_read_once_one_is_written() -> None:
    policy = policy_of(config())
    slots, positions, seen = memories(policy, 1)[-1]
    segment = episode(5, 2, seed=3)
    expected, _ = policy(segment, (slots, positions, seen))
    noise = torch.where((positions < 0)[:, None, :, None], torch.randn_like(slots), slots)
    torch.testing.assert_close(
        policy(segment, (noise, positions, seen))[0], expected, atol=0, rtol=0
    )
    noise = torch.where((positions < 0)[:, None, :, None], slots, torch.randn_like(slots))
    assert (policy(segment, (noise, positions, seen))[0] - expected).abs().max() > 1e-4


def with_distances(policy: Policy) -> Policy:
    """The policy with biases that tell distances apart."""
    for part in policy.modules():
        if isinstance(part, DistanceBias):
            torch.nn.init.normal_(part.table)
    return policy


@pytest.mark.parametrize("later", [15, 10**15])
@torch.no_grad()
def test_only_distances_count_however_old_the_episode_is(later: int) -> None:
    policy = with_distances(policy_of(config(memory_slots=2)))
    slots, positions, seen = memories(policy, 3)[-1]
    segment = episode(5, 2, seed=3)
    outputs, after = policy(segment, (slots, positions, seen))
    shifted, shifted_after = policy(segment, (slots, positions + later, seen + later))
    torch.testing.assert_close(outputs, shifted, atol=0, rtol=0)
    torch.testing.assert_close(after[0], shifted_after[0], atol=0, rtol=0)
    outputs, _ = policy(segment, (slots, positions, seen + later))
    assert (outputs - shifted).abs().max() > 1e-5


@torch.no_grad()
def test_each_token_is_paired_with_its_own_distance() -> None:
    """Oldest tokens are nearest to the slots: token i stands i + (tokens since the slot was
    written) after it."""
    backbone = policy_of(config(memory_slots=2)).backbone
    assert isinstance(backbone, elmur.ExternalMemoryTransformer)
    seen: list[Tensor] = []
    for layer in backbone.layers:
        layer.bias.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    slots, _, _ = backbone.initial_memory(1)
    memory = (slots, torch.tensor([[29, 14]]), torch.tensor([30]))
    backbone(torch.randn(1, 3, 16), memory, 1)
    assert seen[0].tolist() == seen[1].tolist() == [[[1, 16], [2, 17], [3, 18]]], "reading"
    assert seen[2].tolist() == seen[3].tolist() == [[[-16, -17, -18]]], (
        "writing the slot of position 14"
    )


def test_distances_are_clamped_and_keep_their_sign() -> None:
    bias = DistanceBias(2, 3)
    torch.nn.init.normal_(bias.table)
    distance = torch.tensor([[[-9, -2, 0, 1, 2, 2**40]]])
    torch.testing.assert_close(bias(distance)[0, :, 0], bias.table[[0, 0, 2, 3, 4, 4]].T)


@pytest.mark.parametrize(
    "options", [{"memory_slots": 2}, {"memory_slots": 1, "blend": 1.0}, {"observation_only": True}]
)
def test_stepwise_equals_forward_when_slots_are_written_again(options: dict[str, object]) -> None:
    policy = with_distances(policy_of(config(**options)))
    steps = episode(7 * policy.config.segment_length + 2, 2)
    torch.testing.assert_close(
        stepwise(policy, steps), teacher_forced(policy, steps), atol=1e-5, rtol=0
    )


def test_the_write_path_learns_only_if_the_gradient_crosses_segments() -> None:
    policy = policy_of(config())
    parts = ("write", "memory_feed_forward")
    path = {name: p for name, p in policy.named_parameters() if any(part in name for part in parts)}
    window = episode(15, 2)
    window_loss(policy, window).backward()
    assert [
        name
        for name, parameter in path.items()
        if parameter.grad is None or not parameter.grad.any()
    ] == []
    policy.zero_grad()
    memory = policy.initial_memory(2)
    for segment in window.split(5):
        outputs, memory = policy(segment, tuple(tensor.detach() for tensor in memory))
        outputs.sum().backward()
    assert [name for name, parameter in path.items() if parameter.grad is not None] == []


@torch.no_grad()
def test_old_content_fades_by_one_minus_blend() -> None:
    """After k overwrites a slot holds (1 - blend)^k of what it held, were proposals not to depend
    on it."""
    policy = policy_of(config(memory_slots=1, blend=0.5))
    backbone = policy.backbone
    assert isinstance(backbone, elmur.ExternalMemoryTransformer)
    for layer in backbone.layers:
        torch.nn.init.zeros_(layer.norms["memory_feed_forward"].weight)  # proposals are zero
    slots, positions, seen = memories(policy, 1)[-1]
    memory: Memory = (torch.ones_like(slots), positions, seen)
    for segment in episode(15, 2).split(5):
        _, memory = policy(segment, memory)
    torch.testing.assert_close(memory[0], torch.full_like(slots, 0.5**3))


def test_tokens_of_a_step() -> None:
    assert elmur.Config().tokens == ("return_to_go", "observation", "action")
    assert replace(elmur.Config(), observation_only=True).tokens == ("observation",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory_slots": 0}, "memory_slots must be at least 1"),
        ({"blend": 0.0}, "blend must lie in"),
        ({"blend": 1.5}, "but 1.5 was given"),
        ({"memory_dropout": 1.0}, "memory_dropout must lie in"),
        ({"segments": 0}, "segments must be at least 1"),
    ],
)
def test_wrong_options_say_what_is_allowed(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        elmur.Config(**options)  # type: ignore[arg-type]
