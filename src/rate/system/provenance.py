"""Where a result comes from: versions, machine, commit and date."""

import contextlib
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ALWAYS = ("rate-rl", "torch", "numpy", "gymnasium")
"""Packages that every result depends on."""
SIMULATORS = {
    "ale_py": "ale-py",
    "labmaze": "labmaze",
    "minigrid": "minigrid",
    "mujoco": "mujoco",
    "popgym": "popgym",
    "vizdoom": "vizdoom",
}
"""Packages of simulators by the module that they are imported as."""


def packages() -> dict[str, str]:
    """Versions of the packages that results depend on, by name: those of simulators as far as they
    have been imported."""
    loaded = [name for module, name in SIMULATORS.items() if module in sys.modules]
    versions = {}
    for name in (*ALWAYS, *loaded):
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def provenance() -> dict[str, Any]:
    """Where a result comes from: versions, machine, commit and date."""
    return {
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "packages": packages(),
    }


def commit() -> str:
    """The commit of the source tree this package runs from, with "+" if it was changed; empty
    outside a checkout and without git."""
    here = Path(__file__).parents[1]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError:  # there is no git
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    head = git("rev-parse", "--short=12", "HEAD")
    return head + (
        "+" if head and git("status", "--porcelain", "--untracked-files=no", "--", ".") else ""
    )
