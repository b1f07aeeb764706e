"""`rate data`: other people's recordings in, ours out, and what a dataset holds."""

import ast
import json
import re
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import gymnasium
import numpy as np
import tyro
from rich.table import Table

from rate.cli.console import err, out
from rate.spaces import from_json

if TYPE_CHECKING:
    from rate.dataset import Dataset  # it imports torch

_SIMPLE = re.compile(r"(Discrete|MultiDiscrete|MultiBinary|Box)\((.+)\)")

USAGE = """rate data VERB: recorded data of your own.

  rate data import PATH --output DATASET     a recording of Minari, D4RL, NumPy or the authors of RATE becomes a dataset
  rate data export DATASET --output FOLDER   a dataset becomes one of Minari's
  rate data info DATASET                     what it holds: spaces, statistics, a histogram of returns
  rate data validate DATASET                 what may be wrong with it, and what to do

rate data VERB --help explains a verb.
"""


def import_(
    path: Annotated[Path, tyro.conf.Positional],
    output: Path,
    format: str = "",  # noqa: A002 (the option's name)
    observation_space: str = "",
    action_space: str = "",
    task: str = "",
    episodes: int = 0,
    previous_actions: bool = False,
) -> None:
    """Write another's recording as a dataset; no simulator is needed, and no code in a file is run.

    Args:
        path: File or folder, or the id of a Minari dataset on this machine. output: Folder of the
        new dataset. format: arrays (NumPy), d4rl (HDF5), episodes (folder of .npz), minari or
        trajectories (pickles); by default recognised. observation_space: Space of observations,
        such as "Box(-10, 10, (17,))"; by default the recording's own. action_space: Space of
        actions, such as "Discrete(4)"; by default the recording's own. Dict and Tuple spaces are
        written as
            JSON, as in `card.json`.
        task: Name of the task that was recorded, for evaluation. episodes: At most so many; 0 for
        all. previous_actions: In a folder of episodes, each action and reward stands beside the
        observation that it led to.
    """
    from rate.dataset.importers import Wishes, formats, import_dataset

    if format and format not in formats():
        known = "; ".join(f"{name}: {description}" for name, description in formats().items())
        raise ValueError(f"there is no format {format!r}. Formats are {known}")
    wishes = Wishes(_space(observation_space), _space(action_space), previous_actions)
    import_dataset(
        path,
        output,
        file_format=format,
        wishes=wishes,
        task=task or None,
        episodes=episodes,
        show_progress=True,
    )
    info(output)


def export(
    dataset: Annotated[Path, tyro.conf.Positional],
    output: Path,
    id: str = "",  # noqa: A002 (the option's name)
    data_format: Literal["hdf5", "arrow"] = "hdf5",
) -> None:
    """Write a dataset as one of Minari's, images byte for byte.

    Args:
        dataset: Folder of the dataset. output: Folder of Minari datasets; others read it with
        MINARI_DATASETS_PATH set to it. id: Minari's name of the dataset, such as rate/tmaze-v0; by
        default rate/<name of the folder>-v0. data_format: File format.
    """
    from rate.dataset import open_dataset
    from rate.dataset.export_minari import export_minari

    folder = export_minari(
        open_dataset(dataset), output, id or f"rate/{dataset.name}-v0", data_format=data_format
    )
    out.print(
        f"{folder}: written; read it with minari.load_dataset and MINARI_DATASETS_PATH={output}",
        highlight=False,
    )


