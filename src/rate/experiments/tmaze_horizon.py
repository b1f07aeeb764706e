"""How far RATE remembers: four seeds to 9600 steps, and one policy to 100,000 and 1,000,000 steps.

Title: T-Maze: how far RATE remembers
Claim: Trained on 90 steps, every seed is right at 9600 steps, and memory holds for a million.
Source: Fig. 5, 6 and 11; small models (2 layers, 2 heads of 32, width 64; the paper has 8 to 10
    layers)
Cost: about an hour on one core, most of it acting for a million steps
Command: rate reproduce tmaze-horizon

Trained on at most 90 steps, RATE is right in every episode at 9600 steps for each of four seeds;
acting costs the same at step 1,000,000 as at step 10. Beyond 9600 steps there is nothing to compare
with.
"""

from rate.experiments import Collection, Experiment, Page
from rate.models import rate
from rate.recipe import Recipe

LENGTHS = (9, 30, 90, 150, 300, 600, 900, 1200, 2400, 4800, 9600)

EXPERIMENT = Experiment(
    data={"tmaze": Collection("tmaze-uniform/90", 4000)},
    variants={
        # The demo has more dropout, and shorter segments in half of the updates, since these rows
        # were measured (docs/log.md).
        "rate": Recipe(
            dataset="tmaze", model=rate.Config(dropout=0.3, attention_dropout=0.1), updates=600
        )
    },
    evaluations=tuple(f"tmaze/{length}" for length in LENGTHS),
    long_evaluations={"tmaze/100000": 100, "tmaze/1000000": 10},
)

PAGE = Page(
    axis="corridor length T (steps)",
    training_length=90,
    paper={
        "rate": (
            "1.00 at every length within training; stays high to 9600 (0.90 ± 0.07 at 480 to 900 "
            "for a model trained at 150)"
        ),
        "dt": "1.00 up to the training length, about 0.50 beyond",
    },
)
