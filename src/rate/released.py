"""Models trained with the authors' released code: `load_released` reproduces them to 1e-5, quirks included.

Nothing else in the library depends on this module. It overrides what the released class does differently (docs/fidelity.md):
the post-norm layer adds its input twice, memory columns ahead of a query carry misplaced positional terms, the cache enters
un-normalised and holds one level more, and tanh follows the action embedding.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from gymnasium import spaces as gym
from torch import Tensor, nn

from rate.models import rate
from rate.models.attention import RelativeAttention
from rate.models.backbone import Stream
from rate.models.encoders import CategoryEncoder
from rate.models.layers import Layer, LayerKind
from rate.models.policy import Policy
from rate.models.valve import Activation


class ReleasedAttention(RelativeAttention):
    """Relative attention whose positional term comes from the pad-and-reshape shift.

    The shift is right for keys up to the query itself. The key right behind the query gets no positional term, and a key j
    further ahead gets the term of the next query row for a key one whole row of keys to the left, j - t (method, section 6).
    """

    def attend(
        self,
        content: Tensor,
        rotated: Tensor,
        keys: Tensor,
        values: Tensor,
        table: Tensor,
        mask: Tensor,
        blocks: object = (),
    ) -> Tensor:
        """See `RelativeAttention.attend`; table holds the positions j and j - t side by side, [t, 2 d]."""
        plain, wrapped = table.transpose(-1, -2).chunk(2, -2)
        own = keys.shape[2] - rotated.shape[2] + torch.arange(rotated.shape[2], device=keys.device)
        ahead = torch.arange(keys.shape[2], device=keys.device) - own[:, None]
        misplaced = (F.pad(rotated[:, :, 1:], (0, 0, 0, 1)) @ wrapped).masked_fill(ahead == 1, 0.0)
        position = torch.where(ahead > 0, misplaced, rotated @ plain)
        scores = (content @ keys.transpose(-1, -2) + position) * self.head_width**-0.5 + mask
        return F.dropout(scores.softmax(-1), self.attention_dropout, self.training) @ values


class ReleasedLayer(Layer):
    """Post-norm layers compute LN(2 x + A(x)); cached hidden states are never normalised."""

    attention_type = ReleasedAttention

    def cache_input(self, cached: Tensor) -> Tensor:
        return cached

    def finish(self, inputs: Tensor, attention_input: Tensor, attended: Tensor) -> Tensor:
        return super().finish(2 * inputs if self.kind == "trxl" else inputs, attention_input, attended)


@dataclass(frozen=True)
class ReleasedConfig(rate.Config):
    """Options of a released model, in this library's names."""

    def build(self) -> "ReleasedTransformer":
        return ReleasedTransformer(self)


