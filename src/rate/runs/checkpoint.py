"""Checkpoints: safetensors with a JSON header and a hash of the content.

A checkpoint holds all that is needed to act, or to go on with training. No code is stored in it;
that of an outside model is imported from the address which the checkpoint names.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from rate import spaces
from rate.files import atomic_write
from rate.models import MODELS
from rate.models.policy import Policy
from rate.runs.folder import Run

FORMAT = 1
_WRONG = (ValueError, TypeError, RuntimeError)
"""What damaged or unsuitable content raises."""


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, or does not fit."""


def write_tensors(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write tensors and a JSON header in one atomic step."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps({"format": FORMAT, **header}, sort_keys=True)
    metadata = {"rate": text, "sha256": _digest(tensors, text)}
    atomic_write(path, safetensors.torch.save(tensors, metadata))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and JSON header of a file that `write_tensors` wrote; no code is run.

    Raises:
        CheckpointError: the file is missing, damaged or of another format.
    """
    if not path.is_file():
        raise CheckpointError(
            f"there is no checkpoint {path}: give a run folder, or a .safetensors file "
            "written by `rate train`"
        )
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
        header = json.loads(metadata["rate"])
        intact = metadata["sha256"] == _digest(tensors, metadata["rate"])
    except (safetensors.SafetensorError, OSError, LookupError, *_WRONG) as error:
        raise CheckpointError(
            f"{path} is not a readable checkpoint ({type(error).__name__}: {error}): it is "
            "truncated, damaged, or of another format. Use another checkpoint of the run, or "
            "train again."
        ) from error
    if not intact:
        raise CheckpointError(
            f"{path} is damaged: its content does not match its hash. Use another checkpoint "
            "of the run."
        )
    if header.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {header.get('format')}, but this version reads format {FORMAT}"
        )
    return tensors, header


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def describe(policy: Policy, target_return: float) -> dict[str, Any]:
    """The header from which `load_policy` makes a policy: model, spaces, and target return."""
    return {
        "model": MODELS.to_json(policy.config),
        "observation_space": spaces.to_json(policy.observation_space),
        "action_space": spaces.to_json(policy.action_space),
        "stack_frames": policy.stack_frames,
        "target_return": target_return,
    }


def save_policy(path: Path, policy: Policy, target_return: float, **header: Any) -> None:
    """Write a policy with everything that acting needs.

    Args:
        path: The file.
        policy: The policy; normalisation and return scale are among its tensors.
        target_return: Return to ask for when acting.
        header: Further entries of the header.
    """
    write_tensors(path, policy.state_dict(), {**describe(policy, target_return), **header})


def save_state(path: Path, learner: nn.Module, optimiser: Any, **header: Any) -> None:
    """Write all that a resumed run needs, weights, optimiser state and header, in one atomic
    step."""
    tensors = dict(learner.state_dict())
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": value for name, value in state.items()}
    write_tensors(path, tensors, header)


def load_state(path: Path, learner: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Restore what `save_state` wrote, and return its header.

    Raises:
        CheckpointError: the file is damaged, or its tensors do not fit.
    """
    tensors, header = read_tensors(path)
    weights = {
        name: tensor for name, tensor in tensors.items() if not name.startswith("optimiser.")
    }
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        kind, index, *rest = name.split(".", 2)
        if kind == "optimiser":
            state.setdefault(int(index), {})[rest[0]] = tensor
    try:
        learner.load_state_dict(weights)
        optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    except (RuntimeError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} does not fit the run's recipe: {error}") from error
    return header


def find_checkpoint(path: str | Path) -> Path:
    """A checkpoint's file, given by its path or by its run folder, whose last one is taken."""
    path = Path(path)
    return Run(path).checkpoint() if path.is_dir() else path


def load_policy(path: str | Path) -> tuple[Policy, dict[str, Any]]:
    """The policy of a checkpoint or run folder, in evaluation mode, and the checkpoint's header.

    Raises:
        CheckpointError: the file is missing or damaged, or its content makes no policy.
    """
    path = find_checkpoint(path)
    tensors, header = read_tensors(path)
    try:
        policy = Policy(
            spaces.from_json(header["observation_space"]),
            spaces.from_json(header["action_space"]),
            MODELS.from_json(header["model"]),
            stack_frames=header.get("stack_frames", 1),
        )
        policy.load_state_dict(tensors)
    except (KeyError, *_WRONG) as error:
        raise CheckpointError(f"the content of {path} does not make a policy: {error}") from error
    return policy.eval(), header
