"""What every model must do, for every model found and for every option of RATE."""

from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from rate.acting.actor import Actor
from rate.models import config_class, names
from rate.models.backbone import ModelConfig
from rate.models.policy import Policy
from rate.runs.checkpoint import load_policy, save_policy
from rate.segment import Segment
from rate.spaces import flatten
from rate.training.update import WindowLoss, step_weights

STEPS = 5
SMALL: dict[str, object] = {
    "segment_length": STEPS,
    "segments": 3,
    "width": 16,
    "dropout": 0.0,
    "attention_dropout": 0.0,
}
OBSERVATIONS = spaces.Box(-2, 2, (3,), np.float32)
ACTIONS = spaces.Discrete(3)


def small(name: str, **options: object) -> ModelConfig:
    """A tiny configuration of a model; sizes that it does not have are left out."""
    config = config_class(name)
    sizes = {"heads": 2, "head_width": 8, "feed_forward": 12, "hidden": 16}
    if getattr(config, "cached_states", 0):
        sizes["cached_states"] = 22
    known = set(config.__dataclass_fields__)
    values: dict[str, Any] = {**SMALL, **sizes, **options}
    return config(**{name: value for name, value in values.items() if name in known})


OPTIONS = {
    "cache": {"cached_states": 7},
    "long-cache": {"cached_states": 100},
    "cache-read-by-memory": {"cached_states": 40, "memory_reads_cache": True},
    "no-valve": {"valve": "none"},
    "valve-ca-1": {"valve": "ca-1"},
    "valve-gate": {"valve": "gate"},
    "valve-gru": {"valve": "gru"},
    "valve-lstm": {"valve": "lstm"},
    "two-tokens": {"memory_tokens": 2, "valve_heads": 4},
    "tanh": {"valve_activation": "tanh"},
    "leaky-relu": {"valve_activation": "leaky-relu"},
    "no-activation": {"valve_activation": "none"},
    "trxl-i": {"layer": "trxl-i"},
    "trxl-i-plain": {"layer": "trxl-i", "feed_forward": 0},
    "gtrxl": {"layer": "gtrxl", "cached_states": 30},
    "gtrxl-plain": {"layer": "gtrxl", "feed_forward": 0},
    "no-feed-forward": {"feed_forward": 0},
    "long-segments": {"segment_length": 40},
    "observation-only": {"observation_only": True, "cached_states": 7},
}
CONFIGS = {name: small(name) for name in names()}
CONFIGS |= {f"rate-{option}": small("rate", **values) for option, values in OPTIONS.items()}
CONFIGS |= {
    f"{name}-stride-{stride}": small(name, stride=stride)
    for name in ("dt", "lsdt")
    for stride in (4, 5, 15)
}

every_model = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


def policy_of(
    config: ModelConfig,
    observations: gymnasium.Space = OBSERVATIONS,
    actions: gymnasium.Space = ACTIONS,
    seed: int = 0,
) -> Policy:
    torch.manual_seed(seed)
    return Policy(observations, actions, config).eval()


def episode(
    steps: int,
    batch: int,
    observations: gymnasium.Space = OBSERVATIONS,
    actions: gymnasium.Space = ACTIONS,
    seed: int = 0,
) -> Segment:
    """Random steps of `batch` episodes."""
    for number, space in enumerate((observations, actions)):
        space.seed(seed + number)
    rewards = np.random.default_rng(seed).normal(size=(batch, steps)).astype(np.float32)
    leaves = [
        [flatten(observations, observations.sample()) for _ in range(steps)] for _ in range(batch)
    ]
    chosen = np.array([[actions.sample() for _ in range(steps)] for _ in range(batch)])
    target = rewards.sum(1, keepdims=True)
    return Segment(
        observations={
            path: torch.from_numpy(np.array([[step[path] for step in row] for row in leaves]))
            for path in leaves[0][0]
        },
        actions=torch.from_numpy(chosen),
        rewards=torch.from_numpy(rewards),
        returns_to_go=torch.from_numpy(target - np.cumsum(rewards, 1) + rewards),
        terminations=torch.zeros(batch, steps, dtype=torch.bool),
        timesteps=torch.arange(steps).expand(batch, steps),
        mask=torch.ones(batch, steps, dtype=torch.bool),
    )


