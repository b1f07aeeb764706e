"""Training length against test length: RATE, DT, RMT, TrXL and BC-LSTM on T-Mazes of up to 9, 30,
90, 150 and 300 steps.

Claim: RATE is right far to the right of the diagonal; models with a window only as far as the
window reaches. Source: Fig. 6 of the paper, whose training lengths go to 900 and test lengths to
9600. Small models and 600 updates of 64 episodes (of 32 from 150 steps on); windows of three
segments of a third of the training length each. Cost: about half an hour on two cores beyond the
policies of tmaze-generalization. Command: rate reproduce tmaze-heat-maps --jobs 2
"""

from dataclasses import replace

from rate.experiments import Collection, Experiment
from rate.experiments.demo import LENGTHS
from rate.experiments.tmaze_generalization import VARIANTS
from rate.recipe import Recipe

TRAINING_LENGTHS = (9, 30, 90, 150, 300)
MODELS = ("rate", "dt", "rmt", "trxl", "bc-lstm")


def at(variant: str, length: int) -> Recipe:
    """The recipe of the generalisation experiment for another training length, in segments of a
    third of it."""
    recipe = VARIANTS[variant]
    options = {"segment_length": length // 3, "segments": 3}
    if getattr(recipe.model, "cached_states", 0):
        options["cached_states"] = 3 * length  # the paper's 3 K N tokens
    # Long corridors come in smaller batches, so that the whole map is a matter of half an hour on a
    # small machine.
    batch_size = recipe.batch_size if length <= 90 else 32
    return replace(
        recipe,
        dataset=f"tmaze-{length}",
        model=replace(recipe.model, **options),
        batch_size=batch_size,
    )


GRID = {f"{model}-{length}": (model, length) for length in TRAINING_LENGTHS for model in MODELS}

EXPERIMENT = Experiment(
    title="T-Maze: training length against test length",
    claim=(
        "RATE carries the clue far beyond every training length; models with a window only as far "
        "as it reaches."
    ),
    source=(
        "Fig. 6; small models (2 layers, 2 heads of 32, width 64; BC-LSTM of 128 units; the paper "
        "has 8 to 10 layers)"
    ),
    cost="about half an hour on two cores beyond the policies of tmaze-generalization",
    data={
        f"tmaze-{length}": Collection(f"tmaze-uniform/{length}", 4000)
        for length in TRAINING_LENGTHS
    },
    variants={name: at(*place) for name, place in GRID.items()},
    evaluations=tuple(f"tmaze/{length}" for length in LENGTHS if length <= 2400),
    seeds=(0,),
    grid={name: (model, str(length)) for name, (model, length) in GRID.items()},
    grid_axis="training length T (steps)",
    remarks=(
        "RATE is right everywhere, whichever length it was trained at. DT is right exactly "
        "up to its window; TrXL, "
        "whose cache holds older segments, to twice the training length when trained at 150 "
        "or 300. RMT, which has a "
        "feed-forward block in place of RATE's valve, lets go after 30 steps when trained at "
        "9, where segments have 3 "
        "steps and memory is written every third step. BC-LSTM is right everywhere, too: the "
        "paper sees it fail for "
        "training lengths of 600 and more, which are not part of this map. One seed."
    ),
)
