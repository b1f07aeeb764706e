"""Actions that an environment forbids are neither learned nor chosen."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import rate
from rate.acting.actor import Actor
from rate.models.policy import Policy
from rate.tasks.gym.make import RandomAgent
from rate.tasks.gym.masks import ActionMasks
from tests.models.test_contract import episode, small, stepwise, teacher_forced, window_loss

MASKED = spaces.Dict(action_mask=spaces.MultiBinary(5), numbers=spaces.Box(-1, 1, (2,), np.float32))
TAXI = max(name for name in gymnasium.registry if name.startswith("Taxi-v"))
CHOICES = spaces.MultiDiscrete([2, 3])


def taxi() -> gymnasium.Env:
    return ActionMasks(gymnasium.make(TAXI))


@pytest.mark.parametrize("name", ["rate", "gru"])
def test_forbidden_actions_have_no_probability(name):
    torch.manual_seed(0)
    policy = Policy(MASKED, CHOICES, small(name)).eval()
    steps = episode(8, 3, MASKED, CHOICES)
    mask = steps.observations["action_mask"]
    mask[..., 0] |= 1 - mask[..., 1]
    mask[..., 2] |= 1 - mask[..., 3]  # each component allows something
    outputs = teacher_forced(policy, steps)
    first, second = (part.softmax(-1) for part in outputs.split([2, 3], -1))
    assert not torch.cat([first, second], -1)[mask == 0].any()
    torch.testing.assert_close(stepwise(policy, steps), outputs, atol=1e-5, rtol=0)
    assert torch.isfinite(window_loss(policy.train(), steps))


def test_a_policy_acts_within_the_masks_of_an_environment(tmp_path):
    environment = taxi()
    torch.manual_seed(0)
    policy = Policy(environment.observation_space, environment.action_space, small("gru"))
    for sample in (False, True):
        actor = Actor(policy, 1.0, sample=sample)
        actor.reset(1, seeds=[0])
        observation, info = environment.reset(seed=0)
        for _ in range(20):
            action = actor.act(observation, 0.0)
            assert info["action_mask"][action]
            observation, *_, info = environment.step(action)


def test_random_actions_are_allowed_ones():
    environment = taxi()
    agent = RandomAgent(environment.action_space)
    agent.reset(1, seeds=[3])
    observation, info = environment.reset(seed=0)
    for _ in range(20):
        batch = {key: np.asarray(value)[None] for key, value in observation.items()}
        [action] = agent.act(batch, np.zeros(1))
        assert info["action_mask"][action]
        observation, *_, info = environment.step(action)


def test_masks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="masks are for Discrete and MultiDiscrete"):
        ActionMasks(gymnasium.make("Pendulum-v1"))
    with pytest.raises(ValueError, match="info has no 'action_mask'"):
        ActionMasks(gymnasium.make("CartPole-v1")).reset(seed=0)


def test_masks_are_recorded_and_learned_from(tmp_path):
    address = f"{__name__}:taxi,horizon=15,expert=random"
    data = rate.collect(address, tmp_path / "data", episodes=6)
    masks = data.episode(0).observations["action_mask"]
    actions = data.episode(0).actions
    assert masks[np.arange(len(actions)), actions].all()
    recipe = rate.Recipe(dataset=str(tmp_path / "data"), model=small("gru"), updates=2)
    run = rate.train(recipe, tmp_path / "run", threads=1, accelerator="cpu")
    row = rate.evaluate_recorded(run, tmp_path / "data", held_out=False)
    assert row["log_likelihood"] > -3