def reach(config: ModelConfig) -> int:
    """Steps over three writings of memory and a partial segment."""
    return max(3 * config.segment_length + 2, config.first_segment + 3 * config.stride + 1)


@torch.no_grad()
def teacher_forced(policy: Policy, steps: Segment) -> torch.Tensor:
    """Outputs of all steps, segment by segment as memory is written."""
    memory = policy.initial_memory(len(steps))
    outputs = []
    for segment in steps.split(policy.config.stride, policy.config.first_segment):
        out, memory = policy(segment, memory)
        outputs.append(out)
    return torch.cat(outputs, 1)


@torch.inference_mode()
def stepwise(policy: Policy, steps: Segment) -> torch.Tensor:
    """The same outputs from acting step by step, with the recorded actions executed."""
    actor = Actor(policy, target_return=0.0)
    actor.reset(len(steps))
    actor.returns_to_go = steps.returns_to_go[:, 0].double().numpy().copy()
    outputs = []
    for step in range(steps.steps):
        observations = {path: leaf[:, step].numpy() for path, leaf in steps.observations.items()}
        rewards = steps.rewards[:, step - 1].numpy() if step else np.zeros(len(steps))
        value = (
            observations["observation"] if list(observations) == ["observation"] else observations
        )
        outputs.append(actor.outputs(value, rewards))
        actor.actions = steps.actions[:, step].numpy()
    return torch.stack(outputs, 1)


@every_model
@pytest.mark.parametrize("batch", [1, 3])
def test_stepwise_equals_forward(config: ModelConfig, batch: int) -> None:
    policy = policy_of(config)
    steps = episode(reach(config), batch)
    torch.testing.assert_close(
        stepwise(policy, steps), teacher_forced(policy, steps), atol=1e-5, rtol=0
    )


@every_model
def test_rows_reset_alone_act_as_if_alone(config: ModelConfig) -> None:
    """Rows that begin at different times give the outputs that each of them gives by itself."""
    config = replace(config, segment_length=STEPS)
    policy = policy_of(config)
    length = reach(config)
    steps = episode(length, 3)
    alone = stepwise(policy, steps)
    begins = np.array([0, 2, STEPS + 1])
    actor = Actor(policy, target_return=0.0)
    actor.reset(3)
    got = torch.zeros_like(alone)
    for time in range(length + begins.max()):
        fresh = np.flatnonzero(begins == time)
        if len(fresh):
            actor.reset(3, rows=fresh)
            actor.returns_to_go[fresh] = steps.returns_to_go[fresh, 0].double().numpy()
        local = np.clip(time - begins, 0, length - 1)
        rows = np.arange(3)
        rewards = steps.rewards[rows, np.maximum(local - 1, 0)].numpy()
        with torch.inference_mode():
            outputs = actor.outputs(steps.observations["observation"][rows, local].numpy(), rewards)
        actor.actions = steps.actions[rows, local].numpy()
        for row in np.flatnonzero((time >= begins) & (time < begins + length)):
            got[row, local[row]] = outputs[row]
    torch.testing.assert_close(got, alone, atol=1e-5, rtol=0)


@every_model
def test_causality(config: ModelConfig) -> None:
    """Changing a step changes no output before it, nor its own through its action."""
    policy = policy_of(config)
    steps = episode(2 * config.segment_length + 3, 2)
    before = teacher_forced(policy, steps)
    at = config.segment_length + 2
    steps.actions[:, at] = (steps.actions[:, at] + 1) % 3
    steps.observations["observation"][:, at + 1 :] += 1.0
    steps.returns_to_go[:, at + 1 :] += 1.0
    torch.testing.assert_close(
        teacher_forced(policy, steps)[:, : at + 1], before[:, : at + 1], atol=1e-6, rtol=0
    )


@every_model
def test_rows_do_not_influence_one_another(config: ModelConfig) -> None:
    policy = policy_of(config)
    steps = episode(2 * config.segment_length + 1, 4)
    together = teacher_forced(policy, steps)
    for row in range(4):
        torch.testing.assert_close(
            teacher_forced(policy, steps.rows(slice(row, row + 1)))[0],
            together[row],
            atol=1e-5,
            rtol=0,
        )


