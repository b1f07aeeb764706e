import numpy as np
import pytest

from rate.reporting.protocol import latest
from rate.reporting.tables import Published
from rate.reporting.totals import left_out, sum_table, sums

GROUPS = {"all": ("a", "b", "c"), "rest": ("c",)}


def row(variant, task, seed, scores, **more):
    return {
        "variant": variant,
        "task": task,
        "seed": seed,
        "checkpoint": "last",
        "metric": "return",
        "value": float(np.mean(scores)),
        "scores": scores,
        **more,
    }


ROWS = [
    row("rate", "a", 0, [1.0, 0.0]),
    row("rate", "a", 1, [1.0, 1.0]),
    row("rate", "b", 0, [-1.0, -1.0]),
    row("rate", "b", 1, [0.0, 0.0]),
    row("dt", "a", 0, [0.5, 0.5]),
]


def test_means_over_seeds_are_added_up_over_tasks():
    rate, dt = sums(ROWS, GROUPS)
    assert (rate.group, rate.variant, rate.tasks, rate.missing) == (
        "all",
        "rate",
        ("a", "b"),
        ("c",),
    )
    assert rate.total == pytest.approx(0.75 - 0.5)
    # Within tasks: means 0.5 and 1.0, and -1.0 and 0.0; one degree of freedom each.
    assert rate.standard_error == pytest.approx(np.hypot(0.25, 0.5))
    assert rate.interval[1] - rate.total == pytest.approx(4.3027 * np.hypot(0.25, 0.5), rel=1e-4)
    assert (dt.total, dt.interval, dt.missing) == (0.5, (0.5, 0.5), ("b", "c"))
    assert np.isnan(rate.difference)
    assert dt.difference == pytest.approx(0.5 - 0.75)  # over the task that both have
    assert dt.difference_interval[0] < -0.25 < dt.difference_interval[1]


def test_what_was_not_run_is_named_and_published_values_are_of_the_same_tasks():
    assert "Not run: c." in left_out(ROWS, GROUPS)
    published = Published(values={"rate": {"a": (0.3, 0.0), "b": (0.2, 0.1), "c": (9.0, 0.0)}})
    table = sum_table(sums(ROWS, GROUPS), published)
    assert [cells[-2:] for cells in table.rows] == [("2 of 3", "0.50"), ("1 of 3", "—")]


def test_recipes_of_policies_for_one_task_each_do_not_replace_one_another():
    rows = [row("rate", task, 0, [1.0], recipe=task, trained_for=task) for task in "ab"]
    assert len(latest(rows)) == 2
    rows.append(row("rate", "b", 1, [1.0], recipe="new", trained_for="b"))
    assert [(kept["task"], kept["seed"]) for kept in latest(rows)] == [("a", 0), ("b", 1)]
