"""Faults in code of others, such as an environment or an expert, told in one line that names the
place."""

import traceback
from pathlib import Path

import gymnasium

__all__ = ["told"]

OURS = Path(__file__).resolve().parents[2]
INSTALLED = {"site-packages", "dist-packages"}


def told(error: BaseException) -> str:
    """Return kind, message and place of an error, such as ``KeyError: 'left' (maze.py, line 12, in
    step)``.

    The place is the innermost line outside of this library, of a file that is not an installed
    package's if there is one. What Gymnasium itself refuses needs no place in Gymnasium.
    """
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not Path(frame.filename).resolve().is_relative_to(OURS)]
    own = [frame for frame in theirs if not INSTALLED & set(Path(frame.filename).parts)]
    named = own or ([] if isinstance(error, gymnasium.error.Error) else theirs)
    if not named:
        return text
    return f"{text} ({named[-1].filename}, line {named[-1].lineno}, in {named[-1].name})"
