"""Training by processes that torchrun has started, on one machine or on several.

All of them run the same command. The first one alone writes; the others wait until it has prepared
the run, and see the same folder. A run that exists is continued: torchrun starts the command again
when a process has died.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any

import lightning_fabric
import torch
from torch import distributed

from rate.messages import reason
from rate.runs.folder import Run, RunError
from rate.storage.folders import writing
from rate.system.compute import is_first_process, started_by_torchrun
from rate.training.devices import TrainingCompute

PATIENCE = 60.0
"""Seconds after which a file that the first process has written must be seen by all others."""


def placed(compute: TrainingCompute) -> TrainingCompute:
    """Where a run computes, with the devices and nodes that torchrun has started processes for.

    Raises:
        ValueError: Other devices were asked for, or several nodes without torchrun.
    """
    if not started_by_torchrun():
        if compute.nodes > 1:
            raise ValueError(
                f"{compute.nodes} nodes train together only if torchrun starts the command on "
                "each of them: torchrun --nnodes ... --nproc-per-node ... -m rate train ..."
            )
        return compute
    world, local = (int(os.environ[name]) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if world % local or compute.devices not in (1, local):
        raise ValueError(
            f"torchrun has started {local} of {world} processes here, one for each device: give "
            f"--nproc-per-node the same number on all nodes, and leave --devices at 1"
        )
    return replace(compute, devices=local, nodes=world // local)


@contextmanager
def together(
    fabric: lightning_fabric.Fabric, run: Run, identity: Any, begin: Callable[[], None]
) -> Iterator[None]:
    """Within this context all processes work on the same run, which only the first one writes.

    Args:
        fabric: Joins the processes.
        run: The run.
        identity: What must be the same in all processes, as JSON data.
        begin: Makes the run, or readies one that exists; called in the first process.

    Raises:
        RunError: The processes differ in what they train, or do not see the same folder.
        ChildProcessError: Another process has ended.
        Exception: What `begin` raised, in the first process; a RunError that says so in others.
    """
    fabric.launch()
    try:
        with ExitStack() as stack, _lost_peers():
            error: Exception | None = None
            if is_first_process():
                try:
                    stack.enter_context(writing(run.path))
                    begin()
                except Exception as caught:
                    error = caught
            _raise_together(error)
            require_same("what is trained", identity)
            stamp = _gathered(_stamp(run))[0]
            until = time.monotonic() + PATIENCE
            while _stamp(run) != stamp and time.monotonic() < until:
                time.sleep(0.1)  # network file systems show a new file a moment later
            seen = _stamp(run) == stamp
            _raise_together(None if seen else RunError(f"it does not see the run {run}"))
            yield
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def require_same(what: str, value: Any) -> None:
    """Raise a RunError unless a value is the same in all processes.

    Args:
        what: What the value is.
        value: JSON data.
    """
    values = _gathered(value)
    if any(other != values[0] for other in values):
        raise RunError(
            f"the processes that torchrun has started differ in {what}: {values[:8]}; give all of "
            "them the same command, and folders that all nodes see"
        )


def _raise_together(error: Exception | None) -> None:
    """Raise the error of this process, or a RunError with that of another one."""
    errors = _gathered(reason(error) if error else "")
    if error:
        raise error
    for rank, text in enumerate(errors):
        if text:
            raise RunError(f"process {rank} of those that torchrun has started: {text}")


def _gathered(value: Any) -> list[Any]:
    """The values of all processes."""
    if not distributed.is_initialized():
        return [value]
    values: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return values


def _stamp(run: Run) -> str:
    """What tells this run from others in the same place."""
    with suppress(OSError):
        return hashlib.sha256(run.provenance_file.read_bytes()).hexdigest()
    return ""


@contextmanager
def _lost_peers() -> Iterator[None]:
    """Say what it means that a connection to another process has broken."""
    try:
        yield
    except RuntimeError as error:
        broken = isinstance(error, distributed.DistError) or "gloo" in str(error)
        if isinstance(error, torch.cuda.OutOfMemoryError) or not broken:
            raise
        raise ChildProcessError(
            "another process of this run has ended, or is out of reach: start the command again on "
            "all nodes, or let torchrun do so (--max-restarts); it goes on from the last checkpoint"
        ) from error
