"""Every model trained on T-Mazes of up to 90 steps, tested from 9 to 9600.

Title: T-Maze: every model trained at 90 steps, tested to 9600
Claim: RATE is first or tied for first at every length beyond training.
Source: Fig. 5, 6 and 11; small models (2 layers, 2 heads of 32, width 64; recurrent networks of 128
    units; the paper has 8 to 10 layers)
Cost: about an hour and a quarter on two cores
Command: rate reproduce tmaze-generalization --jobs 2

Beyond the training length only a memory that was trained through its own updates keeps the clue;
models with a window fall to chance once the clue has left it. The same data, 600 updates of 64
episodes and the same optimiser for all. RATE and RMT with segments cut shorter in half of the
updates, and, as variants "whole", without.
"""

from dataclasses import replace

from rate.experiments import Collection, Experiment, Page
from rate.models import dgru, dlstm, dmamba, dt, dt_xl, elmur, gru, lsdt, lstm, mlp, rate, rmt, trxl
from rate.objectives import cql, iql
from rate.recipe import Recipe

WHOLE = Recipe(dataset="tmaze-90", model=rate.Config(), updates=600)
"""Whole segments alone, and all windows for models without segments."""

SHORTER = replace(WHOLE, shorter_segments=0.5)
"""Segments are cut shorter in half of the updates."""

VARIANTS = {
    "rate": SHORTER,
    "rate-whole": WHOLE,
    "rmt": replace(SHORTER, model=rmt.Config()),
    "rmt-whole": replace(WHOLE, model=rmt.Config()),
    "elmur": replace(WHOLE, model=elmur.Config()),
    "trxl": replace(WHOLE, model=trxl.Config()),
    "dt": replace(WHOLE, model=dt.Config()),
    "dt-xl": replace(WHOLE, model=dt_xl.Config()),
    "lsdt": replace(WHOLE, model=lsdt.Config()),
    "dmamba": replace(WHOLE, model=dmamba.Config()),
    "dlstm": replace(WHOLE, model=dlstm.Config()),
    "dgru": replace(WHOLE, model=dgru.Config()),
    "bc-lstm": replace(WHOLE, model=lstm.Config()),
    "bc-gru": replace(WHOLE, model=gru.Config()),
    "cql-lstm": replace(WHOLE, model=lstm.Config(), objective=cql.Config()),
    "iql-lstm": replace(WHOLE, model=lstm.Config(), objective=iql.Config()),
    "bc-mlp": replace(WHOLE, model=mlp.Config()),
    "cql-mlp": replace(WHOLE, model=mlp.Config(), objective=cql.Config()),
    "iql-mlp": replace(WHOLE, model=mlp.Config(), objective=iql.Config()),
}

TEN_SEEDS = ("rate", "rmt", "elmur", "trxl", "dt", "bc-lstm")
"""Variants that are trained with all ten seeds, the others with three."""

# 4800 steps are left out: for models with a window they cost as much as all shorter lengths
# together, and show nothing new.
LENGTHS = (9, 30, 90, 150, 300, 600, 900, 1200, 2400, 9600)

EXPERIMENT = Experiment(
    data={"tmaze-90": Collection("tmaze-uniform/90", 4000)},
    variants=VARIANTS,
    evaluations=tuple(f"tmaze/{length}" for length in LENGTHS),
    fewer_episodes={"tmaze/9600": 20},
    seeds=tuple(range(100, 110)),
    fewer_seeds={name: 3 for name in VARIANTS if name not in TEN_SEEDS},
)

PAGE = Page(
    axis="corridor length T (steps)",
    training_length=90,
    grid={name: ("trained on at most 90 steps", name) for name in VARIANTS},
    grid_axis="model",
)
