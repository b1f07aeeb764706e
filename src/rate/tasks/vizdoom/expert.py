"""Experts of ViZDoom-Two-Colors: they look ahead with the agent's motion as they have measured it.

An expert plays a twin of every episode in engines of its own, from which it reads where items are.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

from rate.tasks.vizdoom.engine import BUTTONS, TICS, Engine, State
from rate.tasks.vizdoom.scenario import ARENA, GREEN, PILLARS, RED, Rules

AHEAD = 40
"""Decisions that are simulated ahead."""
TURNS = 16
"""Most decisions of a plan that turn."""
FRICTION = 0.90625
"""What is left of a speed after a tic."""
THRUST = 0.78125
"""Speed that a tic of moving forward adds, in map units a tic."""
SLOW, FAST = np.radians((1.7578125, 3.515625))
"""Angles of a tic of turning: in the first `SLOW_TICS` tics, and later."""
SLOW_TICS = 6
REACH = 36
"""Distance along either axis at which an item is picked up."""
CLEARANCE = 4
"""How much farther away than that wrong items are kept."""
CRUISE = 15.6
"""Map units of a decision at full speed."""


class Plans:
    """Ways to move for `AHEAD` decisions: turn for a while, on the spot or moving, then go ahead.

    `actions` [plans] are their first actions; `paths` [plans, AHEAD, 2] are displacements of an
    agent that stands and faces east; `drift` [AHEAD] is the share of an initial speed, in map units
    a tic, that has become distance.
    """

    def __init__(self, turned: int) -> None:
        """Simulate all plans.

        Args:
            turned: Signed number of tics for which the agent has been turning left.
        """
        actions, paths = [], []
        for turns in range(-TURNS, TURNS + 1):
            for moving in (False, True) if turns else (True,):
                turn = 0 if turns > 0 else 1
                first = 2 if not turns else turn + 3 if moving else turn
                plan = [first] * abs(turns) + [2] * (AHEAD - abs(turns))
                actions.append(first)
                paths.append(_path(plan, turned))
        self.actions, self.paths = np.array(actions), np.array(paths)
        tics = np.arange(1, AHEAD + 1) * TICS
        self.drift = (1 - FRICTION**tics) / (1 - FRICTION)


def _path(plan: Sequence[int], turned: int) -> np.ndarray:
    angle, speed, place = 0.0, np.zeros(2), np.zeros(2)
    places = []
    for action in plan:
        left, right, forward = BUTTONS[action]
        for _ in range(TICS):
            sign = int(left) - int(right)
            turned = turned + sign if sign and turned * sign >= 0 else sign
            angle += sign * (SLOW if abs(turned) <= SLOW_TICS else FAST)
            if forward:
                speed = speed + THRUST * np.array([np.cos(angle), np.sin(angle)])
            place = place + speed
            speed = speed * FRICTION
        places.append(place)
    return np.array(places)


@cache
def plans(turned: int) -> Plans:
    """The plans of an agent that has been turning left for so many tics, or right if negative."""
    return Plans(turned)


class TwoColorsExpert:
    """Goes for items of the right colour and round those of the wrong one.

    It knows the colour, the items in the arena and its own position, and makes no mistakes.
    """

    burst = 0.0
    """Chance of a decision to begin one to five random actions."""
    overlooked = 0.0
    """Fraction of the wrong items that are not seen."""

    def __init__(self, rules: Rules | None = None) -> None:
        self._rules = rules or Rules()
        self._engines: list[Engine] = []

    def reset(self, batch: int, seeds: Sequence[int] | None = None) -> None:
        """Begin new episodes."""
        if seeds is None:
            raise ValueError("the expert plays along with episodes of known seeds: give seeds")
        while len(self._engines) < batch:
            self._engines.append(Engine(self._rules, "160X120"))
        self._twins = [
            _Twin(engine, int(seed), self.burst, self.overlooked)
            for engine, seed in zip(self._engines, seeds, strict=False)
        ]

    def act(
        self, observations: np.ndarray, rewards: np.ndarray, forced: np.ndarray | None = None
    ) -> np.ndarray:
        """One action per row, int64 [n]."""
        given = [None] * len(self._twins) if forced is None else forced
        return np.array(
            [twin.act(action) for twin, action in zip(self._twins, given, strict=True)], np.int64
        )


class TwoColorsDataExpert(TwoColorsExpert):
    """Makes mistakes as the agent of the paper's data, whose first 90 decisions earn 4.46."""

    burst = 0.08
    overlooked = 0.1


