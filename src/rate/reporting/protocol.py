"""Which result rows belong together: rows of one protocol are averaged, those of another never."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Row = Mapping[str, Any]
"""One result: the scores of one seed of one variant on one task."""

TRIAL_SEEDS = range(100)
"""Training seeds on which recipes are chosen; results are reported on seeds behind these."""

REQUIRED = ("variant", "seed", "task", "checkpoint", "metric", "value", "scores")
_TYPES: dict[str, Any] = dict.fromkeys(("variant", "task", "checkpoint", "metric"), str)
_TYPES |= {"seed": int} | dict.fromkeys(("x", "seconds"), int | float | None)

TRAINING = {"recipe": "recipe", "dataset": "data"}
"""Entries of a row that say how its policy was made, with the words for them."""
SCORING = {"first_seed": "episodes", "actions": "choice of actions", "target_return": "return"}
"""Entries of a row that say how it was scored, with the words for them."""
SEEDS = "kind of seeds"


def position(row: Row) -> float | None:
    """Where the task of a row lies on an axis, which is logarithmic: a positive number, or None."""
    x = row.get("x")
    return x if x is not None and 0 < x < math.inf else None


def trial(rows: Iterable[Row]) -> list[int]:
    """The trial seeds among those of policies that were trained, in order."""
    return sorted({row["seed"] for row in rows if "recipe" in row and row["seed"] in TRIAL_SEEDS})


def latest(rows: Iterable[Row]) -> list[Row]:
    """The rows that count: the last of repeated ones, and of each variant those of its last
    protocol.

    A protocol consists of the recipe, the data, whether seeds are trial seeds, and for each task
    its episodes, the choice of actions and the return that is asked for. Rows of an earlier one are
    dropped, not averaged with the new ones; their seeds then show as missing. A row with
    `trained_for` is of a policy for that task alone, whose recipe is compared with those of the
    same task.
    """
    checked = [check(row) for row in rows]
    protocols = _last(checked)
    kept = {
        (row["variant"], row["checkpoint"], row["task"], row["seed"]): row
        for row in checked
        if not _differences(row, protocols)
    }
    return list(kept.values())


def superseded(rows: Iterable[Row]) -> dict[tuple[str, ...], list[Row]]:
    """Rows of earlier protocols, by variant, recipe and what differs from the last protocol, in
    words; the last of repeated ones."""
    checked = [check(row) for row in rows]
    protocols = _last(checked)
    kept: dict[tuple[str, ...], dict[tuple[str, int], Row]] = {}
    for row in checked:
        if differs := _differences(row, protocols):
            group = (row["variant"], str(row.get("recipe", "")), ", ".join(differs))
            kept.setdefault(group, {})[row["task"], row["seed"]] = row
    return {group: list(own.values()) for group, own in kept.items()}


def _last(rows: Sequence[Row]) -> dict[tuple[str, ...], dict[str, Any]]:
    """The last protocol of every policy, and of every policy and task."""
    protocols: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        protocols[_policy(row)] = _training(row)
        protocols[(*_policy(row), row["task"])] = {name: row.get(name) for name in SCORING}
    return protocols


def _differences(row: Row, protocols: Mapping[tuple[str, ...], dict[str, Any]]) -> list[str]:
    """In what a row differs from the last protocol, in words."""
    own = {**_training(row), **{name: row.get(name) for name in SCORING}}
    last = {**protocols[_policy(row)], **protocols[(*_policy(row), row["task"])]}
    words = {**TRAINING, SEEDS: SEEDS, **SCORING}
    return [words[name] for name in words if own[name] != last[name]]


def _training(row: Row) -> dict[str, Any]:
    return {**{name: row.get(name) for name in TRAINING}, SEEDS: bool(trial([row]))}


def _policy(row: Row) -> tuple[str, ...]:
    """What a recipe is the recipe of."""
    return row["variant"], row["checkpoint"], row.get("trained_for", "")


def check(row: Row) -> Row:
    """The row, if it has what statistics need and does not contradict itself; else a
    ValueError."""
    absent = [key for key in REQUIRED if key not in row]
    if absent:
        raise ValueError(
            f"a result row lacks {', '.join(absent)}; rows are written by `rate evaluate`: "
            f"{str(dict(row))[:120]}"
        )
    for key, kind in _TYPES.items():
        if not isinstance(row.get(key), kind):
            raise ValueError(
                f"a result row has {key} = {row.get(key)!r}, which is not of type "
                f"{getattr(kind, '__name__', kind)}"
            )
    try:
        scores, value = finite(row["scores"]), float(row["value"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name_of(row)}: {error}") from error
    if not abs(scores.mean() - value) <= 1e-5 * max(1.0, abs(value)):
        raise ValueError(
            f"{name_of(row)} says value {value}, but its scores average {scores.mean():.6g}: "
            "restore the row or remove it"
        )
    if row.get("cues") and len(row["cues"]) != len(scores):
        raise ValueError(
            f"{name_of(row)} has {len(row['cues'])} cues for {len(scores)} scores: restore the row "
            "or remove it"
        )
    return row


def name_of(row: Row) -> str:
    """How messages name a row."""
    return f"the row of {row['variant']}, seed {row['seed']}, {row['task']}"


def finite(values: ArrayLike) -> np.ndarray:
    """Scores as an array [n], n at least 1, of finite numbers; else a ValueError."""
    array = np.asarray(values, float)
    if array.ndim != 1 or not array.size:
        raise ValueError(
            "scores must be a list of at least one number, but an array of shape "
            f"{array.shape} was given"
        )
    if not np.isfinite(array).all():
        raise ValueError(
            f"scores must be finite, but {array[~np.isfinite(array)][0]} is among them: find "
            "out why before averaging"
        )
    return array
