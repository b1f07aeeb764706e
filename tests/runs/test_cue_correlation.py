import numpy as np
import pytest

import rate
from rate.recipe import SelectionConfig
from rate.reporting.comparisons import correlation_table
from rate.runs.folder import Run
from rate.runs.metrics import CUE, cue_correlation


def rows(one, other, first=10):
    return [
        {"update": first + index, f"{CUE}0": a, f"{CUE}1": b}
        for index, (a, b) in enumerate(zip(one, other, strict=True))
    ]


def test_scores_of_two_cues_are_correlated_over_training():
    one, other = [0.1, 0.4, 0.8, 1.0], [0.9, 0.5, 0.3, 0.1]
    expected = float(np.corrcoef(one, other)[0, 1])
    assert cue_correlation(rows(one, other)) == pytest.approx(expected, abs=1e-6)
    assert cue_correlation(rows(one, one)) == pytest.approx(1)
    early = [{"update": 1, f"{CUE}0": 0.0, f"{CUE}1": 9.0}]
    late = [{**row, "update": 1000 + row["update"]} for row in rows(one, one)]
    assert cue_correlation(early + late) == pytest.approx(1)  # the first hundredth is left out


def test_there_is_none_without_two_cues_that_change():
    assert cue_correlation([]) is None
    assert cue_correlation([{"update": 1, "loss": 0.3}]) is None
    assert cue_correlation(rows([1.0, 1.0, 1.0], [0.0, 0.5, 1.0])) is None


def test_training_records_the_scores_of_cues(tiny, tmp_path):
    selection = SelectionConfig(task="recall/12", every=1, episodes=4)
    run = Run(rate.train(tiny(updates=3, selection=selection), tmp_path / "run", threads=1))
    validated = [row for row in run.metrics() if f"{CUE}0" in row]
    assert len(validated) == 3
    for row in validated:
        mean = (row[f"{CUE}0"] + row[f"{CUE}1"]) / 2
        assert row["selection_score"] == pytest.approx(mean)


def test_the_table_has_mean_and_range_over_seeds():
    found = [{"variant": "rate", "seed": s, "cue_correlation": c} for s, c in ((1, 0.9), (2, 0.7))]
    assert correlation_table(found).rows == [("rate", "0.80 (0.70 to 0.90)", "2")]
    assert correlation_table([{"variant": "rate", "seed": 1}]) is None
