"""Launchers: what starts the processes that work on a plan, one per file."""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rate.configs import Configs
from rate.launch.plan import Plan, read_plan
from rate.system.compute import Compute, with_changes
from rate.values import Checked, Positive, checks_arguments

LAUNCHERS = Configs("launcher", "rate.launch", "rate.launch.launcher:LauncherConfig")
"""Launchers by name."""


@dataclass(frozen=True)
class LauncherConfig(Checked):
    """Options of a launcher."""

    prefix: ClassVar[str] = "launcher."

    @abstractmethod
    def start(
        self, plan: Plan, jobs: int, compute: Compute, trust: bool, show_progress: bool
    ) -> str:
        """Start processes that work on a plan.

        Args:
            plan: The plan.
            jobs: Jobs side by side where one process is started.
            compute: Where they compute.
            trust: Whether they may run the code that the plan names.
            show_progress: Whether progress is shown.

        Returns:
            What was started, in a sentence; empty if all has been done already.
        """


@checks_arguments
def launch(
    plan: str | Path,
    launcher: LauncherConfig,
    *,
    jobs: Positive = 1,
    compute: Compute = Compute(),
    trust: bool = False,
    show_progress: bool = False,
    **changes: Any,
) -> str:
    """Start processes that work on a plan.

    Args:
        plan: The file.
        launcher: Options of a launcher, such as `rate.launch.slurm.Config(partition="gpu")`.
        jobs: Jobs side by side in each place, such as a SLURM job; they share its card.
        compute: Where to compute.
        trust: Run the code that the plan names: models, tasks or experiments of your own.
        show_progress: Show how many jobs are done.
        changes: Fields of `compute` by name.

    Returns:
        What was started, in a sentence; empty if all has been done already.

    Raises:
        PlanError: The file is no plan, or jobs of it have failed.
        UntrustedError: It names code, and is not trusted.
        ValueError: This machine lacks what the launcher needs.
    """
    [compute] = with_changes(changes, compute)
    opened = read_plan(plan)
    opened.require_trusted(trust)
    return launcher.start(opened, jobs, compute, trust, show_progress)
