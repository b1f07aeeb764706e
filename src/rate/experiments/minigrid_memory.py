"""Minigrid-Memory: trained on grids of 41 x 41 cells, tested from 11 x 11 to 501 x 501.

Title: Minigrid-Memory: from 41 x 41 cells to 501 x 501
Claim: RATE, RMT and an LSTM carry an object from 41 x 41 cells, where they were trained, to 501 x
    501; DT and TrXL do not.
Source: Fig. 7; small models, symbolic view
Cost: about an hour and a half on two cores
Command: rate reproduce minigrid-memory --jobs 2

The paper (App. C.1.4) shows a figure without numbers; its models have 4 layers, see RGB frames and
are trained for hundreds of epochs. Here: small models (2 layers, 2 heads of 32, width 64,
feed-forward blocks of 128; an LSTM of 128 units) and a symbolic view of 3 x 3 cells; tests take the
paper's 500 steps at most, or 2 S + 10 where the longest path takes more (251 cells and above).
1800 updates for every model; DT with the dropout that suits it, and with a window that slides by
one step. Data: 6000 episodes of 60 to 90 steps by a scripted expert that goes back to look, as in
the paper, whose expert is a trained policy.
"""

from dataclasses import replace
from typing import Any

from rate.experiments import Collection, Experiment, Page
from rate.models import dt, lstm, rate, rmt, trxl
from rate.recipe import OptimiserConfig, Recipe

SIZES = (11, 21, 31, 41, 61, 91, 151, 251, 401, 501)

TRANSFORMER: dict[str, Any] = {"dropout": 0.3, "attention_dropout": 0.1, "feed_forward": 128}

# To compare two objects that are fifty steps apart is learned within one segment, where attention
# sees both; then memory learns to carry the first, over ever more segments (docs/log.md).
RATE = Recipe(
    dataset="walks",
    model=rate.Config(**TRANSFORMER),
    updates=1800,
    growing_segments=6,
    optimiser=OptimiserConfig(learning_rate=2e-3),
)

EXPERIMENT = Experiment(
    data={"walks": Collection("minigrid-memory/41x96", 6000, lengths=(60, 90))},
    variants={
        "rate": RATE,
        "rmt": replace(RATE, model=rmt.Config(**TRANSFORMER)),
        "trxl": replace(RATE, model=trxl.Config(**TRANSFORMER)),
        "dt": replace(
            RATE,
            model=dt.Config(**TRANSFORMER | {"dropout": 0.1, "attention_dropout": 0.0}),
            growing_segments=0,
        ),
        "bc-lstm": Recipe(
            dataset="walks",
            model=lstm.Config(),
            updates=1800,
            optimiser=OptimiserConfig(learning_rate=3e-3),
        ),
    },
    evaluations=tuple(f"minigrid-memory/{size}" for size in SIZES),
    seeds=(100, 101, 102),
    trials={"rate": 5, "rmt": 1, "trxl": 1, "dt": 2, "bc-lstm": 1},
)

PAGE = Page(axis="side of the grid (cells)", training_length=41)
