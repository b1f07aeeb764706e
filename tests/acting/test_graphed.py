"""Acting steps of fixed shape give the outputs of steps of true length; on CUDA as graphs."""

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor

from rate.acting.actor import Actor
from rate.acting.graphed import EVERYWHERE
from rate.models import config_class, names
from rate.models.policy import Policy

SIZES = {"segment_length": 4, "segments": 3, "width": 16, "hidden": 16, "heads": 2}
SPACE = gymnasium.spaces.Box(-1, 1, (3,), np.float32)


def policy_of(name: str, **options: Any) -> Policy:
    config = config_class(name)
    known = {key: value for key, value in SIZES.items() if key in config.__dataclass_fields__}
    torch.manual_seed(0)
    return Policy(SPACE, gymnasium.spaces.Discrete(4), config(**{**known, **options}))


def outputs_of(actor: Actor, rows: int, steps: int = 40) -> np.ndarray:
    """Outputs of episodes, some of which begin anew in the middle of the others."""
    generator = np.random.default_rng(0)
    actor.reset(rows)
    found = []
    for step in range(steps):
        if step in (3, 10, 11, 22):
            actor.reset(rows=generator.choice(rows, max(1, rows // 2), replace=False))
        observations = generator.uniform(-1, 1, (rows, 3)).astype(np.float32)
        outputs: Tensor = actor.outputs(observations, generator.normal(size=rows))
        actor.actions = outputs.argmax(-1).cpu().numpy()
        found.append(outputs.cpu().numpy())
    return np.stack(found)


@pytest.mark.parametrize("name", sorted(names()))
def test_steps_of_fixed_shape_give_the_same_outputs(name: str) -> None:
    policy = policy_of(name)
    eager, fixed = (outputs_of(Actor(policy, 2.0, graph=graph), 5) for graph in ("off", "on"))
    np.testing.assert_allclose(fixed, eager, rtol=0, atol=1e-5)


def test_early_steps_of_a_segment_attend_to_fewer_positions() -> None:
    actor = Actor(policy_of("rate", segment_length=12), 2.0, graph="on")
    actor.reset(3)
    stops, positions = [], []
    for step in range(30):
        if step == 20:
            actor.reset(rows=[1])  # the others bound the step
        actor.act(np.zeros((3, 3), np.float32), np.zeros(3))
        assert actor.graphed is not None
        stops.append(actor.graphed.steps.stop)
        positions.append(int(actor.graphed.steps.positions.max()))
    assert all(position <= stop for position, stop in zip(positions, stops, strict=True))
    bounds = actor.graphed.bounds
    assert set(stops) == {*bounds, EVERYWHERE}
    assert sorted(stops[1:12]) == stops[1:12]
    assert stops[12] == stops[20] == EVERYWHERE  # where rows begin
    assert stops[13] == stops[1] == bounds[0]
    assert stops[21] == stops[9]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("rate", {"cached_states": 24}),
        ("rate", {"cached_states": 24, "memory_reads_cache": True}),
        ("rate", {"valve": "lstm"}),
        ("elmur", {"observation_only": True}),
        ("lsdt", {"segments": 1}),
    ],
)
def test_so_do_steps_with_other_memories(name: str, options: dict[str, Any]) -> None:
    policy = policy_of(name, **options)
    eager, fixed = (outputs_of(Actor(policy, 2.0, graph=graph), 3) for graph in ("off", "on"))
    np.testing.assert_allclose(fixed, eager, rtol=0, atol=1e-5)


@pytest.mark.cuda
@pytest.mark.parametrize("rows", [1, 7])
@pytest.mark.parametrize("name", sorted(names()))
def test_graphs_of_steps_give_the_same_outputs(name: str, rows: int) -> None:
    torch.backends.cudnn.allow_tf32 = False
    policy = policy_of(name).to("cuda")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="acting steps cannot be captured")
        eager, fixed = (
            outputs_of(Actor(policy, 2.0, graph=graph), rows) for graph in ("off", "auto")
        )
    np.testing.assert_allclose(fixed, eager, rtol=0, atol=1e-5)