class ReleasedTransformer(rate.MemoryTransformer):
    """The released backbone; cached hidden states include the last layer's outputs, which nothing reads.

    Because of the misplaced positional terms, read memory depends on how many tokens the segment will have. They are
    always counted for a complete segment, as in the released training; the released evaluation counts the tokens seen so far
    and so encodes memory anew at every step. Stepwise acting therefore equals `forward`, at constant cost per step.
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
        """Cosines and sines of key positions j and j - t, with t the keys of the complete segment, [t, 2 d]."""
        width, device = self.config.width, count.device
        total = count + self.segment_tokens + 2 * self.config.memory_tokens
        alike = bool((total == total[0]).all())
        if alike:
            total = total[:1]
        frequencies = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64, device=device) / width)
        positions = torch.arange(keys.start, keys.stop, device=device) - total[:, None]
        angles = positions[..., None] * frequencies
        wrapped = torch.cat([angles.cos(), angles.sin()], -1).to(self.positions.table.dtype)
        plain = self.positions.table[keys]
        table = torch.cat([plain.expand_as(wrapped), wrapped], -1)
        return table[0] if alike else table[:, None]

    def _extend(self, stream: Stream, tokens: Tensor, role: Any) -> Tensor:
        start = torch.from_numpy(stream.positions)[:, None]
        hidden = super()._extend(stream, tokens, role)
        if self.config.cached_states:
            index = (start + torch.arange(tokens.shape[1])).to(hidden.device)
            rows = torch.arange(len(index), device=hidden.device)[:, None]
            stream["states"][rows, self.config.layers, index] = hidden
        return hidden


def load_released(
    state_dict: Mapping[str, np.ndarray | Tensor], config: Mapping[str, Any], *, action_tanh: bool = True
) -> Policy:
    """The policy in evaluation mode that computes what the released model class computes with these weights.

    state_dict: the released model's tensors by name. Vector observations with discrete or continuous actions are read;
    tensors that the released class holds but never uses may be absent.
    config: the released constructor's arguments, and segment_length (K); segments (N) may be given.
    action_tanh: whether tanh follows the action embedding; weights do not tell. Released models of T-Maze, associative
    retrieval and MuJoCo have it, those of discrete POPGym tasks do not.
    Observations and returns-to-go must be scaled as the released training scaled them. Unknown, missing, wrongly shaped or
    non-finite tensors and unsupported options are a ValueError.
    """
    model = _model_config(config)
    continuous = "action_embeddings.0.bias" in state_dict
    observations = gym.Box(-np.inf, np.inf, (_integer(config, "state_dim"),), np.float32)
    count = _integer(config, "act_dim")
    policy = Policy(observations, gym.Box(-1, 1, (count,), np.float32) if continuous else gym.Discrete(count), model)
    action = policy.encoders["action"]
    if isinstance(action, CategoryEncoder) and _rows(state_dict, "action_embeddings.0.weight") == count + 1:
        action.embedding = nn.Embedding(count + 1, model.width)  # the last row stood for padding
    policy.encoders["action"] = nn.Sequential(action, nn.Tanh() if action_tanh else nn.Identity())
    _fill(policy, state_dict, model, continuous, int(config.get("max_ep_len", 1000)))
    return policy.eval()


# The configuration --------------------------------------------------------------------------------------------------

_NAMES = {
    "d_model": "width",
    "n_layer": "layers",
    "n_head": "heads",
    "d_head": "head_width",
    "num_mem_tokens": "memory_tokens",
    "mem_len": "cached_states",
    "segment_length": "segment_length",
}
_ACTIVATIONS: dict[str, Activation] = {"relu": "relu", "leaky_relu": "leaky-relu", "tanh": "tanh", "no_act": "none"}
_LAYERS: dict[tuple[bool, bool], LayerKind] = {
    (False, False): "trxl",
    (False, True): "trxl-i",
    (True, True): "gtrxl",
}
_FIXED: dict[str, tuple[object, ...]] = {
    "pre_lnorm": (False,),
    "same_length": (False,),
    "clamp_len": (-1, 0),
    "ext_len": (0, None),
}
_REQUIRED = {*_NAMES, "state_dim", "act_dim", "d_inner", "n_head_ca", "dropout", "dropatt"}
_SWITCHES = {"mem_at_end", "mrv_act", "skip_dec_ffn", "use_gate", "use_stable_version", "read_mem_from_cache", "segments"}
_WITHOUT_EFFECT = {"env_name", "tgt_len", "padding_idx", "max_ep_len", "sample_softmax"}


def _model_config(config: Mapping[str, Any]) -> ReleasedConfig:
    """The released constructor's arguments in this library's names."""
    known = _REQUIRED | _SWITCHES | _WITHOUT_EFFECT | set(_FIXED)
    for problem, keys in (("misses", _REQUIRED - set(config)), ("has unknown", set(config) - known)):
        if keys:
            raise ValueError(f"the released configuration {problem} options {sorted(keys)}; it may hold {sorted(known)}")
    for name, allowed in _FIXED.items():
        if config.get(name, allowed[0]) not in allowed:
            raise ValueError(f"{name} = {config[name]!r} is not supported: it must be {allowed[0]!r}")
    kind = (bool(config.get("use_gate", False)), bool(config.get("use_stable_version", False)))
    if kind not in _LAYERS:
        raise ValueError("use_gate without use_stable_version is not supported: set both for GTrXL, or neither for TrXL")
    without_block = bool(config.get("skip_dec_ffn", False))
    if without_block and _LAYERS[kind] != "trxl":
        raise ValueError(f"skip_dec_ffn goes with TrXL layers only, but these are {_LAYERS[kind]}: the released class fails, too")
    activation = config.get("mrv_act", "relu")
    if activation not in _ACTIVATIONS:
        raise ValueError(f"mrv_act = {activation!r} is not supported: choose among {', '.join(_ACTIVATIONS)}")
    if _integer(config, "num_mem_tokens") and not config.get("mem_at_end", True):
        raise ValueError("memory tokens without mem_at_end are not supported: the released class then hands on the wrong rows")
    heads = _integer(config, "n_head_ca")
    return ReleasedConfig(
        **{ours: _integer(config, theirs) for theirs, ours in _NAMES.items()},
        segments=_integer(config, "segments") if "segments" in config else 1,
        dropout=float(config["dropout"]),
        attention_dropout=float(config["dropatt"]),
        feed_forward=0 if without_block else _integer(config, "d_inner"),
        layer=_LAYERS[kind],
        valve="ca-2" if heads else "none",
        valve_heads=max(heads, 1),
        valve_activation=_ACTIVATIONS[activation],
        memory_reads_cache=bool(config.get("read_mem_from_cache", False)),
    )


def _integer(config: Mapping[str, Any], name: str) -> int:
    value = config[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name} must be an integer of at least 0, but {value!r} was given")
    return value


# The weights --------------------------------------------------------------------------------------------------------

_MODULES = {
    "encoders.observation.encoders.0.linear": ["state_encoder"],
    "encoders.return_to_go.linear": ["ret_emb"],
    "encoders.action.0.embedding": ["action_embeddings.0"],
    "encoders.action.0.linear": ["action_embeddings.0"],
    "backbone.valve.query": ["mha_mem_to_mem.wq"],
    "backbone.valve.key": ["mha_mem_to_mem.wk"],
    "backbone.valve.value": ["mha_mem_to_mem.wv"],
    "backbone.valve.output": ["mha_mem_to_mem.dense"],
}
_LAYER_MODULES = {
    "attention.query_key_value": ["dec_attn.qkv_net"],
    "attention.position": ["dec_attn.r_net"],
    "attention.output": ["dec_attn.o_net"],
    "attention_norm": ["layer_norm1"],
    "feed_forward_norm": ["layer_norm2"],
    "feed_forward.0": ["pos_ff.CoreNet.0"],
    "feed_forward.3": ["pos_ff.CoreNet.3"],
}
_GATES = {"attention_gate": "gate_mha", "feed_forward_gate": "gate_mlp"}
_GATE_PARTS = {"inputs": ["Wr", "Wz", "Wg"], "state": ["Ur", "Uz"], "candidate": ["Ug"]}


def _released_names(model: ReleasedConfig, continuous: bool) -> dict[str, list[str]]:
    """For each parameter of ours the released tensors that make it up, one below the other."""
    modules = {**_MODULES, "head.linear": ["head.0" if continuous else "head"]}
    names = {"backbone.content_bias": ["r_w_bias"], "backbone.position_bias": ["r_r_bias"], "backbone.memory_tokens": ["mem_tokens"]}
    for index in range(model.layers):
        ours, theirs = f"backbone.layers.{index}", f"layers.{index}"
        modules |= {f"{ours}.{name}": [f"{theirs}.{source}" for source in found] for name, found in _LAYER_MODULES.items()}
        for gate, source in _GATES.items():
            names[f"{ours}.{gate}.bias"] = [f"{theirs}.{source}.bg"]
            modules |= {f"{ours}.{gate}.{name}": [f"{theirs}.{source}.{part}" for part in parts] for name, parts in _GATE_PARTS.items()}
    for module, found in modules.items():
        for kind in ("weight", "bias"):
            names.setdefault(f"{module}.{kind}", [f"{source}.{kind}" for source in found])
    return names


def _unused(model: ReleasedConfig, episode_length: int) -> dict[str, tuple[int, ...]]:
    """Shapes of tensors that the released class holds and never uses, by name."""
    width = model.width
    shapes: dict[str, tuple[int, ...]] = {
        "embed_timestep.weight": (episode_length, width),
        "embed_ln.weight": (width,),
        "embed_ln.bias": (width,),
        "pos_emb.inv_freq": (width // 2,),
    }
    norms = ["dec_attn.layer_norm"] + ["pos_ff.layer_norm"] * bool(model.feed_forward)
    for index in range(model.layers):
        shapes |= {f"layers.{index}.{norm}.{kind}": (width,) for norm in norms for kind in ("weight", "bias")}
    if model.valve != "none" and not model.memory_tokens:
        for source in ("wq", "wk", "wv", "dense"):
            shapes |= {f"mha_mem_to_mem.{source}.weight": (width, width), f"mha_mem_to_mem.{source}.bias": (width,)}
    return shapes


def _rows(state_dict: Mapping[str, np.ndarray | Tensor], name: str) -> int:
    return state_dict[name].shape[0] if name in state_dict and state_dict[name].ndim else 0


def _fill(
    policy: Policy,
    state_dict: Mapping[str, np.ndarray | Tensor],
    model: ReleasedConfig,
    continuous: bool,
    episode_length: int,
) -> None:
    """Copy the released tensors into the policy, or say what does not fit."""
    names, unused = _released_names(model, continuous), _unused(model, episode_length)
    sources = {name: names[name] for name, _ in policy.named_parameters()}
    wanted = {source for found in sources.values() for source in found}
    for problem, keys in (("misses", wanted - set(state_dict)), ("has unknown", set(state_dict) - wanted - set(unused))):
        if keys:
            shown = ", ".join(sorted(keys)[:8]) + (", ..." if len(keys) > 8 else "")
            raise ValueError(
                f"the released state dict {problem} tensors: {shown}. Give the configuration that the model was built with; "
                "models of images are not supported."
            )
    for name in set(unused) & set(state_dict):
        _read(state_dict, name, unused[name])
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            shape = (len(parameter) // len(sources[name]), *parameter.shape[1:])
            if name == "backbone.memory_tokens":
                shape = (len(parameter), 1, parameter.shape[1])
            parts = [_read(state_dict, source, shape) for source in sources[name]]
            parameter.copy_(torch.cat(parts).view_as(parameter))


def _read(state_dict: Mapping[str, np.ndarray | Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    """One released tensor as float32, after checks of type, shape and numbers."""
    value = state_dict[name]
    floating = value.is_floating_point() if isinstance(value, Tensor) else np.issubdtype(np.asarray(value).dtype, np.floating)
    if not floating:
        raise ValueError(f"{name} must hold floating point numbers, but its type is {value.dtype}")
    tensor = cast(Tensor, torch.as_tensor(value)).detach().float().cpu()
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, but the configuration asks for {shape}")
    if not bool(tensor.isfinite().all()):
        raise ValueError(f"{name} holds numbers that are not finite: the file is damaged or the training diverged")
    return tensor
