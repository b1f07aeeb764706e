"""What training begins with: fresh weights, or those of another run."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from rate.dataset import Dataset
from rate.messages import brief
from rate.models.encoders import ObservationEncoder
from rate.models.encoders.centred import Encoder as CentredEncoder
from rate.models.policy import Policy
from rate.recipe import Recipe
from rate.runs.checkpoint import find_checkpoint, load_policy
from rate.runs.folder import RunError

IMAGES = 512
"""Images of the data that encoders are fitted to, in equal distances."""


def fitted(policy: Policy, dataset: Dataset) -> Policy:
    """A policy with fresh weights, whose encoders have seen images of the data if they need to."""
    encoder = policy.encoders["observation"]
    assert isinstance(encoder, ObservationEncoder)
    for path, encode in zip(encoder.paths, encoder.encoders, strict=True):
        if isinstance(encode, CentredEncoder):
            stored = dataset.arrays[f"observations/{path}"]
            rows = np.unique(np.linspace(0, len(stored) - 1, IMAGES).astype(np.int64))
            encode.fit(torch.from_numpy(np.array(stored[rows])))
    return policy


def beginning(recipe: Recipe, dataset: Dataset) -> dict[str, Any]:
    """What provenance.json says of the checkpoint that a recipe begins with: its hash, or nothing.

    Raises:
        RunError: The checkpoint is of another model than the recipe's, or of other spaces than the
            data's.
    """
    if not recipe.start_from:
        return {}
    policy, _ = load_policy(recipe.start_from)
    spaces = dataset.observation_space, dataset.action_space
    new = Policy(*spaces, recipe.model, stack_frames=recipe.stack_frames)
    given = (*spaces, recipe.stack_frames, _shapes(new))
    held = (policy.observation_space, policy.action_space, policy.stack_frames, _shapes(policy))
    names = ("observation space", "action space", "stack_frames", "model")
    for name, asked, found in zip(names, given, held, strict=True):
        if asked != found:
            raise RunError(
                f"start_from {recipe.start_from} has another {name}, {brief(found)}, than this "
                f"run, {brief(asked)}: give the same options and data of the same kind, or begin "
                "with fresh weights"
            )
    return {"start_from": _content(recipe.start_from)}


def begin_from(policy: Policy, start_from: str, facts: Mapping[str, Any]) -> None:
    """Give a policy the weights of a checkpoint, and the scales of its inputs, which belong to
    them.

    Raises:
        RunError: The checkpoint is not the one that the run began with.
    """
    if _content(start_from) != facts.get("start_from"):
        raise RunError(
            f"{start_from} has changed since the run began with it: restore the checkpoint, or "
            "train a new run"
        )
    begun, _ = load_policy(start_from, trust=True)  # `beginning` has loaded it, or refused to
    policy.load_state_dict(begun.state_dict())


def _shapes(policy: Policy) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in policy.state_dict().items()}


def _content(start_from: str) -> str:
    return hashlib.sha256(find_checkpoint(start_from).read_bytes()).hexdigest()
