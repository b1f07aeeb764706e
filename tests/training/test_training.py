import json
import math
from dataclasses import replace
from pathlib import Path

import lightning_fabric
import numpy as np
import pytest
import torch

import rate
from rate.dataset import BatchReader, Sampler, open_dataset
from rate.models import config_class
from rate.models.policy import Policy
from rate.recipe import OptimiserConfig, Recipe, SelectionConfig
from rate.runs.checkpoint import read_tensors
from rate.runs.folder import RunError
from rate.storage.files import read_jsonl
from rate.training import selection
from rate.training.update import Learner, WindowLoss, segment_length

GOLDEN = Path(__file__).parents[1] / "data" / "golden_losses.json"


def train(recipe, run, **options):
    return rate.train(recipe, run, **{"threads": 1, "accelerator": "cpu", **options})


def column(run, name="loss"):
    return [row[name] for row in read_jsonl(run / "metrics.jsonl")]


def gradients(recipe, **options):
    """Gradient of every parameter by one update of plain gradient descent with step size 1, and the
    loss."""
    recipe = replace(recipe, optimiser=OptimiserConfig(gradient_clip=0), **options)
    dataset = open_dataset(recipe.dataset)
    torch.manual_seed(0)
    policy = Policy(
        dataset.observation_space, dataset.action_space, recipe.model, dataset.normalisation
    )
    before = {name: parameter.detach().clone() for name, parameter in policy.named_parameters()}
    fabric = lightning_fabric.Fabric(accelerator="cpu", devices=1)
    module = WindowLoss(policy)
    window_loss, optimiser = fabric.setup(module, torch.optim.SGD(policy.parameters(), lr=1.0))
    learner = Learner(fabric, window_loss, policy, module.objective, optimiser, recipe, seed=0)
    sampler = Sampler(dataset.lengths, recipe.batch_size, recipe.model.window, recipe.sampling, 0)
    batch = BatchReader(dataset, [sampler], 1, recipe.micro_batch)[0]
    loss = learner.update(batch).loss
    return {
        name: before[name] - parameter.detach() for name, parameter in policy.named_parameters()
    }, loss


