"""The released model class is reproduced to 1e-5, file by file."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rate.models.backbone import Memory
from rate.models.nn.transformer import Layer, RelativeAttention
from rate.models.policy import Policy
from rate.models.released import ReleasedAttention, ReleasedLayer, ReleasedTransformer
from rate.models.released_weights import load_released
from rate.segment import Segment

FILES = sorted((Path(__file__).parents[1] / "data").glob("*.npz"))
NAMES = [path.stem for path in FILES]


@dataclass
class Golden:
    """One tiny model of the released class: configuration, weights, inputs and what it answered."""

    config: dict[str, Any]
    weights: dict[str, np.ndarray]
    inputs: Segment
    outputs: dict[str, Tensor]

    @property
    def segments(self) -> list[Segment]:
        return self.inputs.split(self.config["segment_length"])

    def load(self) -> Policy:
        return load_released(self.weights, self.config)


def golden(name: str) -> Golden:
    with np.load(Path(__file__).parents[1] / "data" / f"{name}.npz", allow_pickle=False) as file:
        arrays = dict(file)
    config = json.loads(str(arrays.pop("config")))
    weights = {
        name.removeprefix("weights/"): array
        for name, array in arrays.items()
        if name.startswith("weights/")
    }
    outputs = {
        name: torch.from_numpy(array) for name, array in arrays.items() if name.startswith("out/")
    }
    actions = torch.from_numpy(arrays["in/actions"])
    if actions.shape[-1] == 1:  # a discrete action, stored as a float
        actions = actions[..., 0].long()
    returns_to_go = torch.from_numpy(arrays["in/returns_to_go"])[..., 0]
    steps = torch.arange(returns_to_go.shape[1]).expand_as(returns_to_go)
    inputs = Segment(
        observations={"observation": torch.from_numpy(arrays["in/observations"])},
        actions=actions,
        rewards=torch.zeros_like(returns_to_go),
        returns_to_go=returns_to_go,
        terminations=torch.zeros_like(returns_to_go, dtype=torch.bool),
        timesteps=steps,
        mask=torch.ones_like(returns_to_go, dtype=torch.bool),
    )
    return Golden(config, weights, inputs, outputs)


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def forward(policy: Policy, segments: list[Segment]) -> tuple[list[Tensor], list[Memory]]:
    memory, outputs, memories = policy.initial_memory(len(segments[0])), [], []
    for segment in segments:
        output, memory = policy(segment, memory)
        outputs.append(output)
        memories.append(memory)
    return outputs, memories


def test_fixtures_are_there() -> None:
    assert len(FILES) == 9


# Parity
# --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_reproduces_the_released_class(name: str) -> None:
    case = golden(name)
    outputs, memories = forward(case.load(), case.segments)
    compared = set()
    for n, (output, (tokens, cache, count)) in enumerate(zip(outputs, memories, strict=True)):
        found = {f"out/logits/{n}": output, f"out/memory_tokens/{n}": tokens}
        for level in range(case.config["n_layer"] + 1) if case.config["mem_len"] else ():
            found[f"out/cache/{n}/{level}"] = cache[:, level, cache.shape[2] - int(count[0]) :]
        for key in set(found) & set(case.outputs):
            close(found[key], case.outputs[key])
            compared.add(key)
    assert compared == set(case.outputs)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_acting_step_by_step_equals_the_forward_pass(name: str) -> None:
    case = golden(name)
    policy = case.load()
    backbone = policy.backbone
    outputs, memories = forward(policy, case.segments)
    memory = policy.initial_memory(len(case.inputs))
    for segment, output, after in zip(case.segments, outputs, memories, strict=True):
        stream = backbone.start(memory)
        for step in range(segment.steps):
            now = {path: leaf[:, step] for path, leaf in segment.observations.items()}
            before = segment.actions[:, step - 1] if step else None
            close(
                policy.observe(stream, now, segment.returns_to_go[:, step], before), output[:, step]
            )
        policy.record(stream, segment.actions[:, -1])
        memory = backbone.write_memory(stream)
        for one, other in zip(memory, after, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_shorter_segment_is_a_prefix_of_the_whole(name: str) -> None:
    case = golden(name)
    policy = case.load()
    memory = policy.initial_memory(len(case.inputs))
    whole, _ = policy(case.segments[0], memory)
    part, _ = policy(case.inputs.window(0, 3), memory, 0)
    close(part, whole[:, :3])


@pytest.mark.parametrize(
    "name", ["gtrxl_rate_tmaze", "rate_tmaze_cached_hidden_states", "trxl_tmaze"]
)
@torch.no_grad()
def test_rows_with_different_caches_do_not_touch_one_another(name: str) -> None:
    case = golden(name)
    policy = case.load()
    first, second = case.segments[:2]
    fresh = policy.initial_memory(len(first))
    later = policy.backbone.full_size(policy(first, fresh)[1])
    fresh = policy.backbone.full_size(fresh)
    mixed = tuple(torch.cat([new[:1], old[1:]]) for new, old in zip(fresh, later, strict=True))
    output, memory = policy(second, mixed)
    for row, alone in ((0, fresh), (1, later)):
        expected, expected_memory = policy(second, alone)
        close(output[row], expected[row])
        close(memory[0][row], expected_memory[0][row])


def test_tensors_of_torch_are_read_like_arrays() -> None:
    case = golden("rate_tmaze")
    tensors = {name: torch.from_numpy(array).double() for name, array in case.weights.items()}
    expected = case.load().state_dict()
    for name, tensor in load_released(tensors, case.config).state_dict().items():
        assert torch.equal(tensor, expected[name])


def test_loading_leaves_the_given_weights_alone() -> None:
    case = golden("rate_tmaze")
    policy = case.load()
    before = case.weights["head.weight"].copy()
    with torch.no_grad():
        policy.head.linear.weight.add_(1)
    assert np.array_equal(case.weights["head.weight"], before)


def test_tensors_without_effect_may_be_there_or_not() -> None:
    case = golden("rate_tmaze")
    width = case.config["d_model"]
    extra = {
        "embed_timestep.weight": np.ones((1000, width), np.float32),
        "embed_ln.weight": np.ones(width, np.float32),
        "embed_ln.bias": np.ones(width, np.float32),
    }
    less = {
        name: array
        for name, array in case.weights.items()
        if ".layer_norm." not in name and "inv_freq" not in name
    }
    expected = case.load().state_dict()
    for weights in (case.weights | extra, less):
        for name, tensor in load_released(weights, case.config).state_dict().items():
            assert torch.equal(tensor, expected[name])


def test_action_tables_without_a_padding_row_are_read() -> None:
    case = golden("rate_tmaze")
    shorter = {
        **case.weights,
        "action_embeddings.0.weight": case.weights["action_embeddings.0.weight"][:4],
    }
    expected, _ = forward(case.load(), case.segments)
    actual, _ = forward(load_released(shorter, case.config), case.segments)
    for one, other in zip(actual, expected, strict=True):
        assert torch.equal(one, other)


# Refusals
# --------------------------------------------------------------------------------


def without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda found: found.pop(name)


def with_value(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda found: found.update({name: value})


NOT_FINITE = np.full((4, 16), np.nan, np.float32)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without("head.weight"), r"lacks head\.weight"),
        (without("mem_tokens"), "lacks mem_tokens"),
        (without("layers.1.dec_attn.r_net.weight"), r"lacks layers\.1\.dec_attn\.r_net\.weight"),
        (
            with_value("layers.2.layer_norm1.weight", np.ones(16, np.float32)),
            r"unknown layers\.2\.layer_norm1\.weight",
        ),
        (
            with_value("state_encoder.0.weight", np.ones((32, 3, 8, 8), np.float32)),
            r"unknown state_encoder\.0\.weight",
        ),
        (
            with_value("head.weight", np.ones((5, 16), np.float32)),
            r"head\.weight has shape \(5, 16\).*\(4, 16\)",
        ),
        (with_value("head.weight", np.float32(1)), r"head\.weight has shape \(\)"),
        (
            with_value("action_embeddings.0.weight", np.ones((6, 16), np.float32)),
            r"has shape \(6, 16\).*\(4, 16\)",
        ),
        (
            with_value("mem_tokens", np.ones((3, 16), np.float32)),
            r"mem_tokens has shape \(3, 16\).*\(3, 1, 16\)",
        ),
        (with_value("pos_emb.inv_freq", np.ones(9, np.float32)), r"inv_freq has shape"),
        (with_value("head.weight", NOT_FINITE), "not finite"),
        (with_value("head.weight", torch.from_numpy(NOT_FINITE)), "not finite"),
        (with_value("head.weight", np.ones((4, 16), np.int64)), "floating point.*int64"),
        (with_value("head.weight", np.full((4, 16), None)), "floating point.*object"),
        (with_value("head.weight", torch.ones(4, 16, dtype=torch.int32)), "floating point.*int32"),
        (dict.clear, "lacks .*, \\.\\.\\."),
    ],
)
def test_a_state_dict_that_does_not_fit_is_refused(
    damage: Callable[[dict[str, Any]], None], message: str
) -> None:
    case = golden("rate_tmaze")
    damage(case.weights)
    with pytest.raises(ValueError, match=message):
        case.load()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without("segment_length"), "lacks segment_length"),
        (with_value("widht", 16), "unknown widht"),
        (with_value("d_model", 32), "has shape"),
        (with_value("n_layer", 3), "lacks layers"),
        (with_value("n_layer", 1), "unknown layers"),
        (with_value("n_layer", "2"), "n_layer must be an integer"),
        (with_value("mem_len", -1), "mem_len must be an integer of at least 0"),
        (with_value("d_head", True), "d_head must be an integer"),
        (with_value("n_head_ca", 3), "must divide the width"),
        (with_value("num_mem_tokens", 0), "unknown .*mem_tokens"),
        (with_value("mrv_act", "elu"), "mrv_act = 'elu' is not supported"),
        (with_value("pre_lnorm", True), "pre_lnorm = True is not supported"),
        (with_value("clamp_len", 40), "clamp_len = 40 is not supported"),
        (with_value("use_gate", True), "use_gate without use_stable_version"),
        (with_value("mem_at_end", False), "need mem_at_end"),
        (
            lambda found: found.update(use_stable_version=True, skip_dec_ffn=True),
            "skip_dec_ffn is for TrXL",
        ),
        (with_value("skip_dec_ffn", True), "unknown layers"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(
    damage: Callable[[dict[str, Any]], None], message: str
) -> None:
    case = golden("rate_tmaze")
    damage(case.config)
    with pytest.raises(ValueError, match=message):
        case.load()


def test_discrete_weights_do_not_pass_as_continuous_ones() -> None:
    case = golden("rate_hopper")
    del case.weights["action_embeddings.0.bias"]
    with pytest.raises(ValueError, match=r"head\.weight"):
        case.load()


# How much each deviation changes (docs/fidelity.md)
# ---------------------------------------------------------------------------


def largest_change(change: Callable[[pytest.MonkeyPatch, Policy], None]) -> float:
    """The largest change of an action output over all fixtures."""
    changes = []
    for name in NAMES:
        case = golden(name)
        with pytest.MonkeyPatch.context() as patch:
            policy = case.load()
            change(patch, policy)
            outputs, _ = forward(policy, case.segments)
        released = torch.cat([case.outputs[f"out/logits/{n}"] for n in range(len(outputs))], 1)
        changes.append(float((torch.cat(outputs, 1) - released).abs().max()))
    return max(changes)


def true_positions(self: ReleasedAttention, *inputs: Any) -> Tensor:
    *tensors, view = inputs
    if view.ahead is None:
        return RelativeAttention.weights(self, *inputs)
    view = view._replace(table=view.table.chunk(2, -1)[0])
    weights = RelativeAttention.weights(self, *tensors, view)
    return weights.view(*tensors[0].shape[:3], -1)


@pytest.mark.parametrize(
    ("change", "size"),
    [
        pytest.param(
            lambda patch, policy: patch.setattr(ReleasedLayer, "finish", Layer.finish),
            0.31,
            id="residual",
        ),
        pytest.param(
            lambda patch, policy: patch.setattr(ReleasedAttention, "weights", true_positions),
            2.4e-3,
            id="shift",
        ),
        pytest.param(
            lambda patch, policy: patch.setattr(ReleasedLayer, "cache_input", Layer.cache_input),
            5.6e-3,
            id="cache",
        ),
        pytest.param(
            lambda patch, policy: patch.setitem(
                policy.encoders["action"]._modules, "1", nn.Identity()
            ),
            0.042,
            id="tanh",
        ),
    ],
)
def test_each_quirk_is_needed(
    change: Callable[[pytest.MonkeyPatch, Policy], None], size: float
) -> None:
    assert largest_change(change) == pytest.approx(size, rel=0.1)


def released_evaluation(policy: Policy, segments: list[Segment], commits_early: bool) -> Tensor:
    """Action outputs of the released evaluation, [B, steps, outputs]: every step encodes its 3 k -
    1 tokens anew.

    commits_early: also hand on the memory of the segment's last step, which has not seen the last
    action.
    """
    backbone = policy.backbone
    assert isinstance(backbone, ReleasedTransformer)
    complete = backbone.segment_tokens
    memory, outputs = policy.initial_memory(len(segments[0])), []
    for segment in segments:
        tokens = policy.encode(segment)
        for backbone.segment_tokens in range(2, complete, 3):
            hidden, early = backbone(tokens[:, : backbone.segment_tokens], memory, len(tokens))
            outputs.append(policy.head(hidden[:, -1]))
        backbone.segment_tokens = complete
        memory = early if commits_early else backbone(tokens, memory, len(tokens))[1]
    return torch.stack(outputs, 1)


@pytest.mark.parametrize(("commits_early", "size"), [(False, 3.7e-4), (True, 0.026)])
@torch.no_grad()
def test_the_released_evaluation_differs_from_the_released_training(
    commits_early: bool, size: float
) -> None:
    changes = []
    for name in NAMES:
        case = golden(name)
        policy = case.load()
        outputs, _ = forward(policy, case.segments)
        evaluated = released_evaluation(policy, case.segments, commits_early)
        changes.append(float((evaluated - torch.cat(outputs, 1)).abs().max()))
    assert max(changes) == pytest.approx(size, rel=0.1)


@pytest.mark.parametrize("detached", [False, True])
def test_the_valve_learns_only_if_a_gradient_crosses_segments(detached: bool) -> None:
    case = golden("rate_tmaze")
    policy = case.load()
    memory = policy.initial_memory(len(case.inputs))
    for segment in case.segments:
        outputs, memory = policy(
            segment, tuple(tensor.detach() for tensor in memory) if detached else memory
        )
        policy.head.loss(outputs, segment.actions).mean().backward(retain_graph=True)
    learns = [
        parameter.grad is not None
        for name, parameter in policy.named_parameters()
        if "valve" in name
    ]
    assert learns == [not detached] * 8
