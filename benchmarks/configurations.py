"""The sizes that are measured, and the data they are trained on."""

from dataclasses import dataclass
from pathlib import Path

from rate.acting.collection import collect
from rate.dataset import Dataset, open_dataset
from rate.models.rate import Config
from rate.recipe import OptimiserConfig, Recipe


@dataclass(frozen=True)
class Configuration:
    """A model, its batch and its data: T-Maze with corridor lengths uniform up to the training
    window."""

    name: str
    model: Config
    batch_size: int
    optimiser: OptimiserConfig

    @property
    def task(self) -> str:
        """Episodes of 2 ... N x K - 1 steps."""
        return f"tmaze-uniform/{self.model.window}"

    def dataset(self, folder: Path, episodes: int = 2000) -> Dataset:
        """The dataset in `folder`, collected on first use."""
        path = folder / self.name
        if not path.exists():
            collect(self.task, path, episodes=episodes)
        return open_dataset(path, verify=False)

    def recipe(self, dataset: Dataset) -> Recipe:
        """The recipe that is timed; the gradient crosses all segments of the window."""
        return Recipe(
            dataset=str(dataset.path),
            model=self.model,
            batch_size=self.batch_size,
            optimiser=self.optimiser,
        )


RELEASED = Configuration(
    "released",
    Config(
        layers=10,
        heads=4,
        memory_tokens=15,
        dropout=0.2,
        attention_dropout=0.0,
        segment_length=50,
        segments=3,
    ),
    batch_size=128,
    optimiser=OptimiserConfig(learning_rate=3e-4, betas=(0.9, 0.999), warmup=1000),
)
"""The T-Maze configuration of the published training script."""

DEMO = Configuration("demo", Config(), batch_size=64, optimiser=OptimiserConfig())
"""The configuration of `rate reproduce demo`."""

CONFIGURATIONS = {configuration.name: configuration for configuration in (RELEASED, DEMO)}
