"""Recurrent networks over observations alone, trained and tested at one length.

Title: T-Maze: recurrent networks over observations alone
Claim: An LSTM and a GRU learn to remember over a window as long as they are trained on.
Source: README of the recurrent baselines in the authors' older code; small models of 128 units
Cost: about ten minutes on two cores
Command: rate reproduce tmaze-recurrent-observations --jobs 2

Every policy is trained on corridors of up to T steps and tested at T = 9, 30, 90 and 270. The
authors' table has a Mamba, too; here DMamba has no form without returns and actions.
"""

from rate.experiments import Collection, Experiment, Page
from rate.models import gru, lstm
from rate.models.backbone import ModelConfig
from rate.recipe import Recipe

LENGTHS = (9, 30, 90, 270)
MODELS: dict[str, type[ModelConfig]] = {"lstm": lstm.Config, "gru": gru.Config}

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
