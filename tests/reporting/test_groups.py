"""Scores by group of episodes: means, imbalance, and how a page shows them."""

import json

import numpy as np
import pytest

from rate.reporting import report
from rate.reporting.groups import ALL, IMBALANCE, breakdowns, group_table
from rate.reporting.tables import Published

COLOURS = ["red", "green", "red", "green"]


def row(variant="rate", seed=100, scores=(4.0, 8.0, 2.0, 6.0), groups=COLOURS, **changes):
    return {
        "experiment": "colours",
        "variant": variant,
        "checkpoint": "last",
        "recipe": f"{variant}-hash",
        "seed": seed,
        "task": "arena/90",
        "metric": "return",
        "x": 90,
        "value": float(np.mean(scores)),
        "scores": list(scores),
        "groups": list(groups),
        "seconds": 1.0,
        **changes,
    }


def test_one_seed_has_errors_over_its_episodes():
    (found,) = breakdowns([row()])
    assert found.means[ALL] == (5.0, pytest.approx(np.std([4, 8, 2, 6], ddof=1) / 2))
    assert found.means["red"] == (3.0, pytest.approx(1.0))
    assert found.means["green"] == (7.0, pytest.approx(1.0))
    assert found.means[IMBALANCE] == (4.0, pytest.approx(2**0.5))


def test_the_imbalance_is_taken_seed_by_seed():
    """Seeds that prefer different groups are not balanced, though their means are."""
    rows = [row(), row(seed=101, scores=(8.0, 4.0, 6.0, 2.0))]
    (found,) = breakdowns(rows)
    assert found.means["red"][0] == found.means["green"][0] == 5.0
    assert found.means["red"][1] == pytest.approx(2.0)
    assert found.means[IMBALANCE] == (4.0, pytest.approx(0.0))
    assert found.seeds == (100, 101)


def test_of_several_groups_the_imbalance_is_the_largest_difference():
    groups = ["a", "a", "b", "c"]
    (found,) = breakdowns([row(scores=(1.0, 1.0, 5.0, 2.0), groups=groups)])
    assert found.means[IMBALANCE][0] == 4.0


def test_a_group_that_some_seeds_lack_keeps_the_others():
    rows = [row(), row(seed=101, scores=(2.0, 4.0), groups=["red", "red"])]
    (found,) = breakdowns(rows)
    assert found.means["green"][0] == 7.0
    assert found.means["red"][0] == 3.0
    assert found.means[IMBALANCE][0] == 4.0
    assert not breakdowns([row(groups=[])])
    (alone,) = breakdowns([rows[1]])
    assert IMBALANCE not in alone.means


def test_groups_must_be_as_many_as_scores():
    with pytest.raises(ValueError, match="rate, seed 100, arena/90 has 1 groups for 4 scores"):
        breakdowns([row(groups=["red"])])


def test_the_table_has_published_values_behind_those_of_the_variant():
    rows = [row(), row("dt", scores=(1.0, 9.0, 1.0, 9.0))]
    published = Published(values={"dt": {"all": (24.8, 1.4), "red": (7.2, 0.4)}})
    table = group_table(breakdowns(rows), {"arena/90": "90"}, published)
    assert table.columns == ("task", "variant", "all", "green", "red", "imbalance")
    assert table.rows[0][:2] == ("90", "rate")
    assert table.rows[1][2:] == ("5.00 ± 2.31", "9.00 ± 0.00", "1.00 ± 0.00", "8.00 ± 0.00")
    assert table.rows[2] == ("the paper", "dt", "24.80 ± 1.40", "—", "7.20 ± 0.40", "—")


def test_a_page_shows_groups_where_rows_have_them(tmp_path):
    tasks = ("arena/90", "arena/90,target_return=3.9")
    rows = [
        row(variant, seed, task=task) for variant in ("rate", "dt") for seed in (100, 101)
        for task in tasks
    ]  # fmt: skip
    (tmp_path / "experiment.json").write_text(
        json.dumps({"name": "colours", "order": ["rate", "dt"], "size": "data for a CPU"})
    )
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    report(tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "Size: data for a CPU" in text
    assert "## Scores by group" in text
    assert "![Points: mean of each group" in text
    assert "| arena/90,target\\_return=3.9 | dt | 5.00 ± 0.00 |" in text
    assert (tmp_path / "groups.png").exists()
    assert (tmp_path / "tasks.png").exists(), "two tasks at one position have no axis"
    assert not (tmp_path / "success.png").exists()
