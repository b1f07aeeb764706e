"""Training on pixels: bytes until they are encoded, each frame encoded once for a batch, and the
gradient of encoding every observation by itself."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import lightning_fabric
import numpy as np
import pytest
import torch
from gymnasium import spaces

from rate.dataset import Batch, BatchReader, Sampler, write_dataset
from rate.dataset.frames import SharedFrames
from rate.episode import Episode, returns_to_go
from rate.models import rate as model
from rate.models.policy import Policy
from rate.objectives import behaviour_cloning
from rate.recipe import Recipe
from rate.runs.checkpoint import load_policy
from rate.training import train
from rate.training.data import describe, fill_in, samplers
from rate.training.update import Learner, WindowLoss, adamw

SHAPE = (20, 18, 3)
SPACE, ACTIONS = spaces.Box(0, 255, SHAPE, np.uint8), spaces.Discrete(3)
CONFIG = model.Config(
    4, 3, width=16, heads=2, head_width=8, layers=1, dropout=0.0, attention_dropout=0.0
)


def episodes(repeat: bool) -> list[Episode]:
    """Episodes of 5 to 30 steps with images that are all different, or of six kinds."""
    random = np.random.default_rng(0)
    kinds = random.integers(0, 256, (6, *SHAPE), np.uint8)
    made = []
    for steps in (30, 12, 5, 17):
        frames = random.integers(0, 256, (steps + 1, *SHAPE), np.uint8)
        if repeat:
            frames = kinds[random.integers(0, 6, steps + 1)]
        last = np.arange(steps) == steps - 1
        rewards = (random.random(steps) < 0.2).astype(np.float32)
        actions = random.integers(0, 3, steps)
        made.append(Episode({"observation": frames}, actions, rewards, last, last & False))
    return made


def learner_of(recipe: Recipe) -> Learner:
    torch.manual_seed(0)
    policy = Policy(SPACE, ACTIONS, recipe.model)
    fabric = lightning_fabric.Fabric(accelerator="cpu", devices=1)
    module = WindowLoss(policy)
    loss, optimiser = fabric.setup(module, adamw(module, recipe.optimiser))
    return Learner(fabric, loss, policy, module.objective, optimiser, recipe, seed=0)


@pytest.mark.parametrize("encoder", ["nature", "impala"])
@pytest.mark.parametrize("repeat", [False, True])
def test_each_frame_is_encoded_once_in_a_batch(repeat: bool, encoder: str, tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", episodes(repeat), SPACE, ACTIONS)
    stored = dataset.arrays["observations/observation"]
    frames = stored.frames if isinstance(stored, SharedFrames) else stored
    assert isinstance(frames.base, np.memmap)
    assert frames.dtype == np.uint8
    recipe = Recipe(str(tmp_path / "data"), replace(CONFIG, encoder=encoder), batch_size=4)
    learner = learner_of(recipe)
    encoded: list[int] = []
    convolutions = learner.policy.encoders["observation"].encoders[0].convolutions
    convolutions.register_forward_hook(lambda _, images, __: encoded.append(len(images[0])))
    sampler = Sampler(dataset.lengths, 4, CONFIG.window, "first", 0)
    batch = BatchReader(dataset, [sampler], 1, 4)[0]
    (part,) = batch.parts
    bytes_ = part.frames if repeat else part.observations
    assert bytes_["observation"].dtype == torch.uint8
    learner.update(batch)
    shown = {
        image.tobytes()
        for row, length in enumerate(part.lengths)
        for image in observed(part, row)[:length]
    }
    # Images that do not repeat are encoded with their segments, and so are steps of padding.
    assert sum(encoded) == (len(shown) if repeat else part.mask.numel() - unused(part))


def observed(part, row: int) -> np.ndarray:
    values = part.observations["observation"][row]
    return (part.frames["observation"][values] if part.frames else values).numpy()


def unused(part) -> int:
    """Steps in segments of rows whose episode has ended before."""
    return sum(len(range(0, CONFIG.window, 4)) * 4 - -(-length // 4) * 4 for length in part.lengths)


def gradients(batch: Batch, bptt: int = 0) -> list[torch.Tensor]:
    recipe = Recipe("data", CONFIG, batch_size=4, bptt_segments=bptt)
    learner = learner_of(recipe)
    learner._step = lambda: torch.zeros(())  # type: ignore[method-assign]
    learner.update(batch)
    return [one.grad for one in learner.policy.parameters() if one.grad is not None]


@pytest.mark.parametrize("bptt", [0, 1])
def test_the_gradient_is_that_of_every_observation_encoded_by_itself(
    bptt: int, tmp_path: Path
) -> None:
    dataset = write_dataset(tmp_path / "data", episodes(True), SPACE, ACTIONS)
    sampler = Sampler(dataset.lengths, 4, CONFIG.window, "first", 0)
    batch = BatchReader(dataset, [sampler], 1, 4)[0]
    (part,) = batch.parts
    images = part.frames["observation"][part.observations["observation"]]
    plain = replace(part, observations={"observation": images}, frames={})
    for one, other in zip(
        gradients(batch, bptt), gradients(replace(batch, parts=[plain]), bptt), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_an_epoch_of_strides_reads_each_frame_once_with_the_return_of_its_episode(
    tmp_path: Path,
) -> None:
    data = episodes(False)
    dataset = write_dataset(tmp_path / "data", data, SPACE, ACTIONS)
    recipe = fill_in(Recipe(str(tmp_path / "data"), CONFIG, batch_size=3), dataset)
    assert recipe.sampling == "stride"
    (sampler,) = samplers(recipe, dataset, 0, np.arange(len(dataset)))
    reader = BatchReader(dataset, [sampler], sampler.batches_per_epoch, 3)
    read: Counter[bytes] = Counter()
    left = {}
    for update in range(len(reader)):
        (part,) = reader[update].parts
        for row, length in enumerate(part.lengths):
            for step, image in enumerate(observed(part, row)[:length]):
                read[image.tobytes()] += 1
                left[image.tobytes()] = float(part.returns_to_go[row, step])
    # The last batch is filled from the next epoch.
    every = [frame.tobytes() for one in data for frame in one.observations["observation"][:-1]]
    assert set(read) == set(every)
    assert sum(read.values()) - len(every) < 3 * CONFIG.window
    for one in data:
        whole = returns_to_go(one.rewards)
        for frame, value in zip(one.observations["observation"], whole, strict=False):
            assert left[frame.tobytes()] == value


def test_windows_without_rewards_are_left_out_if_asked(tmp_path: Path) -> None:
    data = episodes(False)
    dataset = write_dataset(tmp_path / "data", data, SPACE, ACTIONS)
    recipe = fill_in(
        Recipe(str(tmp_path / "data"), CONFIG, batch_size=2, least_window_return=2), dataset
    )
    (sampler,) = samplers(recipe, dataset, 0, np.arange(len(dataset)))
    kept = {
        (index, start)
        for index, one in enumerate(data)
        for start in range(0, len(one), CONFIG.window)
        if one.rewards[start : start + CONFIG.window].sum() >= 2
    }
    assert 0 < len(kept) < sum(-(-len(one) // CONFIG.window) for one in data)
    seen = set()
    for update in range(sampler.batches_per_epoch):
        plan = sampler.plan(update)
        seen |= set(zip(plan.episodes.tolist(), plan.starts.tolist(), strict=True))
        assert (plan.lengths <= CONFIG.window).all()
    assert seen == kept
    line = describe(recipe, dataset, [sampler])
    assert "rewards of less than 2 are left out" in line
    steps = sum(min(CONFIG.window, len(data[index]) - start) for index, start in kept)
    assert sampler.coverage == pytest.approx(steps / dataset.steps)
    asked = replace(recipe, least_window_return=100.0)
    with pytest.raises(ValueError, match="no window of 12 steps has rewards of 100"):
        samplers(asked, dataset, 0, np.arange(len(dataset)))
    with pytest.raises(ValueError, match="drawn afresh"):
        samplers(replace(recipe, sampling="random"), dataset, 0, np.arange(len(dataset)))
    behaviour = behaviour_cloning.Config()
    assert replace(recipe, objective=behaviour).hash != replace(asked, objective=behaviour).hash


def test_encoders_that_subtract_the_mean_image_see_the_data_before_the_first_update(
    tmp_path: Path,
) -> None:
    dataset = write_dataset(tmp_path / "data", episodes(repeat=True), SPACE, ACTIONS)
    recipe = Recipe(
        str(tmp_path / "data"), replace(CONFIG, encoder="centred"), updates=1, batch_size=2
    )
    recipe = replace(recipe, optimiser=replace(recipe.optimiser, warmup=1))
    run = train(recipe, tmp_path / "run", threads=1, accelerator="cpu")
    policy, _ = load_policy(run / "last.safetensors")
    encode = policy.encoders["observation"].encoders[0]
    images = torch.from_numpy(np.array(dataset.arrays["observations/observation"][:]))
    prepared = encode.prepare(images)
    torch.testing.assert_close(prepared.mean(0), torch.zeros_like(encode.mean), atol=1e-4, rtol=0)
    assert float(prepared.square().mean()) == pytest.approx(1, abs=1e-3)