def window_loss(policy: Policy, window: Segment) -> torch.Tensor:
    weights = step_weights(window, "episode", np.array(window.lengths))
    length = policy.config.training_segment_length
    segments, weight = window.split(length), list(weights.split(length, 1))
    loss, *_ = WindowLoss(policy)(segments, weight, policy.initial_memory(len(window)), False)
    return loss


def padded(window: Segment, lengths: np.ndarray, filling: float) -> Segment:
    """The window with everything behind each row's length replaced by `filling` and masked."""
    mask = torch.arange(window.steps) < torch.from_numpy(lengths)[:, None]

    def fill(tensor: torch.Tensor) -> torch.Tensor:
        here = mask.view(*mask.shape, *[1] * (tensor.dim() - 2))
        return torch.where(here, tensor, torch.full_like(tensor, filling))

    return replace(window.map(fill), mask=mask, lengths=())


@every_model
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_padding_changes_no_loss_and_no_gradient(config: ModelConfig, data: st.DataObject) -> None:
    policy = policy_of(config)
    drawn = data.draw(st.lists(st.integers(1, 3 * STEPS), min_size=2, max_size=4))
    lengths = np.array(sorted(drawn, reverse=True))
    window = episode(3 * STEPS, len(lengths), seed=data.draw(st.integers(0, 99)))
    config = policy.config
    results = []
    for filling in (0.0, 2.0):
        policy.zero_grad()
        loss = window_loss(policy, padded(window, lengths, filling))
        loss.backward()
        results.append(
            (loss.detach(), [p.grad.clone() for p in policy.parameters() if p.grad is not None])
        )
    torch.testing.assert_close(results[0], results[1], atol=1e-6, rtol=1e-5)
    # ... and the padded batch equals its rows by themselves, without any padding.
    rows = [
        window_loss(policy, window.rows(slice(row, row + 1)).window(0, length))
        for row, length in enumerate(lengths)
    ]
    torch.testing.assert_close(
        results[0][0], torch.stack(rows).mean().detach(), atol=1e-5, rtol=1e-5
    )


@every_model
def test_padding_changes_no_memory(config: ModelConfig) -> None:
    """A row whose segment is not complete keeps the memory it came with."""
    policy = policy_of(config)
    window = episode(config.first_segment, 2)
    with torch.no_grad():
        before = policy.initial_memory(2)
        _, full = policy(window, before)
        _, after = policy(padded(window, np.array([config.first_segment, 3]), 1.0), before)
    for kept, old in zip(after, before, strict=True):
        # States that are retained stand right-aligned behind empty positions.
        torch.testing.assert_close(right_aligned(kept[1], old[1]), old[1])
        assert kept[1].count_nonzero() == old[1].count_nonzero()
    for new, expected in zip(after, full, strict=True):
        torch.testing.assert_close(new[0], expected[0], atol=1e-5, rtol=0)


