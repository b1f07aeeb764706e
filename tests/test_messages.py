import pytest

from rate.messages import brief, reason


@pytest.mark.parametrize(
    "value",
    [
        "a\x1b[31m\r\n",
        "\ud800",
        "x" * 10_000,
        list(range(10_000)),
        {"a": [["b" * 5000]]},
        None,
        b"\0",
    ],
    ids=lambda value: str(type(value)),
)
def test_a_value_is_shown_in_one_short_printable_line(value):
    assert brief(value).isprintable()
    assert 0 < len(brief(value)) <= 200
    assert reason(ValueError(value)).isprintable()
    assert 0 < len(reason(ValueError(value))) <= 320


def test_a_reason_names_the_class_where_it_explains():
    assert reason(ValueError("it is\n  damaged")) == "it is damaged"
    assert reason(KeyError("x")) == "KeyError: 'x'"
    assert reason(RecursionError()) == "RecursionError"
    assert reason(ValueError()) == "ValueError"
