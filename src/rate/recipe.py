"""A recipe: everything that determines a training run except the seed and the machine."""

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from rate.configs import build
from rate.models import MODELS
from rate.models.backbone import ModelConfig
from rate.objectives import OBJECTIVES, behaviour_cloning
from rate.objectives.objective import ObjectiveConfig
from rate.tasks.gym.options import addresses as of_task
from rate.values import (
    Checked,
    NotNegative,
    NotNegativeFloat,
    Positive,
    Range,
    Rate,
    checked,
)

_FIRST_OBJECTIVE_OPTIONS = {
    "discount": 0.99,
    "conservative_weight": 1.0,
    "expectile": 0.7,
    "inverse_temperature": 3.0,
    "target_rate": 0.005,
}


@dataclass(frozen=True)
class OptimiserConfig(Checked):
    """AdamW with warm-up and decay; the schedule ends exactly at the last update."""

    prefix: ClassVar[str] = "optimiser."

    learning_rate: NotNegativeFloat = 1e-3
    """Peak learning rate."""
    weight_decay: NotNegativeFloat = 0.01
    """Weight decay, on matrices only: not on biases, norms and memory tokens."""
    betas: tuple[Rate, Rate] = (0.9, 0.95)
    """Decay rates of AdamW's running moments."""
    gradient_clip: NotNegativeFloat = 1.0
    """Largest norm of the gradient; 0 switches clipping off."""
    warmup: Positive = 50
    """Updates of linear warm-up."""
    decay: Literal["cosine", "linear", "none"] = "cosine"
    """How the learning rate falls after warm-up."""
    final_factor: Annotated[float, Range(0, 1)] = 0.1
    """Learning rate at the last update, as a fraction of the peak."""

    def factor(self, update: int, updates: int) -> float:
        """Learning rate at update 0 ... updates - 1, as a fraction of the peak."""
        if update < self.warmup:
            return (update + 1) / self.warmup
        if self.decay == "none":
            return 1.0
        progress = min(1.0, (update - self.warmup) / max(1, updates - 1 - self.warmup))
        fall = 0.5 * (1 + math.cos(math.pi * progress)) if self.decay == "cosine" else 1 - progress
        return self.final_factor + (1 - self.final_factor) * fall


@dataclass(frozen=True)
class SelectionConfig(Checked):
    """How the best checkpoint is chosen: by score on selection seeds, else by loss on held-out
    episodes."""

    prefix: ClassVar[str] = "selection."

    task: str = ""
    """Task whose score selects the best checkpoint; empty: the validation loss does."""
    episodes: Positive = 20
    """Episodes per selection, on seeds of their own that never score."""
    every: Positive = 100
    """Updates between two validations."""
    fraction: Rate = 0.05
    """Fraction of the episodes held out for the validation loss."""


@dataclass(frozen=True)
class Recipe(Checked):
    """Everything that determines a training run except the seed and the machine."""

    dataset: str | Sequence[str]
    """Folder of the dataset to learn from, or folders of its shards."""
    model: ModelConfig
    """The model and its options."""
    updates: Positive = 600
    """Optimiser updates (batches) in the run."""
    batch_size: Positive = 64
    """Windows in a batch, over all processes."""
    micro_batch: NotNegative = 0
    """Windows in one forward pass; batches are cut into micro-batches of similar length. 0: 16 on a
    CPU, else the whole batch."""
    sampling: Literal["auto", "first", "stride", "random", "uniform", "full"] = "auto"
    """Windows of an episode: its first steps, consecutive ones (stride), one at random, one from
    every step on (uniform: each step of the data is equally likely to be the first of a window), or
    those of the latter that need no padding (full; shorter episodes are left out).
    auto: first if every episode fits into a window, else stride, so that all steps are seen."""
    least_window_return: float | None = None
    """Rewards that a window must hold for training; others are left out. None: all are kept."""
    stack_frames: Positive = 1
    """Frames that an image observation is made of: the last ones of the episode, one behind the
    other in its channels."""
    shorter_segments: Annotated[float, Range(0, 1)] = 0.0
    """Fraction of the updates whose segments are a half or a third as long, so that memory
    learns to be passed on more often than the window asks for."""
    growing_segments: NotNegative = 0
    """Cut the windows of an update into a random number of segments, from 1 up to a bound that
    grows from 1 to this number in the course of training: attention learns in a single segment
    what memory must then deliver. 0: always segment_length."""
    curriculum: bool = False
    """Train in N stages of equal length, the n-th on episodes of at most n segments."""
    objective: ObjectiveConfig = field(default_factory=behaviour_cloning.Config)
    """What the policy is trained for."""
    weighting: Literal["episode", "step", "last-segment"] = "episode"
    """Whether every window counts the same in the loss, or every real step, or every window by the
    steps of its last segment alone (ELMUR's in T-Maze)."""
    bptt_segments: NotNegative = 0
    """Segments that a gradient crosses; 0: the whole window, 1: memory is detached after each (the
    released code)."""
    update_per_segment: bool = False
    """Take an optimiser step after every bptt_segments segments (the released code) and not once
    per window."""
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    """Optimiser and schedule."""
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    """Validation and choice of the best checkpoint."""
    target_return: float | None = None
    """Return asked for when acting; by default the best return in the dataset."""
    return_scale: Annotated[float, Range(0, open="(")] | None = None
    """What returns-to-go are divided by, and the rewards of Q-learning; by default the largest
    return in the dataset."""
    precision: Literal["32-true", "tf32", "bf16-mixed", "16-mixed"] = "32-true"
    """Numerical precision, in Lightning Fabric's words; tf32 is 32-true with matrix products
    of CUDA in TensorFloat-32."""
    compile: bool = False
    """Compile the policy with torch.compile."""
    checkpoint_every: Positive = 100
    """Updates between two checkpoints; a run killed at any moment resumes from the last one."""
    keep_checkpoints: NotNegative = 0
    """Of these checkpoints so many are kept, the newest, as update-N besides last and best."""
    start_from: str = ""
    """Run, or checkpoint, whose policy training begins with; empty: fresh weights."""

    def __post_init__(self) -> None:
        super().__post_init__()
        given: Any = self.dataset
        if isinstance(given, str | os.PathLike):
            given = [os.fspath(given)]
        elif isinstance(given, list | tuple):
            given = [os.fspath(part) if isinstance(part, os.PathLike) else part for part in given]
        folders = checked("dataset", given, tuple[str, ...])
        if not folders:
            raise ValueError("dataset must name at least one folder, but none was given")
        object.__setattr__(self, "dataset", folders if len(folders) > 1 else folders[0])
        if self.stack_frames > 1 and re.search("-(first|last)(,|$)", self.model.encoder):
            raise ValueError(
                "stack_frames goes with images whose channels are found by their shape: leave "
                f"-first and -last out of the encoder {self.model.encoder!r}, or stack_frames at 1"
            )
        if self.update_per_segment and not self.bptt_segments:
            raise ValueError(
                "update_per_segment needs bptt_segments of at least 1: an update cannot wait "
                "for later segments"
            )
        for name in ("shorter_segments", "growing_segments"):
            if (
                getattr(self, name)
                and self.model.training_segment_length != self.model.segment_length
            ):
                raise ValueError(
                    f"{name} goes with models that are trained segment by segment: leave it at 0"
                )
        if self.shorter_segments and self.growing_segments:
            raise ValueError(
                "shorter_segments and growing_segments both say how windows are cut: leave "
                "one of them at 0"
            )

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders of the dataset."""
        return (self.dataset,) if isinstance(self.dataset, str) else tuple(self.dataset)

    @property
    def collection(self) -> str:
        """The dataset of one name: in the recipe of an experiment, that of its collection."""
        if len(self.folders) > 1:
            raise ValueError(f"one dataset is needed, but {self.folders} are several folders")
        return self.folders[0]

    def to_json(self) -> dict[str, Any]:
        """The recipe as JSON data; `from_json` reads it back."""
        return {
            **asdict(self),
            "model": MODELS.to_json(self.model),
            "objective": OBJECTIVES.to_json(self.objective),
        }

    def left_to_data(self) -> dict[str, Any]:
        """Fields that training fills in from the data, with the values that leave them to it."""
        fields = {"sampling": "auto", "target_return": None}
        return {name: value for name, value in fields.items() if getattr(self, name) == value}

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that name the recipe, wherever its dataset lies."""
        return hash_of(self.to_json())


