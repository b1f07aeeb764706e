"""The updates of a run in one process, from its last checkpoint to its end."""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import lightning_fabric
import torch
from torch import Tensor

from rate.dataset import Batch, Loader, cached, open_dataset, split
from rate.models.policy import Policy
from rate.runs.checkpoint import load_state, require_room, save_policy, save_state
from rate.runs.folder import Run, RunError
from rate.runs.loggers import Sink
from rate.runs.metrics import RunLog
from rate.system.interruption import Interruption, Stopped, interruption
from rate.system.processes import Processes
from rate.system.progress import progress_bar
from rate.training.beginning import begin_from, fitted
from rate.training.data import batches
from rate.training.devices import compute_of, set_precision
from rate.training.graph import Graphs, uses_graphs
from rate.training.selection import Selection
from rate.training.update import Learner, Totals, WindowLoss, adamw

READ_EVERY = 20
"""Updates whose totals are read from an accelerator together, so that it need not wait."""


class Training:
    """A run under way in this process, from its last checkpoint on."""

    def __init__(
        self,
        fabric: lightning_fabric.Fabric,
        run: Run,
        dataset: Sequence[str],
        sinks: Sequence[Sink] = (),
    ) -> None:
        self.fabric, self.run, self.sinks = fabric, run, sinks
        # Code that the recipe names is the user's, or `resume` has refused it.
        self.recipe, self.facts = run.recipe(trust=True), run.provenance()
        self.seed = self.facts["seed"]
        self.compute = compute_of(self.facts)
        self.compute.use_threads()
        set_precision(self.recipe, fabric.device)
        self.dataset = open_dataset(dataset, verify=False)
        self.training, self.held_out = split(
            self.dataset, self.recipe.selection.fraction, self.seed
        )
        self.learner = self._learner()

    def _learner(self) -> Learner:
        """Make policy, objective and optimiser, or restore what the last checkpoint holds."""
        recipe, dataset = self.recipe, self.dataset
        torch.manual_seed(self.seed)
        scale = recipe.return_scale or dataset.return_scale
        make = partial(
            Policy,
            dataset.observation_space,
            dataset.action_space,
            recipe.model,
            dataset.normalisation,
            scale,
            recipe.stack_frames,
        )
        if self.run.state_file.exists():
            require_room(self.run.state_file, make)

        def fresh() -> Policy:
            return fitted(make(), dataset)

        policy = fresh()
        if recipe.start_from and not self.run.state_file.exists():
            begin_from(policy, recipe.start_from, self.facts)
        objective = recipe.objective.build(policy, fresh, scale)
        self.module = WindowLoss(policy, objective)
        optimiser = adamw(self.module, recipe.optimiser)
        compiled = cast(Any, torch.compile(self.module)) if recipe.compile else self.module
        module, self.optimiser = self.fabric.setup(compiled, optimiser)
        learner = Learner(self.fabric, module, policy, objective, self.optimiser, recipe, self.seed)
        self.done, self.best = 0, None
        self.unfinished: dict[str, Any] = {}
        if self.run.state_file.exists():
            header = load_state(self.run.state_file, self.module, self.optimiser)
            self.done, self.best = header["update"], header["best"]
            self.unfinished = header.get("unfinished") or {}
            if self.done > recipe.updates:
                raise RunError(
                    f"{self.run} has done {self.done} updates, but its recipe has "
                    f"{recipe.updates}: restore the files of one run, or train a new one"
                )
            if learner.scaler and header.get("loss_scale"):
                learner.scaler.load_state_dict(header["loss_scale"])
        return learner

    def _updates(self) -> tuple[Loader, Callable[[Batch], Tensor]]:
        """The batches of the updates that are left, and what learns from them."""
        workers, cuda = self.compute.loader_workers, self.fabric.device.type == "cuda"
        graphs = uses_graphs(self.compute, self.recipe, self.fabric.device)
        data = cached(self.dataset, self.compute.place_of_data, self.fabric.device)
        reader = batches(self.learner, data, self.training, graphs)
        learn = Graphs(self.learner, reader).learn if graphs else self.learner.learn
        return Loader(reader, self.done, workers=workers, pin_memory=cuda), learn

    def run_to_end(self, show_progress: bool) -> str:
        """Train to the last update, or until asked to stop; returns what asked, and when."""
        recipe, learner, fabric, run = self.recipe, self.learner, self.fabric, self.run
        first = fabric.is_global_zero
        loggers, sinks = (self.facts["loggers"], self.sinks) if first else ((), ())
        log = RunLog(run, loggers, after=self.done, writes=first, sinks=sinks)
        self.started = time.perf_counter()
        with (
            log,
            Processes(self.compute.eval_workers) as processes,
            interruption() as stop,
            progress_bar(
                f"train {run.name}", recipe.updates, self.done, show_progress and first
            ) as bar,
        ):
            selection = Selection(
                recipe,
                self.dataset,
                self.held_out,
                learner.objective,
                processes,
                run,
                self.compute,
            )
            loader, learn = self._updates()
            every = 1 if fabric.device.type == "cpu" else READ_EVERY
            unread: list[tuple[dict[str, Any], Tensor]] = []
            if every == 1 and fabric.world_size == 1 and not recipe.update_per_segment:
                learner.before_part = stop.raise_if_requested  # an update may take minutes
            row = self.unfinished and {**self.unfinished, "update": self.done}
            if row and (stopped := self._finish([row], selection, log, stop)):
                return stopped
            for batch in loader:
                count = batch.update + 1
                # Dropout depends on seed, update and process alone, so a resumed run repeats it.
                torch.manual_seed(hash((self.seed, batch.update, fabric.global_rank)))
                rate = self._set_learning_rate(batch.update)
                try:
                    totals = learn(batch)
                except Stopped:
                    self._save(log, batch.update, {})
                    return f"{stop.requested} after update {batch.update} of {recipe.updates}"
                row = {"learning_rate": rate, "steps": int(batch.lengths.sum())}
                unread.append(({"update": count, **row}, totals))
                stopping = self._anybody(bool(stop.requested))
                if stopping or self._due(count) or len(unread) == every:
                    rows = self._read(unread)
                    unread.clear()
                    if stopped := self._finish(rows, selection, log, stop):
                        return stopped
                    bar(len(rows), loss=rows[-1]["loss"], accuracy=rows[-1]["accuracy"])
        return ""

    def _due(self, count: int, *every: int) -> bool:
        """Whether something is done after an update: by default validation or saving."""
        recipe = self.recipe
        every = every or (recipe.selection.every, recipe.checkpoint_every)
        return count == recipe.updates or any(count % one == 0 for one in every)

    def _finish(
        self, rows: list[dict[str, Any]], selection: Selection, log: RunLog, stop: Interruption
    ) -> str:
        """Validate, record and save after updates; returns what asked to stop, and when.

        A validation that is interrupted is done when the run is resumed.
        """
        count, recipe, metrics = rows[-1]["update"], self.recipe, {}
        unfinished: dict[str, Any] = {}
        if self._due(count, recipe.selection.every):
            try:
                with stop.at_once():
                    metrics = self._validate(selection, count)
            except Stopped:
                unfinished = rows.pop()
        for row in rows:
            measured = metrics if row["update"] == count else {}
            log.write({**row, **measured, "seconds": time.perf_counter() - self.started})
        stopping = self._anybody(bool(stop.requested))
        if stopping or self._due(count, recipe.checkpoint_every):
            self._save(log, count, {"unfinished": unfinished} if unfinished else {})
        if stopping and (unfinished or count < recipe.updates):
            who = stop.requested or "another process"
            return f"{who} after update {count} of {recipe.updates}"
        return ""

    def _set_learning_rate(self, update: int) -> float:
        config = self.recipe.optimiser
        rate = config.learning_rate * config.factor(update, self.recipe.updates)
        for group in self.optimiser.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        return rate

    def _read(self, unread: list[tuple[dict[str, Any], Tensor]]) -> list[dict[str, Any]]:
        """Rows of updates with their totals, which are read from the device together."""
        values = torch.stack([totals for _, totals in unread]).tolist()
        rows = []
        for (row, _), numbers in zip(unread, values, strict=True):
            totals = Totals(*numbers)
            self._require_finite(totals, row["update"])
            rows.append({**row, **totals._asdict()})
        return rows

    def _require_finite(self, totals: Totals, count: int) -> None:
        # With float16 an overflowing gradient is common: the scaler skips the update.
        finite = math.isfinite(totals.gradient_norm) or self.recipe.precision == "16-mixed"
        if not (math.isfinite(totals.loss) and finite):
            raise FloatingPointError(
                f"the loss became {totals.loss} with a gradient of norm {totals.gradient_norm} at "
                f"update {count}: lower optimiser.learning_rate or set optimiser.gradient_clip; "
                f"{self.run} keeps the checkpoint before that, if there is one"
            )

    def _validate(self, selection: Selection, count: int) -> dict[str, float]:
        """Metrics of the policy; if it is the best so far, its checkpoint is written."""
        if not self.fabric.is_global_zero:
            return {}
        metrics = selection.validate(self.learner.policy)
        score = metrics.get("selection_score")
        if score is not None and (self.best is None or score >= self.best):
            self.best = score
            self._save_policy("best", update=count, score=score)
        return metrics

    def _save(self, log: RunLog, count: int, facts: dict[str, Any]) -> None:
        """Make everything up to this update durable, and what else is to be known of it."""
        if self.fabric.is_global_zero:
            log.flush()
            # The state comes last: a run killed in between repeats these updates, and writes both
            # again.
            self._save_policy("last", update=count)
            if self.recipe.keep_checkpoints and self._due(count, self.recipe.checkpoint_every):
                self._save_policy(f"update-{count}", update=count)
                for old in self.run.kept_checkpoints()[: -self.recipe.keep_checkpoints]:
                    self.run.checkpoint(f"update-{old}").unlink()
            scaler = self.learner.scaler
            save_state(
                self.run.state_file,
                self.module,
                self.optimiser,
                update=count,
                best=self.best,
                loss_scale=scaler.state_dict() if scaler else {},
                **facts,
            )
        self.fabric.barrier()

    def _save_policy(self, name: str, **header: Any) -> None:
        assert self.recipe.target_return is not None
        header |= {"recipe": self.recipe.hash, "seed": self.seed}
        path, target = self.run.checkpoint(name), self.recipe.target_return
        save_policy(path, self.learner.policy, target, **header)

    def _anybody(self, value: bool) -> bool:
        """Whether it is so in any of the processes."""
        if self.fabric.world_size == 1:
            return value
        return bool(self.fabric.all_reduce(torch.tensor(float(value)), reduce_op="sum"))
