"""Where the command line prints to."""

from collections.abc import Iterable, Mapping

from rich.table import Table

from rate.configs import unknown
from rate.system.progress import Terminal

out, err = Terminal(soft_wrap=True), Terminal(stderr=True, soft_wrap=True)


def show_names(title: str, names: Mapping[str, str]) -> None:
    """Print names with a line about each."""
    table = Table(title=title, title_justify="left", box=None, show_header=False, padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    for name, description in names.items():
        table.add_row(name, description)
    out.print(table)


def refuse(command: str, verb: str, verbs: Iterable[str]) -> int:
    """Say that there is no such verb, and which there are; returns the exit status."""
    err.print(f"{command}: {unknown('verb', verb, list(verbs))}")
    return 2
