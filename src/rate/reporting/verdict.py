"""The verdict of a page: up to three numbers and a sentence, from its scores."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from rate.reporting.intervals import count_interval
from rate.reporting.load import Facts
from rate.reporting.statistics import Difference, Summary
from rate.reporting.style import position_label, short
from rate.reporting.tables import labels


class Verdict(NamedTuple):
    """What a page says first."""

    numbers: Sequence[tuple[str, str]]
    """Numbers in large type, with what they are."""
    sentence: str
    """The same in words, with intervals."""


def verdict(
    facts: Facts, summaries: Sequence[Summary], compared: Sequence[Difference] = ()
) -> Verdict | None:
    """What the scores say of the variant that an experiment is about, on the task at the largest
    position; without positions over all tasks.

    Intervals are those of the tables.

    Args:
        facts: Order of the variants, axis and training length.
        summaries: Scores.
        compared: Differences of variants from the one that the experiment is about.

    Returns:
        The verdict; None without scores.
    """
    scored = [summary for summary in summaries if summary.seeds]
    if not scored:
        return None
    names = [name for name in facts.order if any(one.variant == name for one in scored)]
    lead = names[0] if names else scored[0].variant
    own = [summary for summary in scored if summary.variant == lead]
    if len(own) > 1 and not any(summary.x for summary in own):
        return _over_tasks(own, scored, compared)
    chosen = max(own, key=lambda summary: summary.x or -math.inf)
    others = [one for one in scored if one.task == chosen.task and one.variant != lead]
    where = _place(facts, chosen, summaries)
    numbers = [(_number(chosen.mean), f"{short(lead)}, {chosen.metric} {where}")]
    sentence = f"{lead} has the {chosen.metric} {_interval(chosen)} {where}"
    if others:
        best = max(others, key=lambda summary: summary.mean)
        rest = f", best of {len(others)} others" if len(others) > 1 else ""
        numbers.append((_number(best.mean), f"{short(best.variant)}{rest}"))
        sentence += f"; {best.variant}{rest}, {_interval(best)}."
        for one in compared:
            if (one.variant, one.reference, one.task) == (best.variant, lead, chosen.task):
                sentence += f" {_difference(one)}"
    else:
        sentence += "."
    numbers.append(_extent(facts, chosen))
    return Verdict(numbers, sentence)


def _over_tasks(
    own: Sequence[Summary], scored: Sequence[Summary], compared: Sequence[Difference]
) -> Verdict:
    """Means over tasks, without an interval; and in how many tasks there is a difference."""
    lead, tasks = own[0].variant, {summary.task for summary in own}
    metric = " / ".join(dict.fromkeys(summary.metric for summary in own))
    means: dict[str, list[float]] = {}
    for summary in scored:
        if summary.task in tasks:
            means.setdefault(summary.variant, []).append(summary.mean)
    whole = {
        name: sum(values) / len(values)
        for name, values in means.items()
        if len(values) == len(tasks)
    }
    numbers = [(_number(whole[lead]), f"{short(lead)}, mean {metric} over {len(tasks)} tasks")]
    sentence = f"Over {len(tasks)} tasks {lead} has the mean {metric} {_number(whole[lead])}"
    others = {name: mean for name, mean in whole.items() if name != lead}
    if not others:
        return Verdict(numbers, f"{sentence}.")
    best = max(others, key=lambda name: others[name])
    rest = f", best of {len(others)} others" if len(others) > 1 else ""
    numbers.append((_number(others[best]), f"{short(best)}{rest}"))
    sentence += f"; {best}{rest}, {_number(others[best])}."
    pairs = [one for one in compared if (one.variant, one.reference) == (best, lead)]
    if pairs:
        ahead = sum(one.interval[1] < 0 for one in pairs)
        behind = sum(one.interval[0] > 0 for one in pairs)
        numbers.append((f"{ahead} : {behind}", f"tasks in which {short(lead)} is ahead, or behind"))
        sentence += (
            f" {lead} is ahead of {best} in {ahead} tasks and behind in {behind}; in the other "
            f"{len(pairs) - ahead - behind} the 95 % interval of the difference holds 0."
        )
    return Verdict(numbers, sentence)


def _place(facts: Facts, chosen: Summary, summaries: Sequence[Summary]) -> str:
    name = labels(summaries)[chosen.task]
    if chosen.x is None or name == chosen.task:
        return f"in {short(name, 60)}"
    return f"at {facts.axis or 'task size'} {name}"


def _extent(facts: Facts, chosen: Summary) -> tuple[str, str]:
    """How many seeds hold, how far beyond training that is, or on how much the verdict rests."""
    if chosen.held is not None and len(chosen.seeds) > 1:
        low, high = count_interval(chosen.held, len(chosen.seeds))
        text = f"seeds of {short(chosen.variant)} hold (95 % interval {low:.2f} to {high:.2f})"
        return f"{chosen.held} of {len(chosen.seeds)}", text
    length = facts.training_length
    if length and chosen.x and chosen.x > length:
        times = chosen.x / length
        text = f"{times:.0f}×" if times >= 10 else f"{times:.1f}×"
        return text, f"the training length of {position_label(length)}"
    count = len(chosen.seeds)
    return str(chosen.episodes), f"episodes, {count} {'seed' if count == 1 else 'seeds'}"


def _difference(one: Difference) -> str:
    """How much more the variant has that the experiment is about."""
    low, high = -one.interval[1], -one.interval[0]
    if math.isnan(low):
        return ""
    text = f"The difference is {_number(-one.mean)} (95 % interval {_number(low)} to "
    shown = "" if low > 0 or high < 0 else ", which holds 0: no difference is shown"
    return f"{text}{_number(high)}){shown}."


def _interval(summary: Summary) -> str:
    if math.isnan(summary.interval[0]):
        return _number(summary.mean)
    low, high = (_number(end) for end in summary.interval)
    return f"{_number(summary.mean)} (95 % interval {low} to {high})"


def _number(value: float) -> str:
    rounded = round(value, 2) + 0.0  # no minus before a zero
    return f"{rounded:.2f}" if abs(value) < 100 else f"{value:.0f}"
