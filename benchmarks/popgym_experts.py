"""Returns of the POPGym experts, and of random actions, over the seeds that policies are scored
on."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import gymnasium
import numpy as np

from rate.acting.rollout import outcomes
from rate.storage.files import append_jsonl
from rate.system.provenance import commit
from rate.tasks.lookup import find
from rate.tasks.popgym import names
from rate.tasks.task import Agent, Task

NAME = "popgym-experts"
RESULTS = Path(__file__).parents[1] / "results" / f"{NAME}.jsonl"
EPISODES, QUICK = 100, 3


class RandomAgent:
    """Draws every action uniformly from the action space."""

    def __init__(self, space: gymnasium.Space[Any]) -> None:
        self._space = space

    def reset(self, batch: int, seeds: Sequence[int] | None = None) -> None:
        """Begin the draws anew."""
        self._space.seed(0)

    def act(
        self, observations: Any, rewards: np.ndarray, forced: np.ndarray | None = None
    ) -> np.ndarray:
        """Return one draw per row."""
        return (
            np.stack([np.asarray(self._space.sample()) for _ in rewards])
            if forced is None
            else forced
        )


def measure(quick: bool, path: Path = RESULTS) -> list[dict[str, Any]]:
    """Append a row per task and player to the results and return the rows; quick ones are not
    written."""
    rows = []
    for name in names():
        task = find(f"popgym/{name}")
        agents: dict[str, Agent] = {"random": RandomAgent(task.action_space)}
        if task.expert is not None:
            agents["expert"] = task.expert()
        for variant, agent in agents.items():
            rows.append(score(task, variant, agent, QUICK if quick else EPISODES))
            if not quick:
                append_jsonl(path, rows[-1])
    return rows


def score(task: Task, variant: str, agent: Agent, episodes: int) -> dict[str, Any]:
    """Let an agent play the seeds 0, 1, ... of a task; the row has the form of an evaluation's."""
    start = perf_counter()
    results = list(outcomes(agent, task, range(episodes)))
    scores = np.array([task.score(result.total_return, result.length) for result in results])
    return {
        "experiment": NAME,
        "variant": variant,
        "checkpoint": "last",
        "seed": 0,
        "task": task.name,
        "metric": task.metric,
        "value": float(scores.mean()),
        "standard_error": float(scores.std(ddof=1) / np.sqrt(episodes)),
        "episodes": episodes,
        "scores": [round(float(value), 6) for value in scores],
        "mean_length": float(np.mean([result.length for result in results])),
        "seconds": round(perf_counter() - start, 3),
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
