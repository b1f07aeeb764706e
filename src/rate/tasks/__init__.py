"""Tasks: what is acted in, who acts, and how a task is found by its name.

A task family lives in one module of this package. The module defines `TASKS: dict[str, Family]`
and is found by scanning; nothing has to be registered. A name is `family/size`, as in
`tmaze/90`. A module must be importable without its simulator: it imports the simulator where an
environment is made and states it in `Family.modules`.
"""

from rate.tasks.lookup import families, find
from rate.tasks.task import Agent, Environments, Family, Task, read_length, read_segments, success

__all__ = [
    "Agent",
    "Environments",
    "Family",
    "Task",
    "families",
    "find",
    "read_length",
    "read_segments",
    "success",
]
