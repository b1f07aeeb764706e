"""Between a policy that always sees the clue and one that forgets it: OracleDT, RATE and DT at 90,
480 and 900 steps.

Title: T-Maze: an oracle as the upper bound
Claim: RATE reaches the oracle's success; a Decision Transformer falls to chance beyond its window.
Source: Table 5, T-Maze half; small models (2 layers, 2 heads of 32, width 64; the paper has 8 to 10
    layers)
Cost: about five minutes on two cores beyond the policies of tmaze-generalization
Command: rate reproduce tmaze-oracle --jobs 2

Our oracle keeps the first observation, where the clue is shown, as one memory token that is never
updated; the paper puts in a constant vector for each clue, and how it treats it after the first
window is open.
"""

from rate.experiments import Collection, Experiment, Page
from rate.models import dt, oracle_dt, rate
from rate.recipe import Recipe

EXPERIMENT = Experiment(
    data={"tmaze-90": Collection("tmaze-uniform/90", 4000)},
    variants={
        # RATE and DT are the policies of tmaze-generalization.
        "rate": Recipe(
            dataset="tmaze-90",
            model=rate.Config(dropout=0.2, attention_dropout=0.1, valve_start="unit"),
            updates=500,
            growing_segments=6,
        ),
        "oracle-dt": Recipe(dataset="tmaze-90", model=oracle_dt.Config(), updates=500),
        "dt": Recipe(dataset="tmaze-90", model=dt.Config(stride=10), updates=500),
    },
    evaluations=("tmaze/90", "tmaze/480", "tmaze/900"),
    seeds=(100, 101, 102),
)

PAGE = Page(axis="corridor length T (steps)", training_length=90)
