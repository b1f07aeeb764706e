"""Weights of models that the authors' released code trained: `load_released` reproduces their
outputs to 1e-5.

Weights do not show which encoders are followed by tanh, or how their convolutions are padded: the
released class decides it by the name of the environment, which is in its configuration.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from rate.models.draft import draft
from rate.models.encoders import Normalisation
from rate.models.policy import Policy
from rate.models.released_config import ReleasedSpaces, check_names, compare, model_config


def load_released(
    state_dict: Mapping[str, np.ndarray | Tensor],
    config: Mapping[str, Any],
    *,
    observation_space: gymnasium.Space[Any] | None = None,
    normalisation: Normalisation | None = None,
    return_scale: float = 1.0,
    action_tanh: bool | None = None,
    slide: int = 0,
) -> Policy:
    """The policy, in evaluation mode, that computes what a released model does with its weights.

    Images are given as bytes; vectors and returns-to-go as the environment gives them, and are
    scaled as in the released training, which `normalisation` and `return_scale` say.

    Args:
        state_dict: The released tensors by name; those that the released class holds but never uses
            may be absent.
        config: The released constructor's arguments and segment_length (K); segments (N) may be
            given.
        observation_space: One observation, where it is laid out otherwise than in the released
            environment: images with channels last, or single frames of those that are stacked.
        normalisation: Mean and standard deviation of observations, by path; the released training
            standardises those of MuJoCo alone.
        return_scale: What returns-to-go are divided by: 1000 in the released training on MuJoCo.
        action_tanh: Whether tanh follows the encoder of actions; by default the environment's name
            decides.
        slide: Steps by which the window of DT slides while acting; 0: it begins anew every K steps.

    Raises:
        ValueError: tensors are unknown, missing, of wrong shape or not finite, or an option is not
            supported.
    """
    check_names(config)
    space = ReleasedSpaces(state_dict, config, observation_space)
    options = {"slide": slide, **space.options(action_tanh)}
    numbers = sum(math.prod(np.shape(tensor)) for tensor in state_dict.values())
    make = partial(
        Policy,
        space.observations,
        space.actions,
        model_config(config, options),
        normalisation,
        return_scale,
        space.stack_frames,
    )
    draft(make, len(state_dict), 100 * numbers + 10**6)  # what differs by less is named later
    policy = make()
    _fill(policy, state_dict, config, space)
    return policy.eval()


def _fill(
    policy: Policy,
    state_dict: Mapping[str, np.ndarray | Tensor],
    config: Mapping[str, Any],
    space: "ReleasedSpaces",
) -> None:
    """Copy the released tensors into the parameters of a policy."""
    parameters = dict(policy.named_parameters())
    modules = _MODULES | space.modules
    sources = {name: _sources(name, modules) for name in parameters}
    if "head.linear.bias" in sources and "head.weight" in state_dict:
        # Pendulums: neither a bias nor tanh.
        parameters["head.linear.bias"].data.zero_()
        del sources["head.linear.bias"]
    unused = _unused(policy.config, config.get("max_ep_len", 1000))
    required = {source for found in sources.values() for source in found}
    advice = "Give the configuration that the model was built with."
    compare("state dict", set(state_dict), required, set(unused), advice)
    for name in set(unused) & set(state_dict):
        _read(state_dict, name, unused[name])
    with torch.no_grad():
        for name, found in sources.items():
            parameter = parameters[name]
            shape = (len(parameter) // len(found), *parameter.shape[1:])
            if found == ["mem_tokens"]:
                shape = (len(parameter), 1, parameter.shape[1])
            parts = [_read(state_dict, source, shape) for source in found]
            parameter.copy_(torch.cat(parts).view_as(parameter))


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
    if module not in modules:  # in front of tanh, an encoder is the first of two parts
        module = module.replace("return_to_go.0", "return_to_go").replace("action.0", "action")
    return [f"{prefix}{source}.{kind}" for source in modules[module].split()]


def _unused(model: Any, episode_length: int) -> dict[str, tuple[int, ...]]:
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
        value = np.array(value)  # a copy that PyTorch may write to
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
