"""One recorded trajectory as NumPy arrays, with Minari's field names and its final observation."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

FLAGS = ("terminations", "truncations")


@dataclass(frozen=True, eq=False)
class Episode:
    """One recorded trajectory of T steps, time-major; checked when made.

    Raises:
        ValueError: an array is missing, empty, ragged, of unequal length, not finite, or the
            episode ends before its last step; the message names the array.
    """

    observations: dict[str, np.ndarray]
    """Observations of each leaf, [T + 1, ...], the one after the last action included."""
    actions: np.ndarray
    """Actions, [T, ...]."""
    rewards: np.ndarray
    """Rewards, [T] float32."""
    terminations: np.ndarray
    """Whether the step terminated the episode, [T] bool; only the last one may."""
    truncations: np.ndarray
    """Whether the episode was cut off after the step, [T] bool; only the last one may be. A
    recording that was cut ends in neither."""
    seed: int | None = None
    """What the environment was reset with, if known."""

    def __post_init__(self) -> None:
        if not self.observations:
            raise ValueError(
                "observations: no leaf was given; flatten the observations with rate.spaces.flatten"
            )
        names = {path: f"observations[{path!r}]" for path in self.observations}
        given = {name: getattr(self, name) for name in ("actions", "rewards", *FLAGS)}
        given |= {names[path]: leaf for path, leaf in self.observations.items()}
        arrays = {name: _array(name, value) for name, value in given.items()}
        with np.errstate(over="ignore"):
            arrays["rewards"] = arrays["rewards"].astype(np.float32, copy=False)
        _check_shapes(arrays, [*names.values()])
        for name, array in arrays.items():
            _check_finite(name, array)
        for name in FLAGS:
            if arrays[name][:-1].any():
                raise ValueError(
                    f"{name}: the episode ends at step {int(arrays[name].argmax())}, before its "
                    f"last step {len(arrays[name]) - 1}; split the recording where episodes end"
                )
        if self.seed is not None and not 0 <= self.seed < 2**63:
            raise ValueError(
                f"seed: {self.seed} is not a whole number from 0 to 2**63 - 1; leave it out "
                "if unknown"
            )
        leaves = {path: arrays.pop(name) for path, name in names.items()}
        for name, value in {"observations": leaves, **arrays}.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        """Number of steps T."""
        return len(self.rewards)

    @property
    def total_return(self) -> float:
        """Undiscounted sum of the rewards."""
        return float(self.rewards.sum(dtype=np.float64))


def _check_shapes(arrays: Mapping[str, np.ndarray], observations: Collection[str]) -> None:
    """Refuse arrays of unequal length, one of which is `rewards`; those of observations are longer
    by one."""
    rewards = arrays["rewards"]
    if rewards.ndim != 1 or not len(rewards):
        raise ValueError(
            f"rewards: shape is {rewards.shape}, allowed is [T] with at least one step"
        )
    for name, array in arrays.items():
        length = len(rewards) + (name in observations)
        if array.ndim == 0 or len(array) != length:
            given = "a single value" if array.ndim == 0 else f"{len(array)} entries"
            hint = "; the observation after the last action belongs to them"
            raise ValueError(
                f"{name}: {given}, but {len(rewards)} rewards need {length}"
                f"{hint if name in observations else ''}"
            )
        if name in FLAGS and array.dtype != bool:
            raise ValueError(
                f"{name}: dtype is {array.dtype}, allowed is bool; convert with astype(bool)"
            )
        if name in FLAGS and array.ndim != 1:
            raise ValueError(f"{name}: shape is {array.shape}, allowed is [{length}]")


def returns_to_go(rewards: np.ndarray, discount: float = 1.0) -> np.ndarray:
    """Return-to-go of every step, R_t = sum over t' >= t of discount^(t' - t) r_t', as float32 [T].

    Sums are taken in float64.

    Args:
        rewards: Rewards, [T].
        discount: Discount of rewards; the published experiments use 1.

    Raises:
        ValueError: rewards are not [T], the discount is outside [0, 1], or a sum is too large for
            float32.
    """
    rewards = np.asarray(rewards, dtype=np.float64)
    if rewards.ndim != 1:
        raise ValueError(f"rewards: shape is {rewards.shape}, allowed is [T]")
    if not 0.0 <= discount <= 1.0:
        raise ValueError(f"discount is {discount}, allowed is 0 to 1")
    if discount == 1.0:
        sums = rewards[::-1].cumsum()[::-1]
    else:
        sums = np.empty_like(rewards)
        total = 0.0
        for step in range(len(rewards) - 1, -1, -1):
            total = rewards[step] + discount * total
            sums[step] = total
    with np.errstate(over="ignore"):
        result = sums.astype(np.float32)
    _check_finite("returns-to-go", result)
    return result


def _array(name: str, value: object) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"{name}: entries have different shapes; every step needs the same shape"
        ) from error
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"{name}: dtype is {array.dtype}, allowed are booleans, integers and "
            "floating-point numbers"
        )
    return array


def _check_finite(name: str, array: np.ndarray) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise ValueError(
            f"{name}: {bad} of {array.size} numbers are NaN, infinite or too large for "
            f"{array.dtype}"
        )
