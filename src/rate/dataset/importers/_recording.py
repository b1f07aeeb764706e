"""From the arrays of a file to a recording: its episodes, and the spaces that fit them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from rate.dataset import DatasetError
from rate.dataset.importers import ImportOptions, Recording
from rate.dataset.importers._files import readable
from rate.dataset.importers._numbers import Derived, Fitting, chunks, fitting
from rate.dataset.importers._parts import Part, split
from rate.dataset.importers._steps import Steps, Stream, column, understand
from rate.episode import Episode
from rate.spaces import PLAIN, leaves

NO_ENDS = "none"
"""What `ImportOptions.episode_ends` says of one episode that nothing marks the end of."""


def recording(
    path: Path,
    streams: Callable[[], Iterable[Stream]],
    options: ImportOptions,
    facts: Mapping[str, Any],
    change: Callable[[Steps], Steps] = lambda steps: steps,
) -> Recording:
    """Find the episodes in a recording and the spaces of their steps.

    Args:
        path: The file or folder.
        streams: Opens it, anew each time.
        options: What is known better than the file says.
        facts: What to note in the dataset's provenance beside what is found here.
        change: Converts steps of this format.

    Raises:
        DatasetError: An array is missing or does not fit the others, or nothing marks an end.
    """
    survey, parts = _Survey(options), []
    for stream in streams():
        with readable(stream.path, f"look at {stream.where or 'its arrays'}"):
            for steps in map(change, understand(stream, options.episode_ends)):
                with readable(stream.path, f"look at {steps.where or 'its arrays'}"):
                    parts.append(split(steps))
                    survey.add(steps, parts[-1])
    with readable(path, "look at its arrays"):
        survey.require_ends(parts)
        fitted = survey.fitting()

    def episodes() -> Iterator[Episode]:
        remaining = iter(parts)
        for stream in streams():
            for steps in map(change, understand(stream, options.episode_ends)):
                for part in next(remaining):
                    where = steps.where or f"steps {part.start} to {part.stop - 1}"
                    with readable(stream.path, f"look at {where}"):
                        episode = _episode(steps, part, fitted)
                    yield episode

    count = sum(map(len, parts))
    return Recording(fitted.observed, fitted.acted, episodes, count, {**facts, **survey.facts()})


def _episode(steps: Steps, part: Part, fitted: Fitting) -> Episode:
    seen, stop = {}, part.seen + part.stop - part.start + part.final
    observations = steps.leaves["observations"]
    for path in set(observations) & set(leaves(fitted.observed)):
        rows = np.asarray(observations[path][part.seen : stop])
        if not part.final:
            after = steps.leaves["next_observations"].get(path)
            last = rows[-1:] if after is None else np.asarray(after[part.stop - 1 : part.stop])
            rows = np.concatenate([rows, last])
        seen[path] = rows
    actions = {
        path: np.asarray(array[part.start : part.stop])
        for path, array in steps.leaves["actions"].items()
    }
    last = np.arange(part.stop - part.start) == part.stop - part.start - 1
    return Episode(
        fitted.observations(seen),
        fitted.actions(actions),
        np.asarray(steps.rewards[part.start : part.stop]),
        last & part.terminated,
        last & part.truncated,
    )


class _Survey:
    """What is true of all steps of a recording."""

    def __init__(self, options: ImportOptions) -> None:
        self.given = options.observation_space, options.action_space
        self.ends = options.episode_ends
        self.derived: tuple[dict[str, Derived], dict[str, Derived]] = ({}, {})
        self.ignored: set[str] = set()
        self.marks: set[str] = set()
        self.warnings: set[str] = set()
        self.recorded = True

    def add(self, steps: Steps, parts: list[Part]) -> None:
        """Take steps into account."""
        observations, after, actions = steps.leaves.values()
        if self.given[0] is not None:
            for path in set(observations) - set(leaves(self.given[0])):
                steps.ignored.add(f"observations/{path}")
                del observations[path]
        self._derive(0, "observations", observations)
        self._derive(
            0, "observations", {path: after[path] for path in observations if path in after}
        )
        self._derive(1, "actions", actions)
        self.ignored |= steps.ignored
        self.marks.update(*steps.marks.values())
        self.warnings |= steps.warnings
        finals = set(observations) <= set(after)
        self.recorded &= finals or all(part.final for part in parts)
        if finals and not steps.closed and (broken := _broken(observations, after, parts)):
            self.warnings.add(
                f"{broken} steps inside episodes are not followed by their next observation: ends "
                "are not marked there, or steps are not in the order in which they were recorded"
            )

    def _derive(self, index: int, role: str, found: Mapping[str, Any]) -> None:
        given = self.given[index]
        if given is None or set(leaves(given)) != set(found):
            for path, array in found.items():
                name = role if path == PLAIN else f"{role}/{path}"
                is_column = index == 1 and array.dtype.kind in "iu" and array.shape[1:] == (1,)
                flat = column(array) if is_column else array
                self.derived[index].setdefault(path, Derived(name)).add(flat)

    def require_ends(self, parts: list[list[Part]]) -> None:
        """Refuse a recording in which nothing marks an end, unless it is said to be one episode."""
        if self.ends == NO_ENDS or any(
            one.terminated | one.truncated for of in parts for one in of
        ):
            return
        names = sorted({*self.ignored, *self.marks})
        raise DatasetError(
            f"nothing marks the end of an episode in {sum(one.stop for of in parts for one in of)} "
            f"steps: name the array that does with --episode-ends ({', '.join(names) or 'no other'}"
            f"), or give --episode-ends {NO_ENDS} if they are one episode"
        )

    def fitting(self) -> Fitting:
        """The spaces, given or derived."""
        recorded: list[gymnasium.Space[Any]] = []
        for given, derived in zip(self.given, self.derived, strict=True):
            found = {path: one.space() for path, one in derived.items()}
            whole = found[PLAIN] if list(found) == [PLAIN] else spaces.Dict(found)
            recorded.append(whole if found or given is None else given)
        return fitting(self.given, (recorded[0], recorded[1]))

    def facts(self) -> dict[str, Any]:
        """What to note in the provenance."""
        final = "recorded" if self.recorded else "repeated"
        found = {"warnings": sorted(self.warnings)} if self.warnings else {}
        return {"final_observation": final, "ignored": sorted(self.ignored), **found}


def _broken(observations: Mapping[str, Any], after: Mapping[str, Any], parts: list[Part]) -> int:
    """How many steps inside episodes do not lead to the next observation that they recorded."""
    inside = np.ones(parts[-1].stop, bool)
    inside[[part.stop - 1 for part in parts]] = False
    broken = np.zeros(len(inside), bool)
    for path, array in observations.items():
        begin = 0
        if len(array) != len(inside) or len(array.shape) > 2:
            continue
        for rows in chunks(array):
            expected = np.asarray(after[path][begin : begin + len(rows) - 1])
            differ = ~np.isclose(rows[1:], expected, rtol=1e-4, atol=1e-5, equal_nan=True)
            broken[begin : begin + len(rows) - 1] |= differ.reshape(len(differ), -1).any(1)
            begin += len(rows)
    return int((broken & inside).sum())
