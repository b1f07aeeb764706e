"""An array job of SLURM, each of whose tasks works on the plan; started by submitit.

A task whose time is up, or that is preempted, saves, is queued again, and goes on. Tasks that are
killed lose what they did since the last checkpoint. The output of the tasks lies beside the plan.
"""

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rate.extras import how_to_install
from rate.launch.launcher import LauncherConfig
from rate.launch.plan import Plan
from rate.launch.work import wait_for
from rate.system.compute import Compute
from rate.values import NotNegative, Positive

MOST_TASKS = 64
"""Array tasks that are started unless more are asked for."""
PATIENCE = 600
"""Seconds for which a task that was asked to end waits to be ended, before it goes on."""


@dataclass(frozen=True)
class Config(LauncherConfig):
    """Tasks of a SLURM array job."""

    partition: str = ""
    """Partition; by default the cluster's own."""
    minutes: Positive = 240
    """Time limit of a task, which is queued again when it is up."""
    tasks: NotNegative = 0
    """Array tasks; 0: one for every `jobs` policies to train, at most 64."""
    cpus: NotNegative = 0
    """CPU cores of a task; 0: one for each thread of its jobs."""
    gpus: NotNegative = 0
    """GPUs of a task; 0: one with accelerator cuda, else none."""
    memory_gb: NotNegative = 0
    """Memory of a task in GB; 0: the cluster's default."""
    grace: Positive = 90
    """Seconds before the end of its time at which a task saves."""
    requeues: NotNegative = 1000
    """How often a task whose time is up is queued again."""
    setup: tuple[str, ...] = ()
    """Shell commands before a task, such as "module load cuda"."""
    options: tuple[str, ...] = ()
    """Further options of sbatch as KEY=VALUE, such as account=abc."""
    wait: bool = False
    """Wait until the plan is done."""

    def start(
        self, plan: Plan, jobs: int, compute: Compute, trust: bool, show_progress: bool
    ) -> str:
        executor = self._executor(plan, jobs, compute)
        count = self.tasks or self._tasks(plan, jobs)
        task = Task(_words(plan, jobs, compute, trust))
        with executor.batch():
            submitted = [executor.submit(task) for _ in range(count)]
        number = str(submitted[0].job_id).partition("_")[0]
        if self.wait:
            wait_for(plan, show_progress)
        return (
            f"SLURM job {number}: {count} tasks of {jobs} jobs side by side; squeue --job "
            f"{number} shows them, scancel {number} ends them, their output is in {plan.logs}"
        )

    def _executor(self, plan: Plan, jobs: int, compute: Compute) -> Any:
        try:
            import submitit
        except ImportError as error:
            raise ImportError(
                f"the launcher slurm needs submitit: {how_to_install('slurm')}"
            ) from error
        if not shutil.which("sbatch"):
            raise ValueError(
                "there is no sbatch: use the launcher slurm on a machine that submits to SLURM, "
                "or --launcher local here"
            )
        further = [option.partition("=") for option in self.options]
        if wrong := [key for key, sign, _ in further if not (key and sign)]:
            raise ValueError(f"launcher.options must be KEY=VALUE, but {wrong[0]!r} was given")
        executor = submitit.SlurmExecutor(plan.logs.resolve(), max_num_timeout=self.requeues)
        gpus = self.gpus or (1 if compute.accelerator == "cuda" else 0)
        given: dict[str, Any] = {
            "partition": self.partition or None,
            "gpus_per_node": gpus or None,
            "mem": f"{self.memory_gb}GB" if self.memory_gb else None,
            "setup": list(self.setup) or None,
        }
        executor.update_parameters(
            job_name=f"rate-{plan.path.stem}",
            time=self.minutes,
            nodes=1,
            ntasks_per_node=1,
            cpus_per_task=self.cpus or jobs * max(1, compute.threads),
            signal_delay_s=self.grace,
            array_parallelism=self.tasks or self._tasks(plan, jobs),
            stderr_to_stdout=True,
            additional_parameters={"requeue": True, **{key: text for key, _, text in further}},
            **{name: value for name, value in given.items() if value is not None},
        )
        return executor

    def _tasks(self, plan: Plan, jobs: int) -> int:
        policies = sum(job.verb == "train" for job in plan.jobs)
        return max(1, min(MOST_TASKS, math.ceil(policies / jobs)))


def _words(plan: Plan, jobs: int, compute: Compute, trust: bool) -> tuple[str, ...]:
    """The command line of a worker."""
    plain = asdict(Compute())
    words = ["work", os.path.abspath(plan.path), "--jobs", str(jobs)]
    for name, value in asdict(compute).items():
        words += [f"--{name}", str(value)] if value != plain[name] else []
    return (*words, *(["--trust"] if trust else []))


def _leave_to_submitit() -> None:
    """In the worker: SLURM sends submitit's signal to all processes of a task, and it would end
    them before they save; `Task.checkpoint` asks the worker to end."""
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)


class Task:
    """What an array task does: `rate work` in a process of its own.

    Args:
        words: Command line behind `rate`.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words, self.process = tuple(words), 0

    def __call__(self) -> str:
        while True:
            command = [sys.executable, "-P", "-m", "rate", *self.words]
            process = subprocess.Popen(command, preexec_fn=_leave_to_submitit)
            self.process = process.pid
            code = process.wait()
            self.process = 0
            if code == 0:
                return "done"
            if code in (128 + signal.SIGTERM, -signal.SIGTERM):
                time.sleep(PATIENCE)  # SLURM ends this task, or asks for it to be queued again
            elif code > 0:
                raise RuntimeError(f"it ended with {code}; the lines above say why")

    def checkpoint(self) -> Any:
        """Let the worker save; called by submitit before the task is queued again."""
        import submitit

        if self.process:
            os.kill(self.process, signal.SIGTERM)
            os.waitid(os.P_PID, self.process, os.WEXITED | os.WNOWAIT)
        return submitit.helpers.DelayedSubmission(Task(self.words))
