"""What each of our own additions to the method contributes, taken away one at a time.

Title: T-Maze: additions to the method, one at a time
Claim: Without gradient through memory nothing is remembered; the other additions make it surer.
Source: none of them is in the paper; small models (2 layers, 2 heads of 32, width 64)
Cost: about half an hour on two cores
Command: rate reproduce tmaze-additions --jobs 2

The first variant is RATE of tmaze-generalization: gradient through memory, growing segments, a
valve that keeps memory's scale, dropout, and a loss in which every episode has the same weight.
Each other one lacks one of these.
"""

from dataclasses import replace

from rate.experiments import Collection, Experiment, Page
from rate.models import rate
from rate.recipe import Recipe

MODEL = rate.Config(dropout=0.2, attention_dropout=0.1, valve_start="unit")
RATE = Recipe(dataset="tmaze-90", model=MODEL, updates=500, growing_segments=6)

EXPERIMENT = Experiment(
    data={"tmaze-90": Collection("tmaze-uniform/90", 4000)},
    variants={
        "rate": RATE,
        "no-gradient-through-memory": replace(RATE, bptt_segments=1),
        "whole-segments": replace(RATE, growing_segments=0),
        "shorter-segments": replace(RATE, growing_segments=0, shorter_segments=0.5),
        "small-valve": replace(RATE, model=replace(MODEL, valve_start="small")),
        "no-valve": replace(RATE, model=replace(MODEL, valve="none")),
        "no-dropout": replace(RATE, model=replace(MODEL, dropout=0.0, attention_dropout=0.0)),
        "weight-by-step": replace(RATE, weighting="step"),
    },
    evaluations=tuple(f"tmaze/{length}" for length in (30, 90, 300, 900, 2400, 9600)),
    seeds=(100, 101, 102, 103, 104),
    episodes=20,
)

PAGE = Page(axis="corridor length T (steps)", training_length=90)
