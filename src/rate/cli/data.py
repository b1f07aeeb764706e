"""`rate data`: recordings become datasets, datasets are exported, described and checked."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import gymnasium
import numpy as np
from rich.table import Table

from rate.cli.console import out, refuse
from rate.cli.parse import Reader, parse
from rate.spaces import from_text
from rate.tasks.gym.options import respelled

if TYPE_CHECKING:
    from rate.dataset import Dataset  # it imports torch

_PROVENANCE = (
    "imported",
    "format",
    "final_observation",
    "alignment",
    "lossy_images",
    "ignored",
    "commit",
)
"""Facts about the origin of a dataset that `rate data info` shows."""

USAGE = """rate data VERB: recorded data of your own.

  rate data import PATH --output DATASET     from Minari, LeRobot, D4RL, NumPy ...
  rate data export DATASET --output FOLDER   as a dataset of Minari or LeRobot
  rate data info DATASET                     spaces, statistics, a histogram of returns
  rate data validate DATASET                 what may be wrong with it, and what to do

rate data VERB --help explains a verb.
"""


def data(arguments: list[str]) -> int:
    """Run one of the verbs of `rate data`; returns the exit status."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        out.print(USAGE)
        return 0
    verb, *rest = arguments
    return (VERBS[verb](rest) or 0) if verb in VERBS else refuse("rate data", verb, VERBS)


def import_(arguments: list[str]) -> None:
    """Write a recording as a dataset and describe it."""
    from rate.dataset.importers import import_dataset as run

    space = Reader(str, from_text, "SPACE")
    options = parse(run, arguments, "rate data import", types={gymnasium.Space: space})
    if options["task"]:
        options["task"] = respelled(options["task"])
    run(**options, show_progress=True)
    _info(options["output"])


def export(arguments: list[str]) -> None:
    """Write a dataset for another library."""
    from rate.dataset import Dataset, open_dataset
    from rate.dataset.export import export_dataset as run

    folder = Reader(Path, open_dataset, "DATASET")
    options = parse(run, arguments, "rate data export", types={Dataset: folder})
    readers = {
        "minari": f"minari.load_dataset and MINARI_DATASETS_PATH={options['output']}",
        "lerobot": f"LeRobotDataset('name', root='{options['output']}')",
    }
    out.print(f"{run(**options)}: written; read it with {readers[options['file_format']]}")


def info(arguments: list[str]) -> None:
    """Show what a dataset holds."""
    _info(**parse(_info, arguments, "rate data info"))


def validate(arguments: list[str]) -> int:
    """Show what may be wrong with a dataset; returns 1 if something is."""
    from rate.dataset.validate import validate as run

    options = parse(run, arguments, "rate data validate")
    findings = run(**options)
    for finding in findings:
        out.print(f"{finding.severity}: {finding.what}\n  {finding.advice}")
    wrong = sum(finding.severity == "error" for finding in findings)
    out.print(f"{options['dataset']}: {wrong} errors, {len(findings) - wrong} warnings")
    return int(wrong > 0)


VERBS: dict[str, Callable[[list[str]], int | None]] = {
    "import": import_,
    "export": export,
    "info": info,
    "validate": validate,
}


def _info(dataset: Path) -> None:
    """Show spaces, counts, statistics of every part and a histogram of returns of a dataset.

    Args:
        dataset: Folder of the dataset.
    """
    from rate.dataset import open_dataset
    from rate.dataset.validate import statistics

    data = open_dataset(dataset)
    card = data.card
    size = sum(file.stat().st_size for file in dataset.rglob("*") if file.is_file())
    lengths = "{min} to {max} steps, mean {mean:.1f}".format(**card["lengths"])
    lines = {
        "task": card["task"] or "not stated",
        "episodes": f"{len(data):,} of {lengths}",
        "steps": f"{data.steps:,}",
        "size": f"{size / 1e6:,.1f} MB",
        "observations": str(data.observation_space),
        "actions": str(data.action_space),
        "ends": "{:.0%} terminated, {:.0%} truncated, {:.0%} cut".format(*_ends(data)),
        "content": data.content_hash[:12],
    }
    origin = card["provenance"]
    lines |= {name.replace("_", " "): str(origin[name]) for name in _PROVENANCE if name in origin}
    facts = Table(box=None, show_header=False, padding=(0, 2))
    for name, text in lines.items():
        facts.add_row(name, text)
    out.print(facts)
    parts = Table("part", "mean", "deviation", "least", "greatest", box=None, padding=(0, 2))
    for name, row in statistics(data).items():
        parts.add_row(name, *(f"{value:.4g}" for value in row))
    out.print(parts)
    out.print(_histogram(data.returns))


def _ends(data: "Dataset") -> tuple[float, float, float]:
    """Shares of episodes that were terminated, truncated, and neither."""
    last = data.arrays["episode_offsets"][1:] - 1
    terminated, truncated = (data.arrays[name][last] for name in ("terminations", "truncations"))
    neither = ~(terminated | truncated)  # an episode may be both
    return float(terminated.mean()), float(truncated.mean()), float(neither.mean())


def _histogram(returns: np.ndarray, bins: int = 12, width: int = 40) -> Table:
    """Returns of episodes as bars of text."""
    counts, edges = np.histogram(returns, bins=min(bins, max(1, len(np.unique(returns)))))
    table = Table("return from", "to", "episodes", "", box=None, padding=(0, 2))
    for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        table.add_row(
            f"{low:.4g}", f"{high:.4g}", f"{count:,}", "█" * round(width * count / counts.max())
        )
    return table
