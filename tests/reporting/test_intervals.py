import math

import numpy as np
import pytest

from rate.reporting.comparisons import difference_table, held_table
from rate.reporting.intervals import (
    Scores,
    bootstrap_means,
    combined_reach,
    count_interval,
    difference,
    episode_interval,
    seed_interval,
    standard_error,
)
from rate.reporting.load import Evidence, Facts
from rate.reporting.results import references
from rate.reporting.statistics import differences, summarise


def scores(*values, cues=(), first_seed=0):
    return Scores(np.array(values, float), tuple(cues), first_seed)


def row(variant, seed, values, **changes):
    return {
        "variant": variant,
        "checkpoint": "last",
        "seed": seed,
        "task": "tmaze/900",
        "metric": "success",
        "x": 900,
        "value": float(np.mean(values)),
        "scores": list(values),
        **changes,
    }


def test_counts_have_the_textbook_intervals():
    assert count_interval(10, 10) == pytest.approx((0.6915, 1.0), abs=1e-4)
    assert count_interval(0, 3) == pytest.approx((0.0, 0.7076), abs=1e-4)
    assert count_interval(81, 263, "wilson") == pytest.approx((0.2553, 0.3662), abs=1e-4)


def test_episodes_are_drawn_within_their_cues():
    """Right for one cue and wrong for the other: balance makes the mean exact, the few episodes of
    each cue do not."""
    cues = "ab" * 10
    apart = scores(*[1, 0] * 10, cues=cues)
    assert standard_error(apart) == 0
    assert standard_error(apart._replace(cues=())) > 0.1
    assert set(bootstrap_means([apart], 50, 0).ravel()) == {0.5}
    low, high = episode_interval(apart)
    single, _ = count_interval(10, 10, "wilson")
    assert (0.5 - low, high - 0.5) == pytest.approx((0.5 * (1 - single),) * 2)
    assert episode_interval(scores(0.3)) == (0.3, 0.3)


@pytest.mark.parametrize("count", [2, 3, 10])
def test_the_interval_over_seeds_covers_the_mean_as_often_as_it_says(count):
    random = np.random.default_rng(count)
    covered = 0
    for _ in range(400):
        own = 0.4 + 0.1 * random.standard_normal(count)
        low, high = seed_interval([Scores(random.normal(mean, 0.3, 20)) for mean in own])
        covered += low <= 0.4 <= high
    assert 0.92 <= covered / 400 <= 0.98


def test_intervals_of_success_stay_within_0_and_1():
    assert seed_interval([scores(1, 1), scores(1, 0)]) == (0.0, 1.0)
    low, high = seed_interval([scores(3, 1), scores(1, 0)])
    assert low < 0 < 1 < high


@pytest.mark.parametrize("paired", [True, False])
def test_differences_cover_the_true_one_and_pairs_are_narrower(paired):
    """Episodes differ in difficulty, which both variants share."""
    random = np.random.default_rng(3)
    covered, widths = 0, []
    for _ in range(300):
        sides = []
        hard = random.normal(0, 1, 30)
        for gain in (0.3, 0.0):
            hard = hard if paired else random.normal(0, 1, 30)
            means = gain + 0.1 * random.standard_normal(3)
            first = 0 if paired else 100 * len(sides)
            sides.append(
                [Scores(hard + mean + random.normal(0, 0.2, 30), (), first) for mean in means]
            )
        _, (low, high) = difference(*sides)
        covered += low <= 0.3 <= high
        widths.append(high - low)
    assert covered / 300 >= 0.92
    assert (np.mean(widths) < 0.7) == paired


def test_a_difference_of_single_seeds_is_one_over_episodes():
    one, other = scores(1, 1, 1, 0), scores(0, 1, 0, 0)
    mean, (low, high) = difference([one], [other])
    expected = 3.1824 * np.std([1, 0, 1, 0], ddof=1) / 2
    assert (mean, high - mean, mean - low) == pytest.approx((0.5, expected, expected), abs=1e-3)
    assert difference([scores(1, 1)], [scores(1, 1)]) == (0.0, (0.0, 0.0))


def test_degrees_of_freedom_are_satterthwaites():
    assert combined_reach([(1.0, 10)]) == pytest.approx(2.2281, abs=1e-4)
    assert combined_reach([(1.0, 5), (1.0, 5)]) == pytest.approx(2.2281 * math.sqrt(2), abs=1e-4)
    assert combined_reach([]) == 0


def test_seeds_that_hold_are_counted_where_the_score_is_success():
    rows = [row("rate", seed, values) for seed, values in ((100, [1, 1]), (101, [1, 0]))]
    (summary,) = summarise(rows)
    assert summary.held == 1
    assert held_table([summary]).rows == [("900", "1 of 2 (0.01 to 0.99)")]
    (summary,) = summarise([{**one, "metric": "return"} for one in rows])
    assert summary.held is None


def test_variants_are_compared_with_the_one_that_the_page_is_about():
    rows = [
        row(variant, seed, values)
        for variant, values in (("rate", [1, 1]), ("rate, noise", [0, 1]), ("dt", [0, 0]))
        for seed in (100, 101)
    ]
    summaries = summarise(rows)
    chosen = references(Evidence(Facts(), rows, []), summaries)
    assert chosen == {"rate, noise": "rate", "dt": "rate"}
    found = differences(rows, chosen)
    assert [(one.variant, one.mean) for one in found] == [("rate, noise", -0.5), ("dt", -1.0)]
    table = difference_table(found, summaries)
    assert table.columns == ("task", "rate, noise", "dt")
    assert table.rows[0][2] == "−1.00 (−1.00 to −1.00)"
    grid = {name: (name[0], name[1:]) for name in ("r9", "r90", "d9", "d90")}
    cells = summarise([row(name, 100, [1]) for name in grid])
    assert references(Evidence(Facts(grid=grid), [], []), cells) == {"d9": "r9", "d90": "r90"}
