"""Linear policies as behaviour policies of several qualities."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces as gym

NEWEST = "v5"
"""Version of an environment that is named without one."""


def environment_id(name: str) -> str:
    """The id of one of Gymnasium's MuJoCo environments, such as Hopper-v5 for Hopper.

    Raises:
        ValueError: Gymnasium has no MuJoCo environment of that name.
    """
    known = [
        key
        for key, spec in gymnasium.registry.items()
        if str(spec.entry_point).startswith("gymnasium.envs.mujoco.")
    ]
    if name in known:
        return name
    if f"{name}-{NEWEST}" in known:
        return f"{name}-{NEWEST}"
    names = sorted(key.removesuffix(f"-{NEWEST}") for key in known if key.endswith(NEWEST))
    raise ValueError(
        f"Gymnasium has no MuJoCo environment {name!r}; they are {', '.join(names)}, each of them "
        f"with a version as well, such as Hopper-{NEWEST}"
    )


@dataclass(frozen=True, eq=False)
class Linear:
    """Actions that are linear in the observation, clipped to their bounds."""

    weights: np.ndarray
    """[actions, observations]."""
    bias: np.ndarray
    """[actions]."""
    mean_return: float = 0.0
    """Mean of its returns, without noise."""
    standard_deviation: float = 0.0
    """Standard deviation of its returns."""
    length: float = 0.0
    """Mean length of its episodes in steps."""
    steps: int = 0
    """Steps after which the search had come to it."""

    def rounded(self) -> "Linear":
        """The policy with its numbers rounded to six digits, as they are in a file."""
        return Linear(*(np.vectorize(_six_digits)(part) for part in (self.weights, self.bias)))

    def to_json(self) -> dict[str, Any]:
        """The policy as JSON data; `from_json` reads it back."""
        data = vars(self) | {"weights": self.weights.tolist(), "bias": self.bias.tolist()}
        return {key: data[key] for key in sorted(data, key=lambda key: key in ("weights", "bias"))}


def from_json(data: dict[str, Any]) -> Linear:
    """The policy that `Linear.to_json` wrote."""
    return Linear(**data | {key: np.array(data[key]) for key in ("weights", "bias")})


def _six_digits(number: float) -> float:
    return float(f"{number:.6g}")


class LinearAgent:
    """Acts by linear policies with Gaussian noise on their actions.

    Row k draws its policy, all equally likely, and its noise from a generator seeded by the k-th
    seed alone.

    Args:
        policies: Linear policies, of one of which each episode is.
        space: The action space.
        noise: Standard deviation of the noise, as a fraction of half the range of an action.
    """

    def __init__(self, policies: Sequence[Linear], space: gym.Box, noise: float) -> None:
        self.weights = np.stack([policy.weights for policy in policies])
        self.bias = np.stack([policy.bias for policy in policies])
        self.low, self.high, self.dtype = space.low, space.high, space.dtype
        self.noise = noise * (self.high - self.low) / 2

    def reset(self, batch: int, seeds: Sequence[int] | None = None) -> None:
        """Begin new episodes."""
        given: Sequence[int | None] = [None] * batch if seeds is None else seeds
        self.generators = [np.random.default_rng(seed) for seed in given]
        self.chosen = np.array([one.integers(len(self.weights)) for one in self.generators])

    def act(
        self, observations: Any, rewards: np.ndarray, forced: np.ndarray | None = None
    ) -> np.ndarray:
        """Actions [n, actions] for observations [n, size]."""
        if forced is not None:
            return np.asarray(forced)
        observed = np.asarray(observations, np.float64)[..., None]
        actions = (self.weights[self.chosen] @ observed)[..., 0] + self.bias[self.chosen]
        drawn = [one.standard_normal(actions.shape[1]) for one in self.generators]
        noisy = actions.clip(self.low, self.high) + self.noise * np.stack(drawn)
        return noisy.clip(self.low, self.high).astype(self.dtype)


def read_policies(path: Path) -> tuple[dict[str, Any], list[Linear]]:
    """What `write_policies` wrote: facts, and the linear policies, the worst first."""
    facts = json.loads(path.read_text(encoding="utf-8"))
    policies = map(from_json, facts.pop("policies"))
    return facts, sorted(policies, key=lambda policy: policy.mean_return)


def write_policies(path: Path, facts: Mapping[str, Any], policies: Sequence[Linear]) -> None:
    """Write linear policies as JSON, one in a line, with facts about them all."""
    lines = ",\n  ".join(json.dumps(policy.to_json()) for policy in policies)
    head = ",\n ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in facts.items())
    path.write_text(f'{{{head},\n "policies": [\n  {lines}\n]}}\n', encoding="utf-8")
