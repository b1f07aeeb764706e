"""Does it help to begin with short corridors? RATE and TrXL with and without a curriculum.

Claim: a curriculum (episodes of at most one segment, then two, then three) brings no clear gain.
Source: App. F.2 and Fig. 16 (left) of the paper.
Cost: about six minutes on two cores.
Command: rate reproduce tmaze-curriculum --jobs 2
"""

from dataclasses import replace

from rate.experiments import Experiment
from rate.experiments.demo import LENGTHS
from rate.experiments.tmaze_generalization import DATA, VARIANTS

PLAIN = {name: VARIANTS[name] for name in ("rate", "trxl")}

EXPERIMENT = Experiment(
    title="T-Maze: with and without a curriculum over lengths",
    claim=(
        "Beginning with short corridors changes little: what must be learned is the hand-over, "
        "which they do not need."
    ),
    source=(
        "App. F.2, Fig. 16 (left); small models (2 layers, 2 heads of 32, width 64; the paper has "
        "8 to 10 layers)"
    ),
    cost="about six minutes on two cores",
    data={"tmaze-90": DATA},
    variants=PLAIN
    | {f"{name}-curriculum": replace(recipe, curriculum=True) for name, recipe in PLAIN.items()},
    evaluations=tuple(f"tmaze/{length}" for length in LENGTHS if length <= 2400),
    seeds=(0,),
    training_length=90,
    remarks=(
        "As in the paper: nothing for RATE to gain, a slight gain for TrXL (150 steps "
        "instead of 90), no clear gain "
        "overall. One seed."
    ),
)
