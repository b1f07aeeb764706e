import pytest

from rate.tasks import lookup
from rate.tasks.lookup import families, find
from rate.tasks.task import Family, read_length, read_segments, success


def test_every_family_is_listed_with_one_line() -> None:
    listed = families()
    assert {"tmaze/<T>", "aar/<T>", "recall/<T>"} <= set(listed)
    assert all(line and "\n" not in line for line in listed.values())


def test_a_name_far_from_any_lists_what_there_is() -> None:
    with pytest.raises(ValueError, match="no task 'chess'") as error:
        find("chess")
    assert "Did you mean" not in str(error.value)
    assert "tmaze/<T>" in str(error.value)


def test_a_close_name_keeps_the_size_that_was_asked_for() -> None:
    with pytest.raises(ValueError, match="Did you mean 'tmaze/90'"):
        find("tmase/90")


def test_a_missing_simulator_is_answered_with_the_extra_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    family = Family(find, "<N>", "9", extra="mazes", modules=("no_such_simulator",))
    monkeypatch.setattr(lookup, "discover", lambda: {"maze": family})
    with pytest.raises(
        ModuleNotFoundError, match=r"no_such_simulator.*pip install --editable '.*\[mazes\]'"
    ):
        find("maze/9")


@pytest.mark.parametrize("size", ["", "2", "-3", "3.5", "x", "100000000", "9" * 30, "٣"])
def test_lengths_that_are_refused(size: str) -> None:
    with pytest.raises(ValueError, match="whole number from 3"):
        read_length(size, 3)


@pytest.mark.parametrize("size", ["90", "90x", "x3", "90x0", "90x-3", "90x4", "6x3", "99999999x3"])
def test_segments_that_are_refused(size: str) -> None:
    with pytest.raises(ValueError, match=r"<T>x<N>|multiple of N"):
        read_segments(size, 3)


def test_sizes_are_read() -> None:
    assert read_length("90", 3) == 90
    assert read_segments("90x3", 3) == (90, 3)


def test_success_is_a_positive_return() -> None:
    assert [success(total, 5) for total in (-1.0, 0.0, 0.5, 1.0)] == [0, 0, 1, 1]
