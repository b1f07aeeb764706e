"""What may be wrong with recorded data, found by reading all of it once, an episode or a few thousand rows at a time."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces

from rate.dataset import Dataset
from rate.spaces import is_image

ROWS = 4096
"""Rows read at a time."""

BLOCK = 8
"""Side of the blocks of pixels that JPEG compresses one by one."""

BLOCKINESS = 1.3
"""How many times as large steps between blocks must be as steps within them, to look like JPEG's."""


class Finding(NamedTuple):
    """Something that may be wrong. severity: "error" where training on it is a mistake, else "warning"."""

    severity: Literal["error", "warning"]
    what: str
    advice: str


@dataclass
class _Channels:
    """Sums over the rows of one array, by component."""

    count: int = 0
    total: Any = 0.0
    squares: Any = 0.0
    least: Any = np.inf
    greatest: Any = -np.inf
    bad: int = 0
    values: Counter[int] = field(default_factory=Counter)

    def add(self, rows: np.ndarray) -> None:
        numbers = rows.reshape(len(rows), -1).astype(np.float64)
        self.bad += int((~np.isfinite(numbers)).sum())
        self.count += len(numbers)
        self.total, self.squares = self.total + numbers.sum(0), self.squares + (numbers**2).sum(0)
        self.least, self.greatest = np.minimum(self.least, numbers.min(0)), np.maximum(self.greatest, numbers.max(0))
        if rows.ndim == 1 and rows.dtype.kind in "iu":
            self.values.update(dict(zip(*(part.tolist() for part in np.unique(rows, return_counts=True)), strict=True)))

    @property
    def deviation(self) -> np.ndarray:
        mean = self.total / self.count
        return np.sqrt(np.maximum(self.squares / self.count - mean**2, 0))


def statistics(dataset: Dataset) -> dict[str, tuple[float, float, float, float]]:
    """Mean, standard deviation, least and greatest number of every leaf of observations, of actions and of rewards."""
    result = {}
    for name, channels in _channels(dataset).items():
        mean = float(np.mean(channels.total / channels.count))
        squares = float(np.mean(channels.squares / channels.count))
        deviation = float(np.sqrt(max(squares - mean**2, 0)))
        result[name] = (mean, deviation, float(np.min(channels.least)), float(np.max(channels.greatest)))
    return result


def findings(dataset: Dataset) -> list[Finding]:
    """Everything that looks wrong, errors first."""
    channels = _channels(dataset)
    found = [
        *_numbers(channels),
        *_actions(dataset.action_space, channels["actions"]),
        *_episodes(dataset),
        *_ends(dataset),
        *_images(dataset),
    ]
    return sorted(found, key=lambda finding: finding.severity != "error")


def _channels(dataset: Dataset) -> dict[str, _Channels]:
    names = [f"observations/{path}" for path in dataset.observation_leaves] + ["actions", "rewards"]
    found = {}
    for name in names:
        found[name] = _Channels()
        array = dataset.arrays[name]
        for start in range(0, len(array), ROWS):
            found[name].add(np.asarray(array[start : start + ROWS]))
    return found


def _numbers(channels: dict[str, _Channels]) -> Iterator[Finding]:
    for name, part in channels.items():
        if part.bad:
            yield Finding(
                "error",
                f"{name}: {part.bad} numbers are NaN or infinite",
                "repair the recording, or leave those episodes out",
            )
        constant = np.flatnonzero(np.asarray(part.least == part.greatest))
        if name.startswith("observations/") and len(constant) and part.count > 1:
            which = f"{len(constant)} of {np.size(part.least)} components" if np.size(part.least) > 1 else "it"
            yield Finding(
                "warning",
                f"{name}: {which} never changes ({', '.join(map(str, constant[:8]))}{', ...' if len(constant) > 8 else ''})",
                "leave it out of the observations if it means nothing; it carries no information",
            )
    rewards = channels["rewards"]
    if float(np.min(rewards.least)) == float(np.max(rewards.greatest)):
        yield Finding(
            "warning",
            f"rewards: all are {float(np.min(rewards.least)):g}",
            "models conditioned on returns learn nothing from them, and Q-learning no more than to clone; check the recording",
        )


