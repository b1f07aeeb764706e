"""Pickles: trajectories, lists of steps, and buffers of Stable-Baselines3."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rate.dataset import DatasetError
from rate.dataset.importers import ImportOptions, Recording
from rate.dataset.importers._files import readable
from rate.dataset.importers._recording import recording
from rate.dataset.importers._roles import place
from rate.dataset.importers._steps import Stream
from rate.storage.pickles import load_numbers

DESCRIPTION = (
    "a pickle: trajectories of RATE's, Decision Transformer's and CORL's authors, lists of steps, "
    "or a buffer of Stable-Baselines3"
)


def recognises(path: Path) -> bool:
    """Whether its name ends as a pickle's."""
    return path.suffix in (".pickle", ".pkl") and path.is_file()


def read(path: Path, options: ImportOptions) -> Recording:
    """Read a pickle, which is held in memory.

    It holds a list, or dict, of trajectories; one dict of arrays of all steps; a list of steps,
    each a dict or a tuple as a loop over a Gymnasium environment collects them (observation,
    action, reward, next observation if it was kept, flags, infos); or a list of lists of steps. A
    trajectory that is not terminal at its end was truncated. Rewards may be given as returns-to-go.

    Raises:
        DatasetError: The pickle holds anything but plain data and arrays of numbers, or no steps.
    """
    data = load_numbers(path, DatasetError)
    with readable(path, "give a pickled list, or dict, of dicts of arrays"):
        streams = list(_streams(path, data))
        if not streams:
            raise DatasetError(f"{path} holds no trajectories")
    return recording(path, lambda: streams, options, {"format": "trajectories"})


def _streams(path: Path, data: Any) -> Iterator[Stream]:
    if isinstance(data, dict) and "actions" in _roles(data):
        yield Stream(path, _flat(data))
        return
    items = list(data.values()) if isinstance(data, dict) else data
    if not isinstance(items, list) or not items:
        return
    if all(map(_is_step, items)):
        yield Stream(path, _columns(items))
    elif all(isinstance(one, dict) or (_is_list(one) and all(map(_is_step, one))) for one in items):
        for number, one in enumerate(items):
            arrays = _flat(one) if isinstance(one, dict) else _columns(one)
            yield Stream(path, arrays, f"trajectory {number}", closed=True)


def _roles(names: Iterable[Any]) -> dict[str, Any]:
    """Names by their roles."""
    places = {name: place(str(name)) for name in names}
    return {found.role: name for name, found in places.items() if found}


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0


def _is_step(value: Any) -> bool:
    """Whether this is one step, with a single reward: a dict, or a tuple."""
    if isinstance(value, dict):
        name = _roles(value).get("rewards")
        return name is not None and _is_number(value[name])
    return isinstance(value, list) and len(value) > 3 and _is_number(value[2])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.generic) or getattr(value, "shape", None) == ()


def _columns(steps: list[Any]) -> dict[str, Any]:
    """Arrays of all steps by name, out of steps."""
    if isinstance(steps[0], list):
        names = _entries(steps[0])
        steps = [dict(zip(names, step, strict=True)) for step in steps]
    flat = [_flat(step) for step in steps]
    return {name: [one[name] for one in flat] for name in flat[0] if all(name in o for o in flat)}


def _entries(step: list[Any]) -> list[str]:
    """Names of the entries of a tuple: what follows the reward is the next observation if it looks
    like the first, an info if it is another dict, and else a flag."""
    first, _, _, *rest = step
    names = ["observations", "actions", "rewards"]
    kinds = ["info" if value is None or isinstance(value, dict) else "flag" for value in rest]
    for index, value in enumerate(rest):
        alike = isinstance(value, dict) and isinstance(first, dict) and set(value) == set(first)
        array = not isinstance(value, dict) and np.shape(value) == np.shape(first) != ()
        number = index == 0 and _is_number(first) and not isinstance(value, bool | np.bool_)
        if alike or array or (number and kinds[0] == "flag" and kinds.count("flag") > 1):
            kinds[index] = "next_observations"
            break
    flags = iter(["dones"] if kinds.count("flag") == 1 else ["terminated", "truncated"])
    return names + [
        next(flags, f"entry {index + 3}")
        if kind == "flag"
        else f"info/{index}"
        if kind == "info"
        else kind
        for index, kind in enumerate(kinds)
    ]


def _flat(value: Any, before: str = "") -> dict[str, Any]:
    """Arrays of nested dicts, or lists of dicts, by path."""
    if _is_list(value) and all(isinstance(one, dict) for one in value):
        value = _columns(value)
    if not isinstance(value, Mapping):
        return {before: value}
    arrays: dict[str, Any] = {}
    for key, part in value.items():
        arrays |= _flat(part, f"{before}/{key}" if before else str(key))
    return arrays
