"""Choice of the best checkpoint while training: by score on selection seeds, or by loss on held-out
episodes."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from rate.acting.actor import Actor
from rate.acting.rollout import Outcome, outcomes
from rate.acting.workers import Acting, play
from rate.dataset import Dataset, read_windows, validation_windows
from rate.models.policy import Policy
from rate.objectives.objective import Objective
from rate.recipe import Recipe
from rate.runs.checkpoint import save_policy
from rate.runs.folder import Run
from rate.runs.metrics import CUE
from rate.system.compute import Compute
from rate.system.processes import Processes
from rate.tasks.lookup import find
from rate.tasks.task import differing_space
from rate.training.data import fill_in
from rate.training.update import WindowLoss, step_weights

SELECTION_SEEDS = 1_000_000
"""First seed for selecting checkpoints; scoring seeds start at 0 and never reach this."""


def require_task(name: str, dataset: Dataset) -> None:
    """Raise a ValueError unless the task has the spaces of the dataset, so that its score can
    select a policy."""
    if difference := differing_space(dataset, find(name)):
        space, of_data, of_task, reason = difference
        raise ValueError(
            f"selection.task {name!r} has the {space} {of_task}, but the dataset has {of_data} "
            f"({reason}): choose a task with the spaces of the dataset"
        )


@dataclass(frozen=True)
class Selection:
    """Validates a policy; a higher score is better."""

    recipe: Recipe
    """What is trained."""
    dataset: Dataset
    """Its data."""
    held_out: np.ndarray
    """Indices of the episodes that are not trained on."""
    objective: Objective
    """The objective that is trained."""
    processes: Processes
    """Who plays the episodes of the selection task."""
    run: Run
    """The run, in whose folder the policy waits for other processes."""
    compute: Compute
    """Where those compute."""

    def validate(self, policy: Policy) -> dict[str, float]:
        """Metrics of the policy: `selection_score` among them if there is something to select by,
        and that of each cue if the task has cues; and `selection_seconds`, what it took."""
        started = time.perf_counter()
        metrics = {}
        policy.eval()
        self.objective.eval()
        with torch.no_grad():
            if len(self.held_out):
                metrics["validation_loss"], metrics["validation_accuracy"] = self._held_out(policy)
                metrics["selection_score"] = -metrics["validation_loss"]
            if self.recipe.selection.task:
                metrics |= self._score(policy)
        policy.train()
        self.objective.train()
        return {**metrics, "selection_seconds": time.perf_counter() - started}

    def _score(self, policy: Policy) -> dict[str, float]:
        task = find(self.recipe.selection.task)
        seeds = range(SELECTION_SEEDS, SELECTION_SEEDS + self.recipe.selection.episodes)
        scores = np.array(
            [
                task.score(outcome.total_return, outcome.length)
                for outcome in self._outcomes(policy, seeds)
            ]
        )
        metrics = {"selection_score": float(scores.mean())}
        if task.cue:
            cues = np.array([int(task.cue(seed)) for seed in seeds])
            metrics |= {f"{CUE}{cue}": float(scores[cues == cue].mean()) for cue in np.unique(cues)}
        return metrics

    def _outcomes(self, policy: Policy, seeds: range) -> Iterator[Outcome]:
        name, target_return = self.recipe.selection.task, self.recipe.target_return
        assert target_return is not None
        if self.processes.count == 1:
            actor = Actor(policy, target_return, check=False, graph=self.compute.graph)
            yield from outcomes(actor, find(name), seeds, num_envs=len(seeds))
            return
        path = self.run.selection_file
        try:
            save_policy(path, policy, target_return)
            # The time tells policies apart that were written to the same file.
            stamp = time.time_ns()
            acting = Acting(path, name, target_return, compute=self.compute, stamp=stamp)
            yield from play(self.processes, acting, seeds, num_envs=len(seeds))
        finally:
            path.unlink(missing_ok=True)

    def _held_out(self, policy: Policy, limit: int = 256) -> tuple[float, float]:
        """Loss and action accuracy on held-out episodes."""
        recipe, device = self.recipe, next(policy.parameters()).device
        sampling = fill_in(recipe, self.dataset).sampling
        assert sampling != "auto"
        all_windows = validation_windows(
            self.dataset.lengths, self.held_out, recipe.model.window, sampling, limit
        )
        window_loss = WindowLoss(policy, self.objective)
        model = recipe.model
        whole = recipe.objective.whole_windows
        length = model.window if whole else model.training_segment_length
        totals = torch.zeros(2, dtype=torch.float64, device=device)
        for rows in np.array_split(np.arange(len(all_windows)), max(1, len(all_windows) // 32)):
            window = read_windows(
                self.dataset,
                all_windows[rows],
                self.objective.next_observation,
                recipe.stack_frames,
            )
            given = recipe.weighting, all_windows.lengths, length
            weights = step_weights(window, *given).to(device)
            loss, correct, _ = window_loss(
                window.to(device).split(length),
                list(weights.split(length, 1)),
                policy.initial_memory(len(rows)),
                False,
            )
            totals += torch.stack([loss, correct])
        loss, accuracy = totals.tolist()
        return loss, accuracy
