"""Action Associative Retrieval: the last action must repeat the first, far beyond the training
length.

Claim: trained on at most 90 steps and tested at 180, p(right | first action 0) + p(right | first
action 1) is near 2 for RATE and at most 1 for DT, which cannot see the first action any more.
Source: Fig. 12 and App. D of the paper; small models. Data: episodes of 3 to 90 steps in equal
numbers; with the three lengths of the reference (29, 59, 89), RATE had not learned to hand the
action from segment to segment after 540 updates of a trial (docs/log.md). Cost: about ten minutes
on two cores. Command: rate reproduce aar --jobs 2
"""

from dataclasses import replace

from rate.experiments import Collection, Experiment
from rate.experiments.demo import DT
from rate.models import rate
from rate.recipe import OptimiserConfig, Recipe

# The first action is one token among many alike, so its way into memory is found later than the
# T-Maze's clue.
RATE = Recipe(
    dataset="aar",
    model=rate.Config(dropout=0.2, attention_dropout=0.1),
    updates=1200,
    optimiser=OptimiserConfig(learning_rate=2e-3),
)

EXPERIMENT = Experiment(
    title="Action Associative Retrieval: is the first action remembered?",
    claim=(
        "RATE's two conditional probabilities sum to about 2 at twice the training length; DT's "
        "to at most 1."
    ),
    source="Fig. 12, App. D; small models (2 layers, 2 heads of 32, width 64)",
    cost="about ten minutes on two cores",
    data={"aar": Collection("aar-uniform/90", 4000)},
    variants={"rate": RATE, "dt": replace(DT, dataset="aar")},
    evaluations=("aar/30", "aar/60", "aar/90", "aar/120", "aar/180", "aar/360", "aar/900"),
    axis="episode length T (steps)",
    training_length=90,
    remarks=(
        "As in the paper: RATE's two probabilities sum to 2 at twice the training length, "
        "and here to ten times it; "
        "DT's fall to 1, one fixed answer, as soon as the first action has left its window. "
        "The paper gives the "
        "correlation of the two over training; here they are those of the last checkpoint, "
        "after 1200 updates of RATE "
        "and 300 of DT, which is right at its own length by then."
    ),
)
