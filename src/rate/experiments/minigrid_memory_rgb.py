"""Minigrid-Memory seen as RGB frames of 84 x 84 pixels, as in the paper: one RATE from 11 x 11 to
501 x 501 cells.

Title: Minigrid-Memory in RGB: from 41 x 41 cells to 501 x 501
Claim: From pictures, too, RATE carries the object over grids larger than it was trained on, up to
    151 cells.
Source: Fig. 7; small model, RGB frames
Cost: about half an hour on one core
Command: rate reproduce minigrid-memory-rgb

The small model and the recipe of `minigrid-memory`, a third longer and with less dropout, with
three convolutions as encoder; App. C.1.4 of the paper. Data: 6000 episodes of 60 to 90 steps by the
scripted expert, which sees the same frames. The cost is that of one thread (--threads 1).
"""

from rate.experiments import Collection, Experiment, Page
from rate.models import rate
from rate.recipe import OptimiserConfig, Recipe

SIZES = (11, 21, 31, 41, 61, 91, 151, 251, 401, 501)

EXPERIMENT = Experiment(
    data={"walks": Collection("minigrid-memory-rgb/41x96", 6000, lengths=(60, 90))},
    variants={
        # With the dropout of the symbolic view (0.3, 0.1 on attention), carrying the object from
        # segment to segment was not learned from pictures (docs/log.md).
        "rate": Recipe(
            dataset="walks",
            model=rate.Config(dropout=0.1, attention_dropout=0.0, feed_forward=128),
            updates=2400,
            growing_segments=6,
            optimiser=OptimiserConfig(learning_rate=2e-3),
        )
    },
    evaluations=tuple(f"minigrid-memory-rgb/{size}" for size in SIZES),
    seeds=(100,),
)

PAGE = Page(axis="side of the grid (cells)", training_length=41)
