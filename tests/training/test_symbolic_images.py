"""Grids of small numbers in bytes are learned as well as floats, whatever their layout."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import rate
from rate.dataset import Dataset, write_dataset
from rate.episode import Episode
from rate.models import config_class
from rate.recipe import OptimiserConfig, Recipe, SelectionConfig
from rate.storage.files import read_jsonl

STEPS, SIDE = 8, 7
KINDS = {
    "numbers": 255,
    "narrow": 10,
    "one-hot": 255,
    "planar": 255,
    "class-map": 255,
    "mask": 255,
}
"""Upper bound of each kind of picture's space."""


def picture(kind: str, answer: int, random: np.random.Generator) -> np.ndarray:
    """A grid [H, W, C] in whose middle the answer, 0 to 3, can be read."""
    middle = SIDE // 2
    if kind == "mask":
        grid = (random.random((SIDE, SIDE, 1)) < 0.3).astype(np.uint8)
        grid[2:4, 2:4] = 0
        grid[2 + answer // 2, 2 + answer % 2] = 1
    elif kind in ("one-hot", "planar"):
        grid = np.eye(20, dtype=np.uint8)[random.integers(4, 11, (SIDE, SIDE))]
        grid[middle, middle] = np.eye(20, dtype=np.uint8)[answer]
    else:
        grid = np.zeros((SIDE, SIDE, 1 if kind == "class-map" else 3), np.uint8)
        grid[..., 0] = random.integers(1, 11, (SIDE, SIDE))
        grid[middle, middle, 0] = 4 + answer
    return grid.transpose(2, 0, 1) if kind == "planar" else grid


def record(folder: Path, kind: str, episodes: int, as_float: bool = False) -> Dataset:
    random = np.random.default_rng(0)
    recorded = []
    for _ in range(episodes):
        answers = random.integers(0, 4, STEPS + 1)
        grids = np.stack([picture(kind, answer, random) for answer in answers])
        ends = np.arange(STEPS) == STEPS - 1
        recorded.append(
            Episode(
                {"observation": grids.astype(np.float32) if as_float else grids},
                answers[:-1],
                np.ones(STEPS, np.float32),
                np.zeros(STEPS, bool),
                ends,
            )
        )
    dtype = np.float32 if as_float else np.uint8
    shape = recorded[0].observations["observation"].shape[1:]
    space: gymnasium.Space = spaces.Box(0, KINDS[kind], shape, dtype)
    return write_dataset(folder, recorded, space, spaces.Discrete(4))


def accuracy(folder: Path, run: Path, model: str, updates: int) -> float:
    """Action accuracy of a model trained on the dataset, on episodes that were held out."""
    config = config_class(model)
    sizes = {"segment_length": STEPS, "segments": 1, "dropout": 0.0, "attention_dropout": 0.0}
    known = {name: value for name, value in sizes.items() if name in config.__dataclass_fields__}
    recipe = Recipe(
        dataset=str(folder),
        model=config(**known),  # type: ignore[arg-type]
        updates=updates,
        batch_size=32,
        optimiser=OptimiserConfig(learning_rate=3e-3, warmup=20),
        selection=SelectionConfig(fraction=0.1, every=updates),
    )
    rate.train(recipe, run, seed=0, accelerator="cpu", threads=1)
    rows = [row for row in read_jsonl(run / "metrics.jsonl") if "validation_accuracy" in row]
    return float(rows[-1]["validation_accuracy"])


@pytest.mark.parametrize("kind", ["numbers", "one-hot"])
def test_small_numbers_in_bytes_are_learned(kind: str, tmp_path: Path) -> None:
    record(tmp_path / "data", kind, 200)
    assert accuracy(tmp_path / "data", tmp_path / "run", "mlp", 120) > 0.9


def test_a_wrong_encoder_is_refused_before_a_run_is_made(tmp_path: Path, tiny):
    record(tmp_path / "data", "numbers", 2)
    recipe = tiny(dataset=str(tmp_path / "data"), encoder="observation=categories")
    with pytest.raises(ValueError, match="observation 'observation': the encoder 'categories'"):
        rate.train(recipe, tmp_path / "run", threads=1, accelerator="cpu")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", ["mlp", "rate"])
def test_all_kinds_of_bytes_are_learned_as_well_as_floats(
    kind: str, model: str, tmp_path: Path
) -> None:
    scores = []
    for as_float in (False, True):
        folder = tmp_path / f"data-{as_float}"
        record(folder, kind, 400, as_float)
        scores.append(accuracy(folder, tmp_path / f"run-{as_float}", model, 400))
    assert scores[0] >= max(0.99, scores[1] - 0.01), scores
