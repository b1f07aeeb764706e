"""Episodes on a page: films and strips of pictures that lie in the folders of runs."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rate.reporting.load import (
    FACTS,
    Facts,
    ReportError,
    place,
    read_facts,
    read_picture,
    run_folder,
)
from rate.runs.films import Film, read_films
from rate.runs.folder import Run, runs_in
from rate.storage.untrusted import inside

TYPICAL = "typical"
"""Which of a variant's episodes stands for it."""
MOST_BYTES = 4 * 2**20
"""Size of the largest video that a page takes from a file."""
MOST_IN_ALL = 24 * 2**20
"""Size of all videos of a page; those beyond are shown as strips of pictures only."""


@dataclass(frozen=True)
class Episode:
    """One episode of a variant, as a page shows it."""

    variant: str
    film: Film
    """What is known of it."""
    strip: bytes
    """A few pictures side by side, as WebP."""
    video: bytes | None
    """MP4; None where the page would become too large."""
    address: str
    """The video's path from the folder of the report."""

    @property
    def caption(self) -> str:
        """What is shown, in words."""
        film = self.film
        of = f" of {film.episodes} episodes" if film.episodes > 1 else ""
        words = f"{film.which.capitalize()}{of}: {film.metric} {film.score:.4g}"
        if film.metric != "return":
            words += f", return {film.total_return:.4g}"
        return f"{words}, {film.length} steps, seed {film.seed}"


def runs_to_show(folders: Iterable[Path]) -> list[Path]:
    """Folders of the runs whose episodes a report of some folders shows: the first run of each
    variant of an experiment; none of what cannot be reported on."""
    found: list[Path] = []
    for folder in folders:
        try:
            if place(folder, FACTS).is_file():
                found += _first_runs(folder, read_facts(place(folder, FACTS))).values()
            else:
                found += [run.path for run in runs_in(folder)]
        except ReportError:
            continue
    return found


def read_episodes(folders: Sequence[Path], facts: Facts) -> list[Episode]:
    """The episodes of the runs that a report shows.

    Args:
        folders: One folder of a run or experiment, or several folders of runs.
        facts: What the first one says of itself.

    Raises:
        ReportError: a list of films, a picture or a video is damaged.
    """
    runs = shown_runs(folders, facts)
    order = [*facts.order, *runs]
    episodes: list[Episode] = []
    for variant in sorted(runs, key=order.index):
        try:
            films_folder = Run(runs[variant]).films_folder
            films = read_films(films_folder)
        except ValueError as error:
            raise ReportError(str(error)) from error
        for film in films:
            left = MOST_IN_ALL - sum(len(one.video or b"") for one in episodes)
            episodes.append(_episode(variant, films_folder, film, folders[0], left))
    return episodes


def shown_runs(folders: Sequence[Path], facts: Facts) -> dict[str, Path]:
    """Folders by variant of the runs that stand for their variants; see `read_episodes`."""
    if facts.runs:
        return _first_runs(folders[0], facts)
    paths = runs_to_show(folders)
    names = facts.order if len(paths) == 1 else [path.name for path in paths]
    return dict(zip(names, paths, strict=False))


def _first_runs(folder: Path, facts: Facts) -> dict[str, Path]:
    runs: dict[str, Path] = {}
    for run in facts.runs:
        runs.setdefault(run.variant, run_folder(folder, run))
    return runs


def by_variant(episodes: Sequence[Episode]) -> Mapping[tuple[str, str], list[Episode]]:
    """Episodes by variant and task, in their order."""
    groups: dict[tuple[str, str], list[Episode]] = {}
    for episode in episodes:
        groups.setdefault((episode.variant, episode.film.task), []).append(episode)
    return groups


def _episode(variant: str, films_folder: Path, film: Film, folder: Path, left: int) -> Episode:
    path = inside(films_folder, film.file, error=ReportError)
    strip = read_picture(inside(films_folder, film.strip, error=ReportError), "WEBP")
    try:
        size = path.stat().st_size
        video = path.read_bytes() if size <= min(MOST_BYTES, left) else None
    except OSError as error:
        raise ReportError(f"{path} cannot be read ({error.strerror}): film again") from error
    if video is not None and video[4:8] != b"ftyp":
        raise ReportError(f"{path} is no MP4 video: remove it and its entry, or film again")
    address = Path(os.path.relpath(path, folder)).as_posix()
    return Episode(variant, film, strip, video, address)
