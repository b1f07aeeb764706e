"""Action Associative Retrieval: the last action must repeat the first, far beyond the training
length.

Title: Action Associative Retrieval: is the first action remembered?
Claim: RATE's two conditional probabilities sum to about 2 at twice the training length; DT's to at
    most 1.
Source: Fig. 12, App. D; small models (2 layers, 2 heads of 32, width 64)
Cost: about half an hour on two cores
Command: rate reproduce aar --jobs 2

The claim is about p(right | first action 0) + p(right | first action 1), trained on at most 90
steps and tested at 180: DT cannot see the first action any more. Data: episodes of 3 to 90 steps in
equal numbers; with the three lengths of the reference (29, 59, 89), RATE had not learned to carry
the action from segment to segment after 540 updates of a trial (docs/log.md).
"""

from rate.experiments import Collection, Experiment, Page
from rate.models import dt, rate
from rate.recipe import OptimiserConfig, Recipe

EXPERIMENT = Experiment(
    data={"aar": Collection("aar-uniform/90", 4000)},
    variants={
        # The first action is one token among many alike, so its way into memory is learned later
        # than that of the T-Maze's clue.
        "rate": Recipe(
            dataset="aar",
            model=rate.Config(dropout=0.2, attention_dropout=0.1),
            updates=1200,
            optimiser=OptimiserConfig(learning_rate=2e-3),
        ),
        "dt": Recipe(
            dataset="aar",
            model=dt.Config(stride=10),
            updates=1200,
            optimiser=OptimiserConfig(learning_rate=2e-3),
        ),
    },
    seeds=(100, 101, 102, 103, 104),
    trials={"rate": 4, "dt": 1},
    evaluations=("aar/30", "aar/60", "aar/90", "aar/120", "aar/180", "aar/360", "aar/900"),
)

PAGE = Page(axis="episode length T (steps)", training_length=90)
