"""What is built and published works without the repository."""

import shutil
import site
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_lock_file_names_every_dependency() -> None:
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    (own,) = (package for package in packages if package["name"] == PROJECT["name"])
    locked = {
        (one["name"], one.get("specifier", ""), one.get("marker", "").partition("extra ==")[2])
        for one in own["metadata"]["requires-dist"]
    }
    extras = PROJECT["optional-dependencies"]
    assert {extra.strip(" '\"") for _, _, extra in locked if extra} == set(extras)
    required = [*PROJECT["dependencies"], *(one for lists in extras.values() for one in lists)]
    assert len(own["metadata"]["requires-dist"]) == len(required), "run `uv lock`"
    names = {name.lower() for name, _, _ in locked}
    for requirement in required:
        name, _, specifier = requirement.partition(";")[0].strip().partition(">=")
        assert name.partition("[")[0].lower() in names, f"{requirement}: run `uv lock`"
        least = specifier.partition(",")[0]
        assert any(f">={least}" in given for _, given, _ in locked), f"{requirement}: run `uv lock`"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "source distribution"])
def test_what_is_built_works_in_a_fresh_environment(tmp_path: Path, kind: str) -> None:
    tree, dist, fresh = tmp_path / "tree", tmp_path / "dist", tmp_path / "fresh"
    shutil.copytree(ROOT / "src", tree / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    flag = "--wheel" if kind == "wheel" else "--sdist"
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    run = {"check": True, "cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    subprocess.run([sys.executable, "-m", "build", flag, "--outdir", dist, tree], **run)
    (archive,) = dist.iterdir()
    venv.create(fresh, with_pip=True)
    python = fresh / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", archive], **run)
    # What the library needs comes from this environment; the library itself does not.
    (own,) = fresh.glob("lib/python*/site-packages")
    (own / "needed.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    where = subprocess.run([python, "-c", "import rate; print(rate.__file__)"], **run)
    assert Path(where.stdout.strip()).is_relative_to(fresh)
    listed = subprocess.run([fresh / "bin" / "rate", "list", "models"], **run)
    assert "elmur" in listed.stdout
    subprocess.run([fresh / "bin" / "rate", "reproduce", "demo", "--smoke"], **run)
    assert (tmp_path / "runs" / "demo-smoke" / "report.html").exists()
