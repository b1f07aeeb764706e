"""Where a run trains: options, devices and numerical precision."""

from dataclasses import dataclass, fields
from typing import Any

import lightning_fabric
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy

from rate.configs import build
from rate.dataset import Cache
from rate.recipe import Recipe
from rate.system.compute import Compute, started_by_torchrun
from rate.values import NotNegative, Positive


@dataclass(frozen=True)
class TrainingCompute(Compute):
    """Where to train, and the processes that help."""

    nodes: Positive = 1
    """Machines that share each batch, with `devices` each; torchrun, which starts the command on
    all of them, says how many."""
    loader_workers: NotNegative = 0
    """Processes that read batches ahead; 0 reads them in the training process."""
    eval_workers: Positive = 1
    """Processes that share the episodes of the selection task."""
    cache: Cache = "auto"
    """Where the data lies while training: on the device, in memory, or in its files; auto: on a GPU
    that has the memory, and without loader_workers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cache == "device" and self.loader_workers:
            raise ValueError(
                f"loader_workers is {self.loader_workers}, but data on the device is read by the "
                "training process: leave it at 0, or set cache to memory"
            )

    @property
    def processes(self) -> int:
        """Processes that share each batch."""
        return self.devices * self.nodes

    @property
    def place_of_data(self) -> Cache:
        """Where the data lies, if anywhere in particular: files are what workers can read."""
        return "off" if self.cache == "auto" and self.loader_workers else self.cache


def compute_of(facts: dict[str, Any]) -> TrainingCompute:
    """Where a run computes, as its provenance says."""
    names = [item.name for item in fields(TrainingCompute)]
    return build(TrainingCompute, {name: facts[name] for name in names if name in facts})


def fabric_for(recipe: Recipe, compute: TrainingCompute) -> lightning_fabric.Fabric:
    """The processes and devices of a run; a ValueError says what this machine lacks."""
    strategy: Any = "auto"
    if compute.processes > 1:
        method: Any = "popen" if started_by_torchrun() else "spawn"
        strategy = DDPStrategy(start_method=method, find_unused_parameters=True)
    # Inside a job of SLURM a run is one task, whatever the job has.
    place = TorchElasticEnvironment() if started_by_torchrun() else LightningEnvironment()
    try:
        return lightning_fabric.Fabric(
            accelerator=compute.accelerator,
            devices=compute.devices,
            num_nodes=compute.nodes,
            strategy=strategy,
            plugins=place,
            precision="32-true" if recipe.precision == "tf32" else recipe.precision,
        )
    except (RuntimeError, ImportError, ValueError) as error:
        raise ValueError(
            f"this machine cannot train on {compute.devices} x {compute.accelerator!r}: {error}"
        ) from error


def set_precision(recipe: Recipe, device: torch.device) -> None:
    """Set how precisely this process multiplies on CUDA, as far as autocast does not say it."""
    tf32 = recipe.precision == "tf32" and device.type == "cuda"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cuda.enable_cudnn_sdp(False)  # it plans anew for every shape
