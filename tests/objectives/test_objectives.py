"""Q-learning learns from rewards, next observations and terminations: what imitation cannot find in
bad data."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

import rate
from rate.acting.actor import Actor
from rate.dataset import Windows, open_dataset, read_windows, write_dataset
from rate.episode import Episode
from rate.models import config_class, gru, lstm, mlp, names
from rate.models import rate as rate_model
from rate.models.policy import Policy
from rate.objectives import behaviour_cloning, cql, iql
from rate.objectives.critics import Observed, QConfig, QLearning, extended, features
from rate.objectives.objective import ObjectiveConfig
from rate.recipe import OptimiserConfig, Recipe, SelectionConfig
from rate.runs.checkpoint import load_policy, read_tensors
from rate.runs.folder import Run
from rate.system.compute import Compute
from rate.system.processes import Processes
from rate.training.selection import Selection
from rate.training.update import WindowLoss, step_weights

STATES = 4
OBSERVATIONS = gymnasium.spaces.Box(0, 1, (STATES,), np.float32)
DISCRETE = gymnasium.spaces.Discrete(2)
PAIR = gymnasium.spaces.MultiDiscrete([2, 2])
BOX = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
SPACES = {"discrete": DISCRETE, "multi-discrete": PAIR, "box": BOX}
LEAVE, GO_ON = 0, 1


def chain(space: gymnasium.Space, seed: int) -> Episode:
    """Three states in a row. Three times in four the player leaves at once for 0.2; who goes on to
    the end gets 1."""
    generator = np.random.default_rng(seed)
    state, observations, actions, rewards, ended = (
        0,
        [np.eye(STATES, dtype=np.float32)[0]],
        [],
        [],
        False,
    )
    while not ended:
        go_on = int(generator.random() < 0.25 if state < STATES - 2 else generator.random() < 0.5)
        ended = not go_on or state == STATES - 2
        rewards.append(0.2 if not go_on else float(ended))
        actions.append(
            {"Discrete": go_on, "MultiDiscrete": [go_on, 1 - go_on], "Box": [2.0 * go_on - 1]}[
                type(space).__name__
            ]
        )
        state += 1
        observations.append(np.eye(STATES, dtype=np.float32)[min(state, STATES - 1)])
    flags = np.zeros(len(rewards), bool)
    return Episode(
        observations={"observation": np.array(observations)},
        actions=np.array(actions, space.dtype),
        rewards=np.array(rewards, np.float32),
        terminations=np.r_[flags[1:], True],
        truncations=flags,
    )


@pytest.fixture(scope="module")
def chains(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chains")
    for name, space in SPACES.items():
        write_dataset(
            folder / name, (chain(space, seed) for seed in range(600)), OBSERVATIONS, space
        )
    return folder


def recipe_for(dataset, objective: ObjectiveConfig, model=None, **options) -> Recipe:
    return Recipe(
        dataset=str(dataset),
        model=model or mlp.Config(segment_length=3, segments=1, width=16, hidden=32, dropout=0.0),
        objective=objective,
        updates=250,
        batch_size=64,
        micro_batch=64,
        optimiser=OptimiserConfig(learning_rate=1e-2, warmup=10),
        selection=SelectionConfig(fraction=0.1),
        **options,
    )


def choices(run) -> list[int]:
    """Whether the trained policy goes on, in each state before the last."""
    policy, _ = load_policy(run)
    actor = Actor(policy, 1.0)
    actor.reset(1)
    found = []
    for state in range(STATES - 1):
        action = actor.act(np.eye(STATES, dtype=np.float32)[state][None], np.zeros(1))[0]
        found.append(int(np.ravel(action)[0] > 0))
    return found


OBJECTIVES = {
    "cql": cql.Config(conservative_weight=0.05, target_rate=0.05),
    "iql": iql.Config(expectile=0.9, inverse_temperature=10.0, target_rate=0.05),
}


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("kind", SPACES)
def test_q_learning_finds_what_the_data_seldom_do(name, kind, chains, tmp_path):
    run = rate.train(
        recipe_for(chains / kind, OBJECTIVES[name]),
        tmp_path / "run",
        threads=1,
        accelerator="cpu",
    )
    assert choices(run) == [GO_ON] * 3


def test_imitation_repeats_the_majority_and_the_best_fraction_does_not(chains, tmp_path):
    cloning = recipe_for(chains / "discrete", behaviour_cloning.Config())
    run = rate.train(cloning, tmp_path / "all", threads=1, accelerator="cpu")
    assert choices(run)[:2] == [LEAVE, LEAVE]
    filtered = replace(cloning, objective=behaviour_cloning.Config(top_fraction=0.02))
    run = rate.train(filtered, tmp_path / "best", threads=1, accelerator="cpu")
    assert choices(run) == [GO_ON] * 3


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize(
    "model", [lstm, gru, pytest.param(rate_model, marks=pytest.mark.slow, id="rate")]
)
def test_recurrent_backbones_learn_values_too(name, model, chains, tmp_path):
    """Those with memory learn segment by segment, here of one step each."""
    options = {"hidden": 32} if hasattr(model.Config, "hidden") else {"observation_only": True}
    length = 1 if model is rate_model else 3
    config = model.Config(length, 3 // length, width=16, dropout=0.0, **options)
    recipe = recipe_for(chains / "discrete", OBJECTIVES[name], config)
    run = rate.train(recipe, tmp_path / "run", threads=1, accelerator="cpu")
    assert choices(run) == [GO_ON] * 3


def test_the_observation_that_follows_is_loaded_and_put_behind_the_last_step(chains):
    dataset = open_dataset(chains / "discrete")
    long = np.flatnonzero(dataset.lengths == 3)[:1]
    short = np.flatnonzero(dataset.lengths == 1)[:1]
    rows = np.r_[long, short]
    windows = Windows(rows, np.zeros(2, np.int64), np.array([3, 1]))
    whole = read_windows(dataset, windows, next_observation=True)
    cut = read_windows(
        dataset, Windows(rows[:1], np.array([0]), np.array([2])), next_observation=True
    )
    eye = torch.eye(STATES)
    assert torch.equal(extended(whole).observations["observation"][0], eye[[0, 1, 2, 3]])
    assert torch.equal(extended(whole).observations["observation"][1, :2], eye[[0, 1]])
    assert torch.equal(
        extended(cut).observations["observation"][0], eye[[0, 1, 2]]
    )  # a cut window is followed by a real observation
    assert whole.split(2)[0].next_observation == {}
    assert torch.equal(whole.rows(slice(1, 2)).next_observation["observation"][0], eye[1])
    assert not read_windows(dataset, windows).next_observation


@pytest.mark.parametrize("model", names())
def test_every_backbone_shows_a_window_as_it_does_while_acting(model, chains):
    """Hidden states of whole windows, over several segments and one step more, are those of acting
    step by step."""
    torch.manual_seed(0)
    config = config_class(model)(2, 2, width=16, observation_only=True)
    policy = Policy(OBSERVATIONS, DISCRETE, config).eval()
    seen = torch.rand(3, 5, STATES)
    observed = Observed({"observation": seen}, torch.arange(5).expand(3, 5))
    outputs = policy.head(features(policy, observed))
    actor = Actor(policy, 0.0)
    actor.reset(3)
    stepwise = [actor.outputs(seen[:, step].numpy(), np.zeros(3)) for step in range(5)]
    torch.testing.assert_close(outputs, torch.stack(stepwise, 1), atol=1e-5, rtol=0)


def test_values_end_with_terminations_and_not_with_truncations(chains):
    dataset = open_dataset(chains / "discrete")
    window = Windows(np.flatnonzero(dataset.lengths == 3)[:1], np.array([0]), np.array([3]))
    segment = read_windows(dataset, window, next_observation=True)
    next_values = torch.tensor([[5.0, 6.0, 7.0]])
    last = float(segment.rewards[0, 2])
    learning = QLearning(QConfig(discount=0.5), scale=2.0)
    targets = learning.td_target(segment, next_values)[0].tolist()
    assert targets == pytest.approx([2.5, 3.0, last / 2])
    truncated = replace(segment, terminations=torch.zeros(1, 3, dtype=torch.bool))
    targets = learning.td_target(truncated, next_values)[0].tolist()
    assert targets == pytest.approx([2.5, 3.0, last / 2 + 3.5])


def test_the_expectile_of_one_half_is_the_mean_and_a_high_one_is_near_the_maximum():
    values = torch.tensor([0.0, 0.0, 0.0, 1.0])
    grid = torch.linspace(0, 1, 1001)
    for expectile, expected in ((0.5, 0.25), (0.9, 0.75)):
        losses = torch.stack(
            [iql.expectile_loss(values - point, expectile).sum() for point in grid]
        )
        assert grid[losses.argmin()] == pytest.approx(expected, abs=2e-3)


def learner_of(name: str, space: gymnasium.Space) -> WindowLoss:
    torch.manual_seed(0)
    config = mlp.Config(segment_length=3, segments=1, width=16, hidden=8, dropout=0.0)

    def make() -> Policy:
        return Policy(OBSERVATIONS, space, config)

    policy = make()
    return WindowLoss(policy, type(OBJECTIVES[name])().build(policy, make, 1.0))


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("kind", SPACES)
def test_every_network_learns_targets_only_follow_and_padding_counts_nothing(name, kind, chains):
    dataset = open_dataset(chains / kind)
    lengths = np.array([3, 1, 1])
    rows = [
        np.flatnonzero(dataset.lengths == length)[number] for number, length in enumerate(lengths)
    ]
    learner = learner_of(name, SPACES[kind])
    windows = Windows(np.array(rows), np.zeros(3, np.int64), lengths)
    window = read_windows(dataset, windows, next_observation=True)

    def loss(segment) -> torch.Tensor:
        torch.manual_seed(1)
        weights = [step_weights(segment, "episode", lengths)]
        return learner([segment], weights, learner.policy.initial_memory(3), False)[0]

    value = loss(window)
    value.backward()
    for path, parameter in learner.named_parameters():
        assert (parameter.grad is None) == (".copies." in path), path
    padded = ~window.mask
    noisy = replace(window, rewards=window.rewards + padded * 9.0)
    noisy.observations["observation"][padded] = 0.7
    torch.testing.assert_close(loss(noisy), value)
    before = {
        path: parameter.clone()
        for path, parameter in learner.named_parameters()
        if ".copies." in path
    }
    with torch.no_grad():
        for path, parameter in learner.named_parameters():
            if ".copies." not in path:
                parameter += 1.0
    learner.objective.update_targets(learner.policy)
    for path, parameter in learner.named_parameters():
        if ".copies." in path:
            torch.testing.assert_close(parameter, before[path] + 0.005)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_validation_drops_nothing_out_of_the_critics(name, chains):
    dataset = open_dataset(chains / "discrete")
    recipe = recipe_for(
        chains / "discrete", OBJECTIVES[name], mlp.Config(segment_length=3, segments=1, dropout=0.5)
    )

    def make() -> Policy:
        return Policy(OBSERVATIONS, DISCRETE, recipe.model)

    policy = make()
    objective = recipe.objective.build(policy, make, 1.0)
    selection = Selection(
        recipe, dataset, np.arange(20), objective, Processes(1), Run(""), Compute()
    )
    first, second = (selection.validate(policy)["validation_loss"] for _ in range(2))
    assert first == second
    assert objective.training


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_interrupted_run_goes_on_to_the_same_weights(name, chains, tmp_path):
    recipe = replace(
        recipe_for(chains / "discrete", OBJECTIVES[name]),
        optimiser=OptimiserConfig(warmup=1, decay="none"),
    )
    runs = [tmp_path / "whole", tmp_path / "half"]
    for run, updates in zip(runs, (8, 4), strict=True):
        rate.train(replace(recipe, updates=updates), run, threads=1, accelerator="cpu")
    (runs[1] / "recipe.json").write_text(
        (runs[0] / "recipe.json").read_text()
    )  # as if stopped half-way
    rate.resume(runs[1])
    expected, found = (read_tensors(run / "training.safetensors")[0] for run in runs)
    assert expected.keys() == found.keys()
    assert any("copies" in name for name in expected)
    for path, tensor in expected.items():
        torch.testing.assert_close(found[path], tensor, atol=0, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": None, "bptt_segments": 1}, "whole windows"),
        ({"model": "observing", "growing_segments": 2}, "whole windows"),
        ({"model": "rate"}, "set observation_only, or use mlp, lstm or gru"),
        ({"model": "dlstm"}, "use mlp, lstm or gru"),
    ],
)
def test_what_does_not_go_together_is_refused_before_a_run_is_made(
    options, message, chains, tmp_path
):
    model = options.pop("model")
    observing = model == "observing"
    config = model and config_class("rate" if observing else model)(observation_only=observing)
    recipe = recipe_for(chains / "discrete", iql.Config(), config, **options)
    with pytest.raises(ValueError, match=message):
        rate.train(recipe, tmp_path / "run", threads=1, accelerator="cpu")
    assert not (tmp_path / "run").exists()


def test_cql_needs_a_bounded_space():
    recipe, space = recipe_for("", cql.Config()), gymnasium.spaces.Box(-np.inf, np.inf, (1,))
    with pytest.raises(ValueError, match="unbounded: use iql"):
        recipe.objective.check(recipe.model, space, whole_windows=True)


@pytest.mark.parametrize(
    ("objective", "option", "value"),
    [
        (iql, "expectile", 0.0),
        (iql, "inverse_temperature", -1.0),
        (behaviour_cloning, "top_fraction", 1.5),
        (cql, "conservative_weight", -1.0),
        (cql, "discount", 0.0),
    ],
)
def test_impossible_options_are_refused(objective, option, value):
    with pytest.raises(ValueError, match=option):
        objective.Config(**{option: value})
