"""Memory corruption: noise enters where, when and as strongly as asked, and does not depend on what
is played beside it."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

import rate
from rate.acting.actor import Actor
from rate.acting.corruption import Corrupted, Corruption
from rate.models import config_class, names
from rate.models.policy import Policy
from rate.models.rate import Config
from rate.runs.folder import Run
from rate.storage.files import read_jsonl
from rate.tasks.lookup import find

SEGMENT, STEPS = 4, 18
TASK = find("recall/12")
CACHED = {"memory_tokens": 2, "cached_states": 9}


def policy_of(**options: object) -> Policy:
    torch.manual_seed(0)
    sizes = {"segment_length": SEGMENT, "width": 16, "heads": 2, "head_width": 8, "dropout": 0.0}
    config = Config(**{**sizes, **options})  # type: ignore[arg-type]
    return Policy(TASK.observation_space, TASK.action_space, config).eval()


def outputs_of(actor: Actor, seeds: list[int]) -> np.ndarray:
    """Outputs [steps, rows, outputs] for observations that belong to the seeds; the actions
    executed are fixed."""
    observations = np.array(
        [
            np.random.default_rng(seed).uniform(-1, 1, (STEPS, 3)).astype(np.float32)
            for seed in seeds
        ]
    ).swapaxes(0, 1)
    actor.reset(len(seeds), seeds)
    found = []
    for step, values in enumerate(observations):
        found.append(actor.outputs(values, np.zeros(len(seeds))).numpy())
        actor.actions = np.full(len(seeds), step % 2)
    return np.array(found)


@pytest.fixture(scope="module")
def policy() -> Policy:
    return policy_of()


@pytest.fixture
def run(trained, tmp_path) -> Path:
    return Path(
        shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("scores.jsonl"))
    )


def test_strength_zero_changes_nothing(policy):
    seeds = [3, 1, 4]
    plain = outputs_of(Actor(policy, 1.0), seeds)
    np.testing.assert_array_equal(
        outputs_of(Corrupted(policy, 1.0, Corruption(strength=0.0)), seeds), plain
    )


@pytest.mark.parametrize("what", ["memory", "cache", "all"])
@pytest.mark.parametrize(("step", "first"), [(0, 0), (1, 4), (4, 4), (7, 8), (16, 16)])
def test_outputs_change_from_the_first_segment_at_or_after_the_step_on(what, step, first):
    policy = policy_of(**CACHED)
    plain = outputs_of(Actor(policy, 1.0), [5, 6])
    noisy = outputs_of(Corrupted(policy, 1.0, Corruption(what, step=step)), [5, 6])
    np.testing.assert_array_equal(noisy[:first], plain[:first])
    first = (
        max(first, SEGMENT) if what == "cache" else first
    )  # The first segment has nothing cached to corrupt.
    assert (np.abs(noisy[first:] - plain[first:]).max((1, 2)) > 1e-4).all()


def test_until_ends_the_noise(policy):
    """Noise for a single segment at its border, and none for one that no border lies in."""
    seeds = [1, 2]
    plain = outputs_of(Actor(policy, 1.0), seeds)
    between = Corruption(step=5, until=8)
    np.testing.assert_array_equal(outputs_of(Corrupted(policy, 1.0, between), seeds), plain)
    once, twice = (
        outputs_of(Corrupted(policy, 1.0, Corruption(step=4, until=until)), seeds)
        for until in (8, 12)
    )
    np.testing.assert_array_equal(once[:8], twice[:8])
    assert np.abs(once[8:] - twice[8:]).max() > 1e-4


def test_noise_does_not_depend_on_what_is_played_beside(policy):
    together = outputs_of(Corrupted(policy, 1.0, Corruption()), [7, 2**40, 0])
    for row, seed in enumerate((7, 2**40, 0)):
        alone = outputs_of(Corrupted(policy, 1.0, Corruption()), [seed])
        np.testing.assert_allclose(alone[:, 0], together[:, row], atol=1e-5)
    other = outputs_of(Corrupted(policy, 1.0, Corruption(seed=1)), [7, 2**40, 0])
    assert np.abs(other - together).max() > 1e-2


def test_a_row_reset_alone_gets_the_noise_of_its_new_seed(policy):
    actor, alone = Corrupted(policy, 1.0, Corruption()), Corrupted(policy, 1.0, Corruption())
    actor.reset(2, [1, 2])
    values = np.ones((2, 3), np.float32)
    for _ in range(3):
        actor.act(values, np.zeros(2))
    actor.reset(rows=np.array([1]), seeds=[9])
    alone.reset(1, [9])
    got, wanted = actor.outputs(values, np.zeros(2))[1], alone.outputs(values[:1], np.zeros(1))[0]
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=0)


def test_noise_is_white_of_unit_variance_and_is_mixed_in():
    memory = (torch.full((3, 40, 50), 2.0), torch.full((3, 4), 3.0), torch.tensor([1, 2, 3]))
    before = [tensor.clone() for tensor in memory]
    noisy = Corruption(step=4).apply(memory, (0,), [1, 2, 3], [4, 0, 8])
    assert all(
        torch.equal(a, b) for a, b in zip(memory, before, strict=True)
    )  # memory is never changed in place
    assert torch.equal(noisy[0][1], memory[0][1])
    assert noisy[1] is memory[1]
    assert noisy[2] is memory[2]
    for row in (0, 2):
        assert abs(float(noisy[0][row].mean())) < 0.1
        assert float(noisy[0][row].std()) == pytest.approx(1, abs=0.05)
    assert not torch.equal(noisy[0][0], noisy[0][2])
    half = Corruption(strength=0.25, step=4).apply(memory, (0,), [1, 2, 3], [4, 0, 8])
    torch.testing.assert_close(half[0][0], 0.75 * memory[0][0] + 0.25 * noisy[0][0])


def test_parts_are_corrupted_one_by_one():
    policy = policy_of(**CACHED)
    assert policy.backbone.memory_parts() == {"memory": (0,), "cache": (1,)}
    assert Corruption("memory").entries(policy) == (0,)
    assert Corruption("cache").entries(policy) == (1,)
    assert Corruption("all").entries(policy) == (0, 1)


@pytest.mark.parametrize("model", names())
def test_every_model_names_the_floating_point_entries_of_its_memory(model):
    policy = Policy(TASK.observation_space, TASK.action_space, config_class(model)())
    memory = policy.backbone.full_size(policy.initial_memory(2))
    named = [index for part in policy.backbone.memory_parts().values() for index in part]
    held = [
        index
        for index, tensor in enumerate(memory)
        if tensor.is_floating_point() and tensor.numel()
    ]
    assert sorted(named) == held


def test_what_a_model_lacks_cannot_be_corrupted(policy):
    memoryless = Policy(TASK.observation_space, TASK.action_space, config_class("mlp")())
    with pytest.raises(
        ValueError,
        match="cache was to be corrupted, but this policy has no such thing: it has memory",
    ):
        Corrupted(policy, 1.0, Corruption("cache"))
    with pytest.raises(ValueError, match="it carries nothing from segment to segment"):
        Corrupted(memoryless, 1.0, Corruption("all"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"what": "mind"}, "what must be one of memory, cache, all, not 'mind'"),
        ({"strength": 1.5}, r"strength must lie in \[0, 1\], but 1.5"),
        ({"step": -1}, "step must be at least 0, but -1"),
        ({"seed": -3}, "seed must be at least 0, but -3"),
        ({"step": 4, "until": 4}, "until must be later than step 4, but 4"),
    ],
)
def test_wrong_corruptions_are_said(options, message):
    with pytest.raises(ValueError, match=message):
        Corruption(**options)


@pytest.mark.parametrize(
    ("corruption", "text"),
    [
        (Corruption(), "1 noise in memory from step 0 on"),
        (Corruption("all", 0.5, 9), "0.5 noise in all memory from step 9 on"),
        (Corruption("cache", step=3, until=4), "1 noise in cache at step 3"),
        (Corruption("cache", step=3, until=9), "1 noise in cache at steps 3 to 8"),
    ],
)
def test_a_corruption_says_what_it_does(corruption, text):
    assert str(corruption) == text


def test_corrupted_rows_say_so_and_do_not_depend_on_the_number_side_by_side(run):
    plain = rate.evaluate(run, ["recall/12"], episodes=12)[0]
    nothing = rate.evaluate(
        run, ["recall/12"], episodes=12, corruption=rate.Corruption(strength=0.0)
    )[0]
    noise = rate.Corruption(step=4)
    rows = [
        rate.evaluate(run, ["recall/12"], episodes=12, num_envs=n, corruption=noise)[0]
        for n in (1, 5, 100)
    ]
    assert "corruption" not in plain
    assert nothing["scores"] == plain["scores"]
    assert rows[0]["scores"] == rows[1]["scores"] == rows[2]["scores"]
    assert rows[0]["corruption"] == asdict(noise)
    assert (plain["variant"], rows[0]["variant"]) == (
        "run",
        "run, 1 noise in memory from step 4 on",
    )
    # The same evaluation again, however many play side by side, is no new row.
    assert read_jsonl(Run(run).scores_file) == json.loads(json.dumps([plain, nothing, rows[0]]))
    named = rate.evaluate(
        run, ["recall/12"], episodes=2, corruption=noise, labels={"variant": "noisy"}
    )[0]
    assert named["variant"] == "noisy"


def test_nothing_is_scored_if_the_model_lacks_what_is_to_be_corrupted(run):
    with pytest.raises(ValueError, match="it has memory"):
        rate.evaluate(run, ["recall/12"], episodes=2, corruption=rate.Corruption("cache"))
    assert not (Run(run).scores_file).exists()
