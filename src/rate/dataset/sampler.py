"""Which windows of which episodes make up a batch: a pure function of seed and update."""

import copy
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Literal, get_args

import numpy as np

from rate.dataset.read import Dataset

Sampling = Literal["first", "stride", "random", "uniform", "full"]


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of consecutive steps, one a row."""

    episodes: np.ndarray
    """Index of the episode, [n] int64."""
    starts: np.ndarray
    """First step in the episode, [n] int64."""
    lengths: np.ndarray
    """Number of steps, [n] int64."""

    def __len__(self) -> int:
        return len(self.episodes)

    def __getitem__(self, rows: slice | np.ndarray) -> "Windows":
        return Windows(self.episodes[rows], self.starts[rows], self.lengths[rows])

    def longest_first(self) -> "Windows":
        """The windows sorted by length; those of equal length keep their order."""
        return self[np.argsort(-self.lengths, kind="stable")]

    def split(self, size: int) -> list["Windows"]:
        """Consecutive groups of at most `size` windows."""
        return [self[start : start + size] for start in range(0, len(self), size)]


@dataclass(frozen=True, eq=False)
class Sampler:
    """Seeded batches of windows of at most `window` consecutive steps, cut at the episode's end.

    An epoch goes once through all windows in a new random order. A batch may straddle two epochs,
    so every batch has `batch_size` windows. The windows of an episode of T steps are, by
    `sampling`:

    - "first": the one that starts at step 0.
    - "stride": those that start at 0, window, 2 * window, ...; they hold every step exactly once.
    - "random": one, whose start is uniform over 0 ... max(T - window, 0) and is drawn afresh in
      every epoch.
    - "uniform": T, one starting at each step. So every step of the data is equally likely to be
      the first of a window: each one is so exactly once in an epoch.
    - "full": those of "uniform" that have `window` steps. An episode that is shorter has none, and
      any other one takes part in proportion to the number of its windows.

    Raises:
        ValueError: a number is too small, the sampling is unknown, an episode does not exist, or
            no episode is as long as a full window.
    """

    episode_lengths: np.ndarray
    """Steps of each episode of the dataset, `Dataset.lengths`."""
    batch_size: int
    """Windows in a batch."""
    window: int
    """Most steps of a window."""
    sampling: Sampling
    """Which windows an epoch goes through."""
    seed: int
    """Determines the order, and the random starts."""
    episodes: np.ndarray | None = field(default=None, repr=False)
    """Indices of the episodes to draw from; all by default."""
    kept: np.ndarray | None = field(default=None, repr=False)
    """Numbers of the windows that an epoch goes through, in the order of the data; all by
    default. See `with_return`."""

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("window", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed is {least} or more")
        if self.sampling not in get_args(Sampling):
            raise ValueError(
                f"sampling is {self.sampling!r}, allowed are {', '.join(get_args(Sampling))}"
            )
        chosen, count = self._chosen, len(self.episode_lengths)
        if not chosen.size or chosen.ndim != 1 or chosen.min() < 0 or chosen.max() >= count:
            raise ValueError(
                f"episodes must be one or more of 0 to {count - 1}, got {self.episodes}"
            )
        if not self._windows_per_epoch:
            raise ValueError(
                f"sampling full takes windows of {self.window} steps, but no episode is as long: "
                "shorten the window, or take sampling uniform"
            )

    @property
    def coverage(self) -> float:
        """Fraction of the steps of its episodes that lie in some window."""
        lengths = self.episode_lengths[self._chosen]
        if self.kept is not None:
            inside = np.zeros(self.episode_lengths.sum() + 1, int)
            windows = self._windows(self.kept)
            first = self.episode_lengths.cumsum()[windows.episodes] + windows.starts
            first -= self.episode_lengths[windows.episodes]
            np.add.at(inside, first, 1)
            np.add.at(inside, first + windows.lengths, -1)
            return float((inside.cumsum() > 0).sum() / lengths.sum())
        seen = {
            "first": np.minimum(lengths, self.window),
            "full": np.where(lengths < self.window, 0, lengths),
        }
        return float(seen.get(self.sampling, lengths).sum() / lengths.sum())

    def with_return(self, dataset: Dataset, least: float) -> "Sampler":
        """The sampler without the windows whose rewards sum to less than `least`.

        Raises:
            ValueError: no window is left, or the windows are drawn afresh in every epoch.
        """
        if self.sampling == "random":
            raise ValueError(
                "windows of the sampling 'random' are drawn afresh in every epoch, so none can be "
                "left out by its rewards: take 'first', 'stride' or 'uniform'"
            )
        windows = self._windows(np.arange(self._windows_per_epoch))
        rewards = dataset.arrays["rewards"].take(np.arange(dataset.steps), axis=0)
        sums = np.append(0.0, np.cumsum(rewards, dtype=np.float64))
        first = dataset.arrays["episode_offsets"][windows.episodes] + windows.starts
        returns = sums[first + windows.lengths] - sums[first]
        if not (returns >= least).any():
            raise ValueError(
                f"no window of {self.window} steps has rewards of {least} or more; the most is "
                f"{returns.max():.4g}"
            )
        return replace(self, kept=np.flatnonzero(returns >= least))

    @property
    def batches_per_epoch(self) -> int:
        """Batches that it takes to go through all windows once, the last one counted whole."""
        return -(-self._windows_per_epoch // self.batch_size)

    def plan(self, update: int) -> Windows:
        """The windows of the batch of an update, in random order.

        The same seed and update always give the same batch, whatever was asked for before.

        Raises:
            ValueError: the update is negative.
        """
        if update < 0:
            raise ValueError(f"update is {update}, allowed is 0 or more")
        count = self._windows_per_epoch
        first, last = update * self.batch_size, (update + 1) * self.batch_size
        parts: list[Windows] = []
        for epoch in range(first // count, (last - 1) // count + 1):
            order, generator = _shuffled(self.seed, epoch, count)
            numbers = order[max(first - epoch * count, 0) : last - epoch * count]
            numbers = numbers if self.kept is None else self.kept[numbers]
            parts.append(self._windows(numbers, generator))
        return Windows(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in ("episodes", "starts", "lengths")
            )
        )

    def _windows(
        self, numbers: np.ndarray, generator: np.random.Generator | None = None
    ) -> Windows:
        """Windows by their numbers in the order of the data."""
        rows = np.searchsorted(self._ends, numbers, side="right")
        episodes, starts = self._chosen[rows], self._starts(numbers, rows, generator)
        left = self.episode_lengths[episodes] - starts
        return Windows(episodes, starts, np.minimum(self.window, left))

    def _starts(
        self, numbers: np.ndarray, rows: np.ndarray, generator: np.random.Generator | None
    ) -> np.ndarray:
        """First steps of windows, by their numbers in the order of the data."""
        if self.sampling == "random":
            assert generator is not None
            latest = np.maximum(self.episode_lengths[self._chosen] - self.window, 0)
            drawn = copy.deepcopy(generator).integers(0, latest, endpoint=True)
            return drawn[rows]
        within = numbers - np.append(0, self._ends)[rows]
        return within * self.window if self.sampling == "stride" else within

    @cached_property
    def _chosen(self) -> np.ndarray:
        if self.episodes is None:
            return np.arange(len(self.episode_lengths))
        return np.asarray(self.episodes, np.int64)

    @cached_property
    def _ends(self) -> np.ndarray:
        """Number of windows of the chosen episodes up to each one, [chosen] int64."""
        lengths = self.episode_lengths[self._chosen]
        counts = {
            "stride": -(-lengths // self.window),
            "uniform": lengths,
            "full": np.maximum(lengths - self.window + 1, 0),
        }
        ends: np.ndarray = counts.get(self.sampling, np.ones_like(lengths)).cumsum()
        return ends

    @property
    def _windows_per_epoch(self) -> int:
        return int(self._ends[-1]) if self.kept is None else len(self.kept)


@lru_cache(maxsize=2)
def _shuffled(seed: int, epoch: int, count: int) -> tuple[np.ndarray, np.random.Generator]:
    """The order of an epoch's windows, and the generator in its state after drawing it.

    Drawing an order of millions takes long, and consecutive batches share it. Neither result may be
    changed.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(count)
    order.setflags(write=False)
    return order, generator


