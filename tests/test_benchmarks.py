import json
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

from rate.models.policy import Policy
from rate.models.rate import Config
from rate.objectives.behaviour_cloning import BehaviourCloning
from rate.recipe import OptimiserConfig
from rate.segment import Segment

sys.path.insert(
    0, str(Path(__file__).parents[1])
)  # the benchmarks are not part of the installed package

from benchmarks import acting, collection, gpu, large_dataset, loader, naive, rows

SIZES = [
    Config(),
    Config(layers=3, heads=4, head_width=8, width=32, memory_tokens=15, segment_length=10),
    Config(memory_tokens=1, valve="none", segment_length=5),
]


def policy_of(config: Config) -> Policy:
    torch.manual_seed(0)
    return Policy(
        gymnasium.spaces.Box(-1, 1, (4,), np.float32), gymnasium.spaces.Discrete(4), config
    )


def window_of(batch: int, steps: int) -> Segment:
    generator = torch.Generator().manual_seed(1)
    return Segment(
        observations={"observation": torch.randn(batch, steps, 4, generator=generator)},
        actions=torch.randint(4, (batch, steps), generator=generator),
        rewards=torch.zeros(batch, steps),
        returns_to_go=torch.ones(batch, steps),
        terminations=torch.zeros(batch, steps, dtype=torch.bool),
        timesteps=torch.arange(steps).expand(batch, -1),
        mask=torch.ones(batch, steps, dtype=torch.bool),
    )


@pytest.mark.parametrize("config", SIZES)
def test_the_naive_baseline_computes_the_same_function(config: Config) -> None:
    policy = policy_of(config).eval()
    baseline = naive.NaivePolicy(policy).eval()
    window = window_of(3, 2 * config.segment_length)
    ours, theirs = policy.initial_memory(3), baseline.initial_memory(3)
    for segment in window.split(config.segment_length):
        logits, ours = policy(segment, ours)
        expected, theirs = baseline(segment, theirs)
        torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(ours[0], theirs.transpose(0, 1), atol=1e-4, rtol=0)


def test_the_naive_baseline_has_the_same_gradients() -> None:
    config = SIZES[0]
    policy = policy_of(config).eval()
    baseline = naive.NaivePolicy(policy).eval()
    segment = window_of(3, config.segment_length)
    weights = torch.full(segment.mask.shape, 1 / segment.mask.numel())
    loss, *_ = BehaviourCloning()(policy, segment, weights, policy.initial_memory(3), 3)
    loss.backward()
    logits, _ = baseline(segment, baseline.initial_memory(3))
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), segment.actions.flatten()).backward()
    expected = dict(baseline.named_parameters())
    for name, parameter in policy.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, expected[name].grad, atol=1e-5, rtol=1e-4)


def test_a_naive_update_learns_from_padded_windows() -> None:
    config = SIZES[0]
    policy = naive.NaivePolicy(policy_of(config))
    before = policy.head.linear.weight.detach().clone()
    window = naive.padded(window_of(3, config.segment_length + 1), config.window)
    assert window.steps == config.window
    assert window.mask.sum() == 3 * (config.segment_length + 1)
    naive.update(policy, naive.adamw(policy, OptimiserConfig()), window, clip=1.0)
    assert not torch.equal(before, policy.head.linear.weight)
    assert all(bool(parameter.isfinite().all()) for parameter in policy.parameters())


def test_the_baseline_refuses_what_it_cannot_compute() -> None:
    with pytest.raises(ValueError, match="choose such a configuration"):
        naive.Backbone(Config(feed_forward=8))


def test_acting_measurements_are_positive_and_name_where_they_stand() -> None:
    config = SIZES[2]
    far = list(acting.far_into_an_episode(config, batch=2, positions=[10, 40], segments=2))
    assert [measurement.variant for measurement in far] == ["from step 10", "from step 40"]
    stepping = list(acting.against_recomputing("tiny", config, batch=2, repeats=1))
    assert [measurement.variant for measurement in stepping] == ["recomputing", "cached"]
    assert all(measurement.value > 0 for measurement in far + stepping)


@pytest.mark.slow
def test_the_benchmark_of_large_data_goes_through_its_stages_and_cleans_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    measurements = list(large_dataset.stages(0.05))
    values = {measurement.variant: measurement.value for measurement in measurements}
    assert {variant.partition(":")[0] for variant in values} == {*large_dataset.STAGES, "dataset"}
    assert 45 < values["dataset"] < 50
    assert all(
        0 < values[f"{stage}: own memory"] < large_dataset.ROOM / 2**20
        for stage in large_dataset.STAGES
    )
    assert not list(tmp_path.iterdir())


