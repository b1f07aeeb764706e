"""How far RATE remembers: four seeds to 9600 steps, and one policy to 100,000 and 1,000,000 steps.

Claim: the demo's RATE, trained on at most 90 steps, is right in every episode at 9600 steps for
each of four seeds; acting costs the same at step 1,000,000 as at step 10. Source: Fig. 5 and 6 (to
9600 steps); beyond that there is nothing to compare with. Cost: see the report; most of it is the
single evaluation of 1,000,000 steps. Command: rate reproduce tmaze-horizon
"""

from dataclasses import replace

from rate.experiments.demo import EXPERIMENT as DEMO
from rate.experiments.demo import RATE
from rate.models.rate import Config

EXPERIMENT = replace(
    DEMO,
    title="T-Maze: how far RATE remembers",
    claim="Trained on 90 steps, every seed is right at 9600 steps, and memory holds for a million.",
    cost="about an hour on one core, most of it acting for a million steps",
    jobs=1,
    # What these rows were measured with; the demo has more noise and shorter segments since, see
    # docs/log.md.
    variants={
        "rate": replace(
            RATE, model=Config(dropout=0.3, attention_dropout=0.1), shorter_segments=0.0
        )
    },
    seeds=(0, 1, 2, 3),
    long_evaluations={"tmaze/100000": 100, "tmaze/1000000": 10},
)
