"""Reading windows of a dataset as segments, ahead of training and in other processes if wanted.

    sampler = Sampler(dataset.lengths, batch_size=64, window=90, sampling="first", seed=0)
    reader = BatchReader(dataset, [sampler], updates=600, micro_batch=16)
    for batch in Loader(reader, done=0, workers=2):
        for segment in batch.parts:  # micro-batches of this process, longest rows first
            ...  # segment.lengths: real steps of its rows; batch.lengths: those of all rows

The batch of an update depends on the update alone, so loaders with any number of workers yield the
same ones, and a resumed run goes on with `Loader(reader, done)`.
"""

import atexit
import signal
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as MapDataset

from rate.dataset.frames import SharedFrames
from rate.dataset.read import Dataset
from rate.dataset.sampler import Sampler, Windows
from rate.images import stack
from rate.segment import Segment
from rate.system.processes import depend_on_parent

GRACE = 3
"""Seconds for which a worker reads on after SIGTERM, which clusters send to all processes, so that
the training process can finish its update and save."""


_CHILD_ENDED = getattr(signal, "SIGCHLD", None)
"""The signal that a process gets when one of its children ends; Windows has none."""


_READING: WeakSet[Generator["Batch", None, None]] = WeakSet()
"""Loops over loaders that have not ended."""


@dataclass(frozen=True, eq=False)
class Batch:
    """What a process learns from in one update."""

    update: int
    """Which update."""
    parts: list[Segment]
    """Micro-batches of this process's windows; rows are sorted by length over all of them, longest
    first."""
    lengths: np.ndarray
    """Real steps of all windows of the batch, those of other processes included, [batch] int64."""

    def pin_memory(self) -> "Batch":
        """The batch in page-locked memory, from which copies to a GPU need not be waited for."""
        return Batch(self.update, [part.pin_memory() for part in self.parts], self.lengths)

    def __reduce__(self) -> tuple[Any, ...]:
        # One tensor goes from a worker to its parent, not one for each field, because each takes a
        # file descriptor.
        return _unpacked, (self.update, *_packed(self.parts), self.lengths)


