"""The rule by which a policy of one space acts in an environment of another."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from rate.messages import brief
from rate.spaces.checks import bounds_of, limits
from rate.spaces.structure import shape_of

_Choices = spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary


def fitted(
    trained: gymnasium.Space[Any], offered: gymnasium.Space[Any], actions: bool = False
) -> gymnasium.Space[Any]:
    """The space in which a policy meets the values of another space than it was trained for.

    Both must have the same structure, and each leaf the same shape and the same kind: real numbers,
    or whole numbers (Discrete, MultiDiscrete, MultiBinary, and a Box of whole numbers or booleans).
    Bounds and the width of numbers may differ. A policy that has learned some categories only, as
    an import of recorded data sees them, still refuses the others when it observes one; but all
    that it can choose as an action must be an action of the environment. Numbers of a Box are
    clipped to the bounds of the environment's actions.

    Args:
        trained: The space of the policy, or of the data that it learns from.
        offered: The environment's.
        actions: Whether values are chosen by the policy, not observed.

    Returns:
        The policy's space with bounds that let everything of the environment's kind through.

    Raises:
        ValueError: the spaces differ in more than that; the message says in what.
    """
    if isinstance(trained, spaces.Dict) and isinstance(offered, spaces.Dict):
        if set(trained.spaces) != set(offered.spaces):
            raise ValueError(f"the keys are {list(trained.spaces)} and {list(offered.spaces)}")
        parts = trained.spaces.items()
        return spaces.Dict(
            [(key, _part(key, part, offered.spaces[key], actions)) for key, part in parts]
        )
    if isinstance(trained, spaces.Tuple) and isinstance(offered, spaces.Tuple):
        if len(trained.spaces) != len(offered.spaces):
            raise ValueError(f"there are {len(trained.spaces)} and {len(offered.spaces)} parts")
        both = enumerate(zip(trained.spaces, offered.spaces, strict=True))
        return spaces.Tuple([_part(index, one, other, actions) for index, (one, other) in both])
    if any(isinstance(space, spaces.Dict | spaces.Tuple) for space in (trained, offered)):
        raise ValueError("their structures differ")
    return _fitted_leaf(trained, offered, actions)


def _part(
    key: Any, trained: gymnasium.Space[Any], offered: gymnasium.Space[Any], actions: bool
) -> gymnasium.Space[Any]:
    try:
        return fitted(trained, offered, actions)
    except ValueError as error:
        raise ValueError(f"{key!r}: {error}") from error


def _fitted_leaf(
    trained: gymnasium.Space[Any], offered: gymnasium.Space[Any], actions: bool
) -> gymnasium.Space[Any]:
    if shape_of(trained) != shape_of(offered):
        raise ValueError(f"the shapes are {shape_of(trained)} and {shape_of(offered)}")
    kinds = [
        "real" if np.dtype(space.dtype).kind == "f" else "whole" for space in (trained, offered)
    ]
    if kinds[0] != kinds[1]:
        raise ValueError(f"one has {kinds[0]} numbers, the other {kinds[1]} ones")
    if isinstance(trained, spaces.Box):
        low, high = (
            np.full(trained.shape, bound, trained.dtype) for bound in limits(trained.dtype)
        )
        return spaces.Box(low, high, dtype=trained.dtype.type)
    if actions and isinstance(trained, _Choices):
        (low, high), (least, most) = bounds_of(trained), bounds_of(offered)
        if (low < least).any() or (high > most).any():
            raise ValueError(
                f"the policy can choose {brief(trained)}, which is more than {brief(offered)}"
            )
    return trained
