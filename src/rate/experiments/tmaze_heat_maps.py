"""Training length against test length: RATE, DT, RMT, TrXL and BC-LSTM on T-Mazes of up to 9, 30,
90, 150 and 300 steps.

Title: T-Maze: training length against test length
Claim: RATE carries the clue far beyond every training length; models with a window only as far as
    it reaches.
Source: Fig. 6; small models (2 layers, 2 heads of 32, width 64; BC-LSTM of 128 units; the paper has
    8 to 10 layers)
Cost: about half an hour on two cores beyond the policies of tmaze-generalization
Command: rate reproduce tmaze-heat-maps --jobs 2

The paper's training lengths go to 900 and test lengths to 9600. 600 updates of 64 episodes (of 32
from 150 steps on); windows of three segments of a third of the training length each.
"""

from rate.experiments import Collection, Experiment, Page
from rate.models import dt, lstm, rate, rmt, trxl
from rate.models.backbone import ModelConfig
from rate.recipe import Recipe

TRAINING_LENGTHS = (9, 30, 90, 150, 300)
TEST_LENGTHS = (9, 30, 90, 150, 300, 600, 900, 1200, 2400)


def recipes(length: int) -> dict[str, Recipe]:
    """Recipes by model for a training length, in three segments of a third of it each."""
    third = length // 3
    models: dict[str, ModelConfig] = {
        "rate": rate.Config(third, 3),
        "dt": dt.Config(third, 3),
        "rmt": rmt.Config(third, 3),
        "trxl": trxl.Config(third, 3, cached_states=3 * length),  # the paper's 3 K N tokens
        "bc-lstm": lstm.Config(third, 3),
    }
    return {
        name: Recipe(
            dataset=f"tmaze-{length}",
            model=model,
            updates=600,
            # Long corridors come in smaller batches, so that all takes half an hour on a small
            # machine.
            batch_size=64 if length <= 90 else 32,
            # Segments of the models with memory tokens are cut shorter in half of the updates.
            shorter_segments=0.5 if name in ("rate", "rmt") else 0.0,
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
    seeds=(100,),
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