def test_the_benchmark_of_loading_measures_waiting_and_cleans_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(loader, "SPACE", gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8))
    measurements = list(loader.waiting(0.0002, 2))
    assert [measurement.unit for measurement in measurements] == [
        "s of waiting",
        "real steps/s",
        "real steps/s, reading alone",
    ] * 2
    assert all(measurement.value > 0 for measurement in measurements)
    shares = [measurement.ratio for measurement in measurements if measurement.ratio is not None]
    assert len(shares) == 2
    assert all(0 < share < 1 for share in shares)
    assert not list(tmp_path.iterdir())


def test_the_page_shows_the_latest_row_of_each_measurement(tmp_path: Path) -> None:
    path, page = tmp_path / "results.jsonl", tmp_path / "README.md"
    page.write_text(f"before\n{rows.BEGIN}\nold\n{rows.END}\nafter\n")
    for value in (1.0, 2.0):
        rows.record(
            rows.Measurement("training", "ours", "demo", value, "real steps/s", ratio=7.5), path
        )
    rows.render(path, page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| demo | ours | 2 | real steps/s | 7.50 | 1 |" in text
    assert "| demo | ours | 1 |" not in text
    assert "old" not in text
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["value"] for row in kept] == [1.0, 2.0]
    assert {"torch", "cpu", "commit", "date", "threads"} <= set(kept[0])


@pytest.mark.parametrize(
    ("benchmark", "stored", "now", "fails"),
    [
        ("training", 6.0, 4.1, False),
        ("training", 6.0, 3.9, True),
        ("training", 6.0, 60.0, False),
        ("acting", 1.0, 1.4, False),
        ("acting", 1.0, 1.6, True),
        ("acting", 1.0, 0.1, False),
        ("models", None, None, False),
    ],
)
def test_a_ratio_that_became_worse_is_a_regression(
    tmp_path: Path, benchmark: str, stored: float | None, now: float | None, fails: bool
) -> None:
    path = tmp_path / "results.jsonl"
    rows.record(rows.Measurement(benchmark, "ours", "demo", 1.0, "ms", ratio=stored), path)
    found = rows.regression(
        rows.Measurement(benchmark, "ours", "demo", 1.0, "ms", ratio=now), rows.latest(path), 1.5
    )
    assert (found is not None) == fails
    fresh = rows.Measurement(benchmark, "ours", "another size", 1.0, "ms", ratio=now)
    assert rows.regression(fresh, rows.latest(path), 1.5) is None


def test_every_benchmark_with_a_ratio_says_which_way_is_better() -> None:
    assert set(rows.RATIOS) >= rows.LESS_IS_BETTER
    for name, words in rows.RATIOS.items():
        assert (name in rows.LESS_IS_BETTER) == (not words.startswith("times as")), name


def test_a_page_without_markers_is_refused(tmp_path: Path) -> None:
    path, page = tmp_path / "results.jsonl", tmp_path / "README.md"
    page.write_text("nothing here")
    rows.record(rows.Measurement("training", "ours", "demo", 1.0, "real steps/s"), path)
    with pytest.raises(ValueError, match="has lost its markers"):
        rows.render(path, page)


def test_the_benchmark_of_recording_measures_memory_and_speed() -> None:
    peak, speed = collection.collect(2, 2, 0)
    assert 50 < peak < 1024
    assert speed > 0


@pytest.mark.skipif(gpu.CUDA, reason="on a GPU it takes minutes")
def test_the_benchmark_of_accelerators_runs_at_small_sizes_on_a_cpu(
    capsys: pytest.CaptureFixture[str],
) -> None:
    measurements = list(gpu.measure(True))
    assert "failed" not in capsys.readouterr().out
    differences = [one.value for one in measurements if one.unit.startswith("loss ")]
    assert len(differences) == 3
    assert max(differences) < 1e-5
    timed = {one.variant for one in measurements if one.unit == "ms/update"}
    assert set(gpu.VARIANTS) <= timed
    shared = {one.variant: one.value for one in measurements if one.benchmark == "gpu-sharing"}
    assert set(shared) == {"processes: 1", "processes: 2"}
    assert min(shared.values()) > 0
    drifts = [one for one in measurements if one.benchmark == "gpu-drift"]
    memory = [one.value for one in drifts if one.unit == "share of memory"]
    assert len(memory) == 3
    assert memory[0] == 0.0  # no segment has ended
    assert all(0 < value < 0.1 for value in memory[1:])  # it was bfloat16
    assert all(one.value > 0.8 for one in drifts if one.unit == "share of equal actions")