def info(dataset: Annotated[Path, tyro.conf.Positional]) -> None:
    """Show what a dataset holds: spaces, counts, statistics of every part, and a histogram of
    returns.

    Args:
        dataset: Folder of the dataset.
    """
    from rate.dataset import open_dataset
    from rate.dataset.validate import statistics

    found = open_dataset(dataset)
    card = found.card
    lines = {
        "task": card["task"] or "not stated",
        "episodes": "{:,} of {min} to {max} steps, mean {mean:.1f}".format(
            len(found), **card["lengths"]
        ),
        "steps": f"{found.steps:,}",
        "size": f"{sum(file.stat().st_size for file in Path(dataset).rglob('*') if file.is_file()) / 1e6:,.1f} MB",
        "observations": str(found.observation_space),
        "actions": str(found.action_space),
        "ends": "{:.0%} terminated, {:.0%} truncated, {:.0%} cut".format(*_ends(found)),
        "content": found.content_hash[:12],
        **{
            name.replace("_", " "): str(card["provenance"][name])
            for name in (
                "imported",
                "format",
                "final_observation",
                "alignment",
                "lossy_images",
                "ignored",
                "commit",
            )
            if name in card["provenance"]
        },
    }
    facts = Table(box=None, show_header=False, padding=(0, 2))
    for name, text in lines.items():
        facts.add_row(name, text)
    out.print(facts, highlight=False)
    parts = Table("part", "mean", "deviation", "least", "greatest", box=None, padding=(0, 2))
    for name, row in statistics(found).items():
        parts.add_row(name, *(f"{value:.4g}" for value in row))
    out.print(parts, highlight=False)
    out.print(_histogram(found.returns), highlight=False)


def validate(dataset: Annotated[Path, tyro.conf.Positional]) -> int:
    """Look for what may be wrong with a dataset; exits with 1 if something is.

    Args:
        dataset: Folder of the dataset.
    """
    from rate.dataset.validate import validate as look

    found = look(dataset)
    for finding in found:
        out.print(f"{finding.severity}: {finding.what}\n  {finding.advice}", highlight=False)
    wrong = sum(finding.severity == "error" for finding in found)
    out.print(f"{dataset}: {wrong} errors, {len(found) - wrong} warnings", highlight=False)
    return int(wrong > 0)


VERBS: dict[str, Callable[..., int | None]] = {
    "import": import_,
    "export": export,
    "info": info,
    "validate": validate,
}


def data(arguments: list[str]) -> int:
    """Run one of the verbs of `rate data`; returns the exit status."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        out.print(USAGE, highlight=False)
        return 0
    verb, *rest = arguments
    if verb not in VERBS:
        close = get_close_matches(verb, VERBS, 1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        err.print(
            f"rate data: unknown verb {verb!r}{hint} Verbs are: {', '.join(VERBS)}", highlight=False
        )
        return 2
    return tyro.cli(VERBS[verb], prog=f"rate data {verb}", args=rest) or 0


def _space(text: str) -> gymnasium.Space[Any] | None:
    """A space from text such as "Discrete(4)", or from JSON; None from none."""
    if not text:
        return None
    try:
        if simple := _SIMPLE.fullmatch(text.strip()):
            return getattr(gymnasium.spaces, simple[1])(*ast.literal_eval(f"({simple[2]},)"))
        return from_json(json.loads(text))
    except (ValueError, TypeError, SyntaxError, AssertionError) as error:
        raise ValueError(
            f"{text!r} is not a space ({error}); write Discrete(4), MultiDiscrete([8, 8]) or "
            "Box(-1, 1, (3,)), "
            "or JSON as `card.json` of a dataset does"
        ) from error


def _ends(found: "Dataset") -> tuple[float, float, float]:
    """Shares of episodes that were terminated, truncated, and neither."""
    last = found.arrays["episode_offsets"][1:] - 1
    terminated, truncated = (
        float(found.arrays[name][last].mean()) for name in ("terminations", "truncations")
    )
    return terminated, truncated, 1 - terminated - truncated


def _histogram(returns: np.ndarray, bins: int = 12, width: int = 40) -> Table:
    """Returns of episodes as bars of text."""
    counts, edges = np.histogram(returns, bins=min(bins, max(1, len(np.unique(returns)))))
    table = Table("return from", "to", "episodes", "", box=None, padding=(0, 2))
    for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        table.add_row(
            f"{low:.4g}", f"{high:.4g}", f"{count:,}", "█" * round(width * count / counts.max())
        )
    return table
