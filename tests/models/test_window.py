"""The window of models without memory slides by their stride while acting."""

import pytest
import torch

from tests.models.test_contract import episode, policy_of, small, stepwise

K, WINDOW = 5, 15


@pytest.mark.parametrize("name", ["dt", "lsdt"])
@pytest.mark.parametrize("stride", [1, 4, 15])
@torch.no_grad()
def test_an_action_sees_the_last_window_and_nothing_else(name: str, stride: int) -> None:
    policy = policy_of(small(name, stride=stride))
    steps = episode(WINDOW + 9, 2)
    acted = stepwise(policy, steps)
    for step in range(steps.steps):
        # What has left the window by then, as many strides as are needed.
        gone = max(0, -(-(step + 1 - WINDOW) // stride)) * stride
        window = steps.window(gone, step + 1)
        outputs, _ = policy(window, policy.initial_memory(2), 0)
        torch.testing.assert_close(acted[:, step], outputs[:, -1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["dt", "lsdt"])
def test_nothing_is_encoded_anew_before_something_leaves_the_window(name: str, monkeypatch) -> None:
    policy = policy_of(small(name))
    backbone, starts = policy.backbone, []
    begin = backbone.start
    monkeypatch.setattr(backbone, "start", lambda memory: starts.append(1) or begin(memory))
    stepwise(policy, episode(WINDOW, 2))
    assert len(starts) == 1
    stepwise(policy, episode(WINDOW + 2, 2))
    assert len(starts) == 4


@pytest.mark.parametrize("name", ["dt", "lsdt"])
def test_a_stride_longer_than_the_window_says_what_is_allowed(name: str) -> None:
    with pytest.raises(ValueError, match="stride is 16, but the window has 15 steps"):
        small(name, stride=16)
