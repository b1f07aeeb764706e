"""Checkpoints: safetensors with a JSON header and a hash of the content.

A checkpoint holds all that is needed to act, or to go on with training. No code is stored in it;
that of an outside model is imported from the address which the checkpoint names.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from rate import spaces
from rate.addresses import require_trusted
from rate.messages import brief, reason
from rate.models import MODELS
from rate.models.draft import draft
from rate.models.policy import Policy
from rate.recipe import addresses
from rate.runs.folder import Run
from rate.storage.files import atomic_write
from rate.values import checked

FORMAT = 1
_WRONG = (ValueError, TypeError, RuntimeError, ArithmeticError, LookupError, AttributeError)
"""What damaged or unsuitable content raises."""

_POLICY_HEADER = {
    "observation_space": dict,
    "action_space": dict,
    "model": dict,
    "stack_frames": int,
    "target_return": float,
    "update": int | None,
}
_STATE_HEADER = {"update": int, "best": float | None}


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
        header = checked("the header", json.loads(metadata["rate"]), dict)
        intact = metadata["sha256"] == _digest(tensors, metadata["rate"])
    except (safetensors.SafetensorError, OSError, *_WRONG) as error:
        raise CheckpointError(
            f"{path} is not a readable checkpoint ({reason(error)}): it is truncated, "
            "damaged, or of another format. Use another checkpoint of the run, or train again."
        ) from error
    if not intact:
        raise CheckpointError(
            f"{path} is damaged: its content does not match its hash. Use another checkpoint "
            "of the run."
        )
    if header.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {brief(header.get('format'))}, but this version reads format "
            f"{FORMAT}"
        )
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(
                f"{path} holds numbers that are not finite, in {brief(name)}: use another "
                "checkpoint of the run, or train again with a lower learning rate"
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

    Raises:
        FloatingPointError: A number is not finite.
    """
    tensors = policy.state_dict()
    _require_finite(path, tensors)
    write_tensors(path, tensors, {**describe(policy, target_return), **header})


def save_state(path: Path, learner: nn.Module, optimiser: Any, **header: Any) -> None:
    """Write all that a resumed run needs, weights, optimiser state and header, in one atomic
    step."""
    tensors = dict(learner.state_dict())
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": value for name, value in state.items()}
    _require_finite(path, tensors)
    write_tensors(path, tensors, header)


def require_room(path: Path, make: Callable[[], Policy]) -> None:
    """Raise a CheckpointError if a policy is larger than what was saved of it."""
    tensors, _ = read_tensors(path)
    try:
        draft(make, len(tensors), sum(one.numel() for one in tensors.values()))
    except _WRONG as error:
        raise CheckpointError(f"{path} does not fit the run's recipe: {reason(error)}") from error


def _require_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise FloatingPointError(
                f"{path} was not written, because {name} is no longer finite: lower "
                "optimiser.learning_rate or set optimiser.gradient_clip; the checkpoint before "
                "that, if there is one, is kept"
            )


def load_state(path: Path, learner: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Restore what `save_state` wrote, and return its header: update and best score.

    Raises:
        CheckpointError: the file is damaged, or its tensors do not fit.
    """
    tensors, header = read_tensors(path)
    try:
        _check_header(header, _STATE_HEADER)
        checked("loss_scale", header.get("loss_scale"), Mapping[str, Any] | None)
        checked("unfinished", header.get("unfinished"), Mapping[str, float] | None)
        expected = dict(learner.state_dict())
        weights = {name: tensors[name] for name in expected if name in tensors}
        state = {name: tensor for name, tensor in tensors.items() if name not in weights}
        _require_same(expected, weights)
        moments = _optimiser_state(state, optimiser)
        learner.load_state_dict(weights)
        optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
    except _WRONG as error:
        raise CheckpointError(f"{path} does not fit the run's recipe: {reason(error)}") from error
    return header


def _optimiser_state(
    tensors: Mapping[str, Tensor], optimiser: torch.optim.Optimizer
) -> dict[int, dict[str, Tensor]]:
    """What AdamW keeps of each parameter that has had a gradient, by the parameter's number."""
    parameters = [one for group in optimiser.param_groups for one in group["params"]]
    kept = sorted({name.split(".")[1] for name in tensors if "." in name})
    expected: dict[str, Tensor] = {}
    for index in kept:
        like = parameters[int(index)] if index in map(str, range(len(parameters))) else None
        if like is not None:
            names = {"step": like.new_zeros(()), "exp_avg": like, "exp_avg_sq": like}
            expected |= {f"optimiser.{index}.{name}": value for name, value in names.items()}
    _require_same(expected, tensors)
    return {
        int(index): {
            name.rpartition(".")[2]: tensor
            for name, tensor in tensors.items()
            if name.startswith(f"optimiser.{index}.")
        }
        for index in kept
    }


def find_checkpoint(path: str | Path) -> Path:
    """A checkpoint's file, given by its path or by its run folder, whose last one is taken."""
    path = Path(path)
    return Run(path).checkpoint() if path.is_dir() else path


def load_policy(path: str | Path, *, trust: bool = False) -> tuple[Policy, dict[str, Any]]:
    """The policy of a checkpoint or run folder, in evaluation mode, and the checkpoint's header.

    Args:
        path: Run folder, or a checkpoint in it.
        trust: Also run the code that the checkpoint names: a model or an encoder of your own.

    Raises:
        UntrustedError: it names code, and is not trusted.
        CheckpointError: the file is missing or damaged, or its content makes no policy.
    """
    path = find_checkpoint(path)
    tensors, header = read_tensors(path)
    header = {"stack_frames": 1, "update": None, **header}
    require_trusted(addresses(header), path, trust)
    try:
        _check_header(header, _POLICY_HEADER)
        make = partial(_policy, header)
        drafted = draft(make, len(tensors), sum(one.numel() for one in tensors.values()))
        if drafted is not None:
            _require_same(drafted.state_dict(), tensors)
        policy = make()
        _require_same(policy.state_dict(), tensors)
        policy.load_state_dict(tensors)
    except _WRONG as error:
        raise CheckpointError(
            f"the content of {path} does not make a policy: {reason(error)}"
        ) from error
    return policy.eval(), header


def _policy(header: Mapping[str, Any]) -> Policy:
    return Policy(
        spaces.from_json(header["observation_space"]),
        spaces.from_json(header["action_space"]),
        MODELS.from_json(header["model"]),
        stack_frames=header["stack_frames"],
    )


def _check_header(header: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    for name, kind in kinds.items():
        if name not in header:
            raise ValueError(f"its header lacks {name}")
        checked(name, header[name], kind)
    if (header["update"] or 0) < 0:
        raise ValueError(f"update must be at least 0, but is {header['update']}")


def _require_same(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Raise a ValueError unless the tensors have the same names, shapes and types of numbers."""
    for name in sorted({*expected, *given}):
        needed, held = (
            f"{tuple(one[name].shape)} of {one[name].dtype}" if name in one else "nothing"
            for one in (expected, given)
        )
        if needed != held:
            raise ValueError(f"{brief(name)} must hold {needed}, but holds {held}")
