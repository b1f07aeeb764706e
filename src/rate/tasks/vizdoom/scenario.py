"""The scenario of ViZDoom-Two-Colors as a file for the engine, made from Python alone.

Arena, pictures and scripts are those that `Rules` describes; nothing comes from another file. The
map's scripts are byte code of the engine's oldest format, so no compiler is needed.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rate.tasks.vizdoom import pictures

Damage = Literal["released", "paper"]

DAMAGE: dict[Damage, tuple[int, int]] = {"released": (17, 13), "paper": (25, 25)}
"""Health that a wrong green and a wrong red item cost."""

ARENA = (-768, 512)
"""Least and largest coordinate of the square arena, x and y alike, in map units."""
CEILING = 128
START = (-128, -448)
"""Where the agent starts, facing north."""
CENTRE = (-128, -128)
"""Where the pillar stands."""
MARGIN = 40
"""Least distance of a new item from the walls."""
FIRST_ITEMS = 10
"""Items of each colour that are there at the start."""
RESPAWN = 30
"""Tics between two new items, of the colours in turn."""
HEALING, FULL = 25, 100
ACID_PERIOD = 32
"""Tics between two hits of the acid, the first at tic 0."""

GREEN, RED = "GreenItem", "RedItem"
PILLARS = ("GreenPillar", "RedPillar")
PILLAR_ID = 7
"""Thing id of the pillar, by which it is removed."""
IS_RED = 2
"""Number of the global variable that holds the colour; the engine reports it as USER2."""


@dataclass(frozen=True)
class Rules:
    """What may vary between scenarios."""

    pillar: bool = True
    """Whether the pillar is shown."""
    pillar_tics: int = 90
    """Tics until the pillar is removed."""
    damage: Damage = "released"
    """What a wrong item costs: as measured in the released scenario, or as the paper says."""
    acid: int = 8
    """Health that a hit of the acid costs."""

    def __post_init__(self) -> None:
        if self.damage not in DAMAGE:
            raise ValueError(f"damage is {self.damage!r}, allowed: {', '.join(DAMAGE)}")
        if self.pillar_tics < 1 or not 0 <= self.acid <= FULL:
            raise ValueError(
                f"pillar_tics is {self.pillar_tics} and acid {self.acid}: a pillar stays for 1 "
                f"tic or more, and acid costs 0 to {FULL}"
            )


def scenario(rules: Rules) -> bytes:
    """The scenario as the bytes of a WAD file."""
    sprites = {
        "PILGA0": pictures.sprite(pictures.pillar(pictures.GREEN)),
        "PILRA0": pictures.sprite(pictures.pillar(pictures.RED)),
        "ITMGA0": pictures.sprite(pictures.item(pictures.GREEN)),
        "ITMRA0": pictures.sprite(pictures.item(pictures.RED)),
    }
    textures = {
        "RTWALL": pictures.png(pictures.wall()),
        "RTFLOOR": pictures.png(pictures.floor()),
        "RTCEIL": pictures.png(pictures.ceiling()),
    }
    return _wad(
        [
            ("DECORATE", _actors().encode()),
            ("S_START", b""),
            *sprites.items(),
            ("S_END", b""),
            ("TX_START", b""),
            *textures.items(),
            ("TX_END", b""),
            ("MAP01", b""),
            ("TEXTMAP", _arena().encode()),
            ("BEHAVIOR", _behavior(rules)),
            ("ENDMAP", b""),
        ]
    )


def _wad(lumps: Sequence[tuple[str, bytes]]) -> bytes:
    body, directory = b"", b""
    for name, content in lumps:
        directory += struct.pack("<ii8s", 12 + len(body), len(content), name.encode())
        body += content
    return struct.pack("<4sii", b"PWAD", len(lumps), 12 + len(body)) + body + directory


def _actors() -> str:
    """Definitions of pillars and items. An item runs a script when it is picked up: its argument is
    1 for red."""
    texts = []
    for name, picture in zip(PILLARS, ("PILG", "PILR"), strict=True):
        texts.append(
            f"actor {name}\n{{\n  Radius 16\n  Height {CEILING - 16}\n  +SOLID\n"
            f"  States\n  {{\n  Spawn:\n    {picture} A -1\n    Stop\n  }}\n}}\n"
        )
    for name, picture, is_red in ((GREEN, "ITMG", 0), (RED, "ITMR", 1)):
        texts.append(
            f"actor {name} : CustomInventory\n{{\n  Radius 20\n  Height 26\n"
            "  +INVENTORY.ALWAYSPICKUP\n  +INVENTORY.QUIET\n"
            f"  States\n  {{\n  Spawn:\n    {picture} A -1\n    Stop\n  Pickup:\n"
            f"    TNT1 A 0 ACS_ExecuteAlways({PICK_UP}, 0, {is_red})\n    Stop\n  }}\n}}\n"
        )
    return "".join(texts)


def _arena() -> str:
    low, high = ARENA
    corners = [(low, low), (low, high), (high, high), (high, low)]
    parts = ['namespace = "zdoom";']
    parts.append(
        f"thing {{ x = {START[0]}.0; y = {START[1]}.0; angle = 90; type = 1; single = true; "
        + " ".join(f"skill{skill} = true;" for skill in range(1, 6))
        + " }"
    )
    parts += [f"vertex {{ x = {x}.0; y = {y}.0; }}" for x, y in corners]
    for side in range(4):
        parts.append(
            f"linedef {{ v1 = {side}; v2 = {(side + 1) % 4}; sidefront = {side}; "
            "blocking = true; }"
        )
        parts.append('sidedef { sector = 0; texturemiddle = "RTWALL"; }')
    parts.append(
        f"sector {{ heightfloor = 0; heightceiling = {CEILING}; lightlevel = 200; "
        'texturefloor = "RTFLOOR"; textureceiling = "RTCEIL"; }'
    )
    return "\n".join(parts) + "\n"


# Operations of the byte code by their numbers in the engine.
_TERMINATE, _PUSH = 1, 3
_SPECIAL_1, _SPECIAL_2, _SPECIAL_3 = 9, 10, 11
_EQUAL, _LESS, _GO_TO, _GO_TO_IF, _DROP = 19, 21, 52, 53, 54
_DELAY, _RANDOM, _GO_TO_UNLESS, _SPAWN = 56, 58, 79, 149
_SET_GLOBAL, _PUSH_GLOBAL = 181, 182
_PUSH_LOCAL = 28

# Actions of the engine by number.
_DAMAGE_THING, _REMOVE_THING, _HEAL_THING = 119, 132, 248

_OPEN_SCRIPT, _ENTER_SCRIPT, PICK_UP = 1, 2, 3
_OPEN, _ENTER = 1, 4
_STRINGS = (GREEN, RED, *PILLARS)


class _Code:
    """Byte code under construction; positions are those in the lump, which begins with 8 bytes."""

    def __init__(self) -> None:
        self.words: list[int] = []

    def here(self) -> int:
        return 8 + 4 * len(self.words)

    def add(self, *words: int) -> None:
        self.words += words

    def jump(self, operation: int, *words: int) -> int:
        """Add a jump whose target is set later; returns its place for `land`."""
        self.add(operation, *words, 0)
        return len(self.words) - 1

    def land(self, place: int) -> None:
        """Let a jump lead here."""
        self.words[place] = self.here()


def _behavior(rules: Rules) -> bytes:
    code = _Code()
    entries = []
    for number, kind, arguments, write in (
        (_OPEN_SCRIPT, _OPEN, 0, _write_open),
        (_ENTER_SCRIPT, _ENTER, 0, _write_enter),
        (PICK_UP, 0, 1, _write_pick_up),
    ):
        entries.append((number + 1000 * kind, code.here(), arguments))
        write(code, rules)
    content = struct.pack(f"<{len(code.words)}i", *code.words)
    offsets, strings = [], b""
    for text in _STRINGS:
        offsets.append(8 + len(content) + len(strings))
        strings += text.encode() + b"\0"
    strings += b"\0" * (-len(strings) % 4)
    directory = 8 + len(content) + len(strings)
    table = struct.pack("<i", len(entries))
    table += b"".join(struct.pack("<iii", *entry) for entry in entries)
    table += struct.pack(f"<i{len(offsets)}i", len(offsets), *offsets)
    return struct.pack("<4si", b"ACS\0", directory) + content + strings + table


def _write_open(code: _Code, rules: Rules) -> None:
    """Draw the colour first, so that the seeds of the published lists have theirs; place the items
    and the pillar, remove it, and add items for ever."""
    code.add(_RANDOM, 0, 1, _SET_GLOBAL, IS_RED)
    for colour in (0, 1) * FIRST_ITEMS:
        _spawn_item(code, colour)
    if rules.pillar:
        code.add(_PUSH_GLOBAL, IS_RED)
        green = code.jump(_GO_TO_UNLESS)
        _spawn(code, _STRINGS.index(PILLARS[1]), CENTRE, PILLAR_ID)
        after = code.jump(_GO_TO)
        code.land(green)
        _spawn(code, _STRINGS.index(PILLARS[0]), CENTRE, PILLAR_ID)
        code.land(after)
    code.add(_DELAY, rules.pillar_tics)
    code.add(_SPECIAL_2, _REMOVE_THING, PILLAR_ID, 0)
    again = code.here()
    for colour in (0, 1):
        _spawn_item(code, colour)
        code.add(_DELAY, RESPAWN)
    code.add(_GO_TO, again)


def _write_enter(code: _Code, rules: Rules) -> None:
    """Acid hurts whoever is in the arena."""
    again = code.here()
    code.add(_SPECIAL_3, _DAMAGE_THING, 0, rules.acid, 0)
    code.add(_DELAY, ACID_PERIOD, _GO_TO, again)


def _write_pick_up(code: _Code, rules: Rules) -> None:
    """Heal who picks up an item of the pillar's colour, and hurt who picks up another one."""
    code.add(_PUSH_LOCAL, 0, _PUSH_GLOBAL, IS_RED, _EQUAL)
    wrong = code.jump(_GO_TO_UNLESS)
    code.add(_SPECIAL_2, _HEAL_THING, HEALING, FULL, _TERMINATE)
    code.land(wrong)
    green, red = DAMAGE[rules.damage]
    code.add(_PUSH_LOCAL, 0)
    is_green = code.jump(_GO_TO_UNLESS)
    code.add(_SPECIAL_3, _DAMAGE_THING, 0, red, 0, _TERMINATE)
    code.land(is_green)
    code.add(_SPECIAL_3, _DAMAGE_THING, 0, green, 0, _TERMINATE)


def _spawn_item(code: _Code, colour: int) -> None:
    low, high = ARENA[0] + MARGIN, ARENA[1] - MARGIN
    code.add(_PUSH, _STRINGS.index((GREEN, RED)[colour]))
    for _ in "xy":
        code.add(_RANDOM, low << 16, high << 16)
    code.add(_PUSH, 0, _PUSH, 0, _PUSH, 0, _SPAWN, _DROP)


def _spawn(code: _Code, name: int, place: tuple[int, int], identity: int) -> None:
    x, y = place
    for word in (name, x << 16, y << 16, 0, identity, 0):
        code.add(_PUSH, word)
    code.add(_SPAWN, _DROP)


def is_red(variable: float) -> bool:
    """Whether the colour that the engine reports is red."""
    return bool(np.rint(variable))
