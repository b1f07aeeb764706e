"""Dopamine's replay buffers, as the DQN Replay Dataset publishes them (Agarwal et al. 2020)."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rate.dataset import DatasetError
from rate.dataset.importers import ImportOptions, Recording
from rate.dataset.importers._files import Lazy, readable
from rate.dataset.importers._gzip import GzippedRows
from rate.dataset.importers._numbers import flags
from rate.dataset.importers._recording import recording
from rate.dataset.importers._steps import Stream

DESCRIPTION = (
    "a folder of Dopamine's replay buffers, as in the DQN Replay Dataset: "
    "$store$_observation_ckpt.0.gz and so on"
)

FIELDS = ("observation", "action", "reward", "terminal")
LONGEST = 30_000
"""Most steps of a trajectory; Dopamine ends an episode after 27,000."""
LARGEST = 2**16
"""Most pixels of an image; the screen of the machine has 210 x 160."""
MOST_ROWS = 2**24
"""Most rows of a buffer; those of the dataset have a million."""
TOGETHER = 11
"""Trajectories that are taken from a buffer at a time, when they are sampled (the loader of
Decision Transformer takes ten and one)."""

PADDING = 3
"""Most zero transitions before an episode: what a stack of four frames lacks at its start."""

_OBSERVATIONS = re.compile(r"\$store\$_observation_ckpt\.(\d+)\.gz")
_ADVICE = "fetch the buffer again"


def recognises(path: Path) -> bool:
    """Whether it is a folder with such files, or the folder of a game with them in it."""
    return _folder(path) is not None


def read(path: Path, options: ImportOptions) -> Recording:
    """Read buffers one after the other; memory holds one trajectory and the ends in one buffer.

    With `transitions`, trajectories are sampled as Decision Transformer and RATE do: again and
    again a buffer is drawn, and eleven trajectories are taken from where the last ones of it ended.
    Else all are read. Zero transitions that Dopamine puts before an episode are left out, and so is
    a trajectory whose end is not recorded. The first one of a buffer may lack its beginning, which
    is in the buffer before.

    The DQN Replay Dataset holds rewards that were clipped to [-1, 1], and so do returns-to-go.
    Dopamine records no observation after an episode's last action.

    Raises:
        DatasetError: A file is damaged or missing, or arrays of a buffer have different lengths.
    """
    folder = _folder(path)
    if folder is None:
        raise DatasetError(f"{path} holds no file such as $store$_observation_ckpt.0.gz")
    buffers = [_look(folder, suffix) for suffix in _suffixes(folder)]
    if not any(len(buffer.trajectories) for buffer in buffers):
        raise DatasetError(f"{folder} holds no trajectory whose end is recorded")
    chosen = [buffer.trajectories for buffer in buffers]
    if options.transitions:
        chosen = _sampled(chosen, options.transitions, options.sampling_seed)

    def streams() -> Iterator[Stream]:
        for buffer, trajectories in zip(buffers, chosen, strict=True):
            if len(trajectories):
                yield from _streams(buffer, trajectories)

    facts = {"format": "dopamine", "buffers": len(buffers)}
    if options.transitions:
        facts |= {
            "sampled_transitions": options.transitions,
            "sampling_seed": options.sampling_seed,
        }
    return recording(path, streams, options, facts)


@dataclass(frozen=True)
class _Buffer:
    """A buffer's files, and where its complete trajectories are."""

    files: dict[str, Path]
    """Files by field."""
    trajectories: np.ndarray
    """First row and the row after the last of each, [n, 2] int64."""


def _folder(path: Path) -> Path | None:
    """The folder with the files, in the layout of the published dataset."""
    for folder in (path, path / "replay_logs", path / "1" / "replay_logs"):
        if folder.is_dir() and _suffixes(folder):
            return folder
    return None


def _suffixes(folder: Path) -> list[int]:
    found = (_OBSERVATIONS.fullmatch(file.name) for file in folder.iterdir())
    return sorted(int(match[1]) for match in found if match)


