"""The card of a dataset holds statistics of images over all observations: of small images by
component, as of numbers, of others by channel."""

import json
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from rate.dataset import DatasetError, open_dataset, write_dataset
from rate.dataset.card import seal
from rate.dataset.image_statistics import ImageStatistics
from rate.episode import Episode

SPACE = spaces.Box(0, 255, (7, 8, 3), np.uint8)


def episodes(shape: tuple[int, ...] = (7, 8, 3)) -> list[Episode]:
    generator = np.random.default_rng(0)
    result = []
    for steps in (4, 1, 9):
        frames = generator.integers(0, (11, 256, 2), (steps + 1, *shape), dtype=np.uint8)
        frames[1:3] = frames[0]  # stored once, counted as often as they are seen
        ends = np.arange(steps) == steps - 1
        result.append(
            Episode(
                {"observation": frames},
                np.zeros(steps, np.int64),
                np.ones(steps, np.float32),
                ends,
                np.zeros(steps, bool),
            )
        )
    return result


def edited(folder: Path, **normalisation: object) -> Path:
    card = json.loads((folder / "card.json").read_text())
    card["normalisation"] = normalisation
    for key in ("format", "format_version", "content_hash", "card_hash"):
        card.pop(key)
    (folder / "card.json").write_text(seal(card))
    return folder


@pytest.mark.parametrize(("shape", "axes"), [((7, 8, 3), 0), ((28, 30, 3), (0, 1, 2))])
def test_statistics_are_those_of_all_observations(
    shape: tuple[int, ...], axes: int | tuple[int, ...], tmp_path: Path
) -> None:
    recorded = episodes(shape)
    space = spaces.Box(0, 255, shape, np.uint8)
    dataset = write_dataset(tmp_path / "data", recorded, space, spaces.Discrete(2))
    frames = np.concatenate([episode.observations["observation"] for episode in recorded])
    assert len(dataset.arrays["observations/observation"].frames) < len(frames)
    numbers = frames.astype(np.float64)
    expected = numbers.mean(axes), numbers.std(axes), numbers.min(axes), numbers.max(axes)
    for given, number in zip(dataset.normalisation["observation"], expected, strict=True):
        assert given.dtype == np.float32
        np.testing.assert_allclose(given, number, rtol=1e-6)


def test_channels_may_come_first() -> None:
    shape = (28, 30, 3)
    frames = np.concatenate([episode.observations["observation"] for episode in episodes(shape)])
    last, first = ImageStatistics(shape), ImageStatistics((3, 28, 30))
    last.add(frames)
    first.add(frames.transpose(0, 3, 1, 2))
    assert last.result() == first.result()


def test_statistics_do_not_depend_on_how_images_arrive() -> None:
    shape = (30, 30, 3)
    frames = np.random.default_rng(0).integers(0, 256, (700, *shape), dtype=np.uint8)
    whole, parts = ImageStatistics(shape), ImageStatistics(shape)
    whole.add(frames)
    for start in range(0, 700, 9):
        parts.add(frames[start : start + 9])
    assert whole.result() == parts.result()
    np.testing.assert_allclose(whole.result()["std"], frames.std((0, 1, 2)), rtol=1e-9)


def test_cards_without_statistics_of_images_are_read(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", episodes(), SPACE, spaces.Discrete(2))
    assert open_dataset(edited(tmp_path / "data")).normalisation == {}


@pytest.mark.parametrize(
    ("moments", "message"),
    [
        ({"mean": [1, 1, 1], "std": [1, 1, 1]}, "damaged"),
        ({"mean": [1, 1], "std": [1, 1], "min": [0, 0], "max": [1, 1]}, "needs"),
        ({"mean": [1, 1, 1], "std": [1, -1, 1], "min": [0] * 3, "max": [2] * 3}, "needs"),
        ({"mean": [1, 1, 1], "std": [1, 1, 1], "min": [0] * 3, "max": [2, "a", 2]}, "damaged"),
        ({"mean": [1, 1, 1], "std": [1, 1, 1], "min": [0] * 3, "max": 3}, "damaged"),
    ],
)
def test_damaged_statistics_are_refused(
    tmp_path: Path, moments: dict[str, object], message: str
) -> None:
    space = spaces.Box(0, 255, (30, 30, 3), np.uint8)
    write_dataset(tmp_path / "data", episodes((30, 30, 3)), space, spaces.Discrete(2))
    with pytest.raises(DatasetError, match=rf"card.json.*'normalisation'.*{message}"):
        open_dataset(edited(tmp_path / "data", observation=moments))
