"""The interactive page: complete in itself, no markup out of names, drawn by a browser."""

import json
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rate.cli import main
from rate.reporting import report
from rate.reporting.interactive import FILE, _inert, _json
from tests.reporting.test_page import BROWSER
from tests.reporting.test_reporting import result, write_lines, write_run

installed = pytest.mark.skipif(
    find_spec("vl_convert") is None,
    reason="vl-convert-python is not installed: pip install -e '.[interactive]'",
)
HOSTILE = "</script><script>alert(1)</script><!-- \u2028"


def two_runs(folder: Path, other: str = "dt") -> list[Path]:
    runs = []
    for variant, score in (("rate", 1.0), (other, 0.5)):
        runs.append(folder / f"run-{len(runs)}")
        write_run(runs[-1], variant, 100, updates=900)
        rows = [result(variant, 100, length, score) for length in (9, 90, 900)]
        write_lines(runs[-1] / "scores.jsonl", rows)
    return runs


def specs(page: str) -> dict[str, Any]:
    found = re.search(r"const SPECS = (.*);\n", page)
    assert found
    return dict(json.loads(found[1]))


@installed
def test_the_page_holds_scores_and_curves_of_all_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["report", *map(str, two_runs(tmp_path)), "--output", str(tmp_path / "both")]
    assert main([*words, "--interactive"]) == 0
    assert FILE in capsys.readouterr().out
    page = (tmp_path / "both" / FILE).read_text(encoding="utf-8")
    scores, curves = specs(page).values()
    values = scores["data"]["values"]
    assert {(one["x"], one["mean"]) for one in values if one["variant"] == "run-1"} == {
        (9, 0.5),
        (90, 0.5),
        (900, 0.5),
    }
    losses = [one for one in curves["data"]["values"] if one["quantity"] == "loss"]
    assert len(losses) == 2 * 300
    assert {one["variant"] for one in losses} == {"run-0", "run-1"}
    mean = np.mean([one["value"] for one in losses if one["variant"] == "run-0"])
    assert mean == pytest.approx(np.mean(np.exp(-np.arange(1, 901) / 40) + 1.0), abs=1e-6)


@installed
def test_without_the_option_no_page_has_a_script(tmp_path: Path) -> None:
    page = report(two_runs(tmp_path), tmp_path / "both").read_text(encoding="utf-8")
    assert "<script" not in page
    assert not (tmp_path / "both" / FILE).exists()


@installed
def test_names_begin_no_markup_and_nothing_is_fetched(tmp_path: Path) -> None:
    runs = two_runs(tmp_path)
    rows = [result("rate", 100, 9, 1.0, metric=HOSTILE, task=HOSTILE)]
    write_lines(runs[0] / "scores.jsonl", rows)
    report(runs, tmp_path / "both", interactive=True)
    page = (tmp_path / "both" / FILE).read_text(encoding="utf-8")
    assert len(re.findall(r"<script\b", page)) == len(re.findall("</script>", page)) == 2
    assert "alert(1)</script>" not in page
    assert "alert(1)" in json.dumps(specs(page))
    assert "default-src 'none'" in page
    outside = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(r"<script|<link|<img|src=|href=", outside)


def test_json_and_scripts_end_no_element() -> None:
    assert json.loads(_json({"a": HOSTILE})) == {"a": HOSTILE}
    assert not set("<>&\u2028") & set(_json([HOSTILE, "&"]))
    assert "</script" not in _inert(HOSTILE)
    assert "<!--" not in _inert(HOSTILE)
    with pytest.raises(ValueError, match="JSON"):
        _json(float("nan"))


@installed
@pytest.mark.slow
@pytest.mark.skipif(not BROWSER, reason="there is no Chromium on this machine")
def test_a_browser_draws_every_figure(tmp_path: Path) -> None:
    report(two_runs(tmp_path), tmp_path / "both", interactive=True)
    words = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    words += ["--virtual-time-budget=20000", (tmp_path / "both" / FILE).as_uri()]
    drawn = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300).stdout
    assert drawn.count('class="marks"') == 2
    assert "Quantity" in drawn
