"""Recurrent baselines and the oracle: where their state begins, what they see, what is pinned."""

from dataclasses import replace

import pytest
import torch
from test_contract import episode, policy_of, small

from rate.models.backbone import Memory
from rate.models.policy import Policy
from rate.segment import Segment


@torch.no_grad()
def after(policy: Policy, steps: Segment) -> Memory:
    return policy(steps, policy.initial_memory(len(steps)))[1]


@torch.no_grad()
def outputs(policy: Policy, steps: Segment) -> torch.Tensor:
    return policy(steps, policy.initial_memory(len(steps)))[0]


@pytest.mark.parametrize(("name", "states"), [("lstm", 2), ("dlstm", 2), ("gru", 1), ("dgru", 1)])
def test_the_state_begins_at_zero_every_time(name: str, states: int) -> None:
    policy = policy_of(small(name, layers=2))
    memory = policy.initial_memory(3)
    assert [state.shape for state in memory] == [(3, 2, 16)] * states
    assert all(not state.any() for state in memory)


def test_the_forget_gate_of_an_lstm_begins_open_and_gates_are_orthogonal() -> None:
    network = policy_of(small("lstm")).backbone.network
    bias = (network.bias_ih_l0 + network.bias_hh_l0).split(16)  # input, forget, cell, output
    assert [gate.unique().tolist() for gate in bias] == [[0.0], [1.0], [0.0], [0.0]]
    for gate in network.weight_hh_l0.split(16):
        torch.testing.assert_close(gate @ gate.T, torch.eye(16), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "sees"), [("lstm", False), ("gru", False), ("dlstm", True), ("dgru", True)]
)
def test_only_the_decision_networks_see_actions_and_returns(name: str, sees: bool) -> None:
    policy, steps = policy_of(small(name)), episode(5, 2)
    other = replace(steps, actions=(steps.actions + 1) % 3)
    richer = replace(steps, returns_to_go=steps.returns_to_go + 1)
    for changed in (other, richer):
        assert torch.equal(outputs(policy, changed), outputs(policy, steps)) is not sees
    # An action is known to what comes after it, not to its own prediction.
    assert torch.equal(outputs(policy, other)[:, 0], outputs(policy, steps)[:, 0])


def test_the_oracle_keeps_the_first_observation_unchanged() -> None:
    policy, steps = policy_of(small("oracle-dt")), episode(15, 2)
    first, second, third = steps.split(5)
    pinned = after(policy, first)
    with torch.no_grad():
        for segment in (second, third):
            _, later = policy(segment, pinned)
            torch.testing.assert_close(later[0], pinned[0], atol=0, rtol=0)
            pinned = later
    elsewhere = replace(
        first, observations={path: leaf.clone() for path, leaf in first.observations.items()}
    )
    for leaf in elsewhere.observations.values():
        leaf[:, 1:] += 1  # later observations are not pinned
    torch.testing.assert_close(after(policy, elsewhere)[0], pinned[0], atol=0, rtol=0)
    for leaf in elsewhere.observations.values():
        leaf[:, 0] += 1
    assert not torch.equal(after(policy, elsewhere)[0], pinned[0])


def test_the_oracle_reads_its_token_in_every_segment() -> None:
    policy, steps = policy_of(small("oracle-dt")), episode(10, 2)
    first, second = steps.split(5)
    token, *rest = after(policy, first)
    with torch.no_grad():
        seen = policy(second, (token, *rest))[0]
        unlike = policy(second, (token + 1, *rest))[0]
    assert (seen - unlike).abs().amax(-1).min() > 0
