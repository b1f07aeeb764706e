"""Films for reports, which the command line makes: reports themselves need nothing to act with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rate.cli.parse import mirror
from rate.runs.folder import Run


@dataclass(frozen=True)
class Films:
    """What is filmed for a report."""

    films: bool = True
    """Film the best, the typical and the worst episode of runs that have scores and no films yet,
    where the simulator and the extra film are installed."""


def film_options() -> type:
    """The option `--no-films` as `rate.cli.parse.parse` adds it."""
    return mirror(Films)


def film(folders: Sequence[str | Path]) -> bool:
    """Film runs, or the first run of each variant of experiments; whether there are new films."""
    try:
        from rate.acting.films import film_run
    except ImportError:
        return False
    from rate.reporting.episodes import runs_to_show

    made = [film_run(Run(run), show_progress=True) for run in runs_to_show(map(Path, folders))]
    return any(made)
