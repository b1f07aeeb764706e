"""What files of strangers say: names that are no paths, and text that is only text."""

import os
import re
import stat
from contextlib import suppress
from pathlib import Path, PureWindowsPath
from typing import Any

WINDOWS = os.name == "nt"

_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows takes for devices in any folder."""

_CONTROLS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f]"
)
"""What a terminal acts on, what reorders the text around it, and what is no character."""


def inside(
    folder: str | os.PathLike[str], *names: str, error: type[ValueError] = ValueError
) -> Path:
    """The path of a file in a folder that may come from a stranger: it lies in that folder.

    Args:
        folder: The folder. It may be a link itself: that is the choice of whoever names it.
        names: Name of the file, after those of the folders between, one for each part of the path.
        error: What is raised.

    Raises:
        error: a name has more than one part or is no name of a file, or there is a link or a
            special file in this place.
    """
    path = Path(folder)
    for name in names:
        if not _is_file_name(name):
            shown = name if len(name) <= 80 else f"{name[:77]}..."
            raise error(
                f"{shown!r} cannot name a file in {path}: a name has 1 to 255 printable "
                "characters, no slash, backslash or drive, no full stop or space at its end, and "
                "is no device; give it another name"
            )
        path /= name
        with suppress(OSError):  # it may not exist yet
            mode = path.lstat().st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise error(
                    f"{path} is a link or a special file, and might lead out of {folder}: put the "
                    "file itself in its place"
                )
    return path


def _is_file_name(name: str) -> bool:
    return (
        name.isprintable()
        and 0 < len(name.encode()) <= 255
        and PureWindowsPath(name).name == name
        and not name.endswith((".", " "))
        and not (WINDOWS and _DEVICES.fullmatch(name))
    )


def visible(text: str) -> str:
    r"""Text with control characters, except line ends and tabs, as escapes such as \x1b."""
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def visible_json(data: Any) -> Any:
    """JSON data with `visible` text, keys included; nested too deeply, it is a ValueError."""
    try:
        return _visible_json(data)
    except RecursionError as error:
        raise ValueError("its entries are nested too deeply") from error


def _visible_json(data: Any) -> Any:
    if isinstance(data, str):
        return visible(data)
    if isinstance(data, list):
        return [_visible_json(entry) for entry in data]
    if isinstance(data, dict):
        return {visible(name): _visible_json(entry) for name, entry in data.items()}
    return data
