"""ViZDoom-Two-Colors: how much an agent collects, and how much that depends on the colour of a
pillar that it sees only at first.

Title: ViZDoom-Two-Colors: the colour of a pillar, remembered
Claim: RATE is to go for the right items whichever colour the pillar had, and a Decision Transformer
    to prefer one colour once the pillar has left its context; a thousand small updates do not show
    it yet.
Source: Fig. 3 and 4; small model, data of a scripted expert
Cost: about an hour and a half on one core
Command: rate reproduce vizdoom

The paper shows figures: return over all episodes, over those with a red and with a green pillar,
and the imbalance of the two; with and without a pillar; of the first decisions and of later ones;
and against the return that is asked for. Policies are trained on 90 decisions (the pillar is gone
after 45) and scored on 90, 180 and 2100. What is earned behind the context is the difference
between two rows: greedy episodes of a seed agree as far as both go.

Data: 1000 episodes of 90 decisions by a scripted expert with errors, which earns as much in them as
the agent of the paper does (4.46). Small models: 2 layers, 2 heads of 32, width 64, feed-forward
blocks of 128, and an encoder of 16, 32 and 32 channels. The paper's size: 6 layers, 8 heads of 64,
three segments of 50 and 5000 episodes of 150 decisions.
"""

from typing import Any

from rate.experiments import Collection, Experiment, Page
from rate.models import dt, lstm, rate, rmt, trxl
from rate.recipe import OptimiserConfig, Recipe

TASK = "vizdoom-two-colors"
LIMIT, BLIND = f"{TASK}/2100", f"{TASK}/2100,environment.pillar=false"

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
        "dt": Recipe(model=dt.Config(**LARGE, stride=10), **LONG),
        "rmt": Recipe(model=rmt.Config(**LARGE, memory_tokens=15), **LONG),
        "trxl": Recipe(model=trxl.Config(**LARGE, cached_states=450), **LONG),
        "bc-lstm": Recipe(model=lstm.Config(segment_length=50, hidden=64, dropout=0.2), **LONG),
    },
    evaluations=(f"{TASK}/150", f"{TASK}/300", LIMIT, BLIND),
    target_returns={LIMIT: (1.01, 3.9, 11.1)},
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
        "dt": Recipe(model=dt.Config(**SMALL, stride=10), **TRAINING),
        "rmt": Recipe(model=rmt.Config(**SMALL), growing_segments=6, **TRAINING),
        "trxl": Recipe(model=trxl.Config(**SMALL), growing_segments=6, **TRAINING),
        "bc-lstm": Recipe(model=lstm.Config(**IMAGES), **TRAINING),
    },
    evaluations=(f"{TASK}/90", f"{TASK}/180", LIMIT, BLIND),
    target_returns={LIMIT: (1.01, 3.9, 11.1)},
    sample=True,
    seeds=(100, 101, 102),
    trials={"rate": 3, "dt": 0, "rmt": 0, "trxl": 0, "bc-lstm": 0},
    smoke_steps=20,
    paper=PAPER,
)

PAGE = Page(axis="decisions")
