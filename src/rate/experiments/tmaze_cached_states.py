"""Whether cached hidden states help where memory is one bit: RATE with none, some and all of them.

Title: T-Maze: cached hidden states
Claim: A cache of hidden states adds nothing to memory in the T-Maze.
Source: App. F; small models (2 layers, 2 heads of 32, width 64; the paper has 8 to 10 layers)
Cost: about a quarter of an hour on two cores
Command: rate reproduce tmaze-cached-states --jobs 2

P is the number of cached states in each layer: none, those of one segment of 30 steps (90), and by
the rule of the paper (3 K + 2 m) N = 294, with four memory tokens.
"""

from dataclasses import replace

from rate.experiments import Collection, Experiment, Page
from rate.models import rate
from rate.recipe import Recipe

MODEL = rate.Config(dropout=0.2, attention_dropout=0.1, valve_start="unit")

EXPERIMENT = Experiment(
    data={"tmaze-90": Collection("tmaze-uniform/90", 4000)},
    variants={
        f"p-{states}": Recipe(
            dataset="tmaze-90",
            model=replace(MODEL, cached_states=states),
            updates=500,
            growing_segments=6,
        )
        for states in (0, 90, 294)
    },
    evaluations=tuple(f"tmaze/{length}" for length in (90, 300, 900, 2400)),
    seeds=(100, 101, 102),
    episodes=20,
)

PAGE = Page(axis="corridor length T (steps)", training_length=90)
