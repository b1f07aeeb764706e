"""Which Python `make` takes, and what it says where there is none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "find-python"
OLD = "#!/bin/sh\nexit 1\n"
SOUND = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'
WITHOUT_VENV = f"""#!/bin/sh
case "$2" in *ensurepip*) exit 1;; esac
exec "{sys.executable}" "$@"
"""
UV = '#!/bin/sh\necho "{folder}/managed"\n'


def find(folder: Path, given: str = "", **programs: str) -> subprocess.CompletedProcess[str]:
    for name, text in programs.items():
        (folder / name).write_text(text.format(folder=folder))
        (folder / name).chmod(0o755)
    command = [shutil.which("sh") or "sh", str(SCRIPT), *filter(None, [given])]
    environment = {**os.environ, "PATH": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize(
    ("programs", "chosen"),
    [
        ({"python3.13": SOUND, "python3.11": SOUND, "python3": SOUND}, "python3.13"),
        ({"python3.13": OLD, "python3": OLD, "python": SOUND}, "python"),
        ({"python3.14": WITHOUT_VENV, "python3.12": SOUND}, "python3.12"),
        ({"python3": OLD, "uv": UV, "managed": SOUND}, "managed"),
    ],
)
def test_the_first_that_can_make_an_environment_is_taken(tmp_path, programs, chosen):
    done = find(tmp_path, **programs)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, str(tmp_path / chosen), "")


def test_the_one_that_is_given_is_taken(tmp_path):
    programs = {"python3.13": SOUND, "mine": SOUND, "old": OLD}
    assert find(tmp_path, "mine", **programs).stdout.strip() == str(tmp_path / "mine")
    done = find(tmp_path, "old", **programs)
    assert done.returncode == 1
    assert "old is no Python from 3.11 to 3.14: install one" in done.stderr


def test_what_is_missing_is_said_in_one_sentence(tmp_path):
    done = find(tmp_path, **{"python3": OLD})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("No Python from 3.11 to 3.14 was found: install one")
    done = find(tmp_path, **{"python3": WITHOUT_VENV})
    version = f"python3.{sys.version_info[1]}-venv"
    assert done.returncode == 1
    assert done.stderr.startswith("python3 cannot make a virtual environment")
    assert f"apt install {version}" in done.stderr
    assert done.stderr.count("\n") == 1
