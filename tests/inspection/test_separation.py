"""Memory that holds a cue keeps its difference; memory that forgets loses it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import rate
from rate.inspection.separation import TRANSITIONS, separation, separation_of
from rate.models import config_class
from rate.models.policy import Policy
from rate.reporting.comparisons import separation_table
from rate.tasks.lookup import find

TASK = find("recall/12")
SIZES = {"segment_length": 4, "segments": 3, "width": 16, "dropout": 0.0}


def policy_of(name: str, **options) -> Policy:
    torch.manual_seed(0)
    config = config_class(name)(**SIZES, **options)
    return Policy(find("recall/12").environment().observation_space, space(), config).eval()


def space():
    return TASK.environment().action_space


def test_what_memory_holds_of_a_cue_is_followed_over_ten_transitions():
    found = separation(policy_of("rate", memory_tokens=2), TASK, 1.0)
    assert len(found) == 1 + TRANSITIONS
    assert found[0] > 0
    assert all(np.isfinite(found))


def test_a_memory_that_is_kept_as_it_is_keeps_the_difference_and_one_that_is_wiped_does_not():
    policy = policy_of("rate", memory_tokens=2, valve="gate")
    with torch.no_grad():
        policy.backbone.valve.bias.fill_(100.0)  # the gate never opens: memory stays at its start
    assert max(separation(policy, TASK, 1.0)) == 0
    lstm = policy_of("lstm", hidden=8)
    with torch.no_grad():
        for name, parameter in lstm.backbone.network.named_parameters():
            if "bias" in name:  # input, forget, cell and output gates: the cell keeps what it has
                parameter.view(4, -1)[1] = 50.0
                parameter.view(4, -1)[0] = -50.0
    found = separation(lstm, TASK, 1.0)
    assert found[-1] == pytest.approx(found[0], abs=1e-3)


@pytest.mark.parametrize(("name", "task"), [("dt", TASK), ("rate", replace(TASK, cue=None))])
def test_it_is_left_out_where_there_is_nothing_to_measure(name, task):
    assert separation(policy_of(name), task, 1.0) == []


def test_episodes_of_two_segments_are_needed():
    assert separation(policy_of("rate"), find("recall/4"), 1.0) == []


def test_an_inspection_and_the_rows_of_an_experiment_have_it(trained, tmp_path):
    folder = rate.inspect(trained, "recall/24", episodes=20, output=tmp_path)
    data = json.loads((folder / "inspection.json").read_text())
    assert data["separation"] == pytest.approx(separation_of(trained, "recall/24"), abs=1e-5)
    assert any("after 10 more transitions" in line[0] for line in data["table"])
    rows = [
        {"variant": "rate", "seed": seed, "separation": [1.0, 0.9, last]}
        for seed, last in ((100, 0.8), (101, 0.4))
    ]
    assert separation_table(rows).rows == [
        (
            "rate",
            "1.00 (1.00 to 1.00)",
            "0.90 (0.90 to 0.90)",
            "0.60 (0.40 to 0.80)",
            "0.60 (0.40 to 0.80)",
            "2",
        )
    ]
    assert separation_table([{"variant": "rate", "seed": 0}]) is None
