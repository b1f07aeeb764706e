"""Models trained with the authors' released code: `load_released` reproduces them to 1e-5, quirks
included.

Nothing else in the library depends on this module. It overrides what the released class does
differently: post-norm layers add their input twice, keys ahead of a memory query carry misplaced
positional terms, the cache enters un-normalised and holds one level more, and tanh follows the
action embedding. docs/fidelity.md has the whole list.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from gymnasium import spaces as gym
from torch import Tensor, nn

from rate.messages import brief, printable
from rate.models import rate
from rate.models.backbone import Stream
from rate.models.draft import draft
from rate.models.encoders import CategoryEncoder
from rate.models.nn.transformer import Layer, LayerKind, RelativeAttention, View
from rate.models.nn.valve import Activation
from rate.models.policy import Policy
from rate.spaces import LARGEST_LEAF
from rate.values import checked


class ReleasedAttention(RelativeAttention):
    """Relative attention whose positional term comes from the pad-and-reshape shift.

    The shift is right for keys up to the query itself. The next key gets no positional term, and a
    key j further ahead gets the term that the next query row has for the position j - t, one row of
    t keys to the left.
    """

    def weights(self, content: Tensor, rotated: Tensor, keys: Tensor, view: View) -> Tensor:
        """See `RelativeAttention.weights`; the table holds the positions j and j - t side by side,
        [t, 2 d]."""
        plain, wrapped = view.table.transpose(-1, -2).chunk(2, -2)
        own = keys.shape[2] - rotated.shape[2] + torch.arange(rotated.shape[2], device=keys.device)
        ahead = torch.arange(keys.shape[2], device=keys.device) - own[:, None]
        misplaced = (F.pad(rotated[:, :, 1:], (0, 0, 0, 1)) @ wrapped).masked_fill(ahead == 1, 0.0)
        position = torch.where(ahead > 0, misplaced, rotated @ plain)
        scores = (content @ keys.transpose(-1, -2) + position) * self.head_width**-0.5 + view.mask
        return scores.softmax(-1)

    def attend(
        self, content: Tensor, rotated: Tensor, keys: Tensor, values: Tensor, view: View
    ) -> Tensor:
        """See `RelativeAttention.attend`."""
        weights = self.weights(content, rotated, keys, view)
        return F.dropout(weights, self.attention_dropout, self.training) @ values


class ReleasedLayer(Layer):
    """A layer that adds its input twice if it is post-norm, and never normalises cached hidden
    states."""

    attention_type = ReleasedAttention

    def cache_input(self, cached: Tensor) -> Tensor:
        """The cached hidden states as they are."""
        return cached

    def finish(self, inputs: Tensor, attention_input: Tensor, attended: Tensor) -> Tensor:
        """LN(2 x + A(x)) in post-norm layers, else see `Layer.finish`."""
        return super().finish(
            2 * inputs if self.kind == "trxl" else inputs, attention_input, attended
        )


@dataclass(frozen=True)
class ReleasedConfig(rate.Config):
    """Options of a released model, in this library's names."""

    def build(self) -> "ReleasedTransformer":
        """The backbone with freshly initialised weights."""
        return ReleasedTransformer(self)


