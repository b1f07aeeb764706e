"""How to cut 90 steps into segments: K x N from one segment of 90 to nine of 10, same window, same
data.

Segments are whole in all updates here: cut shorter at times, one of 90 steps would teach the
hand-over, too. Claim: one segment leaves memory nothing to do, two have it written and read once;
from three on it must be carried over. Source: Fig. 18 of the paper (K x N = 90). Cost: about a
quarter of an hour on two cores. Command: rate reproduce tmaze-segments --jobs 2
"""

from dataclasses import replace

from rate.experiments import Experiment
from rate.experiments.demo import LENGTHS
from rate.experiments.tmaze_generalization import DATA, WHOLE
from rate.models.rate import Config

SPLITS = ((90, 1), (45, 2), (30, 3), (18, 5), (10, 9))
PLACES = {f"{length}x{count}": (length, count) for length, count in SPLITS}

EXPERIMENT = Experiment(
    title="T-Maze: segment length K against number of segments N, K x N = 90",
    claim=(
        "Memory must be handed on in training to be kept beyond it: one or two segments cannot "
        "teach that, three can."
    ),
    source=(
        "Fig. 18; small models (2 layers, 2 heads of 32, width 64; the paper has 8 to 10 layers)"
    ),
    cost="about a quarter of an hour on two cores",
    data={"tmaze-90": DATA},
    variants={
        name: replace(WHOLE, model=Config(segment_length=length, segments=count))
        for name, (length, count) in PLACES.items()
    },
    evaluations=tuple(f"tmaze/{length}" for length in LENGTHS if length <= 2400),
    seeds=(0,),
    training_length=90,
    grid={name: ("rate", f"{length} x {count}") for name, (length, count) in PLACES.items()},
    grid_axis="segments K x N",
    remarks=(
        "With one segment of 90 memory is never used, with two of 45 it is written once and "
        "read once: both are at "
        "chance beyond the training length. From three segments on memory written from "
        "memory must still tell the "
        "clue, and then it does so to 2400 steps. The paper shows a figure without numbers. "
        "One seed."
    ),
)
