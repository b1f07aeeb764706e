"""The names by which recorders call the same things, in one table for all formats.

A name is compared in lower case, in the singular, and with words separated by `_`: `Observations`,
`nextObs` and `next_observations` are found by `observation`, `next_ob` and `next_observation`.
"""

import re
from typing import NamedTuple

SPELLINGS = {
    "observations": "observation ob state s image img pixel frame",
    "next_observations": "next_observation observation2 obs2 state2 s2 observation_tp1 ob_tp1",
    "actions": "action act a",
    "rewards": "reward rew r",
    "returns_to_go": "return_to_go rtg",
    "terminations": "termination terminated terminal is_terminal is_terminated",
    "truncations": "truncation truncated trunc timeout timed_out time_out time_limit is_truncated",
    "dones": "done is_done d game_over episode_over finished done_float",
    "continues": "not_done not_terminal non_terminal nonterminal continue alive",
    "ends": "episode_terminal episode_end episode_done episode_last is_last last_step "
    "end_of_episode is_end",
    "starts": "episode_start episode_first episode_begin is_first first_step is_start new_episode",
    "numbers": "episode_index episode_indice episode_idx episode_id episode_number episode_num "
    "traj_id traj_index trajectory_id trajectory_index",
    "lengths": "length episode_length traj_length trajectory_length path_length seq_len",
    "mask": "mask valid valid_mask attention_mask",
    "environments": "n_env num_env",
    "position": "po",
    "full": "full",
    "flattened": "generator_ready",
}
"""Spellings of each role, in the order in which they are preferred. `next_`, `new_` or `_next` with
a spelling of observations are next observations."""

MARKS = ("terminations", "truncations", "dones", "continues", "ends", "starts", "numbers")
"""Roles of arrays that say where episodes end; `lengths` and `mask` do as well."""

BUFFER = ("environments", "position", "full", "flattened")
"""Roles of what Stable-Baselines3 says about its buffers, `n_envs`, `pos` and so on."""

STRUCTURED = ("observations", "next_observations", "actions")
"""Roles that may have several leaves, such as `observations/camera`."""

_ROLES = {
    spelling: (role, rank)
    for role, spellings in SPELLINGS.items()
    for rank, spelling in enumerate(spellings.split())
}
_ASIDE = {"info", "metadata", "agent_info", "env_info"}
_NO_ARRAY = {"space", "shape", "dim", "mean", "std", "name", "key", *_ASIDE}
_CONTAINERS = {"buf", "buffer", "list", "arr", "array"}
_LIKE = {
    "an observation": {"observation", "ob", "state", "image", "img", "pixel", "frame", "camera"},
    "a mark of ends": {
        *("done", "terminal", "terminated", "termination", "truncated", "truncation", "timeout"),
        *("end", "last", "first", "start", "reset", "over", "boundary", "episode", "trajectory"),
    },
}


class Place(NamedTuple):
    """What an array is, by its name."""

    role: str
    """One of `SPELLINGS`."""
    rank: int
    """Order of preference among the spellings of the role."""
    group: str
    """The name without its leaf."""
    leaf: str
    """The path of a leaf in a structure; empty for a whole."""


def place(name: str) -> Place | None:
    """What an array of this name is, or None.

    The name may stand behind a path (`data/obs`, `transitions.reward`), but not among infos, and
    have a path to a leaf behind it where the role allows one.
    """
    parts = _split(name)
    words = [_singular(part) for part in parts]
    for index, word in enumerate(words):
        if word in _ASIDE:
            break
        role, rank = _ROLES.get(word, ("", 0))
        current = re.sub(r"^(next|new)_|_(next|new)$", "", word)
        is_next = current != word or "next" in words[:index]
        if is_next and _ROLES.get(current, ("",))[0] == "observations":
            role, rank = "next_observations", _ROLES[current][1]
        group, leaf = "/".join(parts[: index + 1]), "/".join(parts[index + 1 :])
        if role and (not leaf or role in STRUCTURED):
            return Place(role, rank + 100 * index, group, leaf)
    return None


def resembles(name: str) -> str:
    """What an array that has no place seems to be, such as "a mark of ends"; empty if nothing."""
    words = set("_".join(map(_singular, _split(name))).split("_"))
    if words & _NO_ARRAY:
        return ""
    return next((kind for kind, typical in _LIKE.items() if words & typical), "")


def _split(name: str) -> list[str]:
    return name.split("/" if "/" in name else ".")


def _singular(name: str) -> str:
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    words = [word for word in re.split(r"[^a-z0-9]+", snake) if word not in {"", *_CONTAINERS}]
    return "_".join(word.removesuffix("s") if len(word) > 2 else word for word in words)
