"""Training: the loop as straight text. `rate train` and `rate.train` are the same function."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import lightning_fabric
import numpy as np
import torch
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor

from rate import objectives, threads
from rate.dataset import Batches, Dataset, open_dataset, split
from rate.models.backbone import Memory, detach
from rate.models.policy import Policy
from rate.processes import Processes
from rate.progress import progress_bar
from rate.recipe import OptimiserConfig, Recipe
from rate.runs import folder as rundir
from rate.runs.checkpoint import load_state, save_policy, save_state
from rate.runs.loggers import require_loggers
from rate.runs.metrics import RunLog
from rate.segment import Segment
from rate.training.interruption import Interrupted, interruption
from rate.training.selection import Selection, require_task
from rate.training.window_loss import Learner, step_weights

STATE, LAST, BEST = "training.safetensors", "last.safetensors", "best.safetensors"


def train(
    recipe: Recipe,
    run: str | Path,
    *,
    seed: int = 0,
    devices: int = 1,
    accelerator: str = "auto",
    thread_count: int = 0,
    workers: int = 1,
    loggers: Sequence[str] = (),
    show_progress: bool = False,
) -> Path:
    """Train a policy by a recipe and return the run folder.

    run: a new folder. devices: data-parallel processes; the batch is shared among them.
    accelerator: "cpu", "cuda", "mps" or "auto". thread_count: CPU threads, 0 to measure what is
    fastest. workers: processes that share the episodes of the selection task. loggers:
    "tensorboard", "wandb"; metrics always go to metrics.jsonl. Ctrl-C and SIGTERM save and end;
    `resume(run)` goes on to the same weights as a run never interrupted.
    """
    run = Path(run)
    dataset = open_dataset(recipe.dataset)
    if recipe.target_return is None:
        recipe = replace(recipe, target_return=float(dataset.returns.max()))
    _check(recipe, dataset, seed, devices, workers, loggers)
    fabric = _fabric(recipe, accelerator, devices)
    if not thread_count:
        thread_count = (
            _fastest_threads(recipe)
            if accelerator in ("cpu", "auto") and not torch.cuda.is_available()
            else 1
        )
    machine = {
        "devices": devices,
        "accelerator": accelerator,
        "thread_count": thread_count,
        "workers": workers,
    }
    machine["loggers"] = list(loggers)
    rundir.create(
        run, recipe, seed, dataset=dataset.content_hash, task=dataset.card["task"], **machine
    )
    _launch(fabric, run, show_progress)
    return run


def resume(run: str | Path, *, show_progress: bool = False) -> Path:
    """Continue an interrupted or killed run from its last checkpoint, to bit-identical losses and
    weights."""
    run = Path(run)
    recipe, facts = rundir.read(run)
    if (found := open_dataset(recipe.dataset).content_hash) != facts["dataset"]:
        raise rundir.RunError(
            f"the dataset {recipe.dataset} has changed since {run} began: its content is "
            f"{found[:12]}, not "
            f"{facts['dataset'][:12]}. Put the old data back, or train a new run on the new data"
        )
    rundir.remove_partial_files(run)
    fabric = _fabric(recipe, facts["accelerator"], facts["devices"])
    _launch(fabric, run, show_progress)
    return run


def _check(
    recipe: Recipe, dataset: Dataset, seed: int, devices: int, workers: int, loggers: Sequence[str]
) -> None:
    """Refuse what cannot be trained before a run folder is made."""
    for name, given, least in (("devices", devices, 1), ("seed", seed, 0), ("workers", workers, 1)):
        if given < least:
            raise ValueError(f"{name} must be at least {least}, but {given} was given")
    if devices > 1 and recipe.update_per_segment:
        raise ValueError("update_per_segment is the released single-process rule: use one device")
    if recipe.batch_size % devices:
        raise ValueError(
            f"batch_size {recipe.batch_size} cannot be shared by {devices} devices: give a multiple"
        )
    require_loggers(loggers)
    if recipe.selection.task:
        require_task(recipe.selection.task, dataset)
    objectives.check(recipe, dataset.action_space)
    training, _ = split(dataset, recipe.selection.fraction, seed)
    _stages(recipe, dataset, seed, training)


def _stages(recipe: Recipe, dataset: Dataset, seed: int, episodes: np.ndarray) -> list[Batches]:
    """Batches of every stage of training: one, or with a curriculum one for each number of
    segments."""
    model = recipe.model
    if recipe.objective.top_fraction < 1:
        count = max(1, round(len(episodes) * recipe.objective.top_fraction))
        episodes = np.sort(episodes[np.argsort(-dataset.returns[episodes], kind="stable")[:count]])
    choices = [episodes]
    if recipe.curriculum:
        lengths = dataset.lengths[episodes]
        choices = [
            episodes[lengths <= model.segment_length * stage] for stage in range(1, model.segments)
        ] + choices
        if not len(choices[0]):
            raise ValueError(
                f"a curriculum begins with episodes of one segment ({model.segment_length} "
                "steps), but the shortest of "
                f"{recipe.dataset} has {lengths.min()}: use longer segments, data with "
                "shorter episodes, or no curriculum"
            )
    following = recipe.objective.name != "behaviour-cloning"
    return [
        Batches(dataset, recipe.batch_size, model.window, recipe.sampling, seed, chosen, following)
        for chosen in choices
    ]


def _fabric(recipe: Recipe, accelerator: str, devices: int) -> lightning_fabric.Fabric:
    strategy = (
        DDPStrategy(start_method="spawn", find_unused_parameters=True) if devices > 1 else "auto"
    )
    try:
        return lightning_fabric.Fabric(
            accelerator=accelerator, devices=devices, strategy=strategy, precision=recipe.precision
        )
    except (RuntimeError, ImportError) as error:
        raise ValueError(
            f"this machine cannot train on {devices} x {accelerator!r}: {error}"
        ) from error


def _launch(fabric: lightning_fabric.Fabric, run: Path, show_progress: bool) -> None:
    if fabric.world_size > 1:
        with interruption(forward=True):
            launch: Any = fabric.launch  # its type knows only functions of the fabric alone
            stopped = launch(_train_together, run, show_progress)
    else:
        fabric.launch()
        stopped = _train(fabric, run, show_progress)
    if stopped:
        raise Interrupted(f"stopped by {stopped}", f"continue with `rate train --resume {run}`")


def _train_together(fabric: lightning_fabric.Fabric, run: Path, show_progress: bool) -> str:
    """Train as one of several processes."""
    stopped = _train(fabric, run, show_progress)
    fabric.barrier()
    # its threads, still alive at exit, could abort the process
    torch.distributed.destroy_process_group()
    return stopped


def _train(fabric: lightning_fabric.Fabric, run: Path, show_progress: bool) -> str:
    """Train from the last checkpoint to the end, or until asked to stop: then what asked, and when,
    else empty."""
    recipe, facts = rundir.read(run)
    seed = facts["seed"]
    torch.set_num_threads(facts["thread_count"])
    dataset = open_dataset(recipe.dataset, verify=False)
    training, held_out = split(dataset, recipe.selection.fraction, seed)
    torch.manual_seed(seed)
    make = partial(
        Policy,
        dataset.observation_space,
        dataset.action_space,
        recipe.model,
        dataset.normalisation,
        dataset.return_scale,
    )
    policy = make()
    objective = objectives.build(recipe.objective, policy, make, dataset.return_scale)
    module = Learner(policy, objective)
    assert recipe.target_return is not None
    target_return = recipe.target_return
    optimiser = adamw(module, recipe.optimiser)
    done, best = 0, None
    if (run / STATE).exists():
        header = load_state(run / STATE, module, optimiser)
        done, best = header["update"], header["best"]
    learner, optimiser = fabric.setup(
        cast(Any, torch.compile(module)) if recipe.compile else module, optimiser
    )
    stages = _stages(recipe, dataset, seed, training)
    workers = Processes(facts.get("workers", 1))
    selection = Selection(recipe, dataset, held_out, target_return, objective, workers, run)
    log = RunLog(
        run,
        facts["loggers"] if fabric.is_global_zero else (),
        after=done,
        writes=fabric.is_global_zero,
    )
    title = f"train {run.name}"
    started = time.perf_counter()

    with (
        log,
        workers,
        interruption() as stop,
        progress_bar(title, recipe.updates, done, show_progress and fabric.is_global_zero) as bar,
    ):
        for update in range(done, recipe.updates):
            # Dropout depends on seed, update and process alone, so a resumed run repeats it.
            torch.manual_seed(hash((seed, update, fabric.global_rank)))
            rate = recipe.optimiser.learning_rate * recipe.optimiser.factor(update, recipe.updates)
            for group in optimiser.param_groups:
                group["lr"] = rate
            batches = stages[update * len(stages) // recipe.updates]
            loss, accuracy, norm, steps = _update(
                fabric, learner, policy, optimiser, recipe, batches, update, objective
            )
            # With float16 an overflowing gradient is common: the scaler skips the update.
            if not (np.isfinite(loss) and (np.isfinite(norm) or recipe.precision == "16-mixed")):
                raise FloatingPointError(
                    f"the loss became {loss} with a gradient of norm {norm} at update "
                    f"{update + 1}: lower "
                    f"optimiser.learning_rate or set optimiser.gradient_clip; {run} keeps "
                    "its last checkpoint"
                )
            row = {
                "update": update + 1,
                "loss": loss,
                "accuracy": accuracy,
                "gradient_norm": norm,
                "learning_rate": rate,
            }
            last = update + 1 == recipe.updates
            if last or (update + 1) % recipe.selection.every == 0:
                metrics = selection.validate(policy) if fabric.is_global_zero else {}
                score = metrics.get("selection_score")
                if score is not None and (best is None or score >= best):
                    best = score
                    save_policy(
                        run / BEST,
                        policy,
                        target_return,
                        update=update + 1,
                        score=score,
                        recipe=recipe.hash,
                        seed=seed,
                    )
                row |= metrics
            log.write({**row, "steps": steps, "seconds": time.perf_counter() - started})
            bar(1, loss=loss, accuracy=accuracy)
            stopping = (
                bool(fabric.all_reduce(torch.tensor(float(bool(stop.requested))), reduce_op="sum"))
                if fabric.world_size > 1
                else stop.requested
            )
            if last or stopping or (update + 1) % recipe.checkpoint_every == 0:
                if fabric.is_global_zero:
                    log.flush()
                    # The state comes last: a run killed in between repeats these updates, and
                    # writes both again.
                    save_policy(
                        run / LAST,
                        policy,
                        target_return,
                        update=update + 1,
                        recipe=recipe.hash,
                        seed=seed,
                    )
                    save_state(run / STATE, module, optimiser, update=update + 1, best=best)
                fabric.barrier()
            if stopping and not last:
                return (
                    f"{stop.requested or 'another process'} after update {update + 1} of "
                    f"{recipe.updates}"
                )
    return ""


def _update(
    fabric: lightning_fabric.Fabric,
    learner: Any,
    policy: Policy,
    optimiser: Any,
    recipe: Recipe,
    batches: Batches,
    update: int,
    objective: objectives.Objective | None = None,
) -> tuple[float, float, float, int]:
    """One batch: loss, share of right actions, gradient norm, and real steps (all processes
    together)."""
    episodes, starts, lengths = batches.plan(update)
    size = recipe.micro_batch or (16 if fabric.device.type == "cpu" else recipe.batch_size)
    mine = np.arange(fabric.global_rank, len(lengths), fabric.world_size)
    mine = mine[
        np.argsort(-lengths[mine], kind="stable")
    ]  # alike lengths side by side: less padding
    length = _segment_length(recipe, batches.seed, update)
    parts = [
        _Part(
            batches,
            policy,
            recipe,
            length,
            episodes[rows],
            starts[rows],
            lengths[rows],
            lengths,
            fabric.device,
        )
        for rows in np.split(mine, range(size, len(mine), size))
    ]
    chunks = range(max(part.chunks for part in parts))
    order = [(part, chunk) for part in parts for chunk in chunks]
    if recipe.update_per_segment:
        order = [(part, chunk) for chunk in chunks for part in parts]
    order = [(part, chunk) for part, chunk in order if chunk < part.chunks]
    totals = torch.zeros(2)
    norm = 0.0
    for index, (part, chunk) in enumerate(order):
        ends = index + 1 == len(order) or (
            recipe.update_per_segment and order[index + 1][1] != chunk
        )
        with fabric.no_backward_sync(learner, enabled=not ends):
            loss, correct = part.forward(learner, chunk)
            fabric.backward(loss * fabric.world_size)
        totals += torch.stack([loss.detach(), correct]).cpu()
        if ends:
            largest = recipe.optimiser.gradient_clip or math.inf
            clipped = fabric.clip_gradients(
                learner, optimiser, max_norm=largest, error_if_nonfinite=False
            )
            norm = float(clipped) if clipped is not None else 0.0
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            if objective is not None:
                objective.follow(policy)
    if fabric.world_size > 1:
        totals = cast(Tensor, fabric.all_reduce(totals, reduce_op="sum"))
    return float(totals[0]), float(totals[1]), norm, int(lengths.sum())


def _segment_length(recipe: Recipe, seed: int, update: int) -> int:
    """Steps of a segment in an update: those of the model, a half or a third of them, or what
    growing numbers of segments leave."""
    length = recipe.model.training_segment_length
    generator = np.random.default_rng([seed, update])
    if recipe.growing_segments:
        bound = 1 + update * recipe.growing_segments // recipe.updates
        return -(-recipe.model.window // int(generator.integers(1, bound + 1)))
    if generator.random() < recipe.shorter_segments:
        return max(1, length // int(generator.integers(2, 4)))
    return length


class _Part:
    """A micro-batch on its way through the segments of its window."""

    def __init__(
        self,
        batches: Batches,
        policy: Policy,
        recipe: Recipe,
        length: int,
        episodes: np.ndarray,
        starts: np.ndarray,
        lengths: np.ndarray,
        all_lengths: np.ndarray,
        device: torch.device,
    ) -> None:
        window = batches.load(episodes, starts, lengths).to(device)
        weights = step_weights(lengths, window.steps, recipe.weighting, all_lengths).to(device)
        self.segments: list[Segment] = window.split(length)
        self.weights = list(weights.split(length, 1))
        self.bptt = recipe.bptt_segments or len(self.segments)
        self.policy, self.rows = policy, len(window)
        self.memory: Memory | None = None
        self.alive = torch.arange(self.rows, device=device)

    @property
    def chunks(self) -> int:
        return -(-len(self.segments) // self.bptt)

    def forward(self, learner: Any, chunk: int) -> tuple[Tensor, Tensor]:
        """Loss and right actions of the chunk's segments; the memory after them waits, detached,
        for the next chunk."""
        if chunk == 0:
            self.memory = self.policy.initial_memory(self.rows)
        here = slice(chunk * self.bptt, (chunk + 1) * self.bptt)
        assert self.memory is not None
        # An iterator, because Fabric converts the tensors of collections and cannot rebuild a
        # frozen Segment.
        loss, correct, memory, self.alive = learner(
            iter(self.segments[here]),
            self.weights[here],
            self.memory,
            self.alive,
            chunk + 1 < self.chunks,
        )
        self.memory = detach(memory)
        return loss, correct


def adamw(policy: torch.nn.Module, config: OptimiserConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only."""
    parameters = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    matrices = {
        id(module.weight)
        for module in policy.modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
    }
    groups = [
        {
            "params": [p for p in parameters if id(p) in matrices],
            "weight_decay": config.weight_decay,
        },
        {"params": [p for p in parameters if id(p) not in matrices], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def _fastest_threads(recipe: Recipe) -> int:
    """The thread count with which a batch of this recipe takes the least time."""
    dataset = open_dataset(recipe.dataset, verify=False)
    state = torch.get_rng_state()
    policy = Policy(dataset.observation_space, dataset.action_space, recipe.model)
    fabric = lightning_fabric.Fabric(accelerator="cpu", devices=1, precision=recipe.precision)
    learner, optimiser = fabric.setup(Learner(policy), adamw(policy, recipe.optimiser))
    batches = Batches(dataset, min(recipe.batch_size, 32), recipe.model.window, recipe.sampling, 0)
    chosen = threads.fastest(
        lambda: _update(fabric, learner, policy, optimiser, recipe, batches, 0)
    )
    torch.set_rng_state(state)
    return chosen
