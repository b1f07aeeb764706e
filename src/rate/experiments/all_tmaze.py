"""All T-Maze experiments and AAR in one folder; policies that several of them need are trained
once.

Cost: about fifteen hours on two cores; the folder's report.html adds up what it was.
Command: rate reproduce all-tmaze --jobs 2
"""

from rate.experiments import Suite

EXPERIMENT = Suite(
    title="The T-Maze science: every experiment on T-Maze and AAR",
    members=(
        "tmaze-generalization",
        "tmaze-oracle",
        "tmaze-corruption",
        "tmaze-attention",
        "tmaze-valve",
        "tmaze-heat-maps",
        "tmaze-curriculum",
        "tmaze-segments",
        "tmaze-memory",
        "tmaze-sizes",
        "tmaze-additions",
        "tmaze-cached-states",
        "tmaze-recurrent",
        "tmaze-recurrent-observations",
        "tmaze-backpropagation",
        "aar",
        "aar-training",
    ),
)
