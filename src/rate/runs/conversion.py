"""A checkpoint of the authors' released code as a run of this library."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch

from rate.dataset import open_dataset
from rate.messages import brief, reason
from rate.models.policy import Policy
from rate.models.released_config import constructor_arguments
from rate.models.released_weights import load_released
from rate.recipe import Recipe
from rate.runs.checkpoint import save_policy
from rate.runs.folder import Run, RunError
from rate.storage.torch_files import load_tensors
from rate.tasks.lookup import find
from rate.tasks.task import Task, differing_space
from rate.values import Seed, checked, checks_arguments

_MODELS = ("RATE", "DT", "DTXL", "RMT", "TrXL")
_WITHIN = ("model_state_dict", "state_dict", "model")
"""Where a checkpoint of more than weights has these."""
_NO_DATA = "not recorded"
"""What stands for the dataset in the recipe of a run whose training is not known."""


class ConversionError(ValueError):
    """A checkpoint that cannot be converted; the message says why and what to do."""


@checks_arguments
def convert(
    checkpoint: str | Path,
    output: str | Path,
    *,
    config: str | Path | None = None,
    task: str | None = None,
    target_return: float | None = None,
    return_scale: float = 1.0,
    standardised_by: str | Path | None = None,
    seed: Seed = 0,
) -> Path:
    """Make a run of a checkpoint that the authors' released code has written.

    The run acts as the released model does, and can be evaluated, inspected, recorded, exported and
    trained further (`rate train --start-from`). Nothing in the checkpoint is run.

    Args:
        checkpoint: A file of `torch.save` (step_N.pth, best_checkpoint.pth) or of safetensors, of
            RATE, DT, DT-XL, RMT or TrXL.
        output: Folder of the new run.
        config: The config.json of the released run, or a JSON file of the constructor's arguments
            and segment_length; by default the config.json beside the checkpoint, or one above.
        task: Task that the policy is for, such as tmaze/90 or vizdoom-two-colors; images are then
            laid out as this task gives them.
        target_return: Return to ask for when acting; by default the released configuration's, else
            the task's.
        return_scale: What returns-to-go are divided by: 1000 in the released training on MuJoCo.
        standardised_by: Dataset by whose mean and standard deviation observations are standardised,
            as in the released training on MuJoCo.
        seed: Seed of the released training, for rows and reports.

    Returns:
        The run folder.

    Raises:
        ConversionError: The checkpoint is damaged, hostile, or of another model; or it does not fit
            its configuration or the task.
        RunError: The folder holds a run already.
    """
    path, run = Path(checkpoint), Run(output)
    if run.exists:
        raise RunError(f"{run} holds a run already: choose another folder, or remove it")
    named = None if task is None else find(task)
    weights, origin = _weights(path), _config_file(path, config)
    described = _read_config(origin)
    try:
        asked = _target(described, named, target_return)
        policy = load_released(
            weights,
            constructor_arguments(described),
            observation_space=None if named is None else named.observation_space,
            normalisation=_normalisation(standardised_by),
            return_scale=return_scale,
            slide=int(described.get("model_mode") == "DT"),
        )
        _check(policy, named)
    except ValueError as error:
        raise ConversionError(f"{path} with {origin}: {error}") from error
    _write(run, policy, asked, seed, {"task": task, "converted": _names(path, origin)})
    return run.path


def _names(path: Path, config: Path) -> dict[str, str]:
    """What a run is made of."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"file": path.name, "sha256": digest, "config": config.name}


def _write(
    run: Run, policy: Policy, target_return: float, seed: int, facts: Mapping[str, Any]
) -> None:
    """Write the folder of a run; its recipe says what the model is, not how it was trained."""
    [scale] = (one for name, one in policy.named_buffers() if "return_to_go" in name)
    recipe = Recipe(
        dataset=_NO_DATA,
        model=policy.config,
        stack_frames=policy.stack_frames,
        target_return=target_return,
        return_scale=float(scale),
    )
    Run.create(run, recipe, seed, dataset="", loggers=[], **facts)
    options = {"recipe": recipe.hash, "seed": seed, "update": None}
    save_policy(run.checkpoint(), policy, target_return, **options)


def _weights(path: Path) -> dict[str, Any]:
    """The state dict in a file, by the names that the released class gives its tensors."""
    if path.suffix == ".safetensors":
        try:
            data: Any = safetensors.torch.load_file(path)
        except (safetensors.SafetensorError, OSError, ValueError, LookupError) as error:
            raise ConversionError(f"{path} cannot be read: {reason(error)}") from error
    else:
        data = load_tensors(path, ConversionError)
    for name in _WITHIN:
        if isinstance(data, dict) and isinstance(data.get(name), dict):
            data = data[name]
    tensors = data.values() if isinstance(data, dict) else ()
    if not any(isinstance(one, np.ndarray | torch.Tensor) for one in tensors):
        raise ConversionError(
            f"{path} holds no state dict, but {brief(data)}: give what the released code saved as "
            "step_N.pth or best_checkpoint.pth"
        )
    # Of several GPUs, the module is wrapped in another one.
    return {str(name).removeprefix("module."): tensor for name, tensor in data.items()}


def _config_file(path: Path, given: str | Path | None) -> Path:
    beside = [folder / "config.json" for folder in (path.parent, path.parent.parent)]
    found = [Path(given)] if given is not None else [one for one in beside if one.is_file()]
    if not found or not found[0].is_file():
        where = given if given is not None else " or ".join(map(str, beside))
        raise ConversionError(
            f"there is no configuration {where}: give --config with the config.json of the "
            "released run, or with a JSON file of the constructor's arguments and segment_length"
        )
    return found[0]


def _read_config(path: Path) -> dict[str, Any]:
    """The configuration, of which the parts that are read are dictionaries."""
    try:
        described = checked("its content", json.loads(path.read_text(encoding="utf-8")), dict)
        for part in ("training", "online_inference"):
            checked(part, described.get(part), dict | None)
        mode = described.get("model_mode", "RATE")
        if mode not in _MODELS:
            raise ValueError(f"its model_mode is {brief(mode)}, but only {_MODELS} are converted")
    except (ValueError, OSError, RecursionError) as error:
        raise ConversionError(f"{path} is no configuration to convert: {reason(error)}") from error
    return dict(described)


def _target(described: Mapping[str, Any], task: Task | None, given: float | None) -> float:
    """The return to ask for."""
    inference = described.get("online_inference") or {}
    known = (given, inference.get("desired_return_1"), task.target_return if task else None)
    found = next((one for one in known if one is not None), None)
    if found is None:
        raise ValueError(
            "the configuration does not say which return to ask for (desired_return_1): give "
            "--target-return, such as 1 for the T-Maze"
        )
    return float(checked("desired_return_1", found, float))


def _normalisation(dataset: str | Path | None) -> Any:
    return None if dataset is None else open_dataset(dataset).normalisation


def _check(policy: Policy, task: Task | None) -> None:
    """Refuse a policy that cannot act in its task."""
    if task is not None and (difference := differing_space(policy, task)):
        name, trained, offered, why = difference
        raise ValueError(
            f"the released policy has the {name} {trained}, but {task.name} has {offered}: {why}. "
            "Leave --task out"
        )
