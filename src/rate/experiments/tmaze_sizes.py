"""How large a transformer one bit needs: feed-forward block, layers, heads and width of RATE.

Title: T-Maze: sizes of the transformer
Claim: The smallest transformer carries one bit as far as larger ones.
Source: Fig. 19 to 22; around a small model (2 layers, 2 heads of 32, width 64; the paper has 8 to
    10 layers)
Cost: about half an hour on two cores
Command: rate reproduce tmaze-sizes --jobs 2

One size at a time differs from that of tmaze-generalization; the same recipe for all.
"""

from dataclasses import replace
from typing import Any

from rate.experiments import Collection, Experiment, Page
from rate.models import rate
from rate.recipe import Recipe

RATE = Recipe(
    dataset="tmaze-90",
    model=rate.Config(dropout=0.2, attention_dropout=0.1, valve_start="unit"),
    updates=500,
    growing_segments=6,
)
CHANGES: dict[str, dict[str, Any]] = {
    "rate": {},
    "feed-forward": {"feed_forward": 128},
    "one-layer": {"layers": 1},
    "four-layers": {"layers": 4},
    "one-head": {"heads": 1},
    "four-heads": {"heads": 4},
    "width-32": {"width": 32},
    "width-128": {"width": 128},
}
"""What differs from the first variant."""

EXPERIMENT = Experiment(
    data={"tmaze-90": Collection("tmaze-uniform/90", 4000)},
    variants={
        name: replace(RATE, model=replace(RATE.model, **change)) for name, change in CHANGES.items()
    },
    evaluations=tuple(f"tmaze/{length}" for length in (90, 300, 900, 2400)),
    seeds=(100, 101, 102),
    episodes=20,
)

PAGE = Page(axis="corridor length T (steps)", training_length=90)
