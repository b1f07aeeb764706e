import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rate.reporting.intervals import bootstrap_interval, interquartile_mean, mean_standard_error
from rate.reporting.protocol import latest
from rate.reporting.statistics import conditionals, summarise


def row(variant="rate", seed=0, task="tmaze/90", scores=(1.0, 0.0, 1.0, 1.0), **changes):
    return {
        "experiment": "demo",
        "variant": variant,
        "checkpoint": "last",
        "recipe": "abc",
        "seed": seed,
        "task": task,
        "metric": "success",
        "x": int(task.rpartition("/")[2]),
        "value": float(np.mean(scores)),
        "scores": list(scores),
        **changes,
    }


def test_mean_and_standard_error_are_the_textbook_ones():
    mean, error = mean_standard_error([1.0, 2.0, 3.0, 4.0])
    assert mean == 2.5
    assert error == pytest.approx(math.sqrt(5 / 3) / 2)
    assert mean_standard_error([0.7]) == (0.7, 0.0)


def test_interquartile_mean_leaves_out_the_outer_quarters():
    assert interquartile_mean([100.0, 1.0, 2.0, -50.0]) == 1.5
    assert interquartile_mean([0.0, 3.0, 9.0]) == 4.0
    np.testing.assert_allclose(interquartile_mean([[0, 1, 2, 30], [4, 4, 4, 4]]), [1.5, 4.0])


@given(st.lists(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=6), min_size=1, max_size=5))
def test_bootstrap_interval_stays_within_the_scores_and_is_repeatable(scores):
    low, high = bootstrap_interval(scores, np.mean, resamples=50)
    flat = [score for values in scores for score in values]
    assert min(flat) - 1e-9 <= low <= high <= max(flat) + 1e-9
    assert (low, high) == bootstrap_interval(scores, np.mean, resamples=50)


def test_bootstrap_interval_of_one_seed_agrees_with_the_binomial():
    scores = np.repeat([1.0, 0.0], [80, 20])
    low, high = bootstrap_interval([scores], np.mean)
    deviation = 1.96 * math.sqrt(0.8 * 0.2 / 100)
    assert low == pytest.approx(0.8 - deviation, abs=0.015)
    assert high == pytest.approx(0.8 + deviation, abs=0.015)


def test_bootstrap_interval_covers_the_true_mean_as_often_as_it_says():
    random = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        rates = np.clip(0.7 + 0.1 * random.standard_normal(10), 0, 1)
        scores = [(random.random(50) < rate).astype(float) for rate in rates]
        low, high = bootstrap_interval(scores, np.mean, resamples=200, seed=trial)
        covered += low <= 0.7 <= high
    assert 0.88 <= covered / 200 <= 1.0


def test_seeds_that_differ_widen_the_interval_more_than_episodes_do():
    alike = [np.repeat([1.0, 0.0], 50)] * 4
    apart = [np.ones(100), np.zeros(100), np.ones(100), np.zeros(100)]
    (low, high), (lower, higher) = (
        bootstrap_interval(scores, np.mean) for scores in (alike, apart)
    )
    assert higher - lower > 3 * (high - low)


def test_wrong_input_of_a_bootstrap_is_refused():
    with pytest.raises(ValueError, match="at least one seed"):
        bootstrap_interval([])


def test_summary_takes_the_error_over_seeds_and_over_episodes_for_one_seed():
    rows = [
        row(seed=seed, scores=scores)
        for seed, scores in enumerate([(1.0, 1.0), (0.0, 1.0), (0.0, 0.0)])
    ]
    (summary,) = summarise(rows)
    assert (summary.mean, summary.seeds, summary.episodes) == (0.5, (0, 1, 2), 6)
    assert summary.standard_error == pytest.approx(0.5 / math.sqrt(3))
    (single,) = summarise(rows[1:2])
    assert single.standard_error == pytest.approx(mean_standard_error([0.0, 1.0])[1])
    assert single.interval[0] <= single.mean <= single.interval[1]


def test_missing_seed_is_named():
    summary, other = summarise([row(seed=0), row(seed=2), row("dt", 1)], ("rate", "dt"), (0, 1, 2))
    assert (summary.variant, summary.missing, summary.complete) == ("rate", (1,), False)
    assert (other.variant, other.missing) == ("dt", (0, 2))


def test_a_task_for_the_first_seed_alone_lacks_no_other():
    once, all_seeds = summarise(
        [row(task="tmaze/9"), row(task="tmaze/900")], ("rate",), (0, 1), ("tmaze/9",)
    )
    assert (once.task, once.missing, all_seeds.missing) == ("tmaze/9", (), (1,))


def test_missing_variant_is_a_summary_without_a_number():
    _, absent = summarise([row()], ("rate", "dt"), (0,))
    assert (absent.variant, absent.seeds, absent.missing) == ("dt", (), (0,))
    assert math.isnan(absent.mean)
    assert not absent.complete


def test_summaries_are_in_the_order_of_variants_and_positions():
    rows = [
        row(task=task, variant=variant)
        for task in ("tmaze/900", "tmaze/9")
        for variant in ("dt", "rate")
    ]
    found = [(summary.variant, summary.x) for summary in summarise(rows, ("rate", "dt"))]
    assert found == [("rate", 9), ("rate", 900), ("dt", 9), ("dt", 900)]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match=r"row of rate, seed 0, tmaze/90: scores must be finite"):
        summarise([row(scores=(1.0, bad), value=1.0)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": 0.9}, "says value 0.9, but its scores average 0.75"),
        ({"value": math.nan}, "says value nan"),
        ({"scores": []}, "at least one number"),
        ({"scores": "many"}, "row of rate, seed 0"),
        ({"seed": "zero"}, "seed = 'zero'"),
        ({"x": "ninety"}, "x = 'ninety'"),
    ],
)
def test_rows_that_contradict_themselves_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        summarise([{**row(), **changes}])


def test_row_without_scores_is_refused():
    incomplete = row()
    del incomplete["scores"]
    with pytest.raises(ValueError, match="lacks scores"):
        summarise([incomplete])


def test_a_repeated_row_replaces_the_earlier_one():
    (kept,) = latest([row(scores=(0.0, 0.0)), row(scores=(1.0, 1.0))])
    assert kept["value"] == 1.0


def test_seeds_of_an_older_recipe_are_not_averaged_with_the_new_one():
    rows = [
        row(seed=0, recipe="old", scores=(0.0,)),
        row(seed=1, recipe="old"),
        row(seed=1, recipe="new", scores=(1.0,)),
    ]
    (summary,) = summarise(rows, ("rate",), (0, 1))
    assert (summary.mean, summary.seeds, summary.missing) == (1.0, (1,), (0,))


def test_scores_per_cue_add_up():
    (point,) = conditionals([row(scores=(1.0, 1.0, 0.0, 1.0), cues=[0, 0, 1, 1])])
    assert point.means == {"0": 1.0, "1": 0.5}
    assert point.total == 1.5
    assert point.error == pytest.approx(0.5)
    assert conditionals([row()]) == []
    with pytest.raises(ValueError, match="3 cues for 4 scores"):
        conditionals([row(cues=[0, 1, 0])])