class ReleasedTransformer(rate.MemoryTransformer):
    """The released backbone; cached hidden states include the last layer's outputs, which nothing
    reads.

    Misplaced positional terms make read memory depend on how many tokens its segment has. These are
    counted for complete segments, as in the released training, so acting step by step equals
    `forward` at constant cost. The released evaluation counts the tokens so far and encodes memory
    anew at each step: set `segment_tokens` for that.
    """

    layer_type = ReleasedLayer

    def __init__(self, config: ReleasedConfig) -> None:
        super().__init__(config)
        self.segment_tokens = config.segment_length * len(config.tokens)
        if config.cached_states:
            self.levels = config.layers + 1

    def _states(self, inputs: list[Tensor], outputs: Tensor) -> Tensor:
        return torch.stack([*inputs, outputs], 1)

    def _table(self, keys: slice, count: Tensor) -> Tensor:
        """Cosines and sines of key positions j and j - t, with t the keys of the complete segment,
        [t, 2 d]."""
        total = count.cpu() + self.segment_tokens + 2 * self.config.memory_tokens
        alike = bool((total == total[0]).all())
        width = self.config.width
        frequencies = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
        positions = torch.arange(keys.start, keys.stop) - total[: 1 if alike else None, None]
        angles = positions[..., None] * frequencies
        plain = self.positions.table[keys]
        wrapped = torch.cat([angles.cos(), angles.sin()], -1).to(plain.dtype).to(plain.device)
        table = torch.cat([plain.expand_as(wrapped), wrapped], -1)
        return table[0] if alike else table[:, None]

    def _extend(
        self, stream: Stream, tokens: Tensor, memory: bool = False, outputs: bool = True
    ) -> Tensor:
        # The last layer's outputs are always computed: they are part of the cache.
        index = stream.next_positions(tokens.shape[1])
        hidden = super()._extend(stream, tokens, memory)
        if self.config.cached_states:
            stream["states"][stream.row_numbers, index, self.config.layers] = hidden
        return hidden


