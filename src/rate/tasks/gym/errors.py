"""Errors in code that a task address names, such as an environment or an expert."""

import traceback
from pathlib import Path

import gymnasium

__all__ = ["describe_error"]

LIBRARY = Path(__file__).resolve().parents[2]
INSTALLED = {"site-packages", "dist-packages"}


def describe_error(error: BaseException) -> str:
    """Describe an error in one line by kind, message and place.

    An example is `KeyError: 'left' (maze.py, line 12, in step)`.

    The place is the innermost line outside of this library, of a file that is not an installed
    package's if there is one. What Gymnasium itself refuses needs no place in Gymnasium.
    """
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    frames = traceback.extract_tb(error.__traceback__)
    outside = [
        frame for frame in frames if not Path(frame.filename).resolve().is_relative_to(LIBRARY)
    ]
    users = [frame for frame in outside if not INSTALLED & set(Path(frame.filename).parts)]
    named = users or ([] if isinstance(error, gymnasium.error.Error) else outside)
    if not named:
        return text
    return f"{text} ({named[-1].filename}, line {named[-1].lineno}, in {named[-1].name})"
