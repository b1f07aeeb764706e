"""What several tests share: a small dataset, small recipes, and one trained run."""

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import rate
from rate.models.rate import Config
from rate.recipe import OptimiserConfig, Recipe, SelectionConfig

MODEL = Config(
    segment_length=4,
    segments=3,
    width=16,
    layers=1,
    heads=2,
    head_width=8,
    feed_forward=0,
    memory_tokens=2,
    valve_heads=2,
    dropout=0.0,
    attention_dropout=0.0,
)
RECIPE = Recipe(
    dataset="",
    model=MODEL,
    updates=6,
    batch_size=8,
    micro_batch=4,
    sampling="first",
    optimiser=OptimiserConfig(learning_rate=3e-3, warmup=2),
    selection=SelectionConfig(every=3, episodes=4, fraction=0.1),
    checkpoint_every=2,
)

MakeRecipe = Callable[..., Recipe]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a CUDA device where there is none."""
    if item.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Test processes that run in parallel use one thread each, whatever the last test set."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def recall(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 64 episodes of recall/12."""
    folder = tmp_path_factory.mktemp("data") / "recall"
    rate.collect("recall/12", folder, episodes=64)
    return folder


@pytest.fixture(scope="session")
def tiny(recall: Path) -> MakeRecipe:
    """Makes a recipe that trains in a moment; options of the model and of the recipe may be
    mixed."""

    def make(**options: object) -> Recipe:
        of_model = {name: value for name, value in options.items() if hasattr(MODEL, name)}
        of_recipe = {name: value for name, value in options.items() if name not in of_model}
        model = replace(MODEL, **of_model)  # type: ignore[arg-type]
        changes: dict[str, Any] = {"dataset": str(recall), "model": model, **of_recipe}
        return replace(RECIPE, **changes)

    return make


@pytest.fixture(scope="session")
def trained(tiny: MakeRecipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; a test that changes anything in it works on a copy."""
    return rate.train(
        tiny(), tmp_path_factory.mktemp("runs") / "tiny", threads=1, accelerator="cpu"
    )


@pytest.fixture
def read_only_folder() -> Iterator[Path]:
    """A folder that this process may not write to; root gives up its rights for the time of the
    test."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(user)
            os.chmod(folder, 0o755)
