"""What the configuration of a released model says: its options in this library's names, and its
spaces, which follow from the name of the environment."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces as gym

from rate.images import channel_axis
from rate.messages import brief, printable
from rate.models.nn.transformer import LayerKind
from rate.models.nn.valve import Activation
from rate.models.released import Config
from rate.spaces import LARGEST_LEAF, is_image, leaves
from rate.values import checked

# The environment
# --------------------------------------------------------------------------------


class _Environment(NamedTuple):
    """What the released class makes of the name of an environment."""

    image: tuple[int, int, int] | None = None
    """Planes, height and width of an image; None: observations are vectors."""
    padding: int = 0
    """Padding of the convolutions."""
    image_tanh: bool = False
    return_tanh: bool = False
    action_tanh: bool = True
    real_action_tanh: bool | None = None
    """Of real actions, where it differs from that of choices."""


_ENVIRONMENTS = {
    "tmaze": _Environment(),
    "aar": _Environment(),
    "vizdoom": _Environment((3, 64, 112), image_tanh=True, return_tanh=True),
    "memory_maze": _Environment((3, 64, 64), 2, image_tanh=True, return_tanh=True),
    "minigrid_memory": _Environment((3, 84, 84), action_tanh=False),
    "atari": _Environment((4, 84, 84), image_tanh=True, return_tanh=True),
    "mujoco": _Environment(action_tanh=False),
    "popgym": _Environment(action_tanh=False, real_action_tanh=True),
    "mikasa_robo": _Environment((6, 128, 128), image_tanh=True, action_tanh=False),
}
"""By a part of the name. Other names are those of MuJoCo tasks in the main code."""


class ReleasedSpaces:
    """Spaces of a released model, and how its tensors are named for them."""

    def __init__(
        self,
        state_dict: Mapping[str, Any],
        config: Mapping[str, Any],
        given: gymnasium.Space[Any] | None,
    ) -> None:
        name = str(config.get("env_name", ""))
        found = [part for part in _ENVIRONMENTS if part in name]
        if not found and "state_encoder.0.weight" in state_dict:
            raise ValueError(
                f"env_name is {brief(name)}, and how its images are encoded is not known: images "
                f"of {', '.join(key for key, one in _ENVIRONMENTS.items() if one.image)} are"
            )
        self.facts = _ENVIRONMENTS[found[0]] if found else _Environment()
        count = integer(config, "act_dim")
        action = _prefix(state_dict, "action_embeddings")
        self.continuous = f"{action}.bias" in state_dict
        self.padded = np.shape(state_dict.get(f"{action}.weight", ()))[:1] == (count + 1,)
        # A head of several parts ends with tanh.
        squashed = self.continuous and "head.weight" not in state_dict
        limit = np.float32(1 if squashed else np.inf)
        self.actions: gymnasium.Space[Any] = gym.Discrete(count) if count else gym.Discrete(1)
        if self.continuous:
            self.actions = gym.Box(-limit, limit, (count,), np.float32)
        self.observations = self._observations(config, given)
        seen = "encoders.observation.encoders.0"
        self.modules = {
            f"{seen}.linear": "state_encoder.7" if self.facts.image else "state_encoder",
            "encoders.return_to_go.linear": _prefix(state_dict, "ret_emb"),
            "encoders.action.embedding": action,
            "encoders.action.linear": action,
            "head.linear": "head.0" if squashed else "head",
        }
        if self.facts.image:
            layers = {f"{seen}.convolutions.{n}": f"state_encoder.{n}" for n in (0, 2, 4)}
            self.modules |= layers
        planes = np.shape(state_dict.get("state_encoder.0.weight", ()))[1:2]
        self.stack_frames = self._stacked(*planes) if self.facts.image and planes else 1

    def _observations(
        self, config: Mapping[str, Any], given: gymnasium.Space[Any] | None
    ) -> gymnasium.Space[Any]:
        image = self.facts.image
        if image is None:
            size = integer(config, "state_dim")
            own: gymnasium.Space[Any] = gym.Box(-np.inf, np.inf, (size,), np.float32)
        else:
            own = gym.Box(0, 255, image, np.uint8)
        if given is None:
            return own
        [*parts] = leaves(given).values()
        fits = parts[0].shape == own.shape if image is None else is_image(parts[0])
        if len(parts) != 1 or not fits:
            raise ValueError(f"the released model observes {brief(own)}, not {brief(given)}")
        return given

    def _stacked(self, planes: int) -> int:
        """Frames that are stacked so that an image has as many planes as the weights."""
        [leaf] = leaves(self.observations).values()
        shape = leaf.shape or ()
        channels = shape[channel_axis(shape)]
        return planes // channels if planes % channels == 0 else 1

    def options(self, action_tanh: bool | None) -> dict[str, Any]:
        """Options of the model that weights do not show."""
        facts, tanh = self.facts, self.facts.action_tanh
        if self.continuous and facts.real_action_tanh is not None:
            tanh = facts.real_action_tanh
        return {
            "action_tanh": tanh if action_tanh is None else action_tanh,
            "return_tanh": facts.return_tanh,
            "image_tanh": facts.image_tanh,
            "image_padding": facts.padding,
            "padding_action": self.padded and not self.continuous,
        }


def _prefix(state_dict: Mapping[str, Any], name: str) -> str:
    """The name of a linear map or table, which may be the first of several parts."""
    return name if f"{name}.weight" in state_dict else f"{name}.0"


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


def constructor_arguments(described: Mapping[str, Any]) -> dict[str, Any]:
    """The constructor's arguments and K and N, from the configuration of a released run, which has
    them in its parts "model" and "training"; or as they are.

    Raises:
        ValueError: The configuration has a part "model", but K and N are not in "training".
    """
    if not isinstance(described.get("model"), dict):
        return dict(described)
    model, training = described["model"], described.get("training")
    if not isinstance(training, dict) or not {"context_length", "sections"} <= training.keys():
        raise ValueError("the configuration lacks context_length and sections in its part training")
    # What the class does not have belongs to other models, or was left to it.
    known = _REQUIRED | _OPTIONAL
    found = {name: value for name, value in model.items() if name in known and value is not None}
    lengths = {"segment_length": training["context_length"], "segments": training["sections"]}
    return found | lengths


def check_names(config: Any) -> None:
    """Refuse a configuration that lacks arguments of the released constructor, or has unknown ones,
    with a ValueError."""
    if not isinstance(config, Mapping):
        raise ValueError(f"the configuration must be a dictionary, but is {brief(config)}")
    advice = f"Allowed are {sorted(_REQUIRED | _OPTIONAL)}."
    compare("configuration", set(config), _REQUIRED, _OPTIONAL, advice)


def model_config(config: Mapping[str, Any], options: Mapping[str, Any]) -> Config:
    """The released constructor's arguments in this library's names, with further options."""
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
    if integer(config, "num_mem_tokens") and not config.get("mem_at_end", True):
        raise ValueError(
            "memory tokens need mem_at_end: without it the released class passes on other "
            "rows than memory"
        )
    heads = integer(config, "n_head_ca")
    sizes: dict[str, Any] = {ours: integer(config, their) for their, ours in _INTEGERS.items()}
    return Config(
        **sizes,
        **options,
        segments=integer(config, "segments") if "segments" in config else 1,
        dropout=checked("dropout", config["dropout"], float),
        attention_dropout=checked("dropatt", config["dropatt"], float),
        feed_forward=0 if bare else integer(config, "d_inner"),
        layer=kind,
        valve="ca-2" if heads else "none",
        valve_heads=max(heads, 1),
        valve_activation=_ACTIVATIONS[activation],
        memory_reads_cache=bool(config.get("read_mem_from_cache")),
    )


def integer(config: Mapping[str, Any], name: str) -> int:
    """A number of things in a configuration; anything else is a ValueError."""
    value = config[name]
    if type(value) is not int or not 0 <= value <= LARGEST_LEAF:
        raise ValueError(f"{name} must be an integer of at least 0, but {brief(value)} was given")
    return value


def compare(
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
