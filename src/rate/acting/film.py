"""Films: an agent plays episodes that are drawn frame by frame into a video.

The agent, its environment and the seed are those of an evaluation, so the episode of a seed is the
one that was scored.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium
import numpy as np

from rate.acting.environments import Stepping
from rate.acting.frame import Frames, Moment, Strip
from rate.acting.rollout import Outcome, steps
from rate.acting.video import Show
from rate.acting.watched import Watched
from rate.tasks.picture import facts, picture, rendering
from rate.tasks.task import Agent, Task


@dataclass(frozen=True)
class Filming:
    """Who is filmed, where, and which steps are shown."""

    agent: Agent
    """Who acts; of a `Watched` policy memory is shown."""
    task: Task
    """What is played."""
    target_return: float | None = None
    """The return that was asked for, to be shown."""
    stepping: Stepping = field(default_factory=Stepping)
    """How environments are stepped."""

    def play(
        self,
        seed: int,
        frames: Frames,
        show: Show,
        *,
        title: str = "",
        every: int = 1,
        strip: Strip | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Outcome:
        """Play the episode of a seed, and show its frames.

        Args:
            seed: Seed of the episode.
            frames: Draws the frames.
            show: Takes them.
            title: The line above the pictures.
            every: Steps from one frame to the next; the first and the last state are always shown.
            strip: Takes the pictures.
            progress: Called with 1 after each step.
        """
        frames.begin()
        camera = _Camera(self.task, every)
        total, length = 0.0, 0
        for step in steps(self.agent, camera.task, seed, stepping=self.stepping):
            if length % every == 0:
                known = self._facts(length, total, camera.before, step.actions[0])
                show(frames.draw(self._moment(title, camera.pictures[0], known)))
                if strip is not None:
                    strip.add(length, camera.pictures[0])
            total += float(step.rewards[0])
            length += 1
            if progress is not None:
                progress(1)
        known = self._facts(length, total, camera.after, None)
        show(frames.draw(self._moment(title, camera.pictures[1], known)))
        if strip is not None:
            strip.add(length, camera.pictures[1])
        return Outcome(seed, total, length)

    def _moment(self, title: str, seen: np.ndarray, known: dict[str, str]) -> Moment:
        watched = self.agent if isinstance(self.agent, Watched) else None
        return Moment(title, seen, known, watched.activity() if watched else None)

    def _facts(
        self, step: int, total: float, info: dict[str, str], action: np.ndarray | None
    ) -> dict[str, str]:
        known = {"step": str(step), "return": f"{total:.4g}"}
        if self.target_return is not None:
            known["asked for"] = f"{self.target_return:.4g}"
        if action is None:
            return known | info | {"action": "-"}
        return known | info | {"action": _action(action)}


class _Camera:
    """Takes pictures of the one environment of a task before and after each step."""

    def __init__(self, task: Task, every: int) -> None:
        self.pictures: list[np.ndarray] = []
        """Before and after the newest step."""
        self.before: dict[str, str] = {}
        """What the environment's info said before the newest step."""
        self.after: dict[str, str] = {}
        """What it says now."""
        self.task = replace(task, batch=None, environment=lambda: _Filmed(task, self))
        """The task whose environment is filmed."""
        self._every, self._horizon = every, task.horizon
        self._elapsed = 0

    def begin(self, environment: Any, observation: Any, info: Any) -> None:
        """Take the first picture."""
        self._elapsed = 0
        self.before = self.after = facts(info)
        self.pictures = [picture(environment, observation)] * 2

    def look(self, environment: Any, step: Sequence[Any]) -> None:
        """Take the picture after a step, if it will be shown."""
        observation, _, terminated, truncated, info = step
        self._elapsed += 1
        self.before, self.after = self.after, facts(info)
        ends = terminated or truncated or self._elapsed == self._horizon
        due = self._elapsed % self._every == 0
        newest = picture(environment, observation) if due or ends else self.pictures[1]
        self.pictures = [self.pictures[1], newest]


class _Filmed(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment in front of a camera."""

    def __init__(self, task: Task, camera: _Camera) -> None:
        super().__init__(rendering(task))
        self._camera = camera

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self._camera.begin(self.env, observation, info)
        return observation, info

    def step(self, action: Any) -> Any:
        step: Any = self.env.step(action)
        self._camera.look(self.env, step)
        return step


def _action(action: np.ndarray) -> str:
    numbers = np.asarray(action).reshape(-1)
    texts = [f"{number:.2f}" if number.dtype.kind == "f" else str(number) for number in numbers]
    return " ".join(texts[:3]) + (" ..." if len(texts) > 3 else "")
