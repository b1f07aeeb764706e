"""What may be wrong with recorded data, found by reading all of it, a few rows at a time."""

import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces
from scipy import fft

from rate.dataset import Dataset, DatasetError, open_dataset
from rate.images import channel_axis
from rate.spaces import is_image

CHUNK_BYTES = 2**20
"""About how much is read at a time; sums over it take several times as much."""

BLOCK = 8
"""Side of the blocks of pixels that JPEG compresses one by one."""

BLOCKINESS = 1.3
"""How many times as large steps between blocks must be as steps within them, to look like
JPEG's."""

QUIET = 0.6
"""Share of the blocks with content whose finest detail must be all but missing, to look like
JPEG's."""

RAGGED = 0.5
"""Share of the episodes that must have the greatest length, for shorter ones without an end to look
cut."""


JUMP = 4
"""How many times as large as its 90 % quantile a step in the observations must be, to look like a
reset."""

LONG = 10
"""How many times as long as the median an episode must be, to look like several."""


class Finding(NamedTuple):
    """Something that may be wrong with a dataset."""

    what: str
    """What was found, and where."""
    advice: str
    """What to do."""
    severity: Literal["error", "warning"] = "warning"
    """Error where training on it is a mistake."""


def _error(what: str, advice: str) -> Finding:
    return Finding(what, advice, "error")


@dataclass
class _Channels:
    """Sums over the rows of one array, by component, and for images by colour channel."""

    count: int = 0
    total: Any = 0.0
    squares: Any = 0.0
    least: Any = np.inf
    greatest: Any = -np.inf
    bad: int = 0
    values: Counter[int] = field(default_factory=Counter)

    def add(self, numbers: np.ndarray) -> None:
        """Count rows [n, components]."""
        finite = numbers.dtype.kind != "f" or bool(np.isfinite(numbers).all())
        self.bad += 0 if finite else int((~np.isfinite(numbers)).sum())
        self.count += len(numbers)
        self.total = self.total + numbers.sum(0, dtype=np.float64)
        wide = np.uint16 if numbers.dtype == np.uint8 else np.float64
        self.squares = self.squares + np.square(numbers, dtype=wide).sum(0, dtype=np.float64)
        self.least = np.minimum(self.least, numbers.min(0))
        self.greatest = np.maximum(self.greatest, numbers.max(0))
        if numbers.shape[1] == 1 and numbers.dtype.kind in "iu":
            values, counts = np.unique(numbers, return_counts=True)
            self.values.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))


def statistics(dataset: Dataset) -> dict[str, tuple[float, float, float, float]]:
    """Mean, standard deviation, least and greatest number of every array, by its name."""
    result = {}
    for name, channels in _channels(dataset).items():
        mean = float(np.mean(channels.total / channels.count))
        squares = float(np.mean(channels.squares / channels.count))
        deviation = float(np.sqrt(max(squares - mean**2, 0)))
        bounds = float(np.min(channels.least)), float(np.max(channels.greatest))
        result[name] = (mean, deviation, *bounds)
    return result


def validate(dataset: str | os.PathLike[str]) -> list[Finding]:
    """Look for what may be wrong with a dataset, errors first.

    Args:
        dataset: Folder of the dataset; damage that opening it would refuse is a finding.

    Raises:
        DatasetError: The folder is no dataset, or its files have not the sizes that its card says.
    """
    unverified = open_dataset(dataset, verify=False)
    try:
        verified = open_dataset(dataset, trust_memory=False)
    except DatasetError as error:
        refused = _error(str(error), "training refuses this dataset")
        return [refused, *_numbers(_channels(unverified))]
    return findings(verified)


def findings(dataset: Dataset) -> list[Finding]:
    """Everything that looks wrong with a sound dataset, errors first."""
    channels = _channels(dataset)
    actions = _actions(dataset.action_space, channels["actions"])
    noted = dataset.card["provenance"].get("warnings")
    importing = (
        Finding(f"import: {text}", "import the recording again with what was meant")
        for text in (noted if isinstance(noted, list) else [])
    )
    parts = _numbers(channels), actions, _episodes(dataset), _ends(dataset), _images(dataset)
    missed = _missed_ends(dataset)
    return sorted(
        itertools.chain(*parts, importing, missed), key=lambda finding: finding.severity != "error"
    )


