"""How far RATE remembers: ten seeds to 9600 steps, and to 100,000 and 1,000,000 steps.

Title: T-Maze: how far RATE remembers
Claim: Trained on 90 steps, most seeds are right at 9600 steps, and memory holds for a million.
Source: Fig. 5, 6 and 11; small models (2 layers, 2 heads of 32, width 64; the paper has 8 to 10
    layers)
Cost: about three hours on two cores, most of it acting for a million steps
Command: rate reproduce tmaze-horizon --jobs 2

The policies of tmaze-generalization, and the same recipe trained on at most 30 steps, in three
segments of 10; acting costs the same at step 1,000,000 as at step 10. Beyond 9600 steps there is
nothing to compare with.
"""

from dataclasses import replace

from rate.experiments import Collection, Experiment, Page
from rate.models import rate
from rate.recipe import Recipe

RATE = Recipe(
    dataset="tmaze-90",
    model=rate.Config(dropout=0.2, attention_dropout=0.1, valve_start="unit"),
    updates=500,
    growing_segments=6,
)
SHORT = replace(RATE, dataset="tmaze-30", model=replace(RATE.model, segment_length=10))
LENGTHS = (9, 30, 90, 150, 300, 600, 900, 2400, 9600)

EXPERIMENT = Experiment(
    data={
        "tmaze-90": Collection("tmaze-uniform/90", 4000),
        "tmaze-30": Collection("tmaze-uniform/30", 4000),
    },
    variants={"rate": RATE, "rate-30": SHORT},
    evaluations=tuple(f"tmaze/{length}" for length in LENGTHS),
    long_evaluations={"tmaze/100000": 100, "tmaze/1000000": 100},
    seeds=tuple(range(100, 110)),
    fewer_seeds={"rate-30": 4},
    episodes=20,
    trial_seeds=(20, 21, 22, 23, 24, 25, 26, 27),
    trials={"rate": 17, "rate-30": 6},
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
