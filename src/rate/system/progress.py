"""Progress of long work: a bar with rate and time left on a terminal, elsewhere a line every ten
seconds."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.text import Text

from rate.storage.untrusted import visible

Advance = Callable[..., None]
"""Called as `advance(count, **values)`: so much was done, and these are the newest values."""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(_rate(task.speed) if task.speed else "", style="progress.data.speed")


def say(line: str) -> None:
    """Print a line where progress is shown."""
    _console().print(line, soft_wrap=True)


class Terminal(Console):
    """Where all text of this library is printed: what comes from files is text, not markup, and
    holds no control characters."""

    def __init__(self, **options: Any) -> None:
        # Titles hold names such as gym:package:Id-v0.
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Parts of what is printed; those that move the cursor of a progress bar stay."""
        for part in super().render(renderable, options):
            yield part if part.control else Segment(visible(part.text), part.style)


def _console() -> Console:
    return Terminal(stderr=True)


@contextmanager
def progress_bar(title: str, total: int, done: int = 0, show: bool = True) -> Iterator[Advance]:
    """Show how far some work is, as long as the context lasts.

    Args:
        title: What is being done.
        total: Number of units of work.
        done: Units that were done before.
        show: Whether anything is shown.

    Returns:
        A context with the function to call when something was done.
    """
    console = _console()
    if not show:
        yield lambda count, **values: None
    elif console.is_terminal:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            _Rate(),
            TextColumn("{task.fields[values]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(title, total=total, completed=done, values="")
            yield lambda count, **values: bar.update(task, advance=count, values=_text(values))
    else:
        yield _lines(console, title, total, done)


def _lines(console: Console, title: str, total: int, done: int, every: float = 10.0) -> Advance:
    """Print a line at most `every` seconds, and one at the end."""
    state = {"done": done, "shown": time.monotonic(), "before": done}

    def advance(count: int, **values: float) -> None:
        state["done"] += count
        now = time.monotonic()
        if now - state["shown"] < every and state["done"] < total:
            return
        speed = (state["done"] - state["before"]) / max(1e-9, now - state["shown"])
        line = f"{title}: {state['done']}/{total}"
        if speed:
            line += f", {_rate(speed)}, {_duration((total - state['done']) / speed)} left"
        console.print(f"{line} {_text(values)}", soft_wrap=True)
        state.update(shown=now, before=state["done"])

    return advance


def _text(values: dict[str, float]) -> str:
    return " ".join(
        f"{name} {value if isinstance(value, int) else f'{value:.4g}'}"
        for name, value in values.items()
    )


def _rate(speed: float) -> str:
    """A speed in units a second, or where that is slow in units a minute or an hour."""
    for unit, seconds in (("s", 1), ("min", 60)):
        if speed * seconds >= 1:
            return f"{speed * seconds:.1f}/{unit}"
    return f"{speed * 3600:.1f}/h"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
