"""Whether memory is learned, seen in training: correlation of the two conditional probabilities.

Title: Action Associative Retrieval: do both answers improve together?
Claim: In training RATE's two conditional probabilities rise together, within its window and beyond;
    beyond its window DT's fall for one cue as they rise for the other.
Source: Fig. 12, App. D; small models (2 layers, 2 heads of 32, width 64), 5 runs in place of 10
Cost: about an hour on two cores
Command: rate reproduce aar-training --jobs 2

The recipes of aar, validated on 20 episodes after every 25 updates, at T = 90 and at T = 180.
"""

from rate.experiments import Collection, Experiment, Page
from rate.models import dt, rate
from rate.models.backbone import ModelConfig
from rate.recipe import OptimiserConfig, Recipe, SelectionConfig

MODELS: dict[str, ModelConfig] = {
    "rate": rate.Config(dropout=0.2, attention_dropout=0.1),
    "dt": dt.Config(stride=10),
}

EXPERIMENT = Experiment(
    data={"aar": Collection("aar-uniform/90", 4000)},
    variants={
        f"{name}-{length}": Recipe(
            dataset="aar",
            model=model,
            updates=1200,
            optimiser=OptimiserConfig(learning_rate=2e-3),
            selection=SelectionConfig(task=f"aar/{length}", every=25),
        )
        for name, model in MODELS.items()
        for length in (90, 180)
    },
    evaluations=("aar/90", "aar/180"),
    seeds=(100, 101, 102, 103, 104),
)

PAGE = Page(axis="episode length T (steps)", training_length=90)
