"""What gradient through memory buys: whole window, two segments, one segment, and the released
update rule.

Title: T-Maze: gradient through memory
Claim: Only a gradient through the whole window teaches a memory that holds beyond the training
    length.
Source: the paper is silent, the released code detaches memory after each segment; small models (2
    layers, 2 heads of 32, width 64)
Cost: about ten minutes on two cores
Command: rate reproduce tmaze-backpropagation --jobs 2

With memory detached after each segment (the released code), write path and valve are never trained.
600 updates for every rule. Sections 11, 14 (quirks 1 and 2) and 15 of the method.
"""

from dataclasses import replace

from rate.experiments import Collection, Experiment, Page
from rate.models import rate
from rate.recipe import Recipe

WINDOW = Recipe(dataset="tmaze", model=rate.Config(dropout=0.3, attention_dropout=0.1), updates=600)

EXPERIMENT = Experiment(
    data={"tmaze": Collection("tmaze-uniform/90", 4000)},
    variants={
        "window": WINDOW,
        "two-segments": replace(WINDOW, bptt_segments=2),
        "one-segment": replace(WINDOW, bptt_segments=1),
        "released-rule": replace(WINDOW, bptt_segments=1, update_per_segment=True),
    },
    seeds=(100, 101, 102, 103, 104),
    evaluations=("tmaze/30", "tmaze/60", "tmaze/90", "tmaze/300", "tmaze/900"),
)

PAGE = Page(axis="corridor length T (steps)", training_length=90)