def hash_of(recipe: Mapping[str, Any]) -> str:
    """The hash of a recipe that is given as JSON data, as `Recipe.to_json` writes it; a file from
    which entries were removed has another one."""
    # Published recipes keep their names: an option that came later counts where it is used, and
    # every objective counts with the options that all of them had together at first.
    data = {**recipe, "dataset": "", "model": dict(recipe.get("model", {}))}
    data["objective"] = {**_FIRST_OBJECTIVE_OPTIONS, **data.get("objective", {})}
    for name, unused in (
        ("shorter_segments", 0),
        ("growing_segments", 0),
        ("stack_frames", 1),
        ("start_from", ""),
        ("least_window_return", None),
    ):
        if name in data and data[name] == unused:
            del data[name]
    data.pop("keep_checkpoints", None)  # it changes no weight
    if data["objective"].get("label_smoothing") == 0:
        del data["objective"]["label_smoothing"]
    if data.get("sampling") == "auto":
        data["sampling"] = "first"
    if data.get("return_scale") is None:
        data.pop("return_scale", None)
    model = data["model"]
    for name in ("encoder", "action_head"):
        if model.get(name) == "auto":
            del model[name]
    if model.get("observation_only") is False and "memory_slots" not in model:
        del model["observation_only"]  # models with slots had this option from the first
    has_valve = model.get("memory_tokens") and str(model.get("valve")).startswith("ca-")
    if model.get("valve_start") == "small" or not has_valve:
        model.pop("valve_start", None)
    if model.get("start_deviation") == 0.02:
        del model["start_deviation"]
    if model.get("start") == "small":
        del model["start"]
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12]


def addresses(recipe: Mapping[str, Any]) -> list[str]:
    """Addresses of code outside this library that a recipe names, given as JSON data."""
    names = [
        one
        for part, key in (("model", "name"), ("model", "encoder"), ("objective", "name"))
        for one in re.split("[,=]", str(_entry(recipe, part, key)))
        if ":" in one
    ]
    return names + of_task(str(_entry(recipe, "selection", "task")))


def _entry(recipe: Mapping[str, Any], part: str, key: str) -> Any:
    """An entry of a part of a recipe that may be damaged."""
    entries = recipe.get(part)
    return entries.get(key, "") if isinstance(entries, dict) else ""


def from_json(data: dict[str, Any]) -> Recipe:
    """The recipe that `Recipe.to_json` wrote; unknown or missing fields, and values of other types,
    are a ValueError that names them."""
    data = dict(checked("the recipe", data, dict))
    data["model"] = MODELS.from_json(data.get("model"))
    data["objective"] = OBJECTIVES.from_json(data.get("objective"))
    data["optimiser"] = build(OptimiserConfig, data.get("optimiser"))
    data["selection"] = build(SelectionConfig, data.get("selection"))
    return build(Recipe, data)
