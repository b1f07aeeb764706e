"""Choice of the best checkpoint while training: by score on selection seeds, or by loss on held-out
episodes."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from rate.acting.actor import Actor
from rate.acting.rollout import Outcome, outcomes
from rate.acting.workers import Acting, play
from rate.compute import Compute
from rate.dataset import Batches, Dataset
from rate.models.policy import Policy
from rate.objectives import Objective
from rate.processes import Processes
from rate.recipe import Recipe
from rate.runs.checkpoint import save_policy
from rate.tasks.lookup import find
from rate.training.window_loss import Learner, step_weights

SELECTED = ".selection.partial"
"""File of a policy on its way to other processes; its name is one that a resumed run removes."""

SELECTION_SEEDS = 1_000_000
"""First seed for selecting checkpoints; scoring seeds start at 0 and never reach this."""


def require_task(name: str, dataset: Dataset) -> None:
    """Raise a ValueError unless the task has the spaces of the dataset, so that its score can
    select a policy."""
    task = find(name)
    for space in ("observation_space", "action_space"):
        wanted, given = getattr(dataset, space), getattr(task, space)
        if wanted != given:
            raise ValueError(
                f"selection.task {name!r} has the {space.replace('_', ' ')} {given}, but the "
                f"dataset has {wanted}: choose a "
                "task with the spaces of the dataset"
            )


@dataclass(frozen=True)
class Selection:
    """Validates a policy; a higher score is better.

    workers: the processes that play the episodes. run: the folder through which the policy goes to
    them.
    """

    recipe: Recipe
    dataset: Dataset
    held_out: np.ndarray
    target_return: float
    objective: Objective | None = None
    workers: Processes = field(default_factory=lambda: Processes(1))
    run: Path = Path()

    def validate(self, policy: Policy) -> dict[str, float]:
        """Metrics of the policy, `selection_score` among them if there is something to select by.

        `selection_seconds` is what it took.
        """
        started = time.perf_counter()
        metrics = {}
        policy.eval()
        if self.objective is not None:
            self.objective.eval()
        with torch.no_grad():
            if len(self.held_out):
                metrics["validation_loss"], metrics["validation_accuracy"] = self._held_out(policy)
                metrics["selection_score"] = -metrics["validation_loss"]
            if self.recipe.selection.task:
                metrics["selection_score"] = self._score(policy)
        policy.train()
        if self.objective is not None:
            self.objective.train()
        return {**metrics, "selection_seconds": time.perf_counter() - started}

    def _score(self, policy: Policy) -> float:
        task = find(self.recipe.selection.task)
        seeds = range(SELECTION_SEEDS, SELECTION_SEEDS + self.recipe.selection.episodes)
        results = list(self._outcomes(policy, seeds))
        scores = [task.score(result.total_return, result.length) for result in results]
        policy.train()
        return float(np.mean(scores))

    def _outcomes(self, policy: Policy, seeds: range) -> Iterator[Outcome]:
        if self.workers.count == 1:
            task = find(self.recipe.selection.task)
            yield from outcomes(Actor(policy, self.target_return), task, seeds, num_envs=len(seeds))
            return
        path = self.run / SELECTED
        try:
            save_policy(path, policy, self.target_return)
            device = next(policy.parameters()).device
            # The time tells policies apart that were written to the same file.
            acting = Acting(
                path,
                self.recipe.selection.task,
                self.target_return,
                compute=Compute(device.type),  # type: ignore[arg-type]
                stamp=time.time_ns(),
            )
            yield from play(self.workers, acting, seeds, num_envs=len(seeds))
        finally:
            path.unlink(missing_ok=True)

    def _held_out(self, policy: Policy, limit: int = 256) -> tuple[float, float]:
        window = self.recipe.model.window
        batches = Batches(
            self.dataset,
            1,
            window,
            "first",
            0,
            self.held_out,
            self.objective is not None and self.objective.following,
        )
        episodes = self.held_out[:limit]
        lengths = np.minimum(self.dataset.lengths[episodes], window)
        order = np.argsort(-lengths, kind="stable")
        loss = right = 0.0
        learner = Learner(policy, self.objective)
        device = next(policy.parameters()).device
        for rows in np.array_split(order, max(1, len(order) // 32)):
            segment = batches.load(episodes[rows], np.zeros_like(rows), lengths[rows]).to(device)
            weights = step_weights(lengths[rows], segment.steps, self.recipe.weighting, lengths).to(
                device
            )
            length = self.recipe.model.training_segment_length
            part, correct, _, _ = learner(
                segment.split(length),
                list(weights.split(length, 1)),
                policy.initial_memory(len(rows)),
                torch.arange(len(rows), device=device),
                False,
            )
            loss, right = loss + float(part), right + float(correct)
        return loss, right