def _channels(dataset: Dataset) -> dict[str, _Channels]:
    channels = {"actions": _Channels(), "rewards": _Channels()}
    for name, part in channels.items():
        for rows in _chunks(dataset.arrays[name]):
            part.add(rows.reshape(len(rows), -1))
    for path, space in dataset.observation_leaves.items():
        part = channels[f"observations/{path}"] = _Channels()
        for rows in _chunks(dataset.arrays[f"observations/{path}"]):
            part.add(_by_colour(rows) if is_image(space) else rows.reshape(len(rows), -1))
    return channels


def _chunks(array: Any) -> Iterator[np.ndarray]:
    """Consecutive rows of about `CHUNK_BYTES`, at least one."""
    rows = max(1, CHUNK_BYTES // max(1, array[:1].nbytes))
    return (np.asarray(array[start : start + rows]) for start in range(0, len(array), rows))


def _is_planar(shape: tuple[int, ...]) -> bool:
    """Whether images of this shape are [C, H, W] and not [H, W, C]."""
    return channel_axis(shape) == 0


def _channels_last(images: np.ndarray) -> np.ndarray:
    return images.transpose(0, 2, 3, 1) if _is_planar(images.shape[1:]) else images


def _by_colour(images: np.ndarray) -> np.ndarray:
    """Pixels [n, colours], each colour's side by side in memory, where sums are fast."""
    planes = images.swapaxes(0, 1) if _is_planar(images.shape[1:]) else np.moveaxis(images, -1, 0)
    pixels: np.ndarray = planes.reshape(len(planes), -1).T
    return pixels


def _numbers(channels: dict[str, _Channels]) -> Iterator[Finding]:
    for name, part in channels.items():
        if part.bad:
            yield _error(
                f"{name}: {part.bad} numbers are NaN or infinite",
                "repair the recording, or leave those episodes out",
            )
        constant = np.flatnonzero(np.asarray(part.least == part.greatest))
        if name.startswith("observations/") and len(constant) and part.count > 1:
            shown = f"{', '.join(map(str, constant[:8]))}{', ...' if len(constant) > 8 else ''}"
            several = f"{len(constant)} of {np.size(part.least)} channels ({shown})"
            which = several if np.size(part.least) > 1 else "it"
            yield Finding(
                f"{name}: {which} never {'change' if len(constant) > 1 else 'changes'}",
                "leave it out of the observations if it means nothing; it carries no information",
            )
    rewards = channels["rewards"]
    if float(np.min(rewards.least)) == float(np.max(rewards.greatest)):
        yield Finding(
            f"rewards: all are {float(np.min(rewards.least)):g}",
            "models conditioned on returns learn nothing from them, and Q-learning no more "
            "than to clone; check the recording",
        )


def _actions(space: gymnasium.Space[Any], part: _Channels) -> Iterator[Finding]:
    if isinstance(space, spaces.Discrete):
        unused = sorted(set(range(int(space.start), int(space.start + space.n))) - set(part.values))
        if unused:
            shown = f"{unused[:10]}{' and more' if len(unused) > 10 else ''}"
            yield Finding(
                f"actions: {len(unused)} of {space.n} are never taken: {shown}",
                "a policy cannot learn when to take them; check that the action space is the "
                "environment's",
            )
    if isinstance(space, spaces.Box):
        low, high = space.low.reshape(-1), space.high.reshape(-1)
        outside = np.flatnonzero((part.least < low - 1e-6) | (part.greatest > high + 1e-6))
        if len(outside):
            yield _error(
                f"actions: components {outside[:8].tolist()} leave their range, "
                f"{part.least.min():.4g} to {part.greatest.max():.4g} in {low.min():.4g} to "
                f"{high.max():.4g}",
                "give the right action space when importing, or rescale the actions",
            )
        bounded = np.isfinite(low) & np.isfinite(high)
        width = np.where(bounded, np.maximum(high - low, 1e-12), 1)
        used = np.where(bounded, (part.greatest - part.least) / width, 1)
        if (used < 0.1).any():
            yield Finding(
                f"actions: components {np.flatnonzero(used < 0.1)[:8].tolist()} use less "
                "than a tenth of their range",
                "check the scale of the recorded actions: the environment may expect others",
            )
        if not bounded.all():
            yield Finding(
                "actions: the space has no bounds; those recorded reach from "
                f"{part.least.min():.4g} to {part.greatest.max():.4g}",
                "give the environment's range with --action-space when importing, so that "
                "policies keep to it",
            )


def _episodes(dataset: Dataset) -> Iterator[Finding]:
    seen: Counter[bytes] = Counter()
    arrays, offsets = dataset.arrays, dataset.arrays["episode_offsets"]
    for index in range(len(dataset)):
        start, stop = int(offsets[index]), int(offsets[index + 1])
        digest = hashlib.blake2b(digest_size=16)
        for name in ("actions", "rewards"):
            digest.update(np.ascontiguousarray(arrays[name][start:stop]).data)
        for path in dataset.observation_leaves:
            # Each earlier episode holds one observation more than it has steps.
            rows = arrays[f"observations/{path}"][start + index : stop + index + 1]
            digest.update(np.ascontiguousarray(rows).data)
        seen[digest.digest()] += 1
    repeated = len(dataset) - len(seen)
    if repeated:
        yield Finding(
            f"{repeated} of {len(dataset)} episodes repeat another one byte for byte",
            "fine where few different episodes exist; else the recording was joined twice, "
            "or seeds were not changed",
        )
    single = int((dataset.lengths == 1).sum())
    if single and dataset.lengths.max() > 1:
        yield Finding(
            f"{single} of {len(dataset)} episodes have a single step while others have up to "
            f"{dataset.lengths.max()}",
            "ends may be marked one step off, or an autoreset step may have been recorded as "
            "an episode",
        )
    unknown = int((dataset.arrays["seeds"] < 0).sum())
    if unknown:
        yield Finding(
            f"{unknown} of {len(dataset)} episodes do not say with which seed they began",
            "make sure that none of them was recorded with seeds that policies are scored on",
        )


def _ends(dataset: Dataset) -> Iterator[Finding]:
    last = dataset.arrays["episode_offsets"][1:] - 1
    terminated, truncated = (
        np.asarray(dataset.arrays[name][last]) for name in ("terminations", "truncations")
    )
    longest = int(dataset.lengths.max())
    full = dataset.lengths == longest
    cut = int((~terminated & ~truncated).sum())
    shorter = int((~terminated & ~full).sum())
    if shorter and full.mean() >= RAGGED:
        yield Finding(
            f"{shorter} of {len(dataset)} episodes are shorter than the {longest} steps of "
            "most, and nothing terminated them",
            "the recorder may have lost their ends; look whether they belong in the data",
        )
    if cut > 1:
        yield Finding(
            f"{cut} of {len(dataset)} episodes end in neither termination nor truncation",
            "Q-learning goes on in value there; mark them as truncated if a time limit ended them",
        )
    if len(dataset) > 1 and longest > 1 and full.all() and terminated.all():
        yield Finding(
            f"all episodes are terminated after exactly {longest} steps",
            "that looks like a time limit recorded as a termination: record it as a "
            "truncation, or values end where time does",
        )
    early = int((truncated & (dataset.lengths < longest) & ~full).sum())
    if early and terminated.sum() == 0 and early > len(dataset) / 2:
        yield Finding(
            f"{early} of {len(dataset)} episodes are truncated before {longest} steps, and "
            "none is ever terminated",
            "terminations may have been recorded as truncations: values then go on behind an end",
        )


def _missed_ends(dataset: Dataset) -> Iterator[Finding]:
    """Episodes that may be several, whose ends the recorder did not mark."""
    advice = "look whether their ends were marked under a name that was not read (--episode-ends)"
    lengths = dataset.lengths
    long = np.flatnonzero(lengths > LONG * np.median(lengths))
    if len(dataset) == 1:
        yield Finding(f"all {dataset.steps} steps are one episode", advice)
    elif len(long) and len(long) <= len(dataset) / 10:
        yield Finding(
            f"episodes {long[:8].tolist()} have up to {lengths.max()} steps, the median is "
            f"{np.median(lengths):g}",
            advice,
        )
    for path, space in dataset.observation_leaves.items():
        if isinstance(space, spaces.Box) and space.dtype.kind == "f":
            jumps, where = _jumps(dataset, path)
            if jumps:
                yield Finding(
                    f"observations/{path}: {jumps} steps inside episodes jump as if to a reset, "
                    f"the first in episode {where}",
                    advice,
                )


def _jumps(dataset: Dataset, path: str) -> tuple[int, int]:
    """How many steps inside episodes are far larger than others and lead to where episodes begin,
    and the episode of the first."""
    array, offsets = dataset.arrays[f"observations/{path}"], dataset.arrays["episode_offsets"]
    starts = offsets[:-1] + np.arange(len(dataset))  # each has one observation more than steps
    firsts = np.asarray(array[starts[:1000]], np.float64)
    firsts = firsts.reshape(len(firsts), -1)
    sizes, nearer = [], []
    scale = np.maximum(np.asarray(dataset.card["normalisation"][path]["std"]).ravel(), 1e-9)
    for start, length in zip(starts, dataset.lengths, strict=True):
        for first in range(start, start + length, rows := max(1, CHUNK_BYTES // array[:1].nbytes)):
            part = np.asarray(array[first : min(first + rows, start + length) + 1], np.float64)
            part = part.reshape(len(part), -1)
            sizes.append(np.linalg.norm(np.diff(part, axis=0) / scale, axis=1))
            begin = np.linalg.norm((part - firsts.mean(0)) / scale, axis=1)
            nearer.append(np.diff(begin) < 0)
    size, back = np.concatenate(sizes), np.concatenate(nearer)
    typical = np.quantile(size, 0.9)
    moves = np.median(size) > 0  # where most steps change nothing, any that does looks like a jump
    jumps = np.flatnonzero((size > JUMP * typical) & back & moves)
    where = int(np.searchsorted(offsets, jumps[0], "right") - 1) if len(jumps) else 0
    return len(jumps), where


def _images(dataset: Dataset) -> Iterator[Finding]:
    advice = "a small coloured cue may be lost; record without compression if you can"
    images = {path: space for path, space in dataset.observation_leaves.items() if is_image(space)}
    if images and dataset.card["provenance"].get("lossy_images"):
        names = ", ".join(images)
        yield Finding(f"observations/{names}: the recording kept its images as JPEG", advice)
        return
    for path, space in images.items():
        shape = space.shape or ()
        if min(shape[1:] if _is_planar(shape) else shape[:2]) < 2 * BLOCK:
            continue
        array = dataset.arrays[f"observations/{path}"]
        rows = np.linspace(0, len(array) - 1, min(64, len(array))).astype(np.int64)
        grey = _channels_last(array.take(rows, axis=0)).mean(-1)
        ratio, share = blockiness(grey), quietness(grey)
        if ratio > BLOCKINESS and share > QUIET:
            yield Finding(
                f"observations/{path}: steps between blocks of {BLOCK} pixels are {ratio:.1f} "
                "times as large as within them, and fine detail is missing, as JPEG leaves images",
                advice,
            )


def blockiness(grey: np.ndarray) -> float:
    """Median step in brightness across borders of blocks over that within, of images [n, H, W]."""
    steps = np.abs(np.diff(grey, axis=2)).mean((0, 1))
    border = np.arange(1, len(steps) + 1) % BLOCK == 0
    inside = float(np.median(steps[~border]))
    return float(np.median(steps[border])) / inside if inside > 0 else 1.0


def quietness(grey: np.ndarray) -> float:
    """Share of the blocks with content that lack their finest frequencies, of images [n, H, W].

    JPEG rounds those away first. Blocks of pixel art have them in full, or have no content.
    """
    height, width = (side // BLOCK * BLOCK for side in grey.shape[1:])
    blocks = grey[:, :height, :width].reshape(
        len(grey), height // BLOCK, BLOCK, width // BLOCK, BLOCK
    )
    waves = np.abs(fft.dctn(blocks, axes=(2, 4), norm="ortho")).transpose(0, 1, 3, 2, 4)
    order = np.maximum.outer(np.arange(BLOCK), np.arange(BLOCK))
    content = waves[..., order > 0].max(-1) > BLOCK
    return (
        float((waves[..., order > BLOCK - 3].max(-1) < BLOCK / 2)[content].mean())
        if content.any()
        else 0.0
    )
