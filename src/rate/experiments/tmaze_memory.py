"""How much memory one bit needs: number of memory tokens, and heads of the valve.

Title: T-Maze: memory tokens m and valve heads H
Claim: One bit needs one memory token; the horizon hardly depends on how many tokens and heads there
    are.
Source: Fig. 13 (right); small models (2 layers, 2 heads of 32, width 64; the paper has 8 to 10
    layers)
Cost: about a quarter of an hour on two cores
Command: rate reproduce tmaze-memory --jobs 2
"""

from rate.experiments import Collection, Experiment, Page
from rate.models.rate import Config
from rate.recipe import Recipe

PLACES = {f"m{tokens}-h2": (tokens, 2) for tokens in (1, 2, 4, 16)}
PLACES |= {f"m4-h{heads}": (4, heads) for heads in (1, 2, 4)}
"""Memory tokens and valve heads of every variant."""

EXPERIMENT = Experiment(
    data={"tmaze-90": Collection("tmaze-uniform/90", 4000)},
    variants={
        name: Recipe(
            dataset="tmaze-90",
            model=Config(memory_tokens=tokens, valve_heads=heads),
            updates=600,
            shorter_segments=0.5,
        )
        for name, (tokens, heads) in PLACES.items()
    },
    evaluations=tuple(f"tmaze/{length}" for length in (90, 300, 900, 2400)),
    seeds=(100,),
)

PAGE = Page(
    axis="corridor length T (steps)",
    training_length=90,
    grid={name: ("rate", f"m = {tokens}, H = {heads}") for name, (tokens, heads) in PLACES.items()},
    grid_axis="memory tokens and valve heads",
)