def _actions(space: gymnasium.Space[Any], part: _Channels) -> Iterator[Finding]:
    if isinstance(space, spaces.Discrete):
        unused = sorted(set(range(int(space.start), int(space.start + space.n))) - set(part.values))
        if unused:
            shown = f"{unused[:10]}{' and more' if len(unused) > 10 else ''}"
            yield Finding(
                "warning",
                f"actions: {len(unused)} of {space.n} are never taken: {shown}",
                "a policy cannot learn when to take them; check that the action space is the environment's",
            )
    if isinstance(space, spaces.Box):
        low, high = space.low.reshape(-1), space.high.reshape(-1)
        outside = np.flatnonzero((part.least < low - 1e-6) | (part.greatest > high + 1e-6))
        if len(outside):
            yield Finding(
                "error",
                f"actions: components {outside[:8].tolist()} leave their range, {part.least.min():.4g} to "
                f"{part.greatest.max():.4g} in {low.min():.4g} to {high.max():.4g}",
                "give the right action space when importing, or rescale the actions",
            )
        bounded = np.isfinite(low) & np.isfinite(high)
        used = np.where(bounded, (part.greatest - part.least) / np.where(bounded, np.maximum(high - low, 1e-12), 1), 1)
        if (used < 0.1).any():
            yield Finding(
                "warning",
                f"actions: components {np.flatnonzero(used < 0.1)[:8].tolist()} use less than a tenth of their range",
                "check the scale of the recorded actions: the environment may expect others",
            )
        if not bounded.all():
            yield Finding(
                "warning",
                "actions: the space has no bounds",
                "give the environment's range with --action-space when importing, so that policies keep to it",
            )


def _episodes(dataset: Dataset) -> Iterator[Finding]:
    seen: Counter[bytes] = Counter()
    for index in range(len(dataset)):
        episode = dataset.episode(index)
        digest = hashlib.blake2b(digest_size=16)
        for array in (*episode.observations.values(), episode.actions, episode.rewards):
            digest.update(np.ascontiguousarray(array).data)
        seen[digest.digest()] += 1
    repeated = len(dataset) - len(seen)
    if repeated:
        share = repeated / len(dataset)
        yield Finding(
            "error" if share > 0.5 else "warning",
            f"{repeated} of {len(dataset)} episodes repeat another one byte for byte",
            "fine where few different episodes exist; else the recording was joined twice, or seeds were not changed",
        )
    single = int((dataset.lengths == 1).sum())
    if single and dataset.lengths.max() > 1:
        yield Finding(
            "warning",
            f"{single} of {len(dataset)} episodes have a single step while others have up to {dataset.lengths.max()}",
            "ends may be marked one step off, or an autoreset step may have been recorded as an episode",
        )
    unknown = int((dataset.arrays["seeds"] < 0).sum())
    if unknown:
        yield Finding(
            "warning",
            f"{unknown} of {len(dataset)} episodes do not say with which seed they began",
            "make sure that none of them was recorded with seeds that policies are scored on",
        )


def _ends(dataset: Dataset) -> Iterator[Finding]:
    last = dataset.arrays["episode_offsets"][1:] - 1
    terminated, truncated = (np.asarray(dataset.arrays[name][last]) for name in ("terminations", "truncations"))
    longest = int(dataset.lengths.max())
    full = dataset.lengths == longest
    cut = int((~terminated & ~truncated).sum())
    if cut > 1:
        yield Finding(
            "warning",
            f"{cut} of {len(dataset)} episodes end in neither termination nor truncation",
            "Q-learning goes on in value there; mark them as truncated if a time limit ended them",
        )
    if len(dataset) > 1 and longest > 1 and full.all() and terminated.all():
        yield Finding(
            "warning",
            f"all episodes are terminated after exactly {longest} steps",
            "that looks like a time limit recorded as a termination: record it as a truncation, or values end where time does",
        )
    early = int((truncated & (dataset.lengths < longest) & ~full).sum())
    if early and terminated.sum() == 0 and early > len(dataset) / 2:
        yield Finding(
            "warning",
            f"{early} of {len(dataset)} episodes are truncated before {longest} steps, and none is ever terminated",
            "terminations may have been recorded as truncations: values then go on behind an end",
        )


def _images(dataset: Dataset) -> Iterator[Finding]:
    for path, space in dataset.observation_leaves.items():
        if not is_image(space) or min(sorted(space.shape or ())[1:]) < 2 * BLOCK:
            continue
        array = dataset.arrays[f"observations/{path}"]
        rows = np.linspace(0, len(array) - 1, min(64, len(array))).astype(np.int64)
        images = array.take(rows, axis=0).astype(np.float64)
        if (space.shape or ())[-1] > (space.shape or ())[0]:
            images = images.transpose(0, 2, 3, 1)
        ratio = blockiness(images)
        if ratio > BLOCKINESS:
            yield Finding(
                "warning",
                f"observations/{path}: steps between blocks of {BLOCK} pixels are {ratio:.1f} times as large as within them",
                "that is what JPEG leaves: a small coloured cue may be lost; record without compression if you can",
            )


def blockiness(images: np.ndarray) -> float:
    """Mean step in brightness across borders of 8 x 8 blocks, over that elsewhere, of images [n, H, W, C]."""
    steps = np.abs(np.diff(images.mean(-1), axis=2)).mean((0, 1))
    border = np.arange(1, len(steps) + 1) % BLOCK == 0
    inside = steps[~border].mean()
    return float(steps[border].mean() / inside) if inside > 0 else 1.0
