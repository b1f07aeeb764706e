"""Does it help to begin with short corridors? RATE and TrXL with and without a curriculum.

Title: T-Maze: with and without a curriculum over lengths
Claim: Beginning with short corridors changes little: what must be learned is to carry memory on,
    which they do not need.
Source: App. F.2, Fig. 16 (left); small models (2 layers, 2 heads of 32, width 64; the paper has 8
    to 10 layers)
Cost: about six minutes on two cores
Command: rate reproduce tmaze-curriculum --jobs 2

The curriculum has episodes of at most one segment, then two, then three.
"""

from dataclasses import replace

from rate.experiments import Collection, Experiment, Page
from rate.models import rate, trxl
from rate.recipe import Recipe

PLAIN = {
    "rate": Recipe(dataset="tmaze-90", model=rate.Config(), updates=600, shorter_segments=0.5),
    "trxl": Recipe(dataset="tmaze-90", model=trxl.Config(), updates=600),
}
STAGED = {f"{name}-curriculum": replace(recipe, curriculum=True) for name, recipe in PLAIN.items()}

EXPERIMENT = Experiment(
    data={"tmaze-90": Collection("tmaze-uniform/90", 4000)},
    variants=PLAIN | STAGED,
    evaluations=tuple(f"tmaze/{length}" for length in (9, 30, 90, 150, 300, 600, 900, 1200, 2400)),
    seeds=(100,),
)

PAGE = Page(axis="corridor length T (steps)", training_length=90)
