"""Gymnasium spaces as data, structured values as flat dictionaries of arrays, and their checks.

Two words are used throughout the library. A *value* has its space's own structure (a dict for a
Dict space, a tuple for a Tuple space, an array otherwise). *Leaves* are the same arrays in a flat
dictionary from path to array.
"""

from rate.spaces.checks import Checker, LeafChecker, SpaceError, check_leaf, nearest
from rate.spaces.comparison import fitted
from rate.spaces.description import from_json, to_json
from rate.spaces.joined import is_array, join, joined, separate
from rate.spaces.structure import (
    ACTION_MASK,
    LARGEST_LEAF,
    PLAIN,
    as_leaf,
    flatten,
    is_image,
    leaves,
    pick,
    unflatten,
    usable,
)
from rate.spaces.text import from_text

__all__ = [
    "ACTION_MASK",
    "LARGEST_LEAF",
    "PLAIN",
    "Checker",
    "LeafChecker",
    "SpaceError",
    "as_leaf",
    "check_leaf",
    "fitted",
    "flatten",
    "from_json",
    "from_text",
    "is_array",
    "is_image",
    "join",
    "joined",
    "leaves",
    "nearest",
    "pick",
    "separate",
    "to_json",
    "unflatten",
    "usable",
]
