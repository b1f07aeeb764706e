"""Batches of a dataset in memory or on a device are those of its files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch.utils import _pytree as pytree

import rate
from rate.dataset import BatchReader, Dataset, Sampler, cached, open_dataset, write_dataset
from rate.episode import Episode
from rate.runs.folder import Run


def images(path: Path, different: int) -> Dataset:
    """Episodes of images of which so many are different."""
    generator = np.random.default_rng(0)
    kinds = generator.integers(0, 256, (different, 4, 4, 3), np.uint8)

    def recorded() -> Any:
        for steps in generator.integers(2, 9, 12):
            yield Episode(
                {"observation": kinds[generator.integers(0, different, steps + 1)]},
                generator.integers(0, 3, steps),
                np.ones(steps, np.float32),
                np.arange(steps) == steps - 1,
                np.zeros(steps, bool),
            )

    space = spaces.Box(0, 255, (4, 4, 3), np.uint8)
    return write_dataset(path, recorded(), space, spaces.Discrete(3))


@pytest.fixture(params=["numbers", "images that repeat", "other images"])
def data(request: pytest.FixtureRequest, recall: Path, tmp_path: Path) -> Dataset:
    if request.param == "numbers":
        return open_dataset(recall)
    return images(tmp_path / "images", 5 if request.param == "images that repeat" else 1000)


@pytest.mark.parametrize("where", ["device", "memory"])
@pytest.mark.parametrize(
    "options",
    [{}, {"steps": 15}, {"next_observation": True}, {"stack_frames": 2}, {"micro_batch": 3}],
)
def test_batches_are_those_of_the_files(data: Dataset, where: Any, options: Any) -> None:
    sampler = Sampler(data.lengths, 7, 10, "first", 0)
    copy = cached(data, where, torch.device("cpu"))
    np.testing.assert_array_equal(copy.returns, data.returns)
    options = {"micro_batch": 7, **options}
    one, other = (BatchReader(source, [sampler], 5, **options) for source in (data, copy))
    for update in range(5):
        expected, found = one[update], other[update]
        np.testing.assert_array_equal(found.lengths, expected.lengths)
        pairs = zip(*(pytree.tree_leaves(batch.parts) for batch in (expected, found)), strict=True)
        for one_leaf, other_leaf in pairs:
            torch.testing.assert_close(other_leaf, one_leaf, rtol=0, atol=0)


def test_on_a_cpu_the_files_are_read_unless_asked_otherwise(recall: Path) -> None:
    data = open_dataset(recall)
    assert cached(data, "auto", torch.device("cpu")) is data
    assert cached(data, "off", torch.device("cpu")) is data


def test_a_run_on_cached_data_has_the_same_losses(tiny: Any, tmp_path: Path) -> None:
    def losses(cache: str) -> list[float]:
        run = rate.train(tiny(), tmp_path / cache, accelerator="cpu", threads=1, cache=cache)
        return [row["loss"] for row in Run(run).metrics()]

    assert losses("off") == losses("memory") == losses("device")


def test_data_on_the_device_is_read_by_the_training_process(tiny: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="leave it at 0"):
        rate.train(tiny(), tmp_path / "run", cache="device", loader_workers=1)
