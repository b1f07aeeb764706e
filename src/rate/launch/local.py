"""Processes of this machine, which work until the plan is done."""

from dataclasses import dataclass

from rate.launch.launcher import LauncherConfig
from rate.launch.plan import Plan
from rate.launch.work import work
from rate.system.compute import Compute


@dataclass(frozen=True)
class Config(LauncherConfig):
    """Processes of this machine."""

    def start(
        self, plan: Plan, jobs: int, compute: Compute, trust: bool, show_progress: bool
    ) -> str:
        work(plan.path, jobs=jobs, compute=compute, trust=trust, show_progress=show_progress)
        return ""
