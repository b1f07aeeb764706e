"""Updates of fixed shape equal those of true lengths; on CUDA they are captured and replayed."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning_fabric
import numpy as np
import pytest
import torch

import rate
from rate.dataset import BatchReader, Sampler, open_dataset
from rate.models import config_class, names
from rate.models.policy import Policy
from rate.objectives import OBJECTIVES
from rate.recipe import OptimiserConfig, Recipe
from rate.runs.checkpoint import read_tensors
from rate.runs.folder import Run
from rate.system.interruption import Interrupted
from rate.training import loop
from rate.training.graph import Graphs
from rate.training.update import Learner, WindowLoss, adamw

SIZES = {
    "segment_length": 4,
    "segments": 3,
    "width": 16,
    "hidden": 16,
    "heads": 2,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "memory_dropout": 0.0,
    "kernel_dropout": 0.0,
}
UPDATES = 8
cuda = pytest.mark.cuda


@pytest.fixture(scope="module")
def corridors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Episodes of 2 to 12 steps."""
    folder = tmp_path_factory.mktemp("data") / "corridors"
    rate.collect("tmaze-uniform/13", folder, episodes=60)
    return folder


def recipe_for(
    folder: Path, model: str, objective: str = "behaviour-cloning", **options: Any
) -> Recipe:
    config = config_class(model)
    known = {key: value for key, value in SIZES.items() if key in config.__dataclass_fields__}
    chosen = {"batch_size": 16, "micro_batch": 8, "updates": UPDATES, **options}
    return Recipe(
        dataset=str(folder),
        model=config(**known),
        objective=OBJECTIVES.find(objective)(),
        optimiser=OptimiserConfig(warmup=1),
        **chosen,
    )


def learner_for(recipe: Recipe, accelerator: str) -> tuple[Learner, Callable[[int], BatchReader]]:
    dataset = open_dataset(recipe.dataset)
    torch.manual_seed(0)
    make = partial(
        Policy,
        dataset.observation_space,
        dataset.action_space,
        recipe.model,
        dataset.normalisation,
        dataset.return_scale,
        recipe.stack_frames,
    )
    policy = make()
    objective = recipe.objective.build(policy, make, dataset.return_scale)
    fabric = lightning_fabric.Fabric(accelerator=accelerator, devices=1, precision=recipe.precision)
    module = WindowLoss(policy, objective)
    loss, optimiser = fabric.setup(module, adamw(module, recipe.optimiser))
    learner = Learner(fabric, loss, policy, objective, optimiser, recipe, seed=0)
    sampler = Sampler(dataset.lengths, recipe.batch_size, recipe.model.window, "first", 0)
    reader = partial(
        BatchReader,
        dataset,
        [sampler],
        recipe.updates,
        recipe.micro_batch or recipe.batch_size,
        next_observation=objective.next_observation,
        stack_frames=recipe.stack_frames,
    )
    return learner, lambda steps: reader(steps=steps)


def losses(recipe: Recipe, graphs: bool, accelerator: str = "cpu") -> tuple[np.ndarray, Any]:
    """Totals of the first updates, [updates, 3], and what took them."""
    torch.backends.cudnn.allow_tf32 = False
    learner, reader = learner_for(recipe, accelerator)
    batches = reader(12 if graphs else 0)
    takes: Any = Graphs(learner, batches) if graphs else learner
    totals = []
    for update in range(recipe.updates):
        torch.manual_seed(update)
        totals.append(takes.learn(batches[update]).clone())
    return torch.stack(totals).cpu().numpy(), takes


def assert_same(recipe: Recipe, accelerator: str = "cpu") -> Any:
    eager, _ = losses(recipe, False, accelerator)
    fixed, takes = losses(recipe, True, accelerator)
    np.testing.assert_allclose(fixed, eager, rtol=0, atol=1e-5)
    assert takes.real < takes.computed
    return takes


CASES = [
    *(pytest.param(name, "behaviour-cloning", {}, id=name) for name in sorted(names())),
    *(pytest.param("lstm", objective, {}, id=f"lstm, {objective}") for objective in ("cql", "iql")),
    pytest.param("rate", "behaviour-cloning", {"bptt_segments": 1}, id="rate, truncated"),
    pytest.param(
        "rate",
        "behaviour-cloning",
        {"bptt_segments": 1, "update_per_segment": True, "weighting": "step"},
        id="rate, a step per segment",
    ),
    pytest.param("rate", "behaviour-cloning", {"shorter_segments": 0.5}, id="rate, shorter"),
    pytest.param("elmur", "behaviour-cloning", {"growing_segments": 4}, id="elmur, growing"),
]


@pytest.mark.parametrize(("model", "objective", "options"), CASES)
def test_updates_of_fixed_shape_have_the_losses_of_true_lengths(
    model: str, objective: str, options: dict[str, Any], corridors: Path
) -> None:
    assert_same(recipe_for(corridors, model, objective, **options))


def test_rows_of_a_bucket_hold_those_whose_episode_goes_on(corridors: Path) -> None:
    learner, reader = learner_for(recipe_for(corridors, "rate"), "cpu")
    graphs = Graphs(learner, reader(12))
    room = graphs._rows(0, np.array([12, 9, 5, 4, 3, 2, 2, 2]), 4)
    assert len(room) == 3
    assert room[0] == 8
    assert all(size >= count for size, count in zip(room, (8, 3, 2), strict=True))
    # More rows than in any sampled update: all of them take part.
    assert graphs._rows(0, np.full(8, 12), 4) == (8, 8, 8)


