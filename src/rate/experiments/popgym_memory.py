"""POPGym where memory is asked for: every model sees a third of an episode at once.

Title: POPGym: memory with a context of a third of the episode
Claim: With equal context RATE is ahead of DT, which cannot see the rest of the episode.
Source: Table 9, where DT has a third of the episode as context; small models, scripted experts
Cost: about a day on two cores
Command: rate reproduce popgym-memory --jobs 2

RepeatFirst, Autoencode, CountRecall, Concentration in their Medium size. Windows of three segments
span a third of an episode, K N = T / 3, for every model, and follow one another; acting goes on
over the whole of it. 3000 updates of 16 windows, and no cache: what is older than the window is in
memory or lost.
"""

import math
from typing import Any

from rate.experiments import Collection, Experiment, Page
from rate.models import dlstm, dt, elmur, rate, rmt
from rate.models.backbone import ModelConfig
from rate.recipe import OptimiserConfig, Recipe
from rate.tasks.popgym import GAMES, SIZES

SEGMENTS = 3
MEDIUM = SIZES.index("Medium")
TASKS = {
    f"{game}Medium": GAMES[game].steps[MEDIUM]
    for game in ("RepeatFirst", "Autoencode", "CountRecall", "Concentration")
}
"""Steps of an episode by task."""


def models(steps: int) -> dict[str, ModelConfig]:
    """Models for episodes of so many steps."""
    length = math.ceil(steps / 3 / SEGMENTS)
    rest: dict[str, Any] = {"dropout": 0.1, "attention_dropout": 0.0, "feed_forward": 64}
    return {
        "rate": rate.Config(length, SEGMENTS, **rest),
        "rmt": rmt.Config(length, SEGMENTS, **rest),
        "dt": dt.Config(length, SEGMENTS, **rest),
        "elmur": elmur.Config(length, SEGMENTS, **rest),
        "dlstm": dlstm.Config(length, SEGMENTS),
    }


VARIANTS = {
    f"{name}-{task}": (name, task, model)
    for task, steps in TASKS.items()
    for name, model in models(steps).items()
}

EXPERIMENT = Experiment(
    data={task: Collection(f"popgym/{task}", 1000) for task in TASKS},
    variants={
        variant: Recipe(
            dataset=task,
            model=model,
            updates=3000,
            batch_size=16,
            sampling="stride",
            optimiser=OptimiserConfig(learning_rate=1e-3),
        )
        for variant, (_, task, model) in VARIANTS.items()
    },
    single={variant: (name, f"popgym/{task}") for variant, (name, task, _) in VARIANTS.items()},
    evaluations=tuple(f"popgym/{task}" for task in TASKS),
    seeds=(100, 101, 102),
)

PAGE = Page(axis="task", sums={"all": tuple(f"popgym/{task}" for task in TASKS)})
