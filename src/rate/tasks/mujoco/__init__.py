"""MuJoCo locomotion: `mujoco/<Name>` for every MuJoCo environment of Gymnasium, such as
`mujoco/Hopper`; `mujoco/Hopper-v4` is an older version.

Scores are normalised: 0 is the return of random actions, 100 that of an expert. `d4rl-score` takes
both from D4RL (Fu et al. 2020), for comparison with published numbers; `own-score` takes the random
actions and the best of the linear policies of this package, which are what own data come from. The
environments are those of Gymnasium, not the older ones that D4RL recorded.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium

from rate.tasks.mujoco.linear import Linear, LinearAgent, environment_id, read_policies
from rate.tasks.task import Agent, Family, Task, total_return

POLICIES = Path(__file__).with_name("policies")
"""Folder of the files that `rate.tasks.mujoco.search` wrote."""

NOISE, STEADY = 0.1, {"Walker2d": 0.03}
"""Noise of behaviour policies, and of those that more of it would make fall at once; the narrow
data of a linear policy become wider."""

FOLLOWED = {"Ant", "HalfCheetah", "Hopper", "Humanoid", "Swimmer", "Walker2d"}
"""Environments whose model has a camera that follows the body, which films take."""

MEDIUM = 0.45
"""Part of the way from the worst to the best return at which a policy counts as medium."""


class References(NamedTuple):
    """Returns between which a score is normalised."""

    random: float
    """Mean return of random actions."""
    expert: float
    """Mean return of the expert."""

    def score(self, total_return: float, length: int) -> float:
        """100 (R - R_random) / (R_expert - R_random)."""
        return 100 * (total_return - self.random) / (self.expert - self.random)


D4RL = {
    "HalfCheetah": References(-280.178953, 12135.0),
    "Hopper": References(-20.272305, 3234.3),
    "Walker2d": References(1.629008, 4592.3),
    "Ant": References(-325.6, 3879.7),
}
"""References of D4RL by environment."""


def qualities(policies: Sequence[Linear]) -> dict[str, list[Linear]]:
    """Policies that data of each quality are from, one for each episode, given the worst first.

    medium: the one whose return is nearest to MEDIUM of the way from the worst to the best.
    expert: the best. medium-replay: all up to medium, which the search came by on its way.
    medium-expert: these two, half of the episodes each.
    """
    worst, best = policies[0].mean_return, policies[-1].mean_return
    mark = worst + MEDIUM * (best - worst)
    medium = min(range(len(policies)), key=lambda one: abs(policies[one].mean_return - mark))
    return {
        "medium": [policies[medium]],
        "medium-replay": list(policies[: medium + 1]),
        "medium-expert": [policies[medium], policies[-1]],
        "expert": [policies[-1]],
    }


@cache
def searched(key: str) -> tuple[References, tuple[Linear, ...]] | None:
    """Own references of an environment, and its linear policies, the worst first; None for an
    environment in which nobody has searched."""
    path = POLICIES / f"{key}.json"
    if not path.is_file():
        return None
    facts, policies = read_policies(path)
    return References(facts["random_return"], policies[-1].mean_return), tuple(policies)


def _agent(
    environment: Callable[[], gymnasium.Env], policies: Sequence[Linear], noise: float
) -> Agent:
    made = environment()
    try:
        space = made.action_space
    finally:
        made.close()
    assert isinstance(space, gymnasium.spaces.Box)
    return LinearAgent(policies, space, noise)


def _task(size: str) -> Task:
    key = environment_id(size)
    kind = key.partition("-")[0]
    camera: dict[str, Any] = {"camera_name": "track"} if kind in FOLLOWED else {}
    environment = partial(gymnasium.make, key, disable_env_checker=True, **camera)
    references, policies = searched(key) or (None, ())
    noise = STEADY.get(kind, NOISE)
    experts = {
        quality: partial(_agent, environment, chosen, noise)
        for quality, chosen in (qualities(policies) if policies else {}).items()
    }
    scores = {"d4rl-score": D4RL.get(kind), "own-score": references}
    metrics = {metric: found.score for metric, found in scores.items() if found}
    metric = next(iter(metrics), "return")
    horizon = gymnasium.spec(key).max_episode_steps
    assert horizon is not None
    return Task(
        name=f"mujoco/{size}",
        environment=environment,
        horizon=horizon,
        target_return=None,
        score=metrics.get(metric, total_return),
        metric=metric,
        description=f"{key} of Gymnasium, observed in full",
        expert=experts.get("expert"),
        experts=experts,
        metrics=metrics,
        reference={"random": 0.0, "expert": 100.0} if metrics else {},
        num_envs=10,
    )


TASKS: dict[str, Family] = {
    "mujoco": Family(
        _task,
        "<Name>",
        "Hopper",
        "MuJoCo locomotion, such as HalfCheetah, Hopper and Walker2d, and any other of Gymnasium's",
        "mujoco",
        ("mujoco", "imageio"),
    )
}
