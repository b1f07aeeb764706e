"""ELMUR in its published T-Maze setting, as released and with a gradient through its memory.

Title: T-Maze: ELMUR in its published setting
Claim: ELMUR's published setting carries one bit over 9600 steps after training on 30.
Source: arXiv 2510.07151 and its released scripts: context 10, 3 segments, 2 layers, width 128, 2
    slots, blend 0.787
Cost: about an hour on two cores
Command: rate reproduce tmaze-elmur --jobs 2

Observations alone, labels smoothed by 0.16, a loss on the last segment, learning rate 2.1e-4. Plain
feed-forward blocks stand for mixtures of experts, 3000 updates for 1000 epochs, and the last
checkpoint is scored: the published one is chosen by success at 9600 steps. Memory is detached after
each segment, as released, or carries the gradient.
"""

from dataclasses import replace

from rate.experiments import Collection, Experiment, Page
from rate.models import elmur
from rate.objectives import behaviour_cloning
from rate.recipe import OptimiserConfig, Recipe

RELEASED = Recipe(
    dataset="tmaze-30",
    model=elmur.Config(
        segment_length=10,
        segments=3,
        layers=2,
        heads=2,
        head_width=64,
        width=128,
        feed_forward=128,
        memory_slots=2,
        blend=0.787,
        start_deviation=0.001,
        dropout=0.1,
        attention_dropout=0.17,
        memory_dropout=0.01,
        observation_only=True,
    ),
    updates=3000,
    batch_size=128,
    weighting="last-segment",
    objective=behaviour_cloning.Config(label_smoothing=0.16),
    bptt_segments=1,
    optimiser=OptimiserConfig(
        learning_rate=2.1e-4,
        betas=(0.95, 0.999),
        weight_decay=1e-4,
        gradient_clip=5.0,
        warmup=300,
        final_factor=1.0,
    ),
)

EXPERIMENT = Experiment(
    data={"tmaze-30": Collection("tmaze-uniform/30", 4000)},
    variants={"elmur-released": RELEASED, "elmur": replace(RELEASED, bptt_segments=0)},
    evaluations=tuple(f"tmaze/{length}" for length in (9, 30, 90, 300, 900, 2400, 9600)),
    seeds=(100, 101, 102, 103),
    episodes=20,
)

PAGE = Page(axis="corridor length T (steps)", training_length=30)
