"""Export of a trained policy to a folder that acts without this library, memory included."""

import hashlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from rate import spaces
from rate.exporting.card import card
from rate.exporting.step import Step, initial_state
from rate.extras import how_to_install
from rate.models import MODELS
from rate.models.heads import CategoricalHead
from rate.models.policy import Policy
from rate.runs.checkpoint import find_checkpoint, load_policy
from rate.runs.folder import Run
from rate.storage.files import storage_errors
from rate.storage.folders import new_folder
from rate.system.provenance import provenance

Format = Literal["onnx", "torch"]

VERSION = 1
"""Version of the folder's layout, in config.json."""
EXAMPLE = Path(__file__).with_name("example.py")
"""The agent that is copied into the folder."""
_MOST_SCALES = 1024
"""Scales of an input with more numbers than this stand in the graph alone."""


class ExportError(ValueError):
    """A policy that cannot be exported; the message says why."""


def export(
    run: str | Path,
    output: str | Path,
    *,
    file_format: Format = "onnx",
    checkpoint: Literal["last", "best"] = "last",
    target_return: float | None = None,
    trust: bool = False,
) -> Path:
    """Write a policy as a folder that acts without this library, for any number of steps.

    The folder contains the acting step as a function with its memory and caches as inputs and
    outputs (step and boundary_step), the first state of an episode (initial_state.npz),
    config.json, a model card (README.md), and example.py, which acts with NumPy and onnxruntime
    alone. It appears complete or not at all.

    Args:
        run: Run folder, or a checkpoint in it.
        output: Folder to write, which must not exist.
        file_format: onnx, for onnxruntime; or torch, exported programs for PyTorch.
        checkpoint: The last checkpoint of a run folder, or the best by validation.
        target_return: The return that the agent asks for; by default the checkpoint's.
        trust: Also run the code that the checkpoint names: a model or an encoder of your own.

    Returns:
        The folder.

    Raises:
        ExportError: The model has an operation that the format lacks.
        CheckpointError: There is no checkpoint, or it is damaged.
        FileExistsError: There is something at `output`.
        ModuleNotFoundError: The packages of the extra "export" are not installed.
    """
    if file_format == "onnx":
        _require_onnx()
    path = find_checkpoint(run)
    if Path(run).is_dir():
        path = Run(run).checkpoint(checkpoint)
    policy, header = load_policy(path, trust=trust)
    steps = {name: Step(policy, name == "boundary_step").eval() for name in _NAMES}
    asked = header["target_return"] if target_return is None else float(target_return)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    config = describe(policy, steps, file_format, asked)
    config["provenance"] = {
        "checkpoint": path.name,
        "sha256": digest,
        **{name: header.get(name) for name in ("recipe", "seed", "update")},
        **provenance(),
    }
    folder = Path(output)
    with new_folder(folder) as written, storage_errors(folder):
        for name, step in steps.items():
            _WRITERS[file_format](step, written / config["graphs"][name])
        np.savez(written / "initial_state.npz", **steps["step"].state)  # type: ignore[arg-type]
        text = json.dumps(config, indent=2)
        (written / "config.json").write_text(text + "\n", encoding="utf-8")
        (written / "README.md").write_text(card(config, path.parent), encoding="utf-8")
        (written / "example.py").write_bytes(EXAMPLE.read_bytes())
    return folder


_NAMES = ("step", "boundary_step")


def describe(
    policy: Policy, steps: dict[str, Step], file_format: Format, target_return: float
) -> dict[str, Any]:
    """What config.json says of a policy: spaces, scales, and the names and shapes of what its
    steps take and give."""
    head, suffix = policy.head, {"onnx": "onnx", "torch": "pt2"}[file_format]
    choices = {}
    if isinstance(head, CategoricalHead):
        choices = {"counts": head.counts, "start": head.first.tolist()}
    step = steps["step"]
    return {
        "version": VERSION,
        "format": file_format,
        "graphs": {name: f"{name}.{suffix}" for name in steps},
        "segment_length": policy.config.segment_length,
        "first_segment": policy.config.first_segment,
        "stride": policy.config.stride,
        "target_return": target_return,
        "stack_frames": policy.stack_frames,
        "scales": dict(_scales(policy)),
        "model": MODELS.to_json(policy.config),
        "observation_space": spaces.to_json(policy.observation_space),
        "action_space": spaces.to_json(policy.action_space),
        "choices": choices,
        "observations": [port.to_json() for port in step.observed.values()],
        "inputs": {name: [port.to_json() for port in one.inputs] for name, one in steps.items()},
        "outputs": [port.to_json() for port in step.outputs],
        "state": {
            name: {"shape": ["batch", *value.shape[1:]], "dtype": str(value.dtype)}
            for name, value in initial_state(policy).items()
            if value.size
        },
    }


def _scales(policy: Policy) -> Iterator[tuple[str, Any]]:
    """Constants of the encoders that inputs are scaled by within the graph."""
    for name, numbers in policy.encoders.named_buffers():
        if numbers.is_floating_point():
            small = numbers.numel() <= _MOST_SCALES
            yield name, numbers.tolist() if small else f"{tuple(numbers.shape)}, in the graph"


def _program(step: Step) -> torch.export.ExportedProgram:
    """The step for any number of rows, from 1 on."""
    # Two rows: a batch of one would be taken for a constant.
    examples = tuple(port.example(2) for port in step.inputs)
    batch = torch.export.Dim("batch", min=1)
    shapes = ({0: batch},) * len(examples)
    try:
        with torch.no_grad():
            return torch.export.export(step, examples, dynamic_shapes=(shapes,), strict=False)
    except Exception as error:  # the tracer fails in many ways
        raise ExportError(
            f"the model cannot be traced: {_first_line(error)}. Its forward must be made of "
            "operations on tensors, without branches on their values, for any number of rows "
            "(x.shape[0], not len(x))"
        ) from error


def _write_torch(step: Step, path: Path) -> None:
    with _quiet():
        torch.export.save(_program(step), path)


def _write_onnx(step: Step, path: Path) -> None:
    with _quiet():
        program = _program(step)
        try:
            made = torch.onnx.export(
                program,
                input_names=[port.name for port in step.inputs],
                output_names=[port.name for port in step.outputs],
                dynamo=True,
                verbose=False,
            )
        except Exception as error:  # the converter fails in many ways
            raise ExportError(
                f"the model has an operation that ONNX lacks: {_first_line(error)}. Export it "
                "with the format torch"
            ) from error
        assert made is not None
        made.save(path)


_WRITERS: dict[Format, Callable[[Step, Path], None]] = {"onnx": _write_onnx, "torch": _write_torch}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what PyTorch says of its own converters."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _first_line(error: BaseException) -> str:
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    return (str(causes[-1]).strip() or type(causes[-1]).__name__).splitlines()[0][:300]


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ModuleNotFoundError(
            f"export to ONNX needs the package {error.name}: {how_to_install('export')}"
        ) from error
