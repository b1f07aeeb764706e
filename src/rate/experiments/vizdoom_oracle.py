"""Between a policy that always sees the pillar and one that forgets it: OracleDT, RATE and DT.

Title: ViZDoom-Two-Colors: an oracle as the upper bound
Claim: RATE earns more than a Decision Transformer, and less than an oracle that always sees the
    pillar.
Source: Table 5, ViZDoom half; small model, data of a scripted expert
Cost: about twenty minutes on one core beyond the policies of vizdoom
Command: rate reproduce vizdoom-oracle

Our oracle keeps the first observation, in which the pillar stands before the agent, as one memory
token that is never updated; the paper puts in a constant vector for each colour. `rate reproduce
vizdoom vizdoom-oracle` trains the policies that both have in common once.
"""

from typing import Any

from rate.experiments import Collection, Experiment, Page
from rate.models import dt, oracle_dt, rate
from rate.recipe import OptimiserConfig, Recipe

TASK = "vizdoom-two-colors"
LIMIT = f"{TASK}/2100"

IMAGES: dict[str, Any] = {"encoder": "compact", "dropout": 0.1}
SMALL: dict[str, Any] = IMAGES | {"attention_dropout": 0.0, "feed_forward": 128}
TRAINING: dict[str, Any] = {
    "dataset": "episodes",
    "target_return": 56.5,
    "updates": 1000,
    "batch_size": 4,
    "optimiser": OptimiserConfig(learning_rate=1.5e-3),
}
LARGE: dict[str, Any] = {
    "segment_length": 50,
    "layers": 6,
    "heads": 8,
    "head_width": 64,
    "feed_forward": 128,
    "dropout": 0.2,
    "attention_dropout": 0.05,
}
# The released warm-up is longer than its training; here it is a tenth of it (docs/fidelity.md).
LONG: dict[str, Any] = {
    "dataset": "episodes",
    "target_return": 56.5,
    "updates": 6000,
    "batch_size": 128,
    "optimiser": OptimiserConfig(
        3e-4, weight_decay=0.001, betas=(0.9, 0.999), gradient_clip=5.0, warmup=600, decay="none"
    ),
}

PAPER = Experiment(
    data={"episodes": Collection(f"{TASK}/150,expert=data", 5000)},
    variants={
        "rate": Recipe(model=rate.Config(**LARGE, memory_tokens=15, cached_states=100), **LONG),
        "oracle-dt": Recipe(model=oracle_dt.Config(**LARGE), **LONG),
        "dt": Recipe(model=dt.Config(**LARGE, stride=10), **LONG),
    },
    evaluations=(LIMIT,),
    sample=True,
    seeds=(100, 101, 102, 103, 104, 105),
)

EXPERIMENT = Experiment(
    data={"episodes": Collection(f"{TASK}/90,expert=data", 1000)},
    variants={
        "rate": Recipe(
            model=rate.Config(**SMALL, cached_states=100, valve_start="unit"),
            growing_segments=6,
            **TRAINING,
        ),
        "oracle-dt": Recipe(model=oracle_dt.Config(**SMALL), **TRAINING),
        "dt": Recipe(model=dt.Config(**SMALL, stride=10), **TRAINING),
    },
    evaluations=(LIMIT,),
    sample=True,
    seeds=(100, 101, 102),
    smoke_steps=20,
    paper=PAPER,
)

PAGE = Page(axis="decisions")
