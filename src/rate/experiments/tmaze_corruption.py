"""Is it really the memory? Success when memory, or the cached states, are replaced by noise while
acting.

Claim: with noise in place of memory RATE still finds the junction, and turns by chance. Source:
Fig. 8 (right) and Fig. 16 (right) of the paper: K = 30, N = 3, noise law not stated; ours is white
noise of unit variance. Cost: about three minutes on two cores beyond the policies of
tmaze-generalization. Command: rate reproduce tmaze-corruption --jobs 2
"""

from rate.acting.corruption import Corruption
from rate.experiments import Experiment
from rate.experiments.tmaze_generalization import DATA, VARIANTS

EXPERIMENT = Experiment(
    title="T-Maze: memory replaced by noise",
    claim=(
        "Noise in place of memory takes success to chance, so it is memory that carries the clue."
    ),
    source=(
        "Fig. 8 (right), Fig. 16 (right); small models (2 layers, 2 heads of 32, width 64; the "
        "paper has 8 to 10 layers)"
    ),
    cost="about three minutes on two cores beyond the policies of tmaze-generalization",
    data={"tmaze-90": DATA},
    variants={name: VARIANTS[name] for name in ("rate", "rmt")},
    evaluations=tuple(f"tmaze/{length}" for length in (30, 90, 150, 300, 900)),
    seeds=(0, 1, 2),
    training_length=90,
    corruptions={
        "noise": Corruption(),
        "half noise": Corruption(strength=0.5),
        "noise from step 60 on": Corruption(step=60),
    },
    corrupted=("rate", "rmt"),
    inspected=("rate",),
    remarks=(
        "As in the paper: with noise in place of memory the junction is reached and the "
        "answer is chance, wherever "
        "the corridor is longer than one segment. In corridors of 30 steps the clue is still "
        "in view and nothing is "
        "lost. Half noise costs nothing to 90 steps, and beyond some seeds more than others: "
        "the means of RATE lie "
        "above those of RMT, which has no valve (0.91 ± 0.09 and 0.82 ± 0.16 at 300), but "
        "three seeds cannot tell "
        "them apart. Noise from step 60 on gives the same numbers as noise throughout, "
        "because each hand-over is "
        "replaced anew and the last one decides."
    ),
)
