"""Weights of steps and smoothed labels, of ELMUR's published T-Maze setting."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from rate.objectives import behaviour_cloning
from rate.training.update import step_weights
from tests.models.test_contract import STEPS, episode, policy_of, small


def test_weights_of_the_last_segment_are_those_of_its_real_steps():
    lengths = np.array([7, 6, 4, 2])
    mask = torch.from_numpy(np.arange(7) < lengths[:, None])
    window = replace(episode(7, 4), mask=mask, lengths=tuple(lengths.tolist()))
    weights = step_weights(window, "last-segment", lengths, 3)
    expected = np.zeros((4, 7))
    expected[0, 6] = 1 / 4
    expected[1, 3:6] = 1 / 12
    expected[2, 3] = 1 / 4
    expected[3, :2] = 1 / 8
    np.testing.assert_allclose(weights, expected, atol=1e-6)


def test_smoothed_labels_are_those_of_pytorch():
    policy = policy_of(small("rate"))
    segment = episode(STEPS, 3)
    weights = torch.full((3, STEPS), 1 / (3 * STEPS))
    objective = behaviour_cloning.Config(label_smoothing=0.16).build(policy, None, 1.0)
    memory = policy.initial_memory(3)
    loss, *_ = objective(policy, segment, weights, memory, 0)
    outputs, _ = policy(segment, memory, 0)
    targets = segment.actions.flatten().long()
    expected = cross_entropy(outputs.flatten(0, 1), targets, label_smoothing=0.16)
    torch.testing.assert_close(loss, expected)
    box = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    with pytest.raises(ValueError, match=r"label_smoothing is 0\.16, but the actions .* have no"):
        behaviour_cloning.Config(label_smoothing=0.16).check(small("rate"), box, whole_windows=True)
