"""Where a result comes from: versions, machine, commit and date."""

import contextlib
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def provenance() -> dict[str, Any]:
    """Where a result comes from: versions, machine, commit and date."""
    packages = {}
    for name in ("rate-rl", "torch", "numpy", "gymnasium"):
        with contextlib.suppress(PackageNotFoundError):
            packages[name] = version(name)
    return {
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "packages": packages,
    }


def commit() -> str:
    """The commit of the source tree this package runs from, with "+" if it was changed; empty
    outside a checkout and without git."""
    here = Path(__file__).parent

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
