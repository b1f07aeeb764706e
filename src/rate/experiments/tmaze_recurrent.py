"""Recurrent and other models trained and tested at one length, as in the authors' older code.

Title: T-Maze: one length in training and test
Claim: With a window as long as the corridor every model here solves it.
Source: README of the recurrent baselines in the authors' older code; small models
Cost: about a quarter of an hour on two cores
Command: rate reproduce tmaze-recurrent --jobs 2

Every policy is trained on corridors of up to T steps, in one segment of T, and tested at T = 9, 30
and 90.
"""

from rate.experiments import Collection, Experiment, Page
from rate.models import dgru, dlstm, dmamba, dt, rate
from rate.models.backbone import ModelConfig
from rate.recipe import Recipe

LENGTHS = (9, 30, 90)
MODELS: dict[str, type[ModelConfig]] = {
    "rate": rate.Config,
    "dt": dt.Config,
    "dlstm": dlstm.Config,
    "dgru": dgru.Config,
    "dmamba": dmamba.Config,
}

EXPERIMENT = Experiment(
    data={f"tmaze-{length}": Collection(f"tmaze-uniform/{length}", 4000) for length in LENGTHS},
    variants={
        f"{name}-{length}": Recipe(
            dataset=f"tmaze-{length}", model=config(length, 1, dropout=0.1), updates=500
        )
        for name, config in MODELS.items()
        for length in LENGTHS
    },
    single={f"{name}-{length}": (name, f"tmaze/{length}") for name in MODELS for length in LENGTHS},
    evaluations=tuple(f"tmaze/{length}" for length in LENGTHS),
    seeds=(100, 101, 102),
    episodes=20,
)

PAGE = Page(axis="corridor length T (steps)")
