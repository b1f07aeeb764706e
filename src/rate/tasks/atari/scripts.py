"""Ways to play games, from the machine's memory: what the look-ahead of `player.py` chooses among.

Addresses were found by watching the memory while playing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

Memory = Sequence[int]
"""The 128 bytes of the machine's memory."""
LIFE = 1000.0
"""Points that a lost life counts less."""
Script = Callable[[int, Memory, Memory], int]
"""The number of an action, from the decisions since the script began, the memory now, and that of
one decision ago."""


@dataclass(frozen=True)
class Game:
    """What is worth looking ahead for in a game."""

    scripts: Callable[[Sequence[str]], Sequence[Script]]
    """Ways to play, from the names of the actions; the first is the usual one."""
    begins: Callable[[int, Memory, Memory], bool]
    """Whether to choose among them now; arguments as of a script."""
    ahead: int
    """Most decisions that are looked ahead."""
    judge: Callable[[float, Memory, Memory], float | None] = lambda reward, now, before: None
    """What a way is worth besides its rewards, once that is known: from the last reward, the memory
    now, and that of one decision ago. Nothing is tried beyond it, and nothing else if it is 1 or
    more."""


OFFSETS = (0, -2, 2, -4, 4, -6, 6, -8, 8)


# Pong: the ball is at (49, 54), the player's paddle at height 51; y counts downwards.


def _pong(offset: int, up: int, down: int, stay: int) -> Script:
    def script(time: int, now: Memory, before: Memory) -> int:
        x, y, paddle = now[49], now[54], now[51]
        speed, climb = x - before[49], y - before[54]
        # A jump is another ball, or one that went off the field.
        if abs(speed) > 40 or abs(climb) > 40:
            return stay
        aim = float(y + offset)
        if speed > 0:
            aim = _bounced(y + climb * (188 - x) / speed, 44, 207) + offset
        error = aim - paddle - (paddle - before[51]) * 0.6
        return down if error > 5 else up if error < -5 else stay

    return script


def _bounced(place: float, low: float, high: float) -> float:
    """A place between two walls, from one that was reached without them."""
    size = high - low
    folded = (place - low) % (2 * size)
    return low + min(folded, 2 * size - folded)


def _pong_scripts(actions: Sequence[str]) -> list[Script]:
    up, down, stay = (actions.index(name) for name in ("RIGHT", "LEFT", "NOOP"))
    return [_pong(2 * offset, up, down, stay) for offset in OFFSETS]


def _pong_begins(time: int, now: Memory, before: Memory) -> bool:
    return now[49] > before[49]


def _pong_judge(reward: float, now: Memory, before: Memory) -> float | None:
    return reward or None


# Breakout: the ball is at (99, 101), y is 0 while there is none; the paddle's left end is at 72.


def _breakout(offset: int, right: int, left: int, stay: int, fire: int) -> Script:
    def script(time: int, now: Memory, before: Memory) -> int:
        x, y, paddle = now[99], now[101], now[72]
        speed, fall = x - before[99], y - before[101]
        if not y:
            return fire
        aim = float(x)
        if before[101] and fall > 0 and abs(fall) < 40:
            aim = _bounced(x + speed * (178 - y) / fall, 57, 199)
        error = aim - (paddle + 9) + offset
        return right if error > 6 else left if error < -6 else stay

    return script


def _breakout_scripts(actions: Sequence[str]) -> list[Script]:
    numbers = [actions.index(name) for name in ("RIGHT", "LEFT", "NOOP", "FIRE")]
    return [_breakout(3 * offset // 2, *numbers) for offset in OFFSETS]


def _breakout_begins(time: int, now: Memory, before: Memory) -> bool:
    return 0 < before[101] < now[101] and now[101] > 100


def _breakout_judge(reward: float, now: Memory, before: Memory) -> float | None:
    bounced = now[101] > 0 and before[101] > 150 and now[101] < before[101]
    return 1.0 if bounced else None


# Seaquest: the submarine is at (70, 97), oxygen is at 102, divers on board at 62.

LANES = (46, 71, 95, 119)
"""Heights at which enemies pass."""


def _seaquest(lane: int, side: str, actions: Sequence[str]) -> Script:
    up, down, across, surface = (
        actions.index(name) for name in ("UPFIRE", "DOWNFIRE", f"{side}FIRE", "UP")
    )

    def script(time: int, now: Memory, before: Memory) -> int:
        y = now[97]
        if now[62] and now[102] < 16:
            return surface
        return down if y < lane - 3 else up if y > lane + 3 else across

    return script


def _seaquest_scripts(actions: Sequence[str]) -> list[Script]:
    return [_seaquest(lane, side, actions) for lane in LANES for side in ("LEFT", "RIGHT")]


def _seaquest_judge(reward: float, now: Memory, before: Memory) -> float | None:
    # When the submarine is hit, all stands still for twenty decisions before a life is taken.
    hit = now[97] > 20 and now[30:34] == before[30:34]
    return -LIFE if hit else None


# Games without a script of their own: each action, held for some decisions.


HOLD = 6
"""Decisions for which an action is held: a hop of Qbert."""


def _held(action: int, decisions: int, then: int) -> Script:
    return lambda time, now, before: action if time < decisions else then


def _holding(names: Sequence[str], actions: Sequence[str]) -> list[Script]:
    """Scripts that hold one of the named actions, or of all where none is named."""
    return [_held(actions.index(name), HOLD, 0) for name in names or actions]


def _every(decisions: int, time: int, now: Memory, before: Memory) -> bool:
    return time >= decisions


GAMES = {
    "Pong": Game(_pong_scripts, _pong_begins, 70, _pong_judge),
    "Qbert": Game(
        partial(_holding, ("NOOP", "UP", "RIGHT", "LEFT", "DOWN")), partial(_every, HOLD), 20
    ),
    "Seaquest": Game(_seaquest_scripts, partial(_every, 4), 16, _seaquest_judge),
    "Breakout": Game(_breakout_scripts, _breakout_begins, 40, _breakout_judge),
}
USUAL = Game(partial(_holding, ()), partial(_every, HOLD), 20)
"""For games without an entry."""
