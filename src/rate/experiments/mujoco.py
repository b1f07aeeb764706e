"""MuJoCo: HalfCheetah, Hopper and Walker2d with data of three qualities, where nothing has to be
remembered.

Title: MuJoCo: control without memory
Claim: RATE keeps up with DT within the intervals in eight of nine sets; cloning the best tenth of
    the episodes is level with the better of them, or ahead.
Source: Table 3; own data and small models
Cost: about two hours on one core
Command: rate reproduce mujoco --jobs 2

Data: linear policies found by random search, with noise on their actions (`rate.tasks.mujoco`):
medium, the whole way up to it (medium-replay), and half of it and of the best (medium-expert). D4RL
recorded other policies in older environments, so its numbers are of the same tasks but not of the
same data. Environments without own policies are left out. Scores are own ones: 0 is the return of
random actions, 100 that of the best linear policy without noise. Every model has the same data,
updates, windows of 60 steps and batches; RATE was tried with 13 recipes, DT with
11, the others with six. CQL and IQL learn from an MLP.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rate.experiments import Collection, Experiment, Page
from rate.models import dt, mlp, rate
from rate.objectives import behaviour_cloning, cql, iql
from rate.recipe import OptimiserConfig, Recipe
from rate.tasks.mujoco import searched

TABLE = ("Hopper", "HalfCheetah", "Walker2d")
"""Environments of the paper's table."""
ENVIRONMENTS = tuple(name for name in TABLE if searched(f"{name}-v5"))
"""Those that there are own data of."""
QUALITIES = ("medium", "medium-replay", "medium-expert")
EPISODES = {"Hopper": 200, "HalfCheetah": 100, "Walker2d": 200}
PAPER_EPISODES = {"Hopper": 2000, "HalfCheetah": 1000, "Walker2d": 2000}
"""Episodes of data; D4RL's have a million steps, which is a thousand episodes that never fall."""

TARGETS = {"Hopper": 1_100.0, "HalfCheetah": 3_000.0, "Walker2d": 800.0}
"""Returns that are asked for besides the best one of the data: half of what the best own policy
gets."""

TRIALS = {"rate": 13, "dt": 11, "bc-mlp": 6, "bc-mlp, best tenth": 0, "cql": 6, "iql": 6}
"""Recipes that were tried: six on seed 0, with Hopper's medium-replay and HalfCheetah's
medium-expert data, seven more of RATE and five of DT on seeds 0 and 1, with Hopper's and
Walker2d's medium-expert data; the filtered variant has the recipe of the other."""

# Windows of 60 steps in proportion to the length of trajectories, and returns over 1000, as in the
# paper; Q-learning takes rewards as they are.
CONTEXT: dict[str, Any] = {"segment_length": 20, "segments": 3}
# Episodes have a hundred segments and more, so windows have as many as there is use for: six.
RATE = rate.Config(
    segment_length=10,
    segments=6,
    dropout=0.1,
    attention_dropout=0.05,
    memory_tokens=5,
    valve_start="unit",
)
PLAIN = Recipe(
    dataset="",
    model=RATE,
    updates=500,
    batch_size=16,
    sampling="full",
    weighting="step",
    return_scale=1000.0,
    optimiser=OptimiserConfig(learning_rate=1e-3),
)
FASTER = OptimiserConfig(learning_rate=2e-3)
CLONED = replace(
    PLAIN,
    model=mlp.Config(**CONTEXT, dropout=0.1),
    optimiser=OptimiserConfig(learning_rate=1e-2),
)
PERCEPTRON: dict[str, Any] = {**CONTEXT, "action_head": "tanh-gaussian"}
VALUES = replace(PLAIN, return_scale=1.0)
CPU_SIZE = {
    "rate": replace(PLAIN, optimiser=FASTER),
    "dt": replace(
        PLAIN,
        model=dt.Config(**CONTEXT, dropout=0.0, attention_dropout=0.05, stride=10),
        optimiser=FASTER,
    ),
    "bc-mlp": CLONED,
    "bc-mlp, best tenth": replace(CLONED, objective=behaviour_cloning.Config(top_fraction=0.1)),
    "cql": replace(
        VALUES,
        model=mlp.Config(**PERCEPTRON, dropout=0.1),
        objective=cql.Config(target_rate=0.02, conservative_weight=5.0),
    ),
    "iql": replace(
        VALUES,
        model=mlp.Config(**PERCEPTRON, dropout=0.0),
        objective=iql.Config(target_rate=0.02),
    ),
}

# Table 8: three layers of one head of 128, five memory tokens, 60 cached states, no feed-forward.
WIDE: dict[str, Any] = {**CONTEXT, "dropout": 0.2, "width": 128}
DEEP: dict[str, Any] = {
    **WIDE,
    "attention_dropout": 0.05,
    "layers": 3,
    "heads": 1,
    "head_width": 128,
}
PAPER_PLAIN = replace(
    PLAIN,
    model=rate.Config(**DEEP, memory_tokens=5, valve_heads=1, cached_states=60),
    updates=10_000,
    batch_size=4096,
    optimiser=OptimiserConfig(6e-5, weight_decay=0.1, warmup=100, decay="none"),
)
PAPER_CLONED = replace(PAPER_PLAIN, model=mlp.Config(**WIDE))
PAPER_VALUES = replace(
    PAPER_PLAIN, model=mlp.Config(**WIDE, action_head="tanh-gaussian"), return_scale=1.0
)
PAPER_SIZE = {
    "rate": PAPER_PLAIN,
    "dt": replace(PAPER_PLAIN, model=dt.Config(**DEEP, stride=1)),
    "bc-mlp": PAPER_CLONED,
    "bc-mlp, best tenth": replace(
        PAPER_CLONED, objective=behaviour_cloning.Config(top_fraction=0.1)
    ),
    "cql": replace(PAPER_VALUES, objective=cql.Config(target_rate=0.02)),
    "iql": replace(PAPER_VALUES, objective=iql.Config(target_rate=0.02)),
}


def data(environment: str, quality: str) -> str:
    """The task whose expert records data of a quality."""
    return f"mujoco/{environment},expert={quality}"


def scored(environment: str, quality: str) -> str:
    """The task that policies from data of a quality are scored on: the same environment."""
    return f"{data(environment, quality)},metric=own-score"


SETS = [(environment, quality) for environment in ENVIRONMENTS for quality in QUALITIES]


def experiment(recipes: Mapping[str, Recipe], episodes: Mapping[str, int]) -> Experiment:
    """Every recipe on every set of data, of so many episodes."""
    names = {
        f"{name}-{environment}-{quality}": (name, environment, quality)
        for name in recipes
        for environment, quality in SETS
    }
    return Experiment(
        data={
            f"{one}-{quality}": Collection(data(one, quality), episodes[one])
            for one, quality in SETS
        },
        variants={
            variant: replace(recipes[name], dataset=f"{environment}-{quality}")
            for variant, (name, environment, quality) in names.items()
        },
        single={
            variant: (name, scored(environment, quality))
            for variant, (name, environment, quality) in names.items()
        },
        evaluations=tuple(scored(environment, quality) for environment, quality in SETS),
        target_returns={scored(one, quality): (TARGETS[one],) for one, quality in SETS},
        seeds=(100, 101, 102),
        episodes=10,
        smoke_steps=80,
    )


EXPERIMENT = replace(
    experiment(CPU_SIZE, EPISODES),
    trials=TRIALS,
    paper=experiment(PAPER_SIZE, PAPER_EPISODES),
)

PAGE = Page(axis="task")
