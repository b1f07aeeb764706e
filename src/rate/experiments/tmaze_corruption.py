"""Is it really the memory? Success when memory, or the cached states, are replaced by noise while
acting.

Title: T-Maze: memory replaced by noise
Claim: Noise in place of memory takes success to chance, so it is memory that carries the clue.
Source: Fig. 8 (right), Fig. 16 (right); small models (2 layers, 2 heads of 32, width 64; the paper
    has 8 to 10 layers)
Cost: about three minutes on two cores beyond the policies of tmaze-generalization
Command: rate reproduce tmaze-corruption --jobs 2

With noise in place of memory RATE still finds the junction, and turns by chance. The paper has K =
30, N = 3, and does not state the noise's law; ours is white noise of unit variance.
"""

from rate.acting.corruption import Corruption
from rate.experiments import Collection, Experiment, Page
from rate.models import rate, rmt
from rate.recipe import Recipe

EXPERIMENT = Experiment(
    data={"tmaze-90": Collection("tmaze-uniform/90", 4000)},
    variants={
        name: Recipe(dataset="tmaze-90", model=model, updates=600, shorter_segments=0.5)
        for name, model in {"rate": rate.Config(), "rmt": rmt.Config()}.items()
    },
    evaluations=tuple(f"tmaze/{length}" for length in (30, 90, 150, 300, 900)),
    seeds=(100, 101, 102),
    corruptions={
        "noise": Corruption(),
        "half noise": Corruption(strength=0.5),
        "noise from step 60 on": Corruption(step=60),
    },
    corrupted=("rate", "rmt"),
    inspected=("rate",),
)

PAGE = Page(axis="corridor length T (steps)", training_length=90)
