"""Which steps make up which batch, as a pure function of seed and step, and the segments that hold
them."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import torch

from rate.dataset.frames import SharedFrames
from rate.dataset.read import Dataset
from rate.segment import Segment

Sampling = Literal["first", "stride", "random"]


@dataclass(frozen=True, eq=False)
class Batches:
    """Seeded batches of windows of at most `window` consecutive steps.

    An epoch goes once through all windows in a new random order; a batch may straddle two epochs,
    so every batch has `batch_size` rows. The windows of an episode of T steps are, by `sampling`:
    "first": the one that starts at step 0; "stride": those that start at 0, window, 2 * window,
    ..., which hold every step exactly once; "random": one, whose start is uniform over 0 ... max(T
    - window, 0) and is drawn afresh in every epoch.

    Args:
        episodes: indices of the episodes to draw from; all by default.
        following: load the observation that follows each window, too.

    Raises:
        ValueError: a number is too small, the sampling is unknown, or an episode is not in the
        dataset.
    """

    dataset: Dataset
    batch_size: int
    window: int
    sampling: Sampling
    seed: int
    episodes: np.ndarray | None = field(default=None, repr=False)
    following: bool = False

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("window", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed is {least} or more")
        if self.sampling not in get_args(Sampling):
            raise ValueError(
                f"sampling is {self.sampling!r}, allowed are {', '.join(get_args(Sampling))}"
            )
        chosen = self._chosen
        if (
            not chosen.size
            or chosen.ndim != 1
            or chosen.min() < 0
            or chosen.max() >= len(self.dataset)
        ):
            raise ValueError(
                f"episodes must be one or more of 0 to {len(self.dataset) - 1}, got {self.episodes}"
            )

    @property
    def batches_per_epoch(self) -> int:
        """Batches that it takes to go through all windows once, the last one counted whole."""
        return -(-len(self._windows[0]) // self.batch_size)

    def plan(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Episodes, first steps and lengths of the windows in batch `step`, each [batch_size]
        int64.

        The same seed and step always give the same batch, whatever was asked for before.
        """
        if step < 0:
            raise ValueError(f"step is {step}, allowed is 0 or more")
        episodes, starts = self._windows
        first, last = step * self.batch_size, (step + 1) * self.batch_size
        rows, drawn = [], []
        for epoch in range(first // len(episodes), (last - 1) // len(episodes) + 1):
            before = epoch * len(episodes)
            here = slice(max(first - before, 0), last - before)
            order, epoch_starts = self._epoch(epoch, episodes, starts)
            rows.append(order[here])
            drawn.append(epoch_starts[order[here]])
        chosen, begin = episodes[np.concatenate(rows)], np.concatenate(drawn)
        return chosen, begin, np.minimum(self.window, self.dataset.lengths[chosen] - begin)

    def load(self, episodes: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> Segment:
        """The windows as one segment, padded with zeros at the end to the longest of these rows.

        Raises:
            ValueError: a window is empty or reaches outside its episode.
        """
        episodes, starts, lengths = (
            np.asarray(given, np.int64) for given in (episodes, starts, lengths)
        )
        self._check_windows(episodes, starts, lengths)
        steps = np.arange(lengths.max())
        mask = steps < lengths[:, None]
        # Padding is read from the row's own first step, then cleared.
        timesteps = np.where(mask, starts[:, None] + steps, starts[:, None])
        rows = self.dataset.arrays["episode_offsets"][episodes][:, None] + timesteps
        # Each earlier episode holds one observation more than it has steps.
        observation_rows = rows + episodes[:, None]
        padding = None if mask.all() else ~mask
        leaves = self.dataset.observation_leaves
        frames: dict[str, torch.Tensor] = {}
        observations = {
            path: self._observe(path, observation_rows, padding, frames) for path in leaves
        }
        after = self.dataset.arrays["episode_offsets"][episodes] + episodes + starts + lengths
        return Segment(
            observations=observations,
            actions=self._gather("actions", rows, padding),
            rewards=self._gather("rewards", rows, padding),
            returns_to_go=self._gather("returns_to_go", rows, padding),
            terminations=self._gather("terminations", rows, padding),
            timesteps=torch.from_numpy(np.where(mask, timesteps, 0)),
            mask=torch.from_numpy(mask),
            lengths=tuple(lengths.tolist()),
            next_observation={
                path: self._gather(f"observations/{path}", after, None) for path in leaves
            }
            if self.following
            else {},
            frames=frames,
        )

    @cached_property
    def _chosen(self) -> np.ndarray:
        return (
            np.arange(len(self.dataset))
            if self.episodes is None
            else np.asarray(self.episodes, np.int64)
        )

    @cached_property
    def _windows(self) -> tuple[np.ndarray, np.ndarray]:
        """Episode and first step of every window of an epoch, in the order of the data."""
        chosen = self._chosen
        if self.sampling != "stride":
            return chosen, np.zeros_like(chosen)
        counts = -(-self.dataset.lengths[chosen] // self.window)
        numbers = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
        return np.repeat(chosen, counts), numbers * self.window

    def _epoch(
        self, epoch: int, episodes: np.ndarray, starts: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Order of the windows in an epoch, and the first step of each window (not yet in that
        order)."""
        generator = np.random.default_rng([self.seed, epoch])
        order = generator.permutation(len(episodes))
        if self.sampling == "random":
            starts = generator.integers(
                0, np.maximum(self.dataset.lengths[episodes] - self.window, 0), endpoint=True
            )
        return order, starts

    def _observe(
        self,
        path: str,
        rows: np.ndarray,
        padding: np.ndarray | None,
        frames: dict[str, torch.Tensor],
    ) -> torch.Tensor:
        """Observations of a leaf; images that repeat go into `frames` once each, and their numbers
        are returned."""
        array = self.dataset.arrays[f"observations/{path}"]
        if isinstance(array, SharedFrames) and not self.following:
            used, numbers = np.unique(array.numbers[rows], return_inverse=True)
            if 2 * len(used) <= rows.size:
                frames[path] = torch.from_numpy(array.frames.take(used, axis=0))
                numbers = numbers.reshape(rows.shape).astype(np.int64)
                return torch.from_numpy(
                    numbers if padding is None else np.where(padding, 0, numbers)
                )
        return self._gather(f"observations/{path}", rows, padding)

    def _gather(self, name: str, rows: np.ndarray, padding: np.ndarray | None) -> torch.Tensor:
        picked = self.dataset.arrays[name].take(rows, axis=0)
        if padding is not None:
            picked[padding] = 0
        return torch.from_numpy(picked)

    def _check_windows(self, episodes: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> None:
        if not (
            episodes.ndim == 1 and len(episodes) and episodes.shape == starts.shape == lengths.shape
        ):
            shapes = f"{episodes.shape}, {starts.shape} and {lengths.shape}"
            raise ValueError(
                f"episodes, starts and lengths must be [B] with B of 1 or more, got {shapes}"
            )
        if episodes.min() < 0 or episodes.max() >= len(self.dataset):
            given = f"{episodes.min()} to {episodes.max()}"
            raise ValueError(
                f"episodes reach from {given}, the dataset holds 0 to {len(self.dataset) - 1}"
            )
        if (
            starts.min() < 0
            or lengths.min() < 1
            or (starts + lengths > self.dataset.lengths[episodes]).any()
        ):
            raise ValueError(
                "a window is empty or reaches outside its episode; take starts and lengths "
                "from plan()"
            )


def split(dataset: Dataset, validation_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of training and validation episodes, disjoint, sorted, drawn at random.

    A fraction above 0 holds back at least one episode, and at least one always remains for
    training.

    Raises:
        ValueError: the fraction is outside [0, 1), or a single episode cannot be split.
    """
    if not 0.0 <= validation_fraction < 1.0:
        raise ValueError(
            f"validation_fraction is {validation_fraction}, allowed is 0 up to, not including, 1"
        )
    if validation_fraction and len(dataset) < 2:
        raise ValueError(
            "a dataset of one episode cannot be split; record more, or set validation_fraction to 0"
        )
    held_back = round(len(dataset) * validation_fraction)
    if validation_fraction:
        held_back = min(max(held_back, 1), len(dataset) - 1)
    order = np.random.default_rng(seed).permutation(len(dataset))
    return np.sort(order[held_back:]), np.sort(order[:held_back])
