"""Where the command line prints to."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

out = Console(soft_wrap=True, markup=False, emoji=False)
err = Console(stderr=True, soft_wrap=True, markup=False, emoji=False)


def show_names(title: str, names: Mapping[str, str]) -> None:
    """Print names with a line about each."""
    table = Table(title=title, title_justify="left", box=None, show_header=False, padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    for name, description in names.items():
        table.add_row(name, description)
    out.print(table)