def right_aligned(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The last entries of each dimension of a tensor, as many as another one has."""
    for dimension, size in enumerate(like.shape):
        tensor = tensor.narrow(dimension, tensor.shape[dimension] - size, size)
    return tensor


@every_model
def test_every_parameter_gets_a_gradient(config: ModelConfig) -> None:
    policy = policy_of(config).train()
    window = episode(policy.config.window, 3)
    window_loss(policy, window).backward()
    without = [
        name
        for name, parameter in policy.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert without == []


@every_model
def test_evaluation_is_deterministic(config: ModelConfig) -> None:
    policy = policy_of(replace(config, dropout=0.5))
    steps = episode(2 * config.segment_length, 2)
    torch.testing.assert_close(
        teacher_forced(policy, steps), teacher_forced(policy, steps), atol=0, rtol=0
    )


@every_model
def test_saved_and_loaded_policies_agree(config: ModelConfig, tmp_path) -> None:
    policy = policy_of(config)
    save_policy(tmp_path / "policy.safetensors", policy, 1.0)
    loaded, header = load_policy(tmp_path / "policy.safetensors")
    steps = episode(2 * config.segment_length, 2)
    assert loaded.config == config
    assert header["target_return"] == 1.0
    torch.testing.assert_close(
        teacher_forced(loaded, steps), teacher_forced(policy, steps), atol=0, rtol=0
    )


@every_model
def test_memory_does_not_grow_beyond_its_bound(config: ModelConfig) -> None:
    policy = policy_of(config)
    sizes = []
    memory = policy.initial_memory(2)
    steps = episode(10 * config.segment_length, 2)
    for segment in steps.split(config.stride, config.first_segment):
        with torch.no_grad():
            _, memory = policy(segment, memory)
        sizes.append(tuple(tensor.shape for tensor in memory))
    assert sizes == sorted(sizes)
    assert len(set(sizes[-4:])) == 1


OBSERVATION_SPACES = {
    "vector": OBSERVATIONS,
    "image-last": spaces.Box(0, 255, (20, 24, 3), np.uint8),
    "image-first": spaces.Box(0, 255, (3, 40, 36), np.uint8),
    "discrete": spaces.Discrete(5, start=2),
    "multi-discrete": spaces.MultiDiscrete([3, 4]),
    "multi-binary": spaces.MultiBinary(3),
    "dict": spaces.Dict(
        {
            "camera": spaces.Box(0, 255, (16, 16, 1), np.uint8),
            "state": spaces.Dict({"x": OBSERVATIONS}),
        }
    ),
    "tuple": spaces.Tuple((spaces.Discrete(3), spaces.Box(-1, 1, (2, 2), np.float64))),
}
ACTION_SPACES = {
    "discrete": ACTIONS,
    "discrete-from-two": spaces.Discrete(4, start=2),
    "multi-discrete": spaces.MultiDiscrete([2, 3]),
    "box": spaces.Box(np.array([-1, 0], np.float32), np.array([1, 5], np.float32)),
    "unbounded": spaces.Box(-np.inf, np.inf, (2,), np.float32),
}


@pytest.mark.parametrize("observations", OBSERVATION_SPACES.values(), ids=OBSERVATION_SPACES.keys())
@pytest.mark.parametrize("actions", ACTION_SPACES.values(), ids=ACTION_SPACES.keys())
def test_spaces_end_to_end(observations: gymnasium.Space, actions: gymnasium.Space) -> None:
    """Every pair of spaces trains, acts, and steps as it is trained."""
    policy = policy_of(small("rate"), observations, actions)
    steps = episode(2 * STEPS + 1, 2, observations, actions)
    window_loss(policy, steps).backward()
    torch.testing.assert_close(
        stepwise_leaves(policy, steps), teacher_forced(policy, steps), atol=1e-5, rtol=0
    )
    actor = Actor(policy, 1.0)
    actor.reset(2)
    vector = gymnasium.vector.utils.batch_space(observations, 2)
    chosen = actor.act(vector.sample(), np.zeros(2))
    assert all(actions.contains(action) for action in _as_members(chosen, actions))


def _as_members(chosen: np.ndarray, actions: gymnasium.Space) -> list[object]:
    return [
        np.int64(action) if isinstance(actions, spaces.Discrete) else action for action in chosen
    ]


@torch.inference_mode()
def stepwise_leaves(policy: Policy, steps: Segment) -> torch.Tensor:
    """As `stepwise`, on the policy's own stream."""
    stream, outputs = policy.backbone.start(policy.initial_memory(len(steps))), []
    for step in range(steps.steps):
        if step and step % policy.config.segment_length == 0:
            policy.record(stream, steps.actions[:, step - 1])
            stream = policy.backbone.start(policy.backbone.write_memory(stream))
            actions = None
        else:
            actions = steps.actions[:, step - 1] if step else None
        leaves = {path: leaf[:, step] for path, leaf in steps.observations.items()}
        outputs.append(policy.observe(stream, leaves, steps.returns_to_go[:, step], actions))
    return torch.stack(outputs, 1)


def test_wrong_model_names_and_options_say_what_is_allowed() -> None:
    with pytest.raises(ValueError, match="did you mean 'rate'"):
        config_class("rat")
    with pytest.raises(ValueError, match="valve"):
        small("rate", valve_heads=5).build()
    with pytest.raises(ValueError, match="segment_length must be at least 1"):
        small("rate", segment_length=0)
    with pytest.raises(ValueError, match="context_segments goes with neither"):
        small("dt", memory_tokens=2)
