"""The films of a run's episodes: videos in a folder, and films.json, which says what they show."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rate.messages import reason
from rate.storage.files import atomic_write
from rate.storage.untrusted import inside, visible_json
from rate.values import Checked

INDEX = "films.json"


class FilmError(ValueError):
    """A folder of films that cannot be read."""


@dataclass(frozen=True)
class Film(Checked):
    """One episode in a video file."""

    file: str
    """Name of the file."""
    strip: str
    """Name of a WebP image with a few of its pictures side by side."""
    task: str
    """Task that is played."""
    which: str
    """What the episode is among those that were scored: best, typical or worst."""
    episodes: int
    """How many were scored."""
    seed: int
    """Seed of the episode."""
    score: float
    """Its score."""
    metric: str
    """What the score measures."""
    total_return: float
    """Sum of its rewards."""
    length: int
    """Its steps."""


def read_films(folder: Path) -> list[Film]:
    """The films of a folder; none if it has no list of them.

    Raises:
        FilmError: The list is damaged, or names no file of the folder.
    """
    path = inside(folder, INDEX, error=FilmError)
    if not path.is_file():
        return []
    try:
        entries = visible_json(json.loads(path.read_text(encoding="utf-8")))
        films = [Film(**entry) for entry in entries]
    except (TypeError, ValueError, OSError, RecursionError) as error:
        raise FilmError(f"{path} cannot be read ({reason(error)}): remove it") from error
    for film in films:
        inside(folder, film.file, error=FilmError)
        inside(folder, film.strip, error=FilmError)
    return films


def write_films(folder: Path, films: Sequence[Film]) -> None:
    """Write the list of films; it comes after their files, so that those are there."""
    text = json.dumps([asdict(film) for film in films], indent=2)
    atomic_write(inside(folder, INDEX, error=FilmError), text + "\n")


def file_name(*parts: str, ending: str = ".mp4") -> str:
    """A file's name from words and names of tasks, of letters that every file system takes."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", "-".join(parts)).strip("-")
    return f"{name[:120]}{ending}"
