"""Sweeps over target returns and scores on recorded data are sections of a report."""

import json
from pathlib import Path
from typing import Any

import pytest

from rate.reporting import report
from rate.reporting.load import ReportError
from rate.runs.folder import Run
from tests.reporting.test_reporting import write_run


def recorded(**changes: Any) -> dict[str, Any]:
    groups = [{"from": 0, "to": 0, "steps": 5, "accuracy": 0.9, "log_likelihood": -0.2}]
    groups += [{"from": 1, "to": 9, "steps": 45, "accuracy": 0.7, "log_likelihood": -0.6}]
    row = {
        **{"variant": "x", "checkpoint": "last", "dataset": "0123456789abcdef", "held_out": True},
        **{"episodes": 5, "steps": 50, "accuracy": 0.72, "accuracy_standard_error": 0.03},
        **{"log_likelihood": -0.56, "by_distance": groups, "by_position": groups},
        "calibration": [{"steps": 50, "confidence": 0.8, "accuracy": 0.72}],
        "calibration_error": 0.08,
    }
    return row | changes


def swept(**changes: Any) -> dict[str, Any]:
    points = [
        {"task": "tmaze/90", "asked": asked, "obtained": asked / 2, "standard_error": 0.01}
        | {"episodes": 20}
        for asked in (0.0, 1.0)
    ]
    return {"points": points, "quantiles": {"0.05": 0.1, "0.95": 1.0, "1.0": 1.0}} | changes


def run_of(folder: Path, row: Any = None, sweep: Any = None) -> Run:
    write_run(folder, "rate", 0, updates=3)
    run = Run(folder)
    if row is not None:
        run.recorded_file.write_text(json.dumps(row) + "\n")
    if sweep is not None:
        run.sweep_file.with_suffix(".json").write_text(json.dumps(sweep))
    return run


def test_both_are_shown_with_their_numbers(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", recorded(), swept())
    html = report(run.path).read_text(encoding="utf-8")
    text = (run.path / "report.md").read_text(encoding="utf-8")
    assert "## Asked and obtained return" in text
    assert "| tmaze/90 | 1 | 0.500 ± 0.010 | 20 |" in text
    assert "## On recorded data" in text
    assert "| 5 (held out) | 50 | 0.720 ± 0.030 | -0.5600 | 0.080 |" in text
    for name in ("target-return.png", "recorded.png"):
        assert (run.path / name).read_bytes().startswith(b"\x89PNG")
    for word in ("data: 95%, best", "data: 5%", "step of the segment", "confidence"):
        assert word in html


def test_runs_are_compared_on_recorded_data(tmp_path: Path) -> None:
    squared = recorded(squared_error=0.25)
    for name in ("log_likelihood", "calibration", "calibration_error"):
        del squared[name]
    one = run_of(tmp_path / "one", recorded(), swept())
    other = run_of(tmp_path / "other", squared, swept(quantiles={}))
    report([one.path, other.path], tmp_path / "both")
    text = (tmp_path / "both" / "report.md").read_text(encoding="utf-8")
    assert "| one | 5 (held out) | 50 | 0.720 ± 0.030 | -0.5600 |  | 0.080 |" in text
    assert "| other | 5 (held out) | 50 | 0.720 ± 0.030 |  | 0.25 |  |" in text
    assert "| one, tmaze/90 | 0 |" in text
    assert "| other, tmaze/90 | 1 |" in text


def test_the_last_row_counts_and_a_run_without_any_has_no_section(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run")
    report(run.path)
    assert "recorded data" not in (run.path / "report.md").read_text(encoding="utf-8")
    rows = [recorded(), recorded(accuracy=0.5), recorded(checkpoint="best", accuracy=0.6)]
    run.recorded_file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report(run.path)
    text = (run.path / "report.md").read_text(encoding="utf-8")
    assert "0.720" not in text
    assert text.count(" on 0123456789ab |") == 2


@pytest.mark.parametrize(
    ("row", "sweep"),
    [
        (recorded(steps="many"), None),
        (recorded(by_distance=[]), None),
        (recorded(by_position={"from": 1}), None),
        (recorded(calibration=[{"steps": 1}]), None),
        (recorded(accuracy=None), None),
        (None, swept(points=[{"task": "x"}])),
        (None, swept(points=5)),
        (None, swept(quantiles={"half": 1.0})),
        (None, swept(quantiles=[1.0])),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, row: Any, sweep: Any) -> None:
    run = run_of(tmp_path / "run", row, sweep)
    with pytest.raises(ReportError, match=r"(recorded\.jsonl|target-return\.json) cannot be shown"):
        report(run.path)
