"""What RATE and DT attend to: attention maps on T-Mazes of 9 steps, in three segments of 3 and in
one window.

Title: T-Maze: what RATE and DT attend to
Claim: RATE finds the clue in its memory tokens, DT in the first observation.
Source: Fig. 2; small models (2 layers, 2 heads of 32, width 64; the paper has 8 to 10 layers)
Cost: under two minutes on one core
Command: rate reproduce tmaze-attention

At the junction RATE looks at its memory, where the clue has been written two segments ago; DT looks
at the clue itself, as long as its window holds it. The paper has T = 8.
"""

from dataclasses import replace

from rate.experiments import Collection, Experiment, Page
from rate.models import dt, rate
from rate.recipe import OptimiserConfig, Recipe

RATE = Recipe(
    dataset="tmaze-9",
    model=rate.Config(segment_length=3, dropout=0.1, attention_dropout=0.0),
    updates=300,
    optimiser=OptimiserConfig(learning_rate=2e-3),
)
WINDOW = dt.Config(segment_length=9, segments=1, dropout=0.1, attention_dropout=0.0)

EXPERIMENT = Experiment(
    data={"tmaze-9": Collection("tmaze-uniform/9", 2000)},
    variants={"rate": RATE, "dt": replace(RATE, model=WINDOW)},
    evaluations=("tmaze/9", "tmaze/30"),
    seeds=(100,),
    inspected=("rate", "dt"),
)

PAGE = Page(axis="corridor length T (steps)", training_length=9)