def load_released(
    state_dict: Mapping[str, np.ndarray | Tensor],
    config: Mapping[str, Any],
    *,
    action_tanh: bool = True,
) -> Policy:
    """The policy, in evaluation mode, that computes what a released model does with its weights.

    Observations and returns-to-go are to be scaled as in the released training.

    Args:
        state_dict: The released tensors by name, for vector observations and discrete or continuous
            actions; tensors that the released class holds but never uses may be absent.
        config: The released constructor's arguments and segment_length (K); segments (N) may be
            given.
        action_tanh: Whether tanh follows the action embedding, which weights do not reveal;
            released models of discrete POPGym tasks have none.

    Raises:
        ValueError: tensors are unknown, missing, of wrong shape or not finite, or an option is not
            supported.
    """
    if not isinstance(config, Mapping):
        raise ValueError(f"the configuration must be a dictionary, but is {brief(config)}")
    continuous = "action_embeddings.0.bias" in state_dict
    model, policy = _fresh(state_dict, config, continuous)
    count = _integer(config, "act_dim")
    action, table = policy.encoders["action"], state_dict.get("action_embeddings.0.weight")
    padded = table is not None and np.shape(table)[:1] == (count + 1,)
    if isinstance(action, CategoryEncoder) and padded:
        # The last row stood for padding and is never looked up.
        action.embedding = nn.Embedding(count + 1, model.width)
    policy.encoders["action"] = nn.Sequential(action, nn.Tanh() if action_tanh else nn.Identity())
    modules = {**_MODULES, "head.linear": "head.0" if continuous else "head"}
    sources = {name: _sources(name, modules) for name, _ in policy.named_parameters()}
    unused = _unused(model, config.get("max_ep_len", 1000))
    required = {source for found in sources.values() for source in found}
    advice = (
        "Give the configuration that the model was built with; models of images are not supported."
    )
    _compare("state dict", set(state_dict), required, set(unused), advice)
    for name in set(unused) & set(state_dict):
        _read(state_dict, name, unused[name])
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            shape = (len(parameter) // len(sources[name]), *parameter.shape[1:])
            if sources[name] == ["mem_tokens"]:
                shape = (len(parameter), 1, parameter.shape[1])
            parts = [_read(state_dict, source, shape) for source in sources[name]]
            parameter.copy_(torch.cat(parts).view_as(parameter))
    return policy.eval()


def _fresh(
    state_dict: Mapping[str, np.ndarray | Tensor], config: Mapping[str, Any], continuous: bool
) -> tuple[ReleasedConfig, Policy]:
    """The model that the configuration describes, and a policy with fresh weights."""
    model = _model_config(config)
    size, count = _integer(config, "state_dim"), _integer(config, "act_dim")
    make = partial(
        Policy,
        gym.Box(-np.inf, np.inf, (size,), np.float32),
        gym.Box(-1, 1, (count,), np.float32) if continuous else gym.Discrete(count),
        model,
    )
    numbers = sum(math.prod(np.shape(tensor)) for tensor in state_dict.values())
    draft(make, len(state_dict), 100 * numbers + 10**6)  # what differs by less is named later
    return model, make()


# The configuration
# --------------------------------------------------------------------------------

_INTEGERS = {
    "d_model": "width",
    "n_layer": "layers",
    "n_head": "heads",
    "d_head": "head_width",
    "num_mem_tokens": "memory_tokens",
    "mem_len": "cached_states",
    "segment_length": "segment_length",
}
_ACTIVATIONS: dict[str, Activation] = {
    "relu": "relu",
    "leaky_relu": "leaky-relu",
    "tanh": "tanh",
    "no_act": "none",
}
_KINDS: dict[tuple[bool, bool], LayerKind] = {
    (False, False): "trxl",
    (False, True): "trxl-i",
    (True, True): "gtrxl",
}
_ONLY = {"pre_lnorm": (False,), "same_length": (False,), "clamp_len": (-1, 0), "ext_len": (0, None)}
_REQUIRED = {*_INTEGERS, "state_dim", "act_dim", "d_inner", "n_head_ca", "dropout", "dropatt"}
_SWITCHES = {"mem_at_end", "mrv_act", "skip_dec_ffn", "use_gate", "use_stable_version"}
_WITHOUT_EFFECT = {"env_name", "tgt_len", "padding_idx", "max_ep_len", "sample_softmax"}
_OPTIONAL = _SWITCHES | _WITHOUT_EFFECT | set(_ONLY) | {"segments", "read_mem_from_cache"}


def _model_config(config: Mapping[str, Any]) -> ReleasedConfig:
    """The released constructor's arguments in this library's names."""
    advice = f"Allowed are {sorted(_REQUIRED | _OPTIONAL)}."
    _compare("configuration", set(config), _REQUIRED, _OPTIONAL, advice)
    for name, allowed in _ONLY.items():
        if config.get(name, allowed[0]) not in allowed:
            raise ValueError(
                f"{name} = {brief(config[name])} is not supported: it must be {allowed[0]!r}"
            )
    gated, stable, bare = (
        bool(config.get(name)) for name in ("use_gate", "use_stable_version", "skip_dec_ffn")
    )
    kind = _KINDS.get((gated, stable))
    if kind is None:
        raise ValueError(
            "use_gate without use_stable_version is not supported: set both for GTrXL, none "
            "for TrXL"
        )
    if bare and kind != "trxl":
        raise ValueError(
            f"skip_dec_ffn is for TrXL layers, not for {kind}: the released class cannot run "
            "then, either"
        )
    activation = str(config.get("mrv_act", "relu"))
    if activation not in _ACTIVATIONS:
        raise ValueError(
            f"mrv_act = {brief(activation)} is not supported: choose among "
            f"{', '.join(_ACTIVATIONS)}"
        )
    if _integer(config, "num_mem_tokens") and not config.get("mem_at_end", True):
        raise ValueError(
            "memory tokens need mem_at_end: without it the released class passes on other "
            "rows than memory"
        )
    heads = _integer(config, "n_head_ca")
    sizes: dict[str, Any] = {ours: _integer(config, their) for their, ours in _INTEGERS.items()}
    return ReleasedConfig(
        **sizes,
        segments=_integer(config, "segments") if "segments" in config else 1,
        dropout=checked("dropout", config["dropout"], float),
        attention_dropout=checked("dropatt", config["dropatt"], float),
        feed_forward=0 if bare else _integer(config, "d_inner"),
        layer=kind,
        valve="ca-2" if heads else "none",
        valve_heads=max(heads, 1),
        valve_activation=_ACTIVATIONS[activation],
        memory_reads_cache=bool(config.get("read_mem_from_cache")),
    )


def _integer(config: Mapping[str, Any], name: str) -> int:
    value = config[name]
    if type(value) is not int or not 0 <= value <= LARGEST_LEAF:
        raise ValueError(f"{name} must be an integer of at least 0, but {brief(value)} was given")
    return value


def _compare(
    what: str, given: set[str], required: set[str], optional: set[str], advice: str
) -> None:
    """Refuse names that are missing or unknown."""
    for problem, names in (
        ("lacks", required - given),
        ("has unknown", given - required - optional),
    ):
        if names:
            shown = ", ".join(sorted(map(str, names))[:8]) + (", ..." if len(names) > 8 else "")
            shown = printable(shown, 300)
            raise ValueError(f"the released {what} {problem} {shown}. {advice}")


# The weights
# --------------------------------------------------------------------------------

_PARAMETERS = {
    "backbone.content_bias": "r_w_bias",
    "backbone.position_bias": "r_r_bias",
    "backbone.memory_tokens": "mem_tokens",
    "attention_gate.bias": "gate_mha.bg",
    "feed_forward_gate.bias": "gate_mlp.bg",
}
_MODULES = {
    "encoders.observation.encoders.0.linear": "state_encoder",
    "encoders.return_to_go.linear": "ret_emb",
    "encoders.action.0.embedding": "action_embeddings.0",
    "encoders.action.0.linear": "action_embeddings.0",
    "backbone.valve.query": "mha_mem_to_mem.wq",
    "backbone.valve.key": "mha_mem_to_mem.wk",
    "backbone.valve.value": "mha_mem_to_mem.wv",
    "backbone.valve.output": "mha_mem_to_mem.dense",
    "attention.query_key_value": "dec_attn.qkv_net",
    "attention.position": "dec_attn.r_net",
    "attention.output": "dec_attn.o_net",
    "attention_norm": "layer_norm1",
    "attention_gate.inputs": "gate_mha.Wr gate_mha.Wz gate_mha.Wg",
    "attention_gate.state": "gate_mha.Ur gate_mha.Uz",
    "attention_gate.candidate": "gate_mha.Ug",
    "feed_forward.0": "pos_ff.CoreNet.0",
    "feed_forward.3": "pos_ff.CoreNet.3",
    "feed_forward_norm": "layer_norm2",
    "feed_forward_gate.inputs": "gate_mlp.Wr gate_mlp.Wz gate_mlp.Wg",
    "feed_forward_gate.state": "gate_mlp.Ur gate_mlp.Uz",
    "feed_forward_gate.candidate": "gate_mlp.Ug",
}


def _sources(parameter: str, modules: Mapping[str, str]) -> list[str]:
    """The released tensors that make up one parameter of ours, stacked from top to bottom."""
    prefix = ""
    if parameter.startswith("backbone.layers."):
        index, parameter = parameter.removeprefix("backbone.layers.").split(".", 1)
        prefix = f"layers.{index}."
    if parameter in _PARAMETERS:
        return [prefix + _PARAMETERS[parameter]]
    module, _, kind = parameter.rpartition(".")
    return [f"{prefix}{source}.{kind}" for source in modules[module].split()]


def _unused(model: ReleasedConfig, episode_length: int) -> dict[str, tuple[int, ...]]:
    """Shapes by name of the tensors that the released class holds and never uses."""
    width = model.width
    shapes: dict[str, tuple[int, ...]] = {"embed_timestep.weight": (episode_length, width)}
    shapes["pos_emb.inv_freq"] = (width // 2,)
    norms = ["embed_ln"]
    for index in range(model.layers):
        norms += [f"layers.{index}.dec_attn.layer_norm", f"layers.{index}.pos_ff.layer_norm"]
    return shapes | {f"{norm}.{kind}": (width,) for norm in norms for kind in ("weight", "bias")}


def _read(
    state_dict: Mapping[str, np.ndarray | Tensor], name: str, shape: tuple[int, ...]
) -> Tensor:
    """One released tensor as float32; a wrong type or shape, or a number that is not finite, is a
    ValueError."""
    value = state_dict[name]
    if not isinstance(value, Tensor):
        value = np.asarray(value)
    if not (value.is_floating_point() if isinstance(value, Tensor) else value.dtype.kind == "f"):
        raise ValueError(f"{name} must hold floating point numbers, but its type is {value.dtype}")
    tensor = torch.as_tensor(value).detach().float().cpu()
    if tuple(tensor.shape) != shape:
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)}, but the configuration asks for {shape}"
        )
    if not bool(tensor.isfinite().all()):
        raise ValueError(
            f"{name} holds numbers that are not finite: the file is damaged or the training "
            "diverged"
        )
    return tensor