@dataclass(frozen=True, eq=False)
class BatchReader(MapDataset[Batch]):
    """The batches of a run by update; item `update` depends on nothing else."""

    dataset: Dataset
    """Where windows are read from."""
    stages: Sequence[Sampler]
    """Stages of training of equal length, one after another: one, or several of a curriculum."""
    updates: int
    """Updates of the whole run."""
    micro_batch: int
    """Most windows in a part."""
    rank: int = 0
    """Which of the processes that share each batch reads."""
    world_size: int = 1
    """Number of these processes."""
    next_observation: bool = False
    """Whether segments hold the observation after each window, too."""
    stack_frames: int = 1
    """Frames of an image that are stacked, see `rate.images`."""
    steps: int = 0
    """Steps that all parts are padded to; 0: those of the longest window in each."""

    def __len__(self) -> int:
        return self.updates

    def __getitem__(self, update: int) -> Batch:
        windows, parts = self.windows(update)
        read = partial(
            read_windows,
            self.dataset,
            next_observation=self.next_observation,
            stack_frames=self.stack_frames,
            steps=self.steps,
        )
        return Batch(update, list(map(read, parts)), windows.lengths)

    def windows(self, update: int) -> tuple[Windows, list[Windows]]:
        """The windows of an update, all of them, and those of each part."""
        windows = self.stages[update * len(self.stages) // self.updates].plan(update)
        mine = windows[self.rank :: self.world_size].longest_first()
        return windows, mine.split(self.micro_batch)


class Loader(DataLoader[Batch]):
    """Yields the batches of the updates from `done` on; with workers they are read ahead."""

    def __init__(
        self, reader: BatchReader, done: int = 0, *, workers: int = 0, pin_memory: bool = False
    ) -> None:
        """Prepare to read.

        Args:
            reader: The batches of the run.
            done: Updates that need no batch any more.
            workers: Processes that read ahead, two batches each; 0 reads in this process, when a
                batch is asked for.
            pin_memory: Whether batches are put into page-locked memory, for a GPU.
        """
        if workers < 0:
            raise ValueError(f"workers is {workers}, allowed is 0 or more")
        super().__init__(
            reader,
            batch_size=None,
            sampler=range(done, len(reader)),
            num_workers=workers,
            collate_fn=_as_it_is,
            pin_memory=pin_memory,
            worker_init_fn=_begin_worker,
            # A forked worker needs not import the script again, and it calls nothing that could
            # wait for a lock of a thread that it did not inherit.
            multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
            # Else PyTorch would take a number from the generator that training draws from.
            generator=torch.Generator(),
        )
        self.seconds_waited = 0.0
        """Seconds in which the loop had to wait for batches so far."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """Start the workers, and yield the batches in the order of the updates.

        Raises:
            ChildProcessError: a worker has died.
        """
        before = signal.getsignal(_CHILD_ENDED) if _CHILD_ENDED else None
        batches = super().__iter__()
        if _CHILD_ENDED and signal.getsignal(_CHILD_ENDED) is not before:
            # PyTorch's handler would raise the death of a worker wherever the loop just is.
            signal.signal(_CHILD_ENDED, before)
        reading = self._timed(batches)
        _READING.add(reading)
        return reading

    def _timed(self, batches: Iterator[Batch]) -> Generator[Batch, None, None]:
        while True:
            started = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            except RuntimeError as error:
                if not str(error).startswith("DataLoader worker"):
                    raise
                raise ChildProcessError(
                    f"one of {self.num_workers} processes that read the dataset died: free memory, "
                    "or shared memory (/dev/shm), or use fewer loader workers; 0 read in the "
                    "training process"
                ) from error
            self.seconds_waited += time.perf_counter() - started
            yield batch
            del batch  # it would stay in memory beside the next one


@atexit.register
def _stop_reading() -> None:
    """Let the workers of unfinished loops end by themselves before they are terminated."""
    for reading in list(_READING):
        reading.close()


def read_windows(
    dataset: Dataset,
    windows: Windows,
    next_observation: bool = False,
    stack_frames: int = 1,
    steps: int = 0,
) -> Segment:
    """Windows as one segment, padded with zeros at the end to the longest of them.

    Args:
        dataset: Where they are read from.
        windows: What is read, in the order of the segment's rows.
        next_observation: Whether the segment holds the observation after each window, too.
        stack_frames: Frames of an image that are stacked, see `rate.images`.
        steps: Steps to pad to, if these are more.

    Raises:
        ValueError: there is no window, or one is empty or reaches outside its episode.
    """
    _check(dataset, windows)
    episodes, starts, lengths = windows.episodes, windows.starts, windows.lengths
    step = np.arange(max(lengths.max(), steps))
    mask = step < lengths[:, None]
    # Padding is read from the row's own first step, then cleared.
    timesteps = np.where(mask, starts[:, None] + step, starts[:, None])
    first = dataset.arrays["episode_offsets"][episodes]
    rows, padding = first[:, None] + timesteps, None if mask.all() else ~mask
    # Each earlier episode holds one observation more than it has steps.
    first = first + episodes
    before, observations, frames, after = first[:, None], {}, {}, {}
    for path in dataset.observation_leaves:
        observed = partial(_observed, dataset.arrays[f"observations/{path}"], count=stack_frames)
        values, images = observed(before + timesteps, before, share=not next_observation)
        observations[path] = _tensor(values, padding)
        if images is not None:
            frames[path] = _tensor(images)
        if next_observation:
            after[path] = _tensor(observed(first + starts + lengths, first, share=False)[0])
    return Segment(
        observations=observations,
        **{
            name: _tensor(dataset.arrays[name].take(rows, axis=0), padding)
            for name in ("actions", "rewards", "returns_to_go", "terminations")
        },
        timesteps=_tensor(timesteps, padding),
        mask=torch.from_numpy(mask),
        lengths=tuple(lengths.tolist()),
        next_observation=after,
        frames=frames,
    )


def _observed(
    array: Any, rows: np.ndarray, first: np.ndarray, count: int, share: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Observations of a leaf, or the numbers of their images and these, which are fewer.

    Args:
        array: All observations of the leaf.
        rows: Which ones are read, of any shape.
        first: Rows of the first observations of their episodes.
        count: Frames that are stacked.
        share: Whether images that repeat may be given once each.
    """
    if not isinstance(array, SharedFrames):
        return array.take(rows, axis=0), None
    frames, shape = array.frames, array.shape[1:]
    numbers = array.numbers[np.maximum(rows[..., None] - np.arange(count)[::-1], first[..., None])]
    if share:
        axis = 0 if count > 1 else None  # the latter is faster
        stacks, which = np.unique(numbers.reshape(-1, count), axis=axis, return_inverse=True)
        if 2 * len(stacks) <= rows.size:
            images = frames.take(stacks.reshape(-1, count), axis=0)
            return which.reshape(rows.shape), stack(images, shape)
        if count > 1:
            used, which = np.unique(numbers, return_inverse=True)
            return which.reshape(numbers.shape), frames.take(used, axis=0)
    return stack(frames.take(numbers, axis=0), shape), None


def _tensor(array: Any, padding: np.ndarray | None = None) -> Tensor:
    """The array itself as a tensor, if it is none yet, with padding set to zero."""
    tensor = array if isinstance(array, Tensor) else torch.from_numpy(array)
    if padding is None:
        return tensor
    mask = torch.from_numpy(padding).to(tensor.device, non_blocking=True)
    return tensor.masked_fill_(mask.view(*mask.shape, *[1] * (tensor.dim() - 2)), 0)


def _check(dataset: Dataset, windows: Windows) -> None:
    episodes, starts, lengths = windows.episodes, windows.starts, windows.lengths
    if not (
        episodes.ndim == 1 and len(episodes) and episodes.shape == starts.shape == lengths.shape
    ):
        shapes = f"{episodes.shape}, {starts.shape} and {lengths.shape}"
        raise ValueError(
            f"episodes, starts and lengths must be [B] with B of 1 or more, got {shapes}"
        )
    if episodes.min() < 0 or episodes.max() >= len(dataset):
        raise ValueError(
            f"episodes reach from {episodes.min()} to {episodes.max()}, the dataset holds 0 to "
            f"{len(dataset) - 1}"
        )
    ends = starts + lengths
    if starts.min() < 0 or lengths.min() < 1 or (ends > dataset.lengths[episodes]).any():
        raise ValueError(
            "a window is empty or reaches outside its episode; take windows from Sampler.plan"
        )


def _begin_worker(number: int) -> None:
    """Depend on the training process, and end a moment after SIGTERM; PyTorch gives each worker one
    thread."""
    depend_on_parent()
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE))


