"""Frames stacked by the loader train like frames that are stacked on the disk."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

import rate
from rate.dataset import Dataset, write_dataset
from rate.episode import Episode
from rate.images import FrameStack, stacked_space
from rate.models import config_class
from rate.objectives import OBJECTIVES
from rate.storage.files import read_jsonl

SHAPE, COUNT = (12, 16, 2), 3
SPACE = spaces.Box(0, 255, SHAPE, np.uint8)


def films(repeat: bool) -> list[Episode]:
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (4, *SHAPE), np.uint8)
    episodes = []
    for steps in random.integers(1, 13, 12):
        last = np.arange(steps) == steps - 1
        frames = random.integers(0, 256, (steps + 1, *SHAPE), np.uint8)
        if repeat:
            frames = pictures[np.arange(steps + 1) % 4]
        episodes.append(
            Episode(
                {"observation": frames},
                random.integers(0, 3, steps),
                random.random(steps).astype(np.float32),
                last,
                last & False,
            )
        )
    return episodes


def stacked(episode: Episode) -> Episode:
    stack = FrameStack(SPACE, COUNT)
    images = [
        stack.push({"observation": frame[None]}, np.array([step == 0]))["observation"][0]
        for step, frame in enumerate(episode.observations["observation"])
    ]
    return replace(episode, observations={"observation": np.stack(images)})


@pytest.mark.parametrize("objective", ["behaviour-cloning", "cql"])
@pytest.mark.parametrize("repeat", [False, True])
def test_the_losses_are_those_of_stacked_data(
    repeat: bool, objective: str, tiny, tmp_path: Path
) -> None:
    episodes = films(repeat)
    space = stacked_space(SPACE, COUNT)
    single = write_dataset(tmp_path / "single", episodes, SPACE, spaces.Discrete(3))
    double = write_dataset(tmp_path / "double", map(stacked, episodes), space, spaces.Discrete(3))

    def losses(dataset: Dataset, count: int) -> list[list[float]]:
        options = {"dataset": str(dataset.path), "stack_frames": count, "updates": 3}
        options["encoder"] = "nature"  # pictures are scaled alike whatever their statistics
        options["objective"] = OBJECTIVES.find(objective)()
        if objective != "behaviour-cloning":
            options["model"] = config_class("lstm")(
                segment_length=4, segments=3, width=16, hidden=8, encoder="nature"
            )
        run = tmp_path / f"run-{count}"
        rate.train(tiny(**options), run, threads=1, accelerator="cpu")
        names = ("loss", "validation_loss")
        return [
            [row[name] for row in read_jsonl(run / "metrics.jsonl") if name in row]
            for name in names
        ]

    for one, other in zip(losses(single, COUNT), losses(double, 1), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_data_without_images_cannot_be_stacked(tiny, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no leaf of the observations is an image"):
        rate.train(tiny(stack_frames=2), tmp_path / "run", accelerator="cpu")
    assert not (tmp_path / "run").exists()


def test_recipes_without_stacked_frames_keep_their_name(tiny) -> None:
    before = "c546a40bf382"
    assert tiny().hash == before
    assert tiny(stack_frames=2).hash != before
    with pytest.raises(ValueError, match="stack_frames must be at least 1"):
        tiny(stack_frames=0)