def _look(folder: Path, suffix: int) -> _Buffer:
    """Find the trajectories of a buffer; of its images only a few are read."""
    files = {name: folder / f"$store$_{name}_ckpt.{suffix}.gz" for name in FIELDS}
    counter = folder / f"add_count_ckpt.{suffix}.gz"
    for file in (*files.values(), counter):
        if not file.is_file():
            raise DatasetError(f"{file} is missing; a buffer has {', '.join(FIELDS)} and add_count")
    with ExitStack() as stack:
        count = stack.enter_context(GzippedRows(counter))
        opened = {name: stack.enter_context(GzippedRows(file)) for name, file in files.items()}
        _check(opened)
        if count.shape != (1,) or count.dtype.kind not in "iu" or count.read(0, 1)[0] < 1:
            raise DatasetError(
                f"{counter} holds {count.dtype} of the shape {count.shape}, expected one number of "
                "transitions, 1 or more"
            )
        added = int(count.read(0, 1)[0])
        rows = min(added, len(opened["terminal"]))
        with readable(files["terminal"], _ADVICE):
            ends = np.flatnonzero(flags(opened["terminal"].read(0, rows), "terminal")) + 1
        spans = _spans(ends, added, rows, opened["observation"])
    longest = int(np.diff(spans).max(initial=0))
    if longest > LONGEST:
        raise DatasetError(
            f"{files['terminal']} has a trajectory of {longest:,} steps, allowed are {LONGEST:,}"
        )
    return _Buffer(files, spans)


def _check(opened: Mapping[str, GzippedRows]) -> None:
    """Refuse fields of other shapes than those of a buffer."""
    images, rows = opened["observation"], len(opened["terminal"])
    pixels = math.prod(images.shape[1:])
    if len(images.shape) != 3 or images.dtype != np.uint8 or not 0 < pixels <= LARGEST:
        raise DatasetError(
            f"{images.path} holds {images.dtype} of the shape {images.shape}, expected grey images "
            f"uint8 [N, height, width] of at most {LARGEST:,} pixels"
        )
    for name in FIELDS:
        shape = opened[name].shape
        if shape[0] != rows or not 0 < rows <= MOST_ROWS or (name not in FIELDS[:1] and shape[1:]):
            raise DatasetError(
                f"{opened[name].path} has the shape {shape}, expected {rows} numbers, as many as "
                f"flags of ends, and from 1 to {MOST_ROWS:,}"
            )


def _spans(ends: np.ndarray, added: int, rows: int, images: GzippedRows) -> np.ndarray:
    """First row and the row after the last of complete trajectories, [n, 2].

    Args:
        ends: Rows after those that end an episode.
        added: Transitions that were added to the buffer, which is a ring.
        rows: Those that it holds.
        images: Where zero transitions are looked for.
    """
    cursor = added % rows  # where the newest transition is followed by the oldest
    begins = np.concatenate([[0], ends])[: len(ends)]
    # What the newest transitions have begun to overwrite has lost its end, or its beginning.
    begins = np.where((begins < cursor) & (ends > cursor), cursor, begins)
    # Dopamine puts as many zero transitions before every episode, but a buffer may begin in them.
    whole = np.isin(begins, ends) & (begins > 0)
    for alike in (begins == 0, whole, begins == cursor):
        if alike.any():
            blank = _blank(images, int(begins[alike][0]), rows)
            begins = begins + blank * alike
    spans = np.stack([begins, ends], 1)
    return spans[begins < ends]


def _blank(images: GzippedRows, start: int, rows: int) -> int:
    """Zero images at the beginning of an episode; Dopamine puts there what a stack lacks."""
    seen = images.read(start, min(start + PADDING, rows))
    return int(np.argmax(np.append(seen.any((1, 2)), True)))


def _sampled(chosen: Sequence[np.ndarray], transitions: int, seed: int) -> list[np.ndarray]:
    """Trajectories of each buffer, until there are so many transitions."""
    generator = np.random.default_rng(seed)
    taken, count = [0] * len(chosen), 0
    while count < transitions:
        left = [number for number, spans in enumerate(chosen) if taken[number] < len(spans)]
        if not left:
            break
        number = left[int(generator.integers(len(left)))]
        more = chosen[number][taken[number] : taken[number] + TOGETHER]
        taken[number] += len(more)
        count += int(np.diff(more).sum())
    return [spans[:stop] for spans, stop in zip(chosen, taken, strict=True)]


def _streams(buffer: _Buffer, spans: np.ndarray) -> Iterator[Stream]:
    """Trajectories in their order, so that no file is unpacked twice."""
    with ExitStack() as stack:
        opened = {
            name: stack.enter_context(GzippedRows(file)) for name, file in buffer.files.items()
        }
        for start, stop in spans.tolist():
            arrays = {name: _part(rows, start, stop) for name, rows in opened.items()}
            where = f"steps {start} to {stop - 1}"
            yield Stream(buffer.files["terminal"], arrays, where, closed=True)


def _part(rows: GzippedRows, start: int, stop: int) -> Lazy:
    """Rows from `start` up to `stop`; images get an axis of one channel in front."""
    image = rows.shape[1:]
    shape = (stop - start, 1, *image) if image else (stop - start,)

    def read(part: slice) -> np.ndarray:
        return rows.read(start + part.start, start + part.stop).reshape(-1, *shape[1:])

    return Lazy(shape, rows.dtype, read)
