"""RATE: agents that must remember, by offline sequence modelling with recurrent memory.

The verbs of the command line are functions here: collect, import_dataset, export_minari, train,
resume, convert, evaluate, record, inspect, export, reproduce, work, report. `load_agent` gives a
trained agent back. Names are imported when first used, so that reporting needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rate.acting.actor import Actor as Actor
    from rate.acting.actor import load_agent as load_agent
    from rate.acting.collection import collect as collect
    from rate.acting.corruption import Corruption as Corruption
    from rate.acting.evaluation import evaluate as evaluate
    from rate.acting.recorded import evaluate_recorded as evaluate_recorded
    from rate.acting.recording import record as record
    from rate.dataset import Dataset as Dataset
    from rate.dataset import open_dataset as open_dataset
    from rate.dataset import write_dataset as write_dataset
    from rate.dataset.export_lerobot import export_lerobot as export_lerobot
    from rate.dataset.export_minari import export_minari as export_minari
    from rate.dataset.importers import import_dataset as import_dataset
    from rate.episode import Episode as Episode
    from rate.exporting import export as export
    from rate.inspection import inspect as inspect
    from rate.launch.work import work as work
    from rate.models import config_class as config_class
    from rate.models import names as list_models  # noqa: F401 (list_models)
    from rate.models.policy import Policy as Policy
    from rate.models.released_weights import load_released as load_released
    from rate.recipe import OptimiserConfig as OptimiserConfig
    from rate.recipe import Recipe as Recipe
    from rate.recipe import SelectionConfig as SelectionConfig
    from rate.reporting import report as report
    from rate.reproduction import reproduce as reproduce
    from rate.runs.checkpoint import load_policy as load_policy
    from rate.runs.conversion import convert as convert
    from rate.runs.sharing import pull as pull
    from rate.runs.sharing import push as push
    from rate.segment import Segment as Segment
    from rate.tasks.lookup import families as list_tasks  # noqa: F401 (list_tasks)
    from rate.tasks.lookup import find as find_task  # noqa: F401 (find_task)
    from rate.tasks.task import Task as Task
    from rate.training import resume as resume
    from rate.training import train as train

_HOMES = {
    "Actor": ("rate.acting.actor", "Actor"),
    "Corruption": ("rate.acting.corruption", "Corruption"),
    "Dataset": ("rate.dataset", "Dataset"),
    "Episode": ("rate.episode", "Episode"),
    "OptimiserConfig": ("rate.recipe", "OptimiserConfig"),
    "Policy": ("rate.models.policy", "Policy"),
    "Recipe": ("rate.recipe", "Recipe"),
    "Segment": ("rate.segment", "Segment"),
    "SelectionConfig": ("rate.recipe", "SelectionConfig"),
    "Task": ("rate.tasks", "Task"),
    "collect": ("rate.acting.collection", "collect"),
    "config_class": ("rate.models", "config_class"),
    "convert": ("rate.runs.conversion", "convert"),
    "evaluate": ("rate.acting.evaluation", "evaluate"),
    "evaluate_recorded": ("rate.acting.recorded", "evaluate_recorded"),
    "export": ("rate.exporting", "export"),
    "export_lerobot": ("rate.dataset.export_lerobot", "export_lerobot"),
    "export_minari": ("rate.dataset.export_minari", "export_minari"),
    "find_task": ("rate.tasks", "find"),
    "import_dataset": ("rate.dataset.importers", "import_dataset"),
    "inspect": ("rate.inspection", "inspect"),
    "load_agent": ("rate.acting.actor", "load_agent"),
    "load_policy": ("rate.runs.checkpoint", "load_policy"),
    "load_released": ("rate.models.released_weights", "load_released"),
    "list_models": ("rate.models", "names"),
    "open_dataset": ("rate.dataset", "open_dataset"),
    "pull": ("rate.runs.sharing", "pull"),
    "push": ("rate.runs.sharing", "push"),
    "record": ("rate.acting.recording", "record"),
    "report": ("rate.reporting", "report"),
    "reproduce": ("rate.reproduction", "reproduce"),
    "resume": ("rate.training", "resume"),
    "list_tasks": ("rate.tasks", "families"),
    "train": ("rate.training", "train"),
    "work": ("rate.launch.work", "work"),
    "write_dataset": ("rate.dataset", "write_dataset"),
}
"""Public names, and the module and name behind each."""

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("rate-rl")
    if name not in _HOMES:
        raise AttributeError(
            f"module 'rate' has no attribute {name!r}; public names are {', '.join(__all__)}"
        )
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return __all__
