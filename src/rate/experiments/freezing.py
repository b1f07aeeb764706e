"""Frozen recipes: what an experiment trains on reported seeds is fixed, by hash, before it runs.

frozen.json holds a hash for the data and for every variant of every experiment of the library. It
is committed before reported seeds are trained, so the history of the repository shows that no
reported score had a part in the choice of a recipe. Variants that are trained for one task each
have one hash together, under the name by which they are reported.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rate.experiments import Experiment, Suite, experiment_name, find
from rate.storage.files import atomic_write

FROZEN = Path(__file__).with_name("frozen.json")

Hashes = dict[str, str]
"""Hashes by variant, and that of the data under "data"."""


def hashes(experiment: Experiment) -> Hashes:
    """The hashes of an experiment as it is now."""
    together: dict[str, dict[str, str]] = {}
    for variant, recipe in experiment.variants.items():
        together.setdefault(experiment.reported(variant), {})[variant] = recipe.hash
    own = {
        name: _hash(recipes) if name not in experiment.variants else recipes[name]
        for name, recipes in together.items()
    }
    return {"data": _hash({name: asdict(one) for name, one in experiment.data.items()}), **own}


def frozen() -> dict[str, Hashes]:
    """The frozen hashes by experiment."""
    data: dict[str, Hashes] = json.loads(FROZEN.read_text(encoding="utf-8"))
    return data


def freeze(*names: str) -> None:
    """Freeze experiments as they are now; a suite stands for its members."""
    data = frozen()
    for name in names:
        experiment = find(name)
        if isinstance(experiment, Suite):
            freeze(*experiment.members)
            data = frozen()
        else:
            data[name] = hashes(experiment)
            if experiment.paper:
                data[experiment_name(name, "paper")] = hashes(experiment.paper)
    lines = (f"{json.dumps(name)}: {json.dumps(data[name], indent=1)}" for name in sorted(data))
    atomic_write(FROZEN, "{" + ",\n".join(lines) + "}\n")


def require_frozen(name: str, reported: str, experiment: Experiment) -> None:
    """Raise a ValueError unless an experiment of the library is as it was frozen.

    Args:
        name: Its name.
        reported: The name under which it is reported at its size.
        experiment: All of it: a part has other hashes.
    """
    known, now = frozen().get(reported), hashes(experiment)
    if known == now:
        return
    changed = [key for key in now if (known or {}).get(key) != now[key]]
    what = f"{', '.join(changed)} have changed since" if known else "it has never been frozen"
    raise ValueError(
        f"the recipes of {name} are to be frozen before reported seeds are trained, but {what}: "
        f"choose recipes with `rate reproduce {name} --trial`, then run "
        f"`make freeze EXPERIMENT={name}` and commit frozen.json"
    )


def _hash(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12]
