"""Which Memory Retention Valve keeps the clue: RATE with each valve, trained at K = 30, N = 5 and
tested to 9600.

Title: T-Maze: variants of the Memory Retention Valve
Claim: With CA-2 the memory holds to the longest corridor; with CA-1 or a gate it fades beyond 900
    steps.
Source: Table 6, Fig. 17; small models (2 layers, 2 heads of 32, width 64; the paper has 8 to 10
    layers)
Cost: about 20 minutes on two cores
Command: rate reproduce tmaze-valve --jobs 2

Cross-attention from incoming to written memory (CA-2) holds to the longest corridor, CA-1 and the
gate do not. The paper tests to 900 steps. 600 updates of 32 episodes, three seeds.
"""

from typing import get_args

from rate.experiments import Collection, Experiment, Page
from rate.models.nn.valve import ValveKind
from rate.models.rate import Config
from rate.recipe import Recipe

VALVES: tuple[ValveKind, ...] = get_args(ValveKind)

EXPERIMENT = Experiment(
    data={"tmaze-150": Collection("tmaze-uniform/150", 4000)},
    variants={
        valve: Recipe(
            dataset="tmaze-150",
            model=Config(segments=5, valve=valve),
            updates=600,
            batch_size=32,
            shorter_segments=0.5,
        )
        for valve in VALVES
    },
    evaluations=tuple(f"tmaze/{length}" for length in (150, 360, 600, 900, 2400, 9600)),
    fewer_episodes={"tmaze/9600": 20},
    seeds=(100, 101, 102, 103, 104),
)

PAGE = Page(
    axis="corridor length T (steps)",
    training_length=150,
    grid={valve: ("trained on at most 150 steps", valve) for valve in VALVES},
    grid_axis="valve",
)
