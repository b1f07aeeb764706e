"""Between a policy that is handed the clue and one that forgets it: OracleDT, RATE and DT at 90,
480 and 900 steps.

Claim: RATE closes the gap between DT and an oracle that never loses the clue. Source: Table 5 of
the paper (T-Maze half). Ours keeps the first observation, where the clue is shown, as one memory
token that is never updated; the paper puts in a constant vector for each clue, and how it treats it
after the first window is open. Cost: about five minutes on two cores beyond the policies of
tmaze-generalization. Command: rate reproduce tmaze-oracle --jobs 2
"""

from dataclasses import replace

from rate.experiments import Experiment
from rate.experiments.tmaze_generalization import DATA, VARIANTS, WHOLE
from rate.models import oracle_dt

EXPERIMENT = Experiment(
    title="T-Maze: an oracle as the upper bound",
    claim=(
        "RATE reaches the oracle's success; a Decision Transformer falls to chance beyond its "
        "window."
    ),
    source=(
        "Table 5, T-Maze half; small models (2 layers, 2 heads of 32, width 64; the paper has 8 "
        "to 10 layers)"
    ),
    cost="about five minutes on two cores beyond the policies of tmaze-generalization",
    data={"tmaze-90": DATA},
    variants={
        "rate": VARIANTS["rate"],
        "oracle-dt": replace(WHOLE, model=oracle_dt.Config()),
        "dt": VARIANTS["dt"],
    },
    evaluations=("tmaze/90", "tmaze/480", "tmaze/900"),
    seeds=(0, 1, 2),
    training_length=90,
    remarks=(
        "As in the paper, DT is at chance once the clue has left its window. Our RATE closes "
        "the gap to the oracle "
        "entirely (the paper's is at 0.90 ± 0.07 from 480 on): shorter segments in half of "
        "its updates make it hand "
        "memory over more often than the window asks for."
    ),
)