def test_same_seed_gives_the_same_losses_and_weights_bit_by_bit(tiny, tmp_path):
    recipe = tiny(dropout=0.1, attention_dropout=0.1)
    first, second, other = (
        train(recipe, tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert column(first) == column(second)
    assert column(first) != column(other)
    weights, _ = read_tensors(first / "last.safetensors")
    again, _ = read_tensors(second / "last.safetensors")
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_losses_of_the_toy_recipe_are_those_of_the_golden_file(tiny, tmp_path):
    losses = column(
        train(
            tiny(updates=20, optimiser=OptimiserConfig(learning_rate=3e-3, warmup=5)),
            tmp_path / "run",
        )
    )
    golden = json.loads(GOLDEN.read_text())
    np.testing.assert_allclose(losses, golden["losses"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("decay", ["linear", "cosine"])
@pytest.mark.parametrize(("warmup", "updates"), [(1, 10), (50, 600), (7, 100)])
def test_learning_rate_warms_up_and_ends_exactly_at_its_final_value(decay, warmup, updates):
    schedule = OptimiserConfig(warmup=warmup, decay=decay, final_factor=0.1)
    factors = [schedule.factor(update, updates) for update in range(updates)]
    np.testing.assert_allclose(factors[:warmup], np.arange(1, warmup + 1) / warmup)
    assert max(factors) == 1.0
    assert factors[-1] == pytest.approx(0.1, abs=1e-12)
    assert all(np.diff(factors[warmup:]) < 0)
    middle = schedule.factor(warmup + (updates - 1 - warmup) // 2, updates)
    share = ((updates - 1 - warmup) // 2) / (updates - 1 - warmup)
    fall = 1 - share if decay == "linear" else (1 + math.cos(math.pi * share)) / 2
    assert middle == pytest.approx(0.1 + 0.9 * fall)


@pytest.mark.parametrize("decay", ["linear", "cosine", "none"])
def test_the_run_takes_the_learning_rates_of_its_schedule(decay, tiny, tmp_path):
    optimiser = OptimiserConfig(learning_rate=2e-3, warmup=2, decay=decay, final_factor=0.25)
    rates = column(train(tiny(optimiser=optimiser), tmp_path / "run"), "learning_rate")
    assert rates[:2] == pytest.approx([1e-3, 2e-3])
    assert rates[-1] == pytest.approx(2e-3 if decay == "none" else 5e-4, rel=1e-12)


@pytest.mark.parametrize("weighting", ["episode", "step"])
@pytest.mark.parametrize("sampling", ["first", "stride"])
def test_size_of_micro_batches_changes_no_loss_and_no_gradient(weighting, sampling, tiny):
    # Windows of 8 steps cut episodes of 12 into unequal windows, so that padding takes part.
    recipe = tiny(segments=2, weighting=weighting, sampling=sampling)
    whole, loss = gradients(recipe, micro_batch=8)
    for size in (1, 3):
        parts, same = gradients(recipe, micro_batch=size)
        assert same == pytest.approx(loss, abs=1e-5)
        for name, gradient in whole.items():
            torch.testing.assert_close(parts[name], gradient, rtol=0, atol=1e-5, msg=name)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("bptt_segments", [0, 1, 2])
def test_every_truncation_of_backpropagation_trains(bptt_segments, together, tiny, tmp_path):
    if together and not bptt_segments:
        with pytest.raises(ValueError, match="bptt_segments of at least 1"):
            tiny(update_per_segment=True)
        return
    run = train(tiny(bptt_segments=bptt_segments, update_per_segment=together), tmp_path / "run")
    assert len(column(run)) == 6
    assert np.isfinite(column(run)).all()


def test_segments_are_shorter_in_the_asked_share_of_updates(tiny, tmp_path):
    recipe = tiny(shorter_segments=0.5, segment_length=6)
    lengths = [segment_length(recipe, 3, update) for update in range(400)]
    assert lengths == [segment_length(recipe, 3, update) for update in range(400)]
    assert {length: lengths.count(length) for length in (2, 3, 6)} == pytest.approx(
        {2: 100, 3: 100, 6: 200}, abs=40
    )
    assert segment_length(tiny(), 3, 0) == tiny().model.segment_length
    run = train(tiny(shorter_segments=0.5), tmp_path / "run")
    assert np.isfinite(column(run)).all()
    assert recipe.hash != replace(recipe, shorter_segments=0.0).hash
    with pytest.raises(ValueError, match="segment by segment"):
        Recipe(dataset="", model=config_class("dt")(), shorter_segments=0.5)
    with pytest.raises(ValueError, match="shorter_segments must lie"):
        tiny(shorter_segments=1.5)


def test_windows_are_cut_into_ever_more_segments(tiny, tmp_path):
    recipe = tiny(growing_segments=4, updates=400, segment_length=8)
    lengths = [segment_length(recipe, 3, update) for update in range(400)]
    assert recipe.model.window == 24
    assert set(lengths[:100]) == {24}
    assert [set(lengths[start : start + 100]) for start in (100, 200)] == [{24, 12}, {24, 12, 8}]
    assert {length: lengths[300:].count(length) for length in (24, 12, 8, 6)} == pytest.approx(
        dict.fromkeys((24, 12, 8, 6), 25), abs=15
    )
    assert np.isfinite(column(train(tiny(growing_segments=2), tmp_path / "run"))).all()
    assert recipe.hash != replace(recipe, growing_segments=0).hash
    with pytest.raises(ValueError, match="leave one of them at 0"):
        tiny(shorter_segments=0.6, growing_segments=2)
    with pytest.raises(ValueError, match="growing_segments must be at least 0"):
        tiny(growing_segments=-1)


@pytest.mark.parametrize("model", ["elmur", "oracle-dt", "rmt", "trxl"])
def test_every_model_that_is_trained_by_segments_takes_shorter_and_longer_ones(
    model, tiny, tmp_path
):
    options = {} if model == "elmur" else {"heads": 1}
    config = config_class(model)(segment_length=5, segments=3, width=16, **options)
    for name in ("shorter_segments", "growing_segments"):
        run = train(replace(tiny(), model=config, **{name: 1}), tmp_path / name)
        assert np.isfinite(column(run)).all()


def test_the_first_loss_does_not_depend_on_the_truncation_of_backpropagation(tiny):
    losses = [gradients(tiny(), bptt_segments=segments)[1] for segments in (0, 1, 2)]
    assert losses == pytest.approx([losses[0]] * 3, abs=1e-6)


@pytest.mark.parametrize("bptt_segments", [0, 1, 2])
def test_gradient_reaches_the_valve_only_through_memory_that_is_not_detached(bptt_segments, tiny):
    found, _ = gradients(tiny(), bptt_segments=bptt_segments)
    valve = [gradient for name, gradient in found.items() if ".valve." in name]
    assert valve
    moved = any(gradient.any() for gradient in valve)
    assert moved == (bptt_segments != 1)


@pytest.mark.parametrize("bptt_segments", [0, 1])
def test_two_processes_give_the_losses_of_one(bptt_segments, tiny, tmp_path):
    recipe = tiny(updates=4, micro_batch=2, bptt_segments=bptt_segments)
    one = train(recipe, tmp_path / "one")
    two = train(recipe, tmp_path / "two", devices=2)
    for name in ("loss", "accuracy", "gradient_norm", "validation_loss"):
        rows = [
            [row[name] for row in read_jsonl(run / "metrics.jsonl") if name in row]
            for run in (one, two)
        ]
        np.testing.assert_allclose(rows[1], rows[0], rtol=0, atol=1e-5, err_msg=name)


def test_mixed_precision_trains(tiny, tmp_path):
    full = column(train(tiny(), tmp_path / "full"))
    mixed = column(train(tiny(precision="bf16-mixed"), tmp_path / "mixed"))
    assert mixed != full
    np.testing.assert_allclose(mixed, full, atol=0.05)


@pytest.mark.slow
def test_a_compiled_policy_trains_to_the_same_losses(tiny, tmp_path):
    plain = column(train(tiny(), tmp_path / "plain"))
    compiled = train(tiny(compile=True), tmp_path / "compiled")
    np.testing.assert_allclose(column(compiled), plain, atol=1e-4)
    assert rate.evaluate(compiled, ["recall/12"], episodes=4)[0]["episodes"] == 4


def test_the_best_checkpoint_is_the_one_with_the_best_selection_score(tiny, tmp_path):
    # The learning rate explodes the loss after a good start, so that the best is not the last.
    optimiser = OptimiserConfig(learning_rate=0.1, warmup=8, decay="none")
    recipe = tiny(updates=12, optimiser=optimiser, selection=SelectionConfig(every=1, fraction=0.2))
    run = train(recipe, tmp_path / "run")
    scores = column(run, "selection_score")
    assert scores == [-loss for loss in column(run, "validation_loss")]
    _, best = rate.load_policy(run / "best.safetensors")
    _, last = rate.load_policy(run / "last.safetensors")
    assert best["score"] == max(scores)
    assert scores[best["update"] - 1] == max(scores)
    assert best["update"] < last["update"] == 12


def test_selection_by_score_uses_seeds_of_its_own_and_changes_no_loss(tiny, tmp_path, monkeypatch):
    seen = []
    outcomes = selection.outcomes
    monkeypatch.setattr(
        selection,
        "outcomes",
        lambda agent, task, seeds, **rest: (
            seen.extend(seeds) or outcomes(agent, task, seeds, **rest)
        ),
    )
    recipe = tiny(dropout=0.1)
    scored = train(
        replace(recipe, selection=replace(recipe.selection, task="recall/12")), tmp_path / "scored"
    )
    assert column(scored) == column(train(recipe, tmp_path / "plain"))
    assert set(seen) == set(range(1_000_000, 1_000_004))
    assert {row["selection_score"] for row in read_jsonl(scored / "metrics.jsonl")[2::3]} <= {
        0,
        0.25,
        0.5,
        0.75,
        1,
    }
    evaluated = rate.evaluate(scored, ["recall/12"], episodes=4, checkpoint="best")
    assert evaluated[0]["checkpoint"] == "best"


def test_a_loss_that_is_not_a_number_stops_the_run_and_spares_the_last_checkpoint(tiny, tmp_path):
    optimiser = OptimiserConfig(learning_rate=1e37, warmup=1)
    recipe = tiny(
        updates=50, optimiser=optimiser, checkpoint_every=1, selection=SelectionConfig(fraction=0)
    )
    with pytest.raises(FloatingPointError, match=r"became .* at update .*learning_rate"):
        train(recipe, tmp_path / "run")
    tensors, header = read_tensors(tmp_path / "run" / "last.safetensors")
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert header["update"] == len(column(tmp_path / "run"))


def test_an_existing_run_is_not_touched(tiny, trained):
    before = {path.name: path.read_bytes() for path in trained.iterdir() if path.is_file()}
    with pytest.raises(RunError, match=r"holds a run already.*--resume"):
        train(tiny(updates=2), trained)
    assert before == {path.name: path.read_bytes() for path in trained.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    ("recipe", "options", "message"),
    [
        ({"batch_size": 8}, {"devices": 3}, "batch_size 8 cannot be shared by 3 devices"),
        ({"batch_size": 8}, {"devices": 0}, "devices must be at least 1"),
        ({"bptt_segments": 1, "update_per_segment": True}, {"devices": 2}, "use one device"),
        ({}, {"loggers": ["telegram"]}, "loggers must be one of tensorboard, wandb"),
        ({}, {"accelerator": "abacus"}, "abacus"),
        ({}, {"seed": -1}, "seed must be at least 0"),
        (
            {"selection": SelectionConfig(task="tmaze/90")},
            {},
            "choose a task with the spaces of the dataset",
        ),
        ({"selection": SelectionConfig(task="recal/12")}, {}, "Did you mean 'recall/12'"),
        ({"dataset": "nowhere"}, {}, "nowhere is not a dataset"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_a_folder_is_made(
    recipe, options, message, tiny, tmp_path
):
    with pytest.raises(ValueError, match=message):
        train(tiny(**recipe), tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_the_threads_that_are_asked_for_are_used_and_kept(tiny, tmp_path):
    run = rate.train(tiny(updates=1), tmp_path / "run", accelerator="cpu", threads=2)
    assert torch.get_num_threads() == 2
    assert json.loads((run / "provenance.json").read_text())["threads"] == 2
    torch.set_num_threads(1)
    run = rate.train(tiny(updates=1), tmp_path / "other", accelerator="cpu")
    assert torch.get_num_threads() == 1  # 0 leaves the number to PyTorch
