"""Known scores of tasks are lines of figures, and only where they are known."""

import pytest
from matplotlib.figure import Figure

from rate.reporting import levels
from rate.reporting.levels import Level, draw, in_words
from rate.reporting.levels import levels as known
from rate.tasks.lookup import find, reference
from tests.reporting.test_page import summary


def test_references_are_those_of_the_task_and_need_no_simulator() -> None:
    assert reference("tmaze/90") == {"chance": 0.5, "expert": 1.0}
    assert reference("tmaze/90,target_return=0.5") == {"chance": 0.5, "expert": 1.0}
    assert reference("popgym/RepeatFirstEasy")["expert"] == 1.0
    for name in (
        *("tmaze/90,horizon=20", "tmaze/90,metric=return", "gym:CartPole-v1", "nothing/3"),
        *("tmaze/x", "tmaze/90,colour=red", "my_module:make"),
    ):
        assert reference(name) == {}, name


def test_options_that_change_the_score_leave_no_reference() -> None:
    assert find("tmaze/90").reference
    assert find("tmaze/90,target_return=0.5").reference
    assert not find("tmaze/90,horizon=20").reference
    assert not find("tmaze/90,metric=return").reference


def test_a_row_says_the_known_scores_of_its_task() -> None:
    summaries = [summary("rate", 0.9, 90), summary("rate", 0.8, 900)]
    rows = [
        {"task": "tmaze/90", "reference": {"chance": 0.25, "human": 0.7}},
        {"task": "tmaze/900"},
        {"task": "tmaze/9600", "reference": {"other": 1.0}},
    ]
    found = {level.name: level.scores for level in known(rows, summaries)}
    assert found == {
        "chance": {"tmaze/90": 0.25, "tmaze/900": 0.5},
        "human": {"tmaze/90": 0.7},
        "expert": {"tmaze/900": 1.0},
    }
    assert in_words(known(rows, summaries)) == (
        " Dotted and dashed lines: known scores (chance 0.25 to 0.5, human 0.7, expert 1)."
    )


@pytest.mark.parametrize("damage", [[1], "x", {"chance": "high"}, {"chance": float("nan")}])
def test_damaged_references_are_refused(damage: object) -> None:
    with pytest.raises(ValueError, match="reference"):
        known([{"task": "tmaze/90", "reference": damage}], [summary("rate", 0.9, 90)])


def test_lines_are_drawn_where_scores_are_known() -> None:
    summaries = [summary("rate", 0.9, 90), summary("rate", 0.8, 900)]
    figure = Figure()
    axes = figure.subplots()
    axes.plot([90, 900], [0.9, 0.8])
    everywhere = Level("chance", {"tmaze/90": 0.5, "tmaze/900": 0.5})
    partly = Level("expert", {"tmaze/900": 2.0})
    far = Level("human", {"tmaze/90": 50.0, "tmaze/900": 50.0})
    draw(axes, [everywhere, partly, far], summaries)
    lines = [line.get_ydata() for line in axes.lines[1:]]
    assert [list(line) for line in lines] == [[0.5, 0.5], [2.0]]
    assert {text.get_text() for text in axes.texts} == {"chance", "expert"}
    low, high = axes.get_ylim()
    assert low <= 0.5
    assert 2.0 <= high < 50
    assert levels.SCALING
