"""How to cut 90 steps into segments: K x N from one segment of 90 to nine of 10, same window, same
data.

Title: T-Maze: segment length K against number of segments N, K x N = 90
Claim: Memory must be passed on in training to be kept beyond it: one or two segments cannot teach
    that, three can.
Source: Fig. 18; small models (2 layers, 2 heads of 32, width 64; the paper has 8 to 10 layers)
Cost: about a quarter of an hour on two cores
Command: rate reproduce tmaze-segments --jobs 2

Segments are whole in all updates here: cut shorter at times, one of 90 steps would teach memory to
be carried on, too. One segment leaves memory nothing to do, two have it written and read once; from
three on it must be carried over.
"""

from rate.experiments import Collection, Experiment, Page
from rate.models.rate import Config
from rate.recipe import Recipe

SPLITS = ((90, 1), (45, 2), (30, 3), (18, 5), (10, 9))
LENGTHS = (9, 30, 90, 150, 300, 600, 900, 1200, 2400)

EXPERIMENT = Experiment(
    data={"tmaze-90": Collection("tmaze-uniform/90", 4000)},
    variants={
        f"{length}x{count}": Recipe(dataset="tmaze-90", model=Config(length, count), updates=600)
        for length, count in SPLITS
    },
    evaluations=tuple(f"tmaze/{length}" for length in LENGTHS),
    seeds=(100,),
)

PAGE = Page(
    axis="corridor length T (steps)",
    training_length=90,
    grid={f"{length}x{count}": ("rate", f"{length} x {count}") for length, count in SPLITS},
    grid_axis="segments K x N",
)
