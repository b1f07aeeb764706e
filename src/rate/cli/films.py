"""Films for reports, which the command line makes: reports themselves need nothing to act with."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rate.cli.parse import mirror
from rate.runs.films import INDEX
from rate.runs.folder import Run


@dataclass(frozen=True)
class Films:
    """What is filmed for a report."""

    films: bool = True
    """Film the best, the typical and the worst episode of runs that have scores and no films yet,
    where the simulator and the extra film are installed, and the report is theirs."""


def film_options() -> type:
    """The option `--no-films` as `rate.cli.parse.parse` adds it."""
    return mirror(Films)


def film(folders: Sequence[str | Path]) -> bool:
    """Film runs, or the first run of each variant of experiments; whether there are new films."""
    from rate.reporting.episodes import runs_to_show

    runs = map(Run, runs_to_show(map(Path, folders)))
    scored = [run for run in runs if run.scores_file.is_file()]
    due = [run for run in scored if not (run.films_folder / INDEX).is_file()]
    if not due or find_spec("imageio_ffmpeg") is None:
        return False
    try:
        from rate.acting.films import film_run  # it needs torch, which a report does not
    except ImportError:
        return False
    made = [film_run(run, show_progress=True) for run in due]
    return any(made)
