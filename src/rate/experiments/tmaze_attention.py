"""What RATE and DT look at: attention maps on T-Mazes of 9 steps, in three segments of 3 and in one
window.

Claim: at the junction RATE looks at its memory, where the clue has been written two segments ago;
DT looks at the clue itself, as long as its window holds it. Source: Fig. 2 of the paper (T = 8).
Cost: under two minutes on one core. Command: rate reproduce tmaze-attention
"""

from dataclasses import replace

from rate.experiments import Collection, Experiment
from rate.experiments.demo import RATE
from rate.models import dt
from rate.models.rate import Config
from rate.recipe import OptimiserConfig

SHORT = replace(
    RATE,
    dataset="tmaze-9",
    model=Config(segment_length=3, dropout=0.1, attention_dropout=0.0),
    updates=300,
    shorter_segments=0.0,
    optimiser=OptimiserConfig(learning_rate=2e-3),
)

EXPERIMENT = Experiment(
    title="T-Maze: what RATE and DT attend to",
    claim="RATE finds the clue in its memory tokens, DT in the first observation.",
    source="Fig. 2; small models (2 layers, 2 heads of 32, width 64; the paper has 8 to 10 layers)",
    cost="under two minutes on one core",
    jobs=1,
    data={"tmaze-9": Collection("tmaze-uniform/9", 2000)},
    variants={
        "rate": SHORT,
        "dt": replace(
            SHORT, model=dt.Config(segment_length=9, segments=1, dropout=0.1, attention_dropout=0.0)
        ),
    },
    evaluations=("tmaze/9", "tmaze/30"),
    seeds=(0,),
    training_length=9,
    inspected=("rate", "dt"),
    remarks=(
        "At the junction DT looks at the observation of step 0, where the clue is shown; in "
        "corridors of 30 steps, "
        "beyond its window of 9, it answers by chance. In RATE nothing but the four memory "
        "tokens reaches back beyond "
        "the segment, and one head of the first layer (layer 1, head 2) looks at nothing "
        "else at the junction; in the "
        "mean over layers and heads this drowns. Its answer depends on them: with noise in "
        "their place it falls to "
        "chance. Maps of a small model say where the clue can come from, the probe and the "
        "noise say where it does."
    ),
)
