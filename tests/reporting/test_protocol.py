import json

import pytest

from rate.reporting.load import Facts, ReportError
from rate.reporting.protocol import latest, superseded, trial
from rate.reporting.publish import publish
from rate.reporting.statistics import summarise
from rate.reporting.tables import gaps, score_table, seed_list
from rate.reporting.terms import data_table, earlier_table, notice, shared_policies, terms_table


def row(seed=100, **changes):
    scores = changes.pop("scores", [1.0, 0.0])
    return {
        "variant": "rate",
        "checkpoint": "last",
        "recipe": "new",
        "dataset": "aa",
        "seed": seed,
        "task": "tmaze/90",
        "metric": "success",
        "x": 90,
        "value": sum(scores) / len(scores),
        "scores": scores,
        "first_seed": 0,
        "actions": "greedy",
        "target_return": 1.0,
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"recipe": "old"}, "recipe"),
        ({"dataset": "bb"}, "data"),
        ({"dataset": None}, "data"),
        ({"first_seed": 50}, "episodes"),
        ({"actions": "sampled"}, "choice of actions"),
        ({"target_return": 0.5}, "return"),
        ({"seed": 3}, "kind of seeds"),
        ({"seed": 3, "recipe": "old"}, "recipe, kind of seeds"),
    ],
)
def test_rows_of_another_protocol_are_never_averaged(changes, words):
    rows = [row(**{"seed": 101, **changes}), row(100)]
    assert latest(rows) == rows[1:]
    assert list(superseded(rows)) == [("rate", rows[0]["recipe"], words)]
    (summary,) = summarise(rows, ("rate",), (100, 101))
    assert (summary.seeds, summary.missing) == ((100,), (101,))


def test_another_task_may_have_another_protocol():
    rows = [row(target_return=0.5), row(task="tmaze/900", x=900)]
    assert latest(rows) == rows
    assert superseded(rows) == {}


def test_rows_from_before_protocols_were_recorded_belong_together():
    rows = [{key: row(seed)[key] for key in row() if key != "dataset"} for seed in (100, 101)]
    assert latest(rows) == rows


def test_earlier_recipes_stay_visible_with_the_seeds_that_held():
    old = [row(seed, recipe="old", scores=scores) for seed, scores in ((0, [1.0]), (1, [0.0]))]
    table = earlier_table([*old, row(100)])
    assert table.rows == [("rate", "old", "recipe, kind of seeds", "0, 1", "90", "0.50", "1 of 2")]
    assert earlier_table([row(100), row(101)]) is None
    (reward,) = earlier_table([row(99, metric="return"), row(100, metric="return")]).rows
    assert reward[-1] == "—"


def test_trial_seeds_are_named_as_long_as_there_are_no_others():
    summaries = summarise([row(0), row(1), row(2)], ("rate",), (100, 101, 102))
    assert gaps(summaries) == [
        "rate has an earlier result, of trial seeds 0–2, and none for seeds 100–102"
    ]
    assert score_table(summaries).rows[0][1].endswith("(trial seeds 0–2)")
    two = [row(seed, variant=name) for name in ("rate", "dt") for seed in (0, 1)]
    assert gaps(summarise(two, ("rate", "dt"), (100,))) == [
        "rate, dt have earlier results, of trial seeds 0, 1, and none for seed 100"
    ]
    assert "Earlier protocol, on seeds 0, 1: recipes" in notice(
        Facts(seeds=(0, 1)), [row(0), row(1)]
    )
    assert "A trial on seed 0: it chooses recipes" in notice(
        Facts(seeds=(0,), trial=True), [row(0)]
    )
    assert notice(Facts(seeds=(100,)), [row(100)]) == ""
    experts = {key: value for key, value in row(0).items() if key != "recipe"}
    assert trial([experts]) == []


def test_common_terms_are_said_once():
    own = {"rate": {"updates": "600", "dropout": "0.2"}, "dt": {"updates": "600", "dropout": "0"}}
    text, table = terms_table(own)
    assert text == "The same for all: updates 600."
    assert (table.columns, table.rows) == (
        ("variant", "dropout"),
        [("rate", "0.2"), ("dt", "0")],
    )
    assert terms_table({"rate": {"updates": "600"}})[1] is None


def test_collections_have_a_row_each():
    table = data_table({"a": {"number": "9"}, "b": {"number": "3", "best return": "1.00"}})
    assert table.columns == ("number", "best return")
    assert table.rows == [("9", "—"), ("3", "1.00")]


def test_pages_that_show_the_same_policies_say_so():
    made = row(seconds=1.5, date="2026-01-01")
    sentences = shared_policies({"a": [made], "b": [{**made, "variant": "best"}], "c": [row(101)]})
    assert sentences.keys() == {"a", "b"}
    assert sentences["b"].endswith("confirm a result once: best of a.")


def test_three_seeds_in_a_row_are_a_range():
    assert seed_list([100]) == "100"
    assert seed_list([101, 100]) == "100, 101"
    assert seed_list([*range(100, 110), 3, 4]) == "3, 4, 100–109"


def test_a_trial_is_not_published(tmp_path):
    (tmp_path / "README.md").write_text("")
    folder = tmp_path / "trial"
    folder.mkdir()
    (folder / "experiment.json").write_text(json.dumps({"name": "demo", "trial": True}))
    with pytest.raises(ReportError, match="holds a trial, which chooses recipes"):
        publish(folder, tmp_path)
