"""Inspection: attention maps equal the attention of the model, probes find a cue that is there, and
the report shows all results."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rate
from rate.acting.actor import Actor
from rate.acting.rollout import rollout
from rate.cli import main
from rate.inspection.attention_maps import attention_maps
from rate.inspection.findings import Inspection
from rate.inspection.probe import decode, estimate, principal_components
from rate.inspection.recorder import Traced, as_segment
from rate.models import config_class, names
from rate.models.nn.transformer import Layer
from rate.models.policy import Policy
from rate.models.rate import MemoryTransformer
from rate.models.released import Config as ReleasedConfig
from rate.reporting import report
from rate.reporting.load import ReportError
from rate.runs.checkpoint import load_policy
from rate.segment import Segment
from rate.tasks.lookup import find

PNG = b"\x89PNG\r\n\x1a\n"
K = 3
TASK = find("recall/12")
SMALL: dict[str, object] = {
    "segment_length": K,
    "segments": 3,
    "width": 16,
    "dropout": 0.0,
    "attention_dropout": 0.0,
}
MODELS: dict[str, dict[str, object]] = {
    "rate": {"memory_tokens": 2},
    "dt": {},
    "trxl": {"cached_states": 13},
    "cached": {"memory_tokens": 2, "cached_states": 13},
    "gated": {"memory_tokens": 2, "layer": "gtrxl", "valve": "none"},
}


def policy_of(name: str, **options: object) -> Policy:
    """A tiny policy of a model or of a variant of RATE in MODELS; sizes that it does not have are
    left out."""
    torch.manual_seed(0)
    config = config_class(name if name in names() else "rate")
    sizes = {**SMALL, "layers": 2, "heads": 2, "head_width": 8, "stride": K}
    sizes |= {**MODELS.get(name, {}), **options}
    known: dict[str, Any] = {
        key: size for key, size in sizes.items() if key in config.__dataclass_fields__
    }
    return Policy(TASK.observation_space, TASK.action_space, config(**known)).eval()


def segments_of(policy: Policy, steps: int = 3 * K + 2) -> list[Segment]:
    """Segments of an episode that the policy has played."""
    [episode] = rollout(Actor(policy, 1.0), replace(TASK, horizon=steps), [3])
    return as_segment(episode, 1.0).split(policy.config.segment_length)


# Attention maps
# --------------------------------------------------------------------------------


def segment_mask(
    past: int, read: int, length: int, write: int, plain_context: bool
) -> torch.Tensor:
    """Whether a whole segment hides a key from a query.

    Columns are [past | read | tokens | write]; rows are [read | tokens | write], and the past as
    well if it is plain context. Read memory sees itself; tokens see the past, read memory and
    tokens up to themselves; write memory sees read memory, all tokens and itself.
    """
    total = past + read + length + write
    allowed = torch.ones(total, total, dtype=torch.bool).tril()
    for rows in (slice(past, past + read), slice(past + read + length, total)):
        allowed[rows, rows] = True
        allowed[rows, :past] = False
    return ~allowed if plain_context else ~allowed[past:]


@pytest.mark.parametrize("name", MODELS)
def test_attention_rows_add_up_to_one_and_hide_what_the_mask_hides(name):
    policy = policy_of(name)
    maps = attention_maps(policy, segments_of(policy))
    assert len(maps) == 4
    config = policy.config
    for number, found in enumerate(maps):
        length, times = found.weights.shape[-2:]
        torch.testing.assert_close(
            found.weights.sum(-1), torch.ones(2, 2, length), atol=1e-5, rtol=0
        )
        tokens = len(config.tokens) * (K if number < 3 else 2)
        write = config.memory_tokens if number < 3 else 0
        past = times - config.memory_tokens - tokens - write
        hidden = segment_mask(
            past, config.memory_tokens, tokens, write, bool(config.context_segments)
        )
        assert ((found.weights == 0) == hidden).all()


@pytest.mark.parametrize("name", MODELS)
def test_attention_maps_give_the_outputs_of_the_model_itself(name):
    """Values weighted by the map of a single layer are what the layer goes on with."""
    policy = policy_of(name, layers=1)
    segment = segments_of(policy)[0]
    backbone = policy.backbone
    assert isinstance(backbone, MemoryTransformer)
    [layer] = backbone.layers
    assert isinstance(layer, Layer)
    memory = policy.initial_memory(1)
    tokens = policy.encode(segment)
    inputs = torch.cat([memory[0], tokens, memory[0]], 1)
    normal = layer.attention_input(inputs)
    [found] = attention_maps(policy, [segment])
    values = found.weights[:1] @ layer.attention.project(normal)[1][1]
    attended = layer.attention.output(values.transpose(1, 2).flatten(2))
    hidden = layer.finish(inputs, normal, attended)
    expected, _ = backbone(tokens, memory, 1)
    read = memory[0].shape[1]
    torch.testing.assert_close(
        hidden[:, read : read + tokens.shape[1]], expected, atol=1e-5, rtol=0
    )


def test_attention_maps_are_computed_from_scratch_the_same():
    """Against the textbook score [(q_i + u) k_j + (q_i + v) W R_(i-j)] / sqrt(d), term by term."""
    policy = policy_of("dt", layers=1, segments=1)
    segment = segments_of(policy, 2 * K)[0]
    backbone = policy.backbone
    assert isinstance(backbone, MemoryTransformer)
    attention = backbone.layers[0].attention
    tokens = policy.encode(segment)
    query, (keys, _) = attention.project(tokens)
    length = tokens.shape[1]
    scores = torch.full((2, length, length), -torch.inf)
    frequencies = 10000 ** (-torch.arange(0, 16, 2) / 16)
    for i in range(length):
        for j in range(i + 1):
            angles = (i - j) * frequencies
            distance = attention.position(torch.cat([angles.sin(), angles.cos()])).view(2, -1)
            content = ((query[0, :, i] + backbone.content_bias) * keys[0, :, j]).sum(-1)
            position = ((query[0, :, i] + backbone.position_bias) * distance).sum(-1)
            scores[:, i, j] = (content + position) / 8**0.5
    [found] = attention_maps(policy, [segment])
    torch.testing.assert_close(found.weights[0], scores.softmax(-1), atol=1e-5, rtol=0)


def test_positions_are_named():
    read, write, step = ("read",) * 2, ("write",) * 2, ("return_to_go", "observation", "action")
    policy = policy_of("rate")
    maps = attention_maps(policy, segments_of(policy))
    assert maps[1].roles == read + 3 * step + write
    assert maps[1].steps == (-1, -1, 3, 3, 3, 4, 4, 4, 5, 5, 5, -1, -1)
    assert maps[3].roles == read + 2 * step
    policy = policy_of("dt")
    maps = attention_maps(policy, segments_of(policy))
    assert maps[3].roles == 8 * step
    assert maps[3].steps == tuple(step for step in range(3, 11) for _ in range(3))
    policy = policy_of("cached")
    maps = attention_maps(policy, segments_of(policy))
    assert maps[2].roles == ("past",) * 13 + read + 3 * step + write


def test_looking_leaves_no_trace():
    policy = policy_of("rate")
    [segment, *_] = segments_of(policy)
    state = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    before = policy(segment, policy.initial_memory(1))
    attention_maps(policy, [segment])
    after = policy(segment, policy.initial_memory(1))
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1][0], after[1][0])
    assert all(torch.equal(state[name], tensor) for name, tensor in policy.state_dict().items())
    assert not [module for module in policy.modules() if "attend" in vars(module)]


def test_other_models_have_no_maps():
    policy = Policy(TASK.observation_space, TASK.action_space, config_class("mlp")())
    assert attention_maps(policy, segments_of(policy)) == []


def test_released_weights_can_be_looked_at():
    config = ReleasedConfig(
        **{**SMALL, "layers": 2, "heads": 2, "head_width": 8, "memory_tokens": 2}
    )  # type: ignore[arg-type]
    policy = Policy(TASK.observation_space, TASK.action_space, config).eval()
    found = attention_maps(policy, segments_of(policy))[1]
    torch.testing.assert_close(found.weights.sum(-1), torch.ones(2, 2, 13), atol=1e-5, rtol=0)


# Memory between segments
# --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_what_is_traced_is_what_whole_segments_write(name):
    policy = policy_of(name)
    if policy.config.first_segment != K:
        pytest.skip("nothing leaves a sliding window before it is full")
    parts = policy.backbone.memory_parts()
    agent = Traced(policy, 1.0, parts, [K, 2 * K])
    task = replace(TASK, horizon=3 * K)
    episodes = list(rollout(agent, task, [5, 6, 7], num_envs=2))
    assert set(agent.kept) == {
        (part, seed, step) for part in parts for seed in (5, 6, 7) for step in (K, 2 * K)
    }
    for episode in episodes:
        memory = policy.initial_memory(1)
        for number, segment in enumerate(as_segment(episode, 1.0).split(K)[:2]):
            with torch.no_grad():
                _, memory = policy(segment, memory)
            for part, entries in parts.items():
                largest = policy.backbone.full_size(memory)
                flat = torch.cat([largest[entry].flatten() for entry in entries]).numpy()
                kept = agent.kept[part, int(episode.seed or 0), (number + 1) * K]
                np.testing.assert_allclose(kept, flat, atol=1e-5)


# Probes
# --------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [2, 3])
def test_the_probe_finds_a_cue_in_wide_memory(labels):
    random = np.random.default_rng(0)
    cues = np.arange(90) % labels
    memory = random.normal(size=(90, 300)).astype(np.float32)
    memory += np.eye(labels)[cues] @ random.normal(size=(labels, 300))
    found = decode(memory, cues)
    assert found is not None
    assert (found.value > 0.95, found.episodes, found.chance) == (
        True,
        90,
        pytest.approx(1 / labels),
    )


def test_the_probe_is_at_chance_on_noise_and_on_nothing():
    cues = np.arange(400) % 2
    found = decode(np.random.default_rng(1).normal(size=(400, 64)), cues)
    assert found is not None
    assert found.interval[0] < 0.5 < found.interval[1]
    still = decode(np.full((400, 64), 0.3, np.float32), cues)
    rounding = decode(0.3 + 1e-8 * cues[:, None] * np.ones(64), cues)
    assert still is not None
    assert rounding is not None
    assert (still.value, rounding.value) == (0.5, 0.5)


def test_the_probe_needs_several_episodes_of_each_cue():
    memory = np.random.default_rng(0).normal(size=(6, 4))
    assert decode(memory, np.zeros(6)) is None
    assert decode(memory, np.array([0, 0, 0, 0, 0, 1])) is None
    assert decode(memory, np.array([0, 0, 0, 1, 1, 1])) is not None


@pytest.mark.parametrize(
    ("successes", "trials", "interval"),
    [
        (5, 10, (0.2366, 0.7634)),
        (0, 10, (0.0, 0.2775)),
        (10, 10, (0.7225, 1.0)),
        (81, 263, (0.2553, 0.3662)),
    ],
)
def test_estimates_of_zeros_and_ones_have_wilson_intervals(successes, trials, interval):
    found = estimate(np.repeat([1, 0], [successes, trials - successes]))
    assert found.interval == pytest.approx(interval, abs=1e-4)


def test_estimates_of_other_scores_are_bootstrapped():
    found = estimate(np.array([0.5, 1.5, 2.5, 3.5]))
    assert found.value == 2
    assert 0.5 <= found.interval[0] < 2 < found.interval[1] <= 3.5


def test_principal_components_are_those_of_the_singular_values():
    features = np.random.default_rng(0).normal(size=(20, 50)) * np.linspace(0.1, 3, 50)
    projections, shares = principal_components(features)
    left, values, _ = np.linalg.svd(features - features.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(projections), np.abs(left[:, :2] * values[:2]), atol=1e-8)
    np.testing.assert_allclose(shares, values[:2] ** 2 / (values**2).sum())
    assert (projections[np.abs(projections).argmax(0), [0, 1]] > 0).all()


# The whole
# --------------------------------------------------------------------------------


@pytest.fixture
def run(trained, tmp_path) -> Path:
    return Path(
        shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("inspect*"))
    )


def test_an_inspection_ends_up_in_the_report(run, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    (run / "inspect-old.png").write_bytes(PNG)
    assert main(["inspect", str(run), "--episodes", "16"]) == 0
    printed = capsys.readouterr().out
    assert "What the memory does" in printed
    found = json.loads((run / "inspection.json").read_text())
    assert (found["task"], found["episodes"], found["notes"]) == ("recall/12", 16, [])
    files = [figure["file"] for figure in found["figures"]]
    assert files == [
        "inspect-attention.png",
        "inspect-attention-heads.png",
        "inspect-trajectories.png",
        "inspect-decoding.png",
        "inspect-noise.png",
    ]
    assert sorted(path.name for path in run.glob("inspect-*.png")) == sorted(files)
    assert all((run / name).read_bytes().startswith(PNG) for name in files)
    assert [entry["step"] for entry in found["decoding"]["memory"]] == [0, 4, 8]
    assert found["decoding"]["memory"][0]["value"] == 0.5
    assert [entry["strength"] for entry in found["noise_by_strength"]["memory"]] == [
        0,
        0.25,
        0.5,
        0.75,
        1,
    ]
    html, text = (run / "report.html").read_text(), (run / "report.md").read_text()
    assert html.count("data:image/png") == len(files)
    assert "<svg" in html  # the training curves
    assert all(f"({name})" in text for name in files)
    assert "cue decoded from memory at step 8" in text


def test_an_inspection_can_go_elsewhere_and_is_the_same_each_time(run, tmp_path):
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    first, second = (
        rate.inspect(run, "recall/9", episodes=10, output=tmp_path / name) for name in ("a", "b")
    )
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    assert {path.name for path in first.iterdir()} == {path.name for path in second.iterdir()}
    for path in first.glob("*.png"):
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name
    one, other = (
        json.loads((folder / "inspection.json").read_text()) for folder in (first, second)
    )
    assert {**one, "date": ""} == {**other, "date": ""}


def test_what_cannot_be_found_is_noted(trained):
    policy, _ = load_policy(trained)
    unnamed = Inspection(policy, replace(TASK, cue=None), range(12)).findings()
    assert any("names no cue" in note for note in unnamed.notes)
    assert set(unnamed.pictures) == {
        f"inspect-{name}.png" for name in ("attention", "attention-heads", "trajectories", "noise")
    }
    short = Inspection(policy, replace(TASK, horizon=4), range(12)).findings()
    assert any("longer than one segment of 4 steps" in note for note in short.notes)
    few = Inspection(policy, TASK, range(2)).findings()
    assert any("too few episodes to decode" in note for note in few.notes)
    memoryless = Policy(TASK.observation_space, TASK.action_space, config_class("mlp")()).eval()
    blind = Inspection(memoryless, TASK, range(4)).findings()
    assert not blind.pictures
    assert [re.sub(r"[:.].*", "", note) for note in blind.notes] == [
        "There are no attention maps of this kind of model",
        "This model carries nothing from segment to segment",
    ]


@pytest.mark.parametrize("name", [*names(), "cached"])
def test_every_model_can_be_inspected(name):
    findings = Inspection(policy_of(name), TASK, range(12)).findings()
    assert len(findings.pictures) + 2 * len(findings.notes) in (
        4,
        5,
    )  # no maps: two pictures fewer; no memory: none
    assert all(png.startswith(PNG) for png, _ in findings.pictures.values())


def test_scores_that_are_not_shares_can_be_inspected(trained):
    policy, _ = load_policy(trained)
    task = replace(
        TASK, score=lambda total, length: 10 * total + length, metric="points", reference={}
    )
    findings = Inspection(policy, task, range(6)).findings()
    assert "inspect-noise.png" in findings.pictures
    assert findings.numbers["untouched"]["value"] >= 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "tmaze/9"}, "the policy was trained for the observation space"),
        ({"episodes": 1}, "episodes must be at least 2, but 1 was given"),
        ({"task": "recal/12"}, "Did you mean 'recall/12'"),
        ({"checkpoint": "first"}, "checkpoint must be one of last, best, not 'first'"),
    ],
)
def test_what_cannot_be_inspected_is_said(run, arguments, message):
    with pytest.raises(ValueError, match=message):
        rate.inspect(run, **arguments)
    assert not (run / "inspection.json").exists()


def test_an_unknown_option_is_answered_with_those_that_exist(run):
    with pytest.raises(TypeError, match="'episode'; options are checkpoint, episodes, first_seed"):
        rate.inspect(run, episode=4)


def test_a_run_whose_data_is_gone_needs_a_task(run):
    recipe = json.loads((run / "recipe.json").read_text())
    (run / "recipe.json").write_text(json.dumps({**recipe, "dataset": str(run / "gone")}))
    provenance = json.loads((run / "provenance.json").read_text())
    del provenance["hash"]  # as before provenance had one
    (run / "provenance.json").write_text(json.dumps({**provenance, "task": None}))
    with pytest.raises(ValueError, match="does not say which task its data is from"):
        rate.inspect(run, episodes=4)


@pytest.mark.parametrize(
    "content", [{"figures": [{"file": "../secret.png", "caption": ""}]}, {"table": [["a"]]}, {}]
)
def test_a_damaged_inspection_is_a_speaking_error(run, content):
    whole = {
        "task": "recall/12",
        "checkpoint": "last",
        "episodes": 4,
        "notes": [],
        "figures": [],
        "table": [],
    }
    (run / "inspection.json").write_text(json.dumps({**whole, **content} if content else {}))
    with pytest.raises(
        ReportError, match=r"inspection.json cannot be shown .* run rate inspect again"
    ):
        report(run)
