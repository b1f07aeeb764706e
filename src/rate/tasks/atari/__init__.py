"""Atari: `atari/<Game>` for every game of the Arcade Learning Environment; `Rules` are options."""

from functools import partial
from typing import Any

import gymnasium

from rate.tasks.atari.emulator import Rules, rom_of
from rate.tasks.atari.environment import Atari as Atari
from rate.tasks.atari.player import QUALITIES, Player
from rate.tasks.task import Family, Task, total_return

TARGETS = {"Breakout": 180.0, "Pong": 20.0, "Qbert": 14_000.0, "Seaquest": 1_150.0}
"""Returns that RATE asks for."""
REFERENCES = {
    "Breakout": {"random": 1.7, "human": 30.5},
    "Pong": {"random": -20.7, "human": 14.6},
    "Qbert": {"random": 163.9, "human": 13_455.0},
    "Seaquest": {"random": 68.4, "human": 42_054.7},
}
"""Scores of random actions and of a professional tester (Mnih et al. 2015)."""


def _task(size: str, **arguments: Any) -> Task:
    rom_of(size)
    rules = Rules(**arguments)
    players = {name: partial(Player, size, rules, noise) for name, noise in QUALITIES.items()}
    return Task(
        name=f"atari/{size}",
        environment=partial(Atari, size, **arguments),
        horizon=rules.decisions,
        target_return=None if rules.clip_rewards else TARGETS.get(size),
        score=total_return,
        metric="return",
        description=f"{size} of the Atari 2600 in 84 x 84 grey pixels",
        expert=players["expert"],
        experts=players,
        reference=REFERENCES.get(size, {}),
        num_envs=10,
    )


TASKS: dict[str, Family] = {
    "atari": Family(
        _task,
        "<Game>",
        "Breakout,horizon=60",
        "Games of the Atari 2600 in 84 x 84 grey pixels: Breakout, Pong, Qbert, Seaquest, ...",
        "atari",
        ("ale_py", "cv2"),
        ("max_frames", "repeat_action_probability", "fire", "clip_rewards"),
    )
}

gymnasium.register(id="rate/Atari-v0", entry_point="rate.tasks.atari:Atari")
