"""Training length against test length: RATE, DT, RMT, ELMUR, TrXL and BC-LSTM on T-Mazes of up to 9
to 900 steps.

Title: T-Maze: training length against test length
Claim: RATE carries the clue far beyond every training length; models with a window only as far as
    it reaches.
Source: Fig. 6; small models (2 layers, 2 heads of 32, width 64; BC-LSTM of 128 units; the paper has
    8 to 10 layers)
Cost: about eight hours on two cores
Command: rate reproduce tmaze-heat-maps --jobs 2

The paper's training and test lengths. 500 updates of 64 episodes (of 32 from 150 steps on, of 8
from 600 on) for every model; windows of three segments of a third of the training length each, and
a growing number of segments for every model that has segments. Three seeds up to 150 steps, one
beyond.
"""

from rate.experiments import Collection, Experiment, Page
from rate.models import dt, elmur, lstm, rate, rmt, trxl
from rate.models.backbone import ModelConfig
from rate.recipe import Recipe

TRAINING_LENGTHS = (9, 30, 90, 150, 300, 600, 900)
TEST_LENGTHS = (9, 30, 90, 150, 300, 600, 900, 1200, 2400, 4800, 9600)


def recipes(length: int) -> dict[str, Recipe]:
    """Recipes by model for a training length, in three segments of a third of it each."""
    third = length // 3
    models: dict[str, ModelConfig] = {
        "rate": rate.Config(third, 3, dropout=0.2, attention_dropout=0.1, valve_start="unit"),
        "dt": dt.Config(third, 3, stride=third),
        "rmt": rmt.Config(third, 3, dropout=0.2, attention_dropout=0.1),
        "elmur": elmur.Config(third, 3),
        "trxl": trxl.Config(third, 3, cached_states=3 * length),  # the paper's 3 K N tokens
        "bc-lstm": lstm.Config(third, 3),
    }
    return {
        name: Recipe(
            dataset=f"tmaze-{length}",
            model=model,
            updates=500,
            # Long corridors come in smaller batches, so that a small machine bears them.
            batch_size=64 if length <= 90 else 32 if length <= 300 else 8,
            growing_segments=0 if name in ("dt", "bc-lstm") else 6,
        )
        for name, model in models.items()
    }


RECIPES = {length: recipes(length) for length in TRAINING_LENGTHS}

EXPERIMENT = Experiment(
    data={
        f"tmaze-{length}": Collection(f"tmaze-uniform/{length}", 4000)
        for length in TRAINING_LENGTHS
    },
    variants={
        f"{model}-{length}": recipe
        for length, by_model in RECIPES.items()
        for model, recipe in by_model.items()
    },
    evaluations=tuple(f"tmaze/{length}" for length in TEST_LENGTHS),
    seeds=(100, 101, 102),
    fewer_seeds={
        f"{model}-{length}": 1
        for length, by_model in RECIPES.items()
        for model in by_model
        if length > 150
    },
    episodes=20,
)

PAGE = Page(
    axis="corridor length T (steps)",
    grid={
        f"{model}-{length}": (model, str(length))
        for length, by_model in RECIPES.items()
        for model in by_model
    },
    grid_axis="training length T (steps)",
)