def validation_windows(
    episode_lengths: np.ndarray, episodes: np.ndarray, window: int, sampling: Sampling, limit: int
) -> Windows:
    """Windows to validate with, longest first: the first one of each episode where training sees
    only those, and else consecutive ones.

    Args:
        episode_lengths: Steps of each episode of the dataset, `Dataset.lengths`.
        episodes: Indices of the episodes, [n].
        window: Most steps of a window.
        sampling: How training samples.
        limit: Most windows. Of more first ones those that come first are taken, of more
            consecutive ones some that are evenly spread over the data.
    """
    lengths = episode_lengths[episodes]
    if sampling == "first":
        episodes, starts = episodes[:limit], np.zeros_like(lengths[:limit])
    else:
        counts = -(-lengths // window)
        within = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
        chosen = np.unique(np.linspace(0, len(within) - 1, min(limit, len(within)), dtype=int))
        episodes, starts = np.repeat(episodes, counts)[chosen], within[chosen] * window
    lengths = np.minimum(episode_lengths[episodes] - starts, window)
    return Windows(np.asarray(episodes), starts, lengths).longest_first()


def split(dataset: Dataset, validation_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of training and validation episodes, disjoint, sorted, drawn at random.

    A fraction above 0 holds back at least one episode, and at least one always remains for
    training.

    Args:
        dataset: The dataset to split.
        validation_fraction: Fraction of the episodes held back.
        seed: Determines which ones.

    Raises:
        ValueError: the fraction is outside [0, 1), or a single episode cannot be split.
    """
    if not 0.0 <= validation_fraction < 1.0:
        raise ValueError(
            f"selection.fraction is {validation_fraction}, allowed is 0 up to, not including, 1"
        )
    if validation_fraction and len(dataset) < 2:
        raise ValueError(
            "a dataset of one episode has none to hold out for validation: record more, or "
            "validate on none with --selection.fraction 0"
        )
    held_back = round(len(dataset) * validation_fraction)
    if validation_fraction:
        held_back = min(max(held_back, 1), len(dataset) - 1)
    order = np.random.default_rng(seed).permutation(len(dataset))
    return np.sort(order[held_back:]), np.sort(order[:held_back])
