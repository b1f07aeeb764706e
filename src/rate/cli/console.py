"""Where the command line prints to."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from rich.table import Table

from rate.progress import Terminal

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
    close = get_close_matches(verb, list(verbs), 1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    err.print(f"{command}: unknown verb {verb!r}{hint} Verbs are: {', '.join(verbs)}")
    return 2
