"""Memory Maze from pixels: five models on data of the paper's quality and on the error-free
expert's.

Title: Memory Maze 9x9: find coloured domes again and again
Claim: Which models find more domes in 1000 steps than the data that they are trained on.
Source: Table 1 and App. C.1.3; models of a CPU's size, data of scripted experts (the paper's agent
    and its data are not published)
Cost: about four hours on one core, the data included
Command: rate reproduce memory-maze

The error-free expert explores, remembers the maze and the domes that it has seen, and goes to them
directly; it finds more than people do (26.4 in 1000 steps; agents that learn online reach 33). Of
the expert of the paper's kind of data so many actions are random that its episodes return 4.7, in
some episodes more of them than in others. `NAME, good data` are the same models on the error-free
expert's episodes. Windows have a stride of 90 steps, and returns-to-go are those of whole episodes.
All windows are used; least_window_return=2 in a recipe leaves out those that the released code
leaves out.
"""

from dataclasses import replace
from typing import Any

from rate.experiments import Collection, Experiment, Page
from rate.models import dt, lstm, rate, rmt, trxl
from rate.models.backbone import ModelConfig
from rate.recipe import OptimiserConfig, Recipe

TASK = "memory-maze/9x9"
GOOD = ", good data"
SMALL: dict[str, Any] = {"dropout": 0.1, "encoder": "compact"}
PLAIN: dict[str, Any] = {**SMALL, "attention_dropout": 0.0, "feed_forward": 64}
CACHED = 180
"""Hidden states that are kept: all of the two earlier segments."""

MODELS: dict[str, ModelConfig] = {
    "rate": rate.Config(**PLAIN, cached_states=CACHED),
    # A stride of one step, the textbook's, costs ten times as much.
    "dt": dt.Config(**PLAIN, stride=10),
    "rmt": rmt.Config(**PLAIN),
    "trxl": trxl.Config(**PLAIN, cached_states=CACHED),
    "bc-lstm": lstm.Config(**SMALL),
}
LARGE: dict[str, Any] = {
    "layers": 6,
    "heads": 8,
    "head_width": 64,
    "dropout": 0.5,
    "attention_dropout": 0.2,
    "encoder": "nature",
}
"""App. E.3 of the paper, and its scripts."""
PAPER: dict[str, ModelConfig] = {
    "rate": rate.Config(**LARGE, memory_tokens=15, valve_heads=4, cached_states=360),
    "dt": dt.Config(**LARGE, feed_forward=64),
    "rmt": rmt.Config(**LARGE, memory_tokens=15, feed_forward=64),
    "trxl": trxl.Config(**LARGE, cached_states=300, feed_forward=64),
    "bc-lstm": lstm.Config(dropout=0.2, encoder="nature"),
}


def experiment(models: dict[str, ModelConfig], episodes: int, recipe: Recipe) -> Experiment:
    """Every model on both collections, the paper's kind first."""
    return Experiment(
        data={
            "paper": Collection(f"{TASK},expert=data", episodes),
            "good": Collection(TASK, episodes),
        },
        variants={
            f"{name}{suffix}": replace(recipe, dataset=data, model=model)
            for data, suffix in (("paper", ""), ("good", GOOD))
            for name, model in models.items()
        },
        evaluations=(TASK,),
        seeds=(100, 101, 102),
        smoke_steps=20,
    )


SMALL_RECIPE = Recipe(
    dataset="",
    model=MODELS["rate"],
    updates=500,
    batch_size=16,
    optimiser=OptimiserConfig(warmup=10),
)
# 80 epochs of the windows of 5000 episodes in batches of 64.
PAPER_RECIPE = Recipe(
    dataset="",
    model=PAPER["rate"],
    updates=80 * 5000 * 12 // 64,
    batch_size=64,
    optimiser=OptimiserConfig(
        learning_rate=3e-4, weight_decay=0.1, betas=(0.9, 0.95), gradient_clip=1.0, warmup=1
    ),
    checkpoint_every=1000,
)

EXPERIMENT = replace(
    experiment(MODELS, 48, SMALL_RECIPE), paper=experiment(PAPER, 5000, PAPER_RECIPE)
)

PAGE = Page(axis="side of the maze (cells)")
