"""Which Memory Retention Valve keeps the clue: RATE with each valve, trained at K = 30, N = 5 and tested to 9600.

Claim: cross-attention from incoming to written memory (CA-2) holds where the others fade.
Source: Table 6 and Fig. 17 of the paper (to 900 steps). Small models (2 layers), 600 updates of 32 episodes.
Cost: about 45 minutes on two cores for three seeds.
Command: rate reproduce tmaze-valve --jobs 2
"""

from dataclasses import replace
from typing import get_args

from rate.experiments import Collection, Experiment
from rate.experiments.demo import RATE
from rate.models.rate import Config
from rate.models.valve import ValveKind

EXPERIMENT = Experiment(
    title="T-Maze: variants of the Memory Retention Valve",
    claim="With CA-2 the memory holds to the longest corridor; other valves, or none, let it fade.",
    source="Table 6, Fig. 17; small models",
    cost="about 45 minutes on two cores",
    data={"tmaze-150": Collection("tmaze-uniform/150", 4000)},
    variants={
        kind: replace(RATE, dataset="tmaze-150", model=Config(segments=5, valve=kind), batch_size=32)
        for kind in get_args(ValveKind)
    },
    evaluations=tuple(f"tmaze/{length}" for length in (150, 360, 600, 900, 2400, 9600)),
    fewer_episodes={"tmaze/9600": 20},
    seeds=(0, 1, 2),
    training_length=150,
    grid={kind: ("trained on at most 150 steps", kind) for kind in get_args(ValveKind)},
    grid_axis="valve",
)
