"""ViZDoom-Two-Colors: `vizdoom-two-colors/<limit>`; arguments of `TwoColors` are its options."""

from functools import partial
from typing import Any

import gymnasium

from rate.tasks.task import Family, Task, read_length, total_return
from rate.tasks.vizdoom.environment import TwoColors as TwoColors
from rate.tasks.vizdoom.environment import colour
from rate.tasks.vizdoom.environment import is_red as is_red
from rate.tasks.vizdoom.expert import TwoColorsDataExpert as TwoColorsDataExpert
from rate.tasks.vizdoom.expert import TwoColorsExpert
from rate.tasks.vizdoom.scenario import Rules

LONG = 1000
"""Decisions from which on a limit cuts off next to no episode of random actions."""
REFERENCES = {"standing": 3.84, "random": 4.74}
"""Returns without a limit."""


def _task(size: str, **arguments: Any) -> Task:
    limit = read_length(size, least=1)
    rules = Rules(**arguments)
    return Task(
        name=f"vizdoom-two-colors/{size}",
        environment=partial(TwoColors, limit, **arguments),
        horizon=limit,
        target_return=56.5,
        score=total_return,
        metric="return",
        description=f"ViZDoom-Two-Colors: at most {limit} decisions",
        expert=partial(TwoColorsExpert, rules),
        experts={"data": partial(TwoColorsDataExpert, rules)},
        group=colour,
        reference=REFERENCES if limit >= LONG else {},
        num_envs=8,
    )


TASKS: dict[str, Family] = {
    "vizdoom-two-colors": Family(
        _task,
        "<limit>",
        "90",
        "ViZDoom-Two-Colors: a pillar shows once which items heal",
        "vizdoom",
        ("vizdoom", "cv2", "psutil"),
        ("pillar", "pillar_tics", "damage", "acid"),
    )
}

gymnasium.register(id="rate/ViZDoomTwoColors-v0", entry_point="rate.tasks.vizdoom:TwoColors")
