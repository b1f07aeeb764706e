"""POPGym: one small policy per task, model and seed, against memory puzzles and reactive control.

Title: POPGym: memory puzzles and reactive tasks
Claim: Over ten puzzles RATE, DT and BC-LSTM are on a par, far above BC-MLP; over six control tasks
    those that see their own actions are ahead.
Source: Tables 2 and 9 (Medium and Hard put right); small models, data of scripted experts
Cost: about four hours on one core
Command: rate reproduce popgym

With memory or a window of the whole episode, sixteen tasks pay about as much; without, half of them
pay like chance. The paper has RATE ahead over all 33 puzzles. Data: 300 episodes per task of an
expert that is better than the paper's data in almost every task (results/popgym-experts.jsonl). One
to two minutes per run of a transformer on one core, ten seconds for other models; sixteen tasks,
five models and three seeds where nothing else is asked for by --tasks (any of the 48) and
--variants (any model). DLSTM sees returns and its own actions, as RATE and DT do; BC-LSTM does not.
"""

import math
from dataclasses import replace

from rate.experiments import Collection, Experiment, Page
from rate.models import config_class, lstm, mlp, names, rate
from rate.models.backbone import ModelConfig
from rate.recipe import OptimiserConfig, Recipe
from rate.tasks import popgym
from rate.tasks.popgym import GAMES, SIZES

SEGMENTS = 3
EPISODES, UPDATES = 300, 600

SEEN = {"LabyrinthEscape": (78, 180, 270), "LabyrinthExplore": (99, 201, 330)}
"""Windows of games whose experts need far fewer steps than an episode may have."""

STEPS = {
    f"{name}{size}": steps
    for name, game in GAMES.items()
    for size, steps in zip(SIZES, SEEN.get(name, game.steps), strict=True)
}
"""Steps in the training window of every task."""

PUZZLES = [f"{game}Easy" for game in popgym.PUZZLES if game != "LabyrinthExplore"]
REACTIVE = [*(f"{game}Easy" for game in popgym.REACTIVE), "PositionOnlyPendulumHard"]
MODELS = ("rate", "dt", "dlstm", "bc-lstm", "bc-mlp")


def batch(steps: int) -> int:
    """Windows in a batch: fewer where they are long, so that a run stays near a minute."""
    return 32 if steps <= 60 else 16 if steps <= 110 else 8


def model(name: str, steps: int) -> ModelConfig:
    """The model of a reported name, with three segments that span the window."""
    length = math.ceil(steps / SEGMENTS)
    if name == "rate":
        # All earlier segments are cached, as the paper does where rewards are dense: each leaves
        # three states a step and those of its memory tokens, read and written.
        plain = rate.Config(length, SEGMENTS, dropout=0.1, attention_dropout=0.0, feed_forward=64)
        states = (3 * length + 2 * plain.memory_tokens) * SEGMENTS
        return replace(plain, cached_states=states)
    kinds = {"bc-lstm": lstm.Config, "bc-mlp": mlp.Config}
    kind = kinds.get(name) or config_class(name)
    return kind(length, SEGMENTS)


LEFT_OUT = {"rate", "dt", "dlstm", "lstm", "mlp", "oracle-dt", "dt-xl", "released"}
OTHERS = tuple(sorted(set(names()) - LEFT_OUT))
VARIANTS = {f"{name}-{task}": (name, task) for name in (*MODELS, *OTHERS) for task in STEPS}

EXPERIMENT = Experiment(
    data={task: Collection(f"popgym/{task}", EPISODES) for task in STEPS},
    variants={
        variant: Recipe(
            dataset=task,
            model=model(name, STEPS[task]),
            updates=UPDATES,
            batch_size=batch(STEPS[task]),
            sampling="first",
            optimiser=OptimiserConfig(learning_rate=3e-3),
        )
        for variant, (name, task) in VARIANTS.items()
    },
    single={variant: (name, f"popgym/{task}") for variant, (name, task) in VARIANTS.items()},
    usual=(MODELS, tuple(f"popgym/{task}" for task in (*PUZZLES, *REACTIVE))),
    evaluations=tuple(f"popgym/{task}" for task in STEPS),
    seeds=(100, 101, 102),
)

PAGE = Page(
    axis="task",
    sums={
        "all": tuple(f"popgym/{task}" for task in STEPS),
        "memory puzzles": tuple(
            f"popgym/{game}{size}" for game in popgym.PUZZLES for size in SIZES
        ),
        "reactive": tuple(f"popgym/{game}{size}" for game in popgym.REACTIVE for size in SIZES),
    },
)
