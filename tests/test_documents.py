"""The pages of docs/ are tests: their commands and notebooks run, their options exist, and the site
builds."""

import contextlib
import importlib.util
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_tutorial import folder, plain, run, scores

from rate.cli import main
from rate.models import names

__all__ = ["folder"]  # a fixture

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *DOCS.glob("migration/*.md")]
NOTEBOOKS = sorted(DOCS.glob("notebooks/*.ipynb"))
HELP = [
    ["collect"],
    ["convert"],
    ["evaluate"],
    ["export"],
    ["inspect"],
    ["pull"],
    ["push"],
    ["record"],
    ["report"],
    ["reproduce"],
    ["train"],
    ["train", "--resume", "runs/x"],
    ["work"],
    ["work", "--launcher", "slurm"],
    *(["data", verb] for verb in ("import", "export", "info", "validate")),
]
OBJECTIVES = [["train", "mlp", "--objective", name] for name in ("cql", "iql")]
FOREIGN = {
    *("--editable", "--extra-index-url", "--constraint", "--torch-backend", "--python"),  # pip, uv
    *("--quick", "--check", "--count", "--seed", "--version", "--help", "--minutes"),  # of modules
    *("--nnodes", "--nproc-per-node", "--rdzv-backend", "--rdzv-endpoint", "--rdzv-id"),  # torchrun
    *("--max-restarts", "--job"),
    *("--target", "--tag", "--build-arg", "--rm", "--volume", "--gpus", "--shm-size", "--ipc"),
    *("--nv", "--bind"),  # containers
}


def read(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def test_the_quickstart_runs_and_remembers(folder: Path, capsys: pytest.CaptureFixture) -> None:
    run("1", read("quickstart.md"))
    assert scores(folder / "runs" / "recall")[0] == 1.0
    capsys.readouterr()
    run("2", read("quickstart.md"))
    assert "the last action was right" in capsys.readouterr().out


@pytest.mark.slow
def test_a_policy_is_deployed_with_and_without_the_library(folder: Path) -> None:
    if importlib.util.find_spec("onnxruntime") is None:
        pytest.skip("onnxruntime is not installed: pip install --editable '.[export]'")
    for section in "123":
        run(section, read("deploy.md"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "module", "place", "stated", "tolerance"),
    [
        ("mujoco.md", "mujoco", ("hopper", 1), r"own-score of ([-\d.]+)", 15.0),
        ("atari.md", "ale_py", ("pong", 0), r"policy scored ([-\d.]+)", 2.5),
    ],
)
def test_the_path_of_a_page_reaches_the_score_that_it_states(
    folder: Path, page: str, module: str, place: tuple[str, int], stated: str, tolerance: float
) -> None:
    """Other machines round otherwise, and policies of few updates differ then: the tolerance is
    three standard errors and more."""
    pytest.importorskip(module)
    pytest.importorskip("imageio_ffmpeg")
    run("1", read(page))
    name, row = place
    found = re.search(stated, plain(read(page)))
    assert found
    score = scores(folder / "runs" / name)[row]
    assert score == pytest.approx(float(found[1]), abs=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, folder: Path) -> None:
    namespace: dict[str, object] = {"__name__": "__main__"}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), path.name, "exec"), namespace)
    if path.stem == "first-policy":
        assert namespace["scores"]["rate"] == [1.0, 1.0]
        assert namespace["scores"]["dt"][1] < 0.9
    else:
        assert namespace["corrupted"][0.0] == 1.0
        assert namespace["corrupted"][1.0] < 0.9


@pytest.fixture(scope="module")
def options() -> set[str]:
    """Every option of every verb."""
    shown = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(shown):
        patch.setenv("COLUMNS", "400")
        for words in [*HELP, *(["train", model] for model in names()), *OBJECTIVES]:
            with contextlib.suppress(SystemExit):
                main([*words, "--help"])
    return set(re.findall(r"--[a-z][a-z0-9.-]*", shown.getvalue()))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_options_that_a_page_names_exist(path: Path, options: set[str]) -> None:
    code = re.findall(r"`[^`]+`|^```.*?^```|^    .*$", path.read_text("utf-8"), re.M | re.S)
    named = {one for part in code for one in re.findall(r"(?<![\w-])--[a-z][a-z0-9.-]*", part)}
    unknown = named - options - FOREIGN
    assert not unknown, f"{path.name} names options that no verb has: {sorted(unknown)}"


def test_every_page_is_reached_from_the_index() -> None:
    index = read("index.md")
    for path in [*DOCS.glob("*.md"), *DOCS.glob("migration/*.md")]:
        place = path.relative_to(DOCS).with_suffix("").as_posix()
        assert place == "index" or re.search(rf"^{place}$", index, re.M), place


def test_links_between_pages_lead_somewhere() -> None:
    for path in [*PAGES, ROOT / "llms.txt"]:
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8")):
            if not re.match(r"[a-z]+:", target):
                assert (path.parent / target).exists(), f"{path.name}: {target}"


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("furo")
    build = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-c",
        "docs",
        ".",
        tmp_path,
    ]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "load_agent" in (tmp_path / "docs" / "api.html").read_text(encoding="utf-8")
