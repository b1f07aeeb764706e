"""Is it really the memory? Return when memory, or the cached states, are mixed with noise.

Title: ViZDoom-Two-Colors: memory replaced by noise
Claim: With noise in place of what RATE carries between segments it no longer knows the colour.
Source: Fig. 8 (left) and 13 (left); small model, data of a scripted expert
Cost: about half an hour on one core beyond the policies of vizdoom
Command: rate reproduce vizdoom-corruption

The paper does not state its noise; ours is white, of unit variance. Fig. 8 corrupts the memory
tokens or the cached states; Fig. 13 mixes noise into memory, here a quarter, a half and all of it.
"""

from typing import Any

from rate.acting.corruption import Corruption
from rate.experiments import Collection, Experiment, Page
from rate.models import rate
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

CORRUPTIONS = {
    "a quarter of noise": Corruption(strength=0.25),
    "half noise": Corruption(strength=0.5),
    "noise": Corruption(),
    "noise in the cache": Corruption("cache"),
    "noise in both": Corruption("all"),
}

PAPER = Experiment(
    data={"episodes": Collection(f"{TASK}/150,expert=data", 5000)},
    variants={
        "rate": Recipe(model=rate.Config(**LARGE, memory_tokens=15, cached_states=100), **LONG)
    },
    evaluations=(LIMIT,),
    sample=True,
    seeds=(100, 101, 102, 103, 104, 105),
    corruptions=CORRUPTIONS,
    corrupted=("rate",),
)

EXPERIMENT = Experiment(
    data={"episodes": Collection(f"{TASK}/90,expert=data", 1000)},
    variants={
        "rate": Recipe(
            model=rate.Config(**SMALL, cached_states=100, valve_start="unit"),
            growing_segments=6,
            **TRAINING,
        )
    },
    evaluations=(LIMIT,),
    sample=True,
    seeds=(100, 101, 102),
    smoke_steps=20,
    corruptions=CORRUPTIONS,
    corrupted=("rate",),
    paper=PAPER,
)

PAGE = Page(axis="decisions")
