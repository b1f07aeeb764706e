"""Where a command computes: accelerator, devices and threads, under the same names everywhere."""

import multiprocessing
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal

from rate.values import Checked, Positive, Range

Accelerator = Literal["auto", "cpu", "cuda", "mps"]
Threads = Annotated[int, Range(0, 1024)]
Switch = Literal["auto", "on", "off"]


@dataclass(frozen=True)
class Compute(Checked):
    """Where to compute. What is computed depends on none of it, apart from rounding."""

    accelerator: Accelerator = "auto"
    """Kind of device; auto takes CUDA or MPS where there is one, else the CPU."""
    devices: Positive = 1
    """Number of devices. Training shares each batch among them, one process for each."""
    threads: Threads = 0
    """CPU threads of each process; 0 leaves the number to PyTorch."""
    graph: Switch = "auto"
    """Compute updates and acting steps in a few fixed shapes, which CUDA replays as graphs; auto:
    on CUDA alone."""

    def device(self, index: int = 0) -> str:
        """The device of process `index` in PyTorch's words, such as "cpu" or "cuda:0".

        Raises:
            ValueError: this machine has no such accelerator, or fewer devices than were asked for.
        """
        import torch

        kind = self.accelerator
        if kind == "auto":
            found = torch.accelerator.current_accelerator(check_available=True)
            kind = found.type if found is not None else "cpu"  # type: ignore[assignment]
        if kind == "cpu":
            return kind
        module = getattr(torch, kind, None)
        count = module.device_count() if module is not None and module.is_available() else 0
        if count < self.devices:
            raise ValueError(
                f"{self.devices} x {kind} was asked for, but this machine has {count}: choose "
                "another accelerator or fewer devices"
            )
        return kind if kind == "mps" else f"{kind}:{index % self.devices}"

    def use_one_card(self, index: int) -> None:
        """In a worker process, leave one of several CUDA devices to it, before CUDA begins there.

        Processes that compute side by side on a machine so share its cards evenly; with one card
        all of them share it. The process that started them is left alone.

        Args:
            index: Number of this process among them.
        """
        import torch

        apart = multiprocessing.parent_process() is not None
        if apart and self.accelerator in ("auto", "cuda") and self.devices == 1:
            count = torch.cuda.device_count()  # which does not begin CUDA where NVML is there
            given = os.environ.get("CUDA_VISIBLE_DEVICES")
            cards = given.split(",") if given else list(map(str, range(count)))
            if count > 1:
                os.environ["CUDA_VISIBLE_DEVICES"] = cards[index % count]

    def use_threads(self) -> None:
        """Set the number of CPU threads of this process."""
        import torch

        if self.threads:  # far more than there are cores may be too many to start
            torch.set_num_threads(min(self.threads, 4 * (os.cpu_count() or 1)))


def started_by_torchrun() -> bool:
    """Whether torchrun has started this process, perhaps as one of several."""
    return "TORCHELASTIC_RUN_ID" in os.environ and "RANK" in os.environ


def is_first_process() -> bool:
    """Whether this process is the first of those that train together; it alone writes."""
    return not started_by_torchrun() or os.environ["RANK"] == "0"


def with_changes(changes: Mapping[str, Any], *configs: Any) -> tuple[Any, ...]:
    """The dataclass instances `configs` with fields replaced by name.

    Args:
        changes: New values by the name of a field that one of the configs has.
        configs: Frozen dataclass instances.

    Returns:
        The configs in their order, changed.

    Raises:
        TypeError: a name is no field of any config; the message lists the names that are.
    """
    allowed = [{item.name for item in fields(config)} for config in configs]
    unknown = sorted(set(changes) - set().union(*allowed))
    if unknown:
        names = ", ".join(sorted(set().union(*allowed)))
        raise TypeError(f"there is no option {unknown[0]!r}; options are {names}")
    return tuple(
        replace(config, **{name: changes[name] for name in names & set(changes)})
        for config, names in zip(configs, allowed, strict=True)
    )