class _Twin:
    """An episode that is played along with another one of the same seed."""

    def __init__(self, engine: Engine, seed: int, burst: float, overlooked: float) -> None:
        self._engine, self._burst, self._overlooked = engine, burst, overlooked
        self._generator = np.random.default_rng(seed)
        self._state: State | None = engine.begin(seed)
        self._place = np.array(self._state.pose[:2])
        self._speed = np.zeros(2)
        self._turned = 0
        self._random: list[int] = []
        self._unseen: dict[int, bool] = {}

    def act(self, forced: int | None) -> int:
        """Choose an action, and take it in the twin."""
        if self._state is None:
            return 0
        action = self._choose(self._state) if forced is None else int(forced)
        self._state = self._engine.act(action)
        left, right, _ = BUTTONS[action]
        sign = (int(left) - int(right)) * TICS
        same = sign and self._turned * sign >= 0
        turned = self._turned + sign if same else sign
        self._turned = int(np.clip(turned, -SLOW_TICS, SLOW_TICS))
        if self._state is not None:
            place = np.array(self._state.pose[:2])
            # Of the distance of a decision, the speed after it.
            share = FRICTION**TICS / sum(FRICTION**tic for tic in range(TICS))
            self._speed, self._place = (place - self._place) * share, place
        return action

    def _choose(self, state: State) -> int:
        if self._random:
            return self._random.pop()
        if self._burst and self._generator.random() < self._burst:
            length = int(self._generator.integers(1, 6))
            self._random = [int(self._generator.integers(5))] * length
            return self._random.pop()
        right, wrong = self._items(state)
        return best_action(state.pose, self._speed, self._turned, right, wrong)

    def _items(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """Positions [k, 2] of items of the right colour, and of what must not be touched."""
        right, wrong = [], []
        for thing in state.things:
            place = (thing.position_x, thing.position_y)
            if thing.name == (RED if state.red else GREEN):
                right.append(place)
            elif thing.name in PILLARS:
                wrong.append(place)
            elif thing.name in (RED, GREEN):
                if thing.id not in self._unseen:
                    self._unseen[thing.id] = self._generator.random() < self._overlooked
                if not self._unseen[thing.id]:
                    wrong.append(place)
        return np.array(right).reshape(-1, 2), np.array(wrong).reshape(-1, 2)


def best_action(
    pose: tuple[float, float, float],
    speed: np.ndarray,
    turned: int,
    right: np.ndarray,
    wrong: np.ndarray,
) -> int:
    """The first action of the plan that picks up a right item soonest and no wrong one before it.

    Args:
        pose: Coordinates in map units, and angle in radians.
        speed: [2], map units a tic.
        turned: Signed number of tics for which the agent has been turning left.
        right: Items to pick up, [k, 2].
        wrong: Items to keep away from, [m, 2].
    """
    x, y, angle = pose
    ways = plans(turned)
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, sin], [-sin, cos]])
    paths = np.array([x, y]) + ways.paths @ turn + ways.drift[:, None] * speed
    low, high = ARENA[0] + 16, ARENA[1] - 16
    paths = paths.clip(low, high)
    picked = _first_touch(paths, right, REACH - 2)
    hit = _first_touch(paths, wrong, REACH + CLEARANCE)
    # After the last decision of a plan without an item the way to the nearest one remains.
    ends = paths[:, -1]
    away = np.abs(ends[:, None] - right[None]).max(-1).min(1) if len(right) else 0
    cost = np.where(picked < AHEAD, picked, AHEAD + (away - REACH) / CRUISE + 4)
    cost = cost + np.where(hit <= np.minimum(picked, AHEAD - 1), 8 + 8 / (1 + hit), 0)
    return int(ways.actions[int(np.argmin(cost))])


def _first_touch(paths: np.ndarray, items: np.ndarray, reach: float) -> np.ndarray:
    """The first decision after which each path is within reach of an item; AHEAD where none is."""
    if not len(items):
        return np.full(len(paths), AHEAD)
    # Far items are left out first: coordinate by coordinate is several times as fast as pairs.
    inside = (items > paths.min((0, 1)) - reach) & (items < paths.max((0, 1)) + reach)
    x, y = items[inside.all(-1)].T
    near = (np.abs(paths[..., :1] - x) < reach) & (np.abs(paths[..., 1:] - y) < reach)
    near = near.any(-1)
    return np.where(near.any(1), near.argmax(1), AHEAD)
