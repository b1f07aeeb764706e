"""How much memory one bit needs: number of memory tokens, and heads of the valve.

Claim: a single token carries the clue; more tokens and heads change little.
Source: Fig. 13 (right) of the paper.
Cost: about a quarter of an hour on two cores.
Command: rate reproduce tmaze-memory --jobs 2
"""

from dataclasses import replace

from rate.experiments import Experiment
from rate.experiments.tmaze_generalization import DATA, TMAZE
from rate.models.rate import Config

TOKENS, HEADS = (1, 2, 4, 16), (1, 2, 4)
DEFAULT_TOKENS, DEFAULT_HEADS = 4, 2

PLACES = {f"m{tokens}-h{DEFAULT_HEADS}": (tokens, DEFAULT_HEADS) for tokens in TOKENS}
PLACES |= {f"m{DEFAULT_TOKENS}-h{heads}": (DEFAULT_TOKENS, heads) for heads in HEADS}

EXPERIMENT = Experiment(
    title="T-Maze: memory tokens m and valve heads H",
    claim=(
        "One bit needs one memory token; the horizon hardly depends on how many tokens and heads "
        "there are."
    ),
    source=(
        "Fig. 13 (right); small models (2 layers, 2 heads of 32, width 64; the paper has 8 to 10 "
        "layers)"
    ),
    cost="about a quarter of an hour on two cores",
    data={"tmaze-90": DATA},
    variants={
        name: replace(TMAZE, model=Config(memory_tokens=tokens, valve_heads=heads))
        for name, (tokens, heads) in PLACES.items()
    },
    evaluations=tuple(f"tmaze/{length}" for length in (90, 300, 900, 2400)),
    seeds=(0,),
    training_length=90,
    grid={name: ("rate", f"m = {tokens}, H = {heads}") for name, (tokens, heads) in PLACES.items()},
    grid_axis="memory tokens and valve heads",
    remarks=(
        "Every number of tokens and heads is right to 2400 steps: one bit fits into one "
        "token. The paper shows a "
        "figure without numbers and takes 10 tokens and 2 heads itself; a model this small "
        "on this task has no need "
        "of them. One seed."
    ),
)