def _as_it_is(batch: Any) -> Any:
    return batch


@dataclass(frozen=True)
class _Place:
    """Where a tensor is among the bytes of a packed batch."""

    dtype: torch.dtype
    shape: torch.Size
    start: int
    end: int

    def view(self, buffer: Tensor) -> Tensor:
        return buffer[self.start : self.end].view(self.dtype).view(self.shape)


def _packed(parts: list[Segment]) -> tuple[Tensor, list[Segment]]:
    """The bytes of all tensors side by side, and the parts with places instead of tensors."""
    tensors: list[Tensor] = []
    places: list[Any] = []

    def put(tensor: Tensor) -> Any:
        start = -(-places[-1].end // 64) * 64 if places else 0
        tensors.append(tensor)
        places.append(_Place(tensor.dtype, tensor.shape, start, start + tensor.nbytes))
        return places[-1]

    packed = [part.everywhere(put) for part in parts]
    buffer = torch.empty(places[-1].end, dtype=torch.uint8)
    for tensor, place in zip(tensors, places, strict=True):
        place.view(buffer).copy_(tensor)
    return buffer, packed


def _unpacked(update: int, buffer: Tensor, packed: list[Any], lengths: np.ndarray) -> Batch:
    parts = [part.everywhere(lambda place: place.view(buffer)) for part in packed]
    return Batch(update, parts, lengths)