def test_what_an_update_pads_is_never_read(corridors: Path) -> None:
    learner, reader = learner_for(recipe_for(corridors, "rate"), "cpu")
    batches = reader(12)
    graphs = Graphs(learner, batches)
    graphs._place(batches[0])
    [buffers] = graphs._buffers.values()
    for part in buffers.parts:
        part.rewards.fill_(1e6)
        for leaf in part.observations.values():
            leaf.fill_(7.0)
    before = [learner.learn(reader(0)[0]), learner_for(learner.recipe, "cpu")[0]]
    again, _ = learner_for(learner.recipe, "cpu")
    fixed = Graphs(again, batches)
    fixed._buffers = graphs._buffers
    torch.testing.assert_close(fixed.learn(batches[0]), before[0], rtol=0, atol=1e-5)


def test_trial_updates_change_nothing(corridors: Path) -> None:
    recipe = recipe_for(corridors, "lstm", "cql")
    (learner, reader), (other, _) = (learner_for(recipe, "cpu") for _ in range(2))
    batches = reader(12)
    graphs, without = Graphs(learner, batches), Graphs(other, batches)
    for update in range(3):  # the first one has no optimiser state to put back
        random = torch.get_rng_state()
        with graphs._unchanged():
            graphs.learn(batches[3])
            torch.rand(1)
        assert torch.equal(torch.get_rng_state(), random)
        assert torch.equal(graphs.learn(batches[update]), without.learn(batches[update]))
        for one, two in zip(graphs._state(), without._state(), strict=True):
            assert torch.equal(one, two)


def train(recipe: Recipe, run: Path, **options: Any) -> list[float]:
    path = rate.train(recipe, run, **{"threads": 1, **options})
    return [row["loss"] for row in Run(path).metrics()]


def test_a_run_with_graphs_has_the_losses_of_one_without(corridors: Path, tmp_path: Path) -> None:
    recipe = recipe_for(corridors, "rate", updates=30)
    off, on = (
        train(recipe, tmp_path / graph, accelerator="cpu", graph=graph) for graph in ("off", "on")
    )
    np.testing.assert_allclose(on, off, rtol=0, atol=1e-5)
    assert train(recipe, tmp_path / "auto", accelerator="cpu") == off


@pytest.mark.parametrize("options", [{"compile": True}])
def test_what_cannot_be_captured_says_so_and_trains(
    options: dict[str, Any], corridors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda module: module)
    recipe = replace(recipe_for(corridors, "rate", updates=2), **options)
    with pytest.warns(UserWarning, match="not replayed as graphs: torch.compile"):
        train(recipe, tmp_path / "run", accelerator="cpu", graph="on")


def interrupted(recipe: Recipe, run: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Path:
    """The run, asked to stop in its middle and resumed."""
    set_rate, half = loop.Training._set_learning_rate, recipe.updates // 2

    def stop(training: Any, update: int) -> float:
        if update == half:
            os.kill(os.getpid(), signal.SIGTERM)
        return set_rate(training, update)

    monkeypatch.setattr(loop.Training, "_set_learning_rate", stop)
    with pytest.raises(Interrupted):
        train(recipe, run, **options)
    monkeypatch.setattr(loop.Training, "_set_learning_rate", set_rate)
    assert len(list(Run(run).metrics())) < recipe.updates
    return rate.resume(run)


def assert_resumes_exactly(
    recipe: Recipe, folder: Path, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> None:
    whole = train(recipe, folder / "whole", **options)
    resumed = interrupted(recipe, folder / "resumed", monkeypatch, **options)
    assert [row["loss"] for row in Run(resumed).metrics()] == whole
    weights, _ = read_tensors(folder / "whole" / "last.safetensors")
    again, _ = read_tensors(resumed / "last.safetensors")
    assert all(torch.equal(weights[name], again[name]) for name in weights)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_an_interrupted_run_resumes_exactly(
    precision: str, corridors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(with_dropout(corridors), precision=precision)
    assert_resumes_exactly(recipe, tmp_path, monkeypatch, accelerator="cpu", graph="on")


def with_dropout(folder: Path) -> Recipe:
    recipe = recipe_for(folder, "rate", updates=24, shorter_segments=0.5, checkpoint_every=100)
    return replace(recipe, model=replace(recipe.model, dropout=0.3, attention_dropout=0.2))


@cuda
@pytest.mark.parametrize(("model", "objective", "options"), CASES)
def test_graphs_have_the_losses_of_operations_one_after_another(
    model: str, objective: str, options: dict[str, Any], corridors: Path
) -> None:
    recipe = recipe_for(corridors, model, objective, **{"updates": 5, **options})
    assert assert_same(recipe, "cuda").capture.graphs


@cuda
@pytest.mark.parametrize("precision", ["32-true", "tf32", "bf16-mixed", "16-mixed"])
def test_a_run_with_graphs_resumes_exactly(
    precision: str, corridors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(with_dropout(corridors), precision=precision)
    assert_resumes_exactly(recipe, tmp_path, monkeypatch, accelerator="cuda")


@cuda
def test_what_reads_on_the_host_is_not_captured(
    corridors: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_for(corridors, "rate", updates=3)
    eager, _ = losses(recipe, False, "cuda")
    forward = WindowLoss.forward

    def reading(self: WindowLoss, *arguments: Any) -> Any:
        loss, *rest = forward(self, *arguments)
        loss.item()
        return loss, *rest

    monkeypatch.setattr(WindowLoss, "forward", reading)
    with pytest.warns(UserWarning, match="cannot be captured"):
        fixed, takes = losses(recipe, True, "cuda")
    assert not takes.capture.graphs
    np.testing.assert_allclose(fixed, eager, rtol=0, atol=1e-5)
