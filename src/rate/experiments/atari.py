"""Atari: Pong, and on demand Breakout, Qbert and Seaquest, where four frames say almost everything.

Title: Atari: games without a need for memory
Claim: Behind a stack of four frames RATE keeps up with DT.
Source: Table 4; own data and small models
Cost: twenty minutes of one core for Pong with its data, ten to fifteen for each other game
Command: rate reproduce atari --jobs 2

Data: games of the players of `rate.tasks.atari`, which look ahead in the emulator and, by the seed
of a game, take no, few or many random actions, so that returns differ. In all games but Pong the
first few hundred decisions are recorded. The paper learns from half a million transitions of DQN's
replay buffers, which have to be downloaded and imported; its numbers are of the same games, and of
other data. All models have the same windows of 30 decisions, frames (84 x 84, four of them
stacked), batches and updates. BC sees neither returns nor earlier steps; its filtered variant
learns from the best quarter of the games. Actions are drawn, as in the paper. Other games: `--tasks
atari/Breakout`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rate.experiments import Collection, Experiment, Page
from rate.models import dt, mlp, rate
from rate.objectives import behaviour_cloning
from rate.recipe import OptimiserConfig, Recipe

EPISODES = {"Pong": 12, "Breakout": 120, "Qbert": 60, "Seaquest": 48}
"""Games of data: each of the six qualities as often as the others."""
DECISIONS = {"Breakout": 300, "Qbert": 500, "Seaquest": 400}
"""Decisions after which games of data are cut off: policies that learn for minutes play the first
few hundred, which are a small part of the longest games of a player that looks ahead."""
PAPER_EPISODES = {"Pong": 200, "Breakout": 400, "Qbert": 500, "Seaquest": 300}
"""About 500,000 decisions."""
TARGETS = {"Pong": (0.0,), "Breakout": (12.0,), "Qbert": (2_000.0,), "Seaquest": (300.0,)}
"""Returns that are asked for besides the paper's 20, 180, 14,000 and 1,150: of good games in the
data."""
PAPER_TARGETS = {**TARGETS, "Breakout": (60.0,)}
TRIALS = {"rate": 2, "dt": 0, "bc-mlp": 5, "bc-mlp, best quarter": 0}
"""Recipes tried out on trial seeds; what all models have in common was chosen with bc-mlp."""

SMALL = rate.Config(
    segment_length=10,
    dropout=0.1,
    attention_dropout=0.0,
    encoder="centred",
    feed_forward=64,
    cached_states=60,
)
CPU_SIZE = Recipe(
    dataset="",
    model=SMALL,
    updates=500,
    batch_size=16,
    sampling="uniform",
    stack_frames=4,
    weighting="step",
    optimiser=OptimiserConfig(learning_rate=2e-3),
)

# Table 8, and the released script for the widths of a head and of DT's feed-forward block. An epoch
# is one window from each of 500,000 steps, in batches of 128; ten of them.
LARGE = rate.Config(
    width=128,
    dropout=0.2,
    encoder="nature",
    layers=6,
    heads=8,
    head_width=128,
    attention_dropout=0.05,
    memory_tokens=15,
    valve_heads=1,
    cached_states=360,
)
PAPER_SIZE = replace(
    CPU_SIZE,
    model=LARGE,
    updates=39_000,
    batch_size=128,
    optimiser=OptimiserConfig(learning_rate=3e-4, weight_decay=0.1, warmup=100),
)


def models(plain: Recipe, feed_forward: int) -> dict[str, Recipe]:
    """Recipes by the name under which they are reported, on equal terms.

    Args:
        plain: RATE's recipe.
        feed_forward: Inner width of DT's feed-forward block.
    """
    model = plain.model
    assert isinstance(model, rate.Config)
    names = ("segment_length", "segments", "width", "dropout", "encoder")
    alike: dict[str, Any] = {name: getattr(model, name) for name in names}
    transformer = dt.Config(
        **alike,
        layers=model.layers,
        heads=model.heads,
        head_width=model.head_width,
        attention_dropout=model.attention_dropout,
        feed_forward=feed_forward,
        stride=model.segment_length,
    )
    cloned = replace(plain, model=mlp.Config(**alike))
    return {
        "rate": plain,
        "dt": replace(plain, model=transformer),
        "bc-mlp": cloned,
        "bc-mlp, best quarter": replace(
            cloned, objective=behaviour_cloning.Config(top_fraction=0.25)
        ),
    }


def of_game(recipe: Recipe, game: str, leaky: Mapping[str, bool]) -> Recipe:
    """A recipe for a game; the paper's valve is leaky in some."""
    if leaky.get(game) and isinstance(recipe.model, rate.Config) and recipe.model.memory_tokens:
        recipe = replace(recipe, model=replace(recipe.model, valve_activation="leaky-relu"))
    return replace(recipe, dataset=game)


def experiment(
    recipes: Mapping[str, Recipe],
    data: Mapping[str, Collection],
    targets: Mapping[str, tuple[float, ...]],
    leaky: Mapping[str, bool],
) -> Experiment:
    """Every recipe on every game, with these data."""
    names = {f"{name}-{game}": (name, game) for game in data for name in recipes}
    return Experiment(
        data=data,
        variants={
            variant: of_game(recipes[name], game, leaky) for variant, (name, game) in names.items()
        },
        single={variant: (name, f"atari/{game}") for variant, (name, game) in names.items()},
        evaluations=tuple(f"atari/{game}" for game in data),
        target_returns={f"atari/{game}": targets[game] for game in data},
        usual=((), ("atari/Pong",)),
        seeds=(100, 101),
        smoke_steps=60,
        sample=True,
        episodes=10,
    )


def collections(episodes: Mapping[str, int], decisions: Mapping[str, int]) -> dict[str, Collection]:
    """Data of so many episodes by game, cut off after so many decisions where that is given."""
    cut = {game: f",horizon={decisions[game]}" if game in decisions else "" for game in episodes}
    return {
        game: Collection(f"atari/{game}{cut[game]},expert=mixed", count)
        for game, count in episodes.items()
    }


EXPERIMENT = replace(
    experiment(models(CPU_SIZE, 64), collections(EPISODES, DECISIONS), TARGETS, {}),
    trials=TRIALS,
    paper=experiment(
        models(PAPER_SIZE, 128), collections(PAPER_EPISODES, {}), PAPER_TARGETS, {"Pong": True}
    ),
)

PAGE = Page(axis="game")
