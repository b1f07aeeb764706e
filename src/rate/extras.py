"""Optional dependencies, which `pyproject.toml` groups in extras."""

import shlex
from importlib.metadata import requires
from pathlib import Path


def how_to_install(extra: str) -> str:
    """The command that installs the packages of an extra, whatever folder it is typed in."""
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():
        return f"pip install --editable {shlex.quote(f'{checkout}[{extra}]')}"
    needed = [text.partition(";") for text in requires("rate-rl") or ()]
    words = [name.strip() for name, _, marker in needed if repr(extra) in marker.replace('"', "'")]
    return f"pip install {shlex.join(words)}"
