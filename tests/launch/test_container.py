"""What the Dockerfile needs is there; no image is built."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
ALLOWED = [
    line.removeprefix("!")
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    if line.startswith("!")
]


def test_files_that_an_image_copies_exist_and_are_sent():
    copied = [word for line in LINES if line.startswith("COPY ") for word in line.split()[1:-1]]
    assert {"pyproject.toml", "constraints.txt", "src"} <= set(copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["readme"] in copied  # the package cannot be built without it
    for name in copied:
        assert (ROOT / name).exists(), name
        assert any(fnmatch(name, pattern) for pattern in ALLOWED), name


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_images_install_extras_that_exist_with_the_known_versions(target):
    start = next(index for index, line in enumerate(LINES) if line.endswith(f" AS {target}"))
    end = next(
        (index for index in range(start + 1, len(LINES)) if LINES[index].startswith("FROM ")), None
    )
    text = "\n".join(LINES[start:end])
    extras = re.search(r"ARG EXTRAS=(\S+)", text)[1].split(",")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(extras) <= set(project["optional-dependencies"])
    assert "--constraint constraints.txt" in text
    assert ("download.pytorch.org/whl/cpu" in text) == (target == "cpu")
    assert 'ENTRYPOINT ["rate"]' in text
    assert "rate" in project["scripts"]
