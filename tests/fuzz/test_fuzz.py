"""Damaged files of every format give data or one sentence: a fixed share of what `make fuzz` tries.

What the fuzzer itself would overlook is tried on readers that fail in every way.
"""

from random import Random

import pytest

from tests.fuzz.mutations import changed, dumped
from tests.fuzz.running import Limits, fuzz, table

SECONDS = 20


def test_damaged_files_give_data_or_one_sentence(tmp_path):
    from tests.fuzz.formats import ROUND

    outcomes = list(fuzz(tmp_path, ROUND, 440, seconds=SECONDS))
    failed = [outcome for outcome in outcomes if outcome.failed]
    assert outcomes
    assert not failed, f"{table(outcomes)}\n{failed[0].name}: {failed[0].detail}"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("data", "data"),
        ("refused", "refused"),
        ("class", "wrong"),
        ("subclass", "wrong"),
        ("lines", "wrong"),
        ("escape", "wrong"),
        ("long", "wrong"),
        ("empty", "wrong"),
        ("exit", "wrong"),
        ("memory", "memory"),
        ("hidden-memory", "memory"),
        ("hang", "hang"),
        ("sleep", "hang"),
        ("crash", "crash"),
        ("escaped", "escaped"),
    ],
)
def test_the_fuzzer_sees_every_way_to_fail(name, kind, tmp_path):
    limits = Limits(seconds=1, wall_seconds=4, bytes=1 << 28)
    [outcome] = fuzz(tmp_path, [name], 1, formats="tests.fuzz.broken", limits=limits)
    assert outcome.kind == kind
    assert outcome.failed == (tmp_path / "failed" / f"{name}-0").is_dir()
    assert outcome.failed == (kind not in ("data", "refused"))


def test_an_input_is_the_same_each_time():
    drawn = [bytes(dumped(changed([1, {"a": "b"}], draw), draw)) for draw in map(Random, (7, 7, 8))]
    assert drawn[0] == drawn[1] != drawn[2]
