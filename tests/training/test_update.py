"""One update: what it reads on the host, how many files it takes, and how it compiles."""

import sys
from pathlib import Path
from typing import Any

import lightning_fabric
import numpy as np
import pytest
import torch
import torch._dynamo
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import rate
from rate.dataset import Batch, BatchReader, Sampler, open_dataset
from rate.models import config_class, names
from rate.models.backbone import ModelConfig, Stream
from rate.models.policy import Policy
from rate.recipe import Recipe
from rate.segment import Segment
from rate.training.update import Learner, WindowLoss, adamw, step_weights

SOURCE = Path(rate.__file__).parent
SIZES = {"segment_length": 4, "segments": 3, "width": 16, "hidden": 16, "heads": 2}


def small(name: str) -> ModelConfig:
    config = config_class(name)
    known = {key: value for key, value in SIZES.items() if key in config.__dataclass_fields__}
    return config(**known)


def ready(config: ModelConfig, recall: Path) -> tuple[Learner, Batch]:
    """A learner and a batch that it has already taken once."""
    dataset = open_dataset(recall)
    recipe = Recipe(dataset=str(recall), model=config, batch_size=16, micro_batch=8)
    torch.manual_seed(0)
    policy = Policy(dataset.observation_space, dataset.action_space, config)
    fabric = lightning_fabric.Fabric(accelerator="cpu", devices=1)
    module = WindowLoss(policy)
    loss, optimiser = fabric.setup(module, adamw(module, recipe.optimiser))
    learner = Learner(fabric, loss, policy, module.objective, optimiser, recipe, seed=0)
    sampler = Sampler(dataset.lengths, 16, config.window, "first", 0)
    batch = BatchReader(dataset, [sampler], 1, 8)[0]
    learner.update(batch)
    return learner, batch


class HostReads(TorchDispatchMode):
    """Counts operations that wait for a device: values, shapes or tensors that go to the host."""

    READS = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select", "_unique2")

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = function.overloadpacket.__name__
        boolean = name == "index" and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        self.count += name in self.READS or boolean
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("model", ["rate", "trxl", "dt", "lstm", "elmur", "dmamba", "lsdt"])
def test_an_update_reads_at_most_three_values_on_the_host(
    model: str, recall: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner, batch = ready(small(model), recall)
    lists = []
    read = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda tensor: lists.append(1) or read(tensor))
    with HostReads() as reads:
        learner.update(batch)
    assert reads.count + len(lists) <= 3
    assert lists == [1]  # the totals, once


def test_reads_are_counted() -> None:
    tensor = torch.tensor([True, False])
    with HostReads() as reads:
        _ = bool(tensor.any()), tensor.nonzero(), torch.arange(2)[tensor]
    assert reads.count >= 3


def test_an_update_takes_ten_files_of_the_library(recall: Path) -> None:
    learner, batch = ready(small("rate"), recall)
    files: set[str] = set()

    def profile(frame: Any, event: str, argument: Any) -> None:
        if event == "call" and Path(frame.f_code.co_filename).is_relative_to(SOURCE):
            files.add(Path(frame.f_code.co_filename).relative_to(SOURCE).as_posix())

    sys.setprofile(profile)
    try:
        learner.update(batch)
    finally:
        sys.setprofile(None)
    assert len(files) <= 10, sorted(files)


class Step(nn.Module):
    """An acting step as a module."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy

    def forward(
        self, stream: Stream, observations: dict[str, torch.Tensor], *rest: torch.Tensor
    ) -> torch.Tensor:
        return self.policy.observe(stream, observations, *rest)


def window_and_policy(name: str, recall: Path) -> tuple[Policy, Segment]:
    config = small(name)
    dataset = open_dataset(recall)
    torch.manual_seed(0)
    policy = Policy(dataset.observation_space, dataset.action_space, config)
    sampler = Sampler(dataset.lengths, 2, config.window, "first", 0)
    return policy, BatchReader(dataset, [sampler], 1, 2)[0].parts[0]


@pytest.mark.parametrize("name", names())
def test_a_segment_and_an_acting_step_can_be_exported(name: str, recall: Path) -> None:
    policy, window = window_and_policy(name, recall)
    policy.eval()
    segment = window.split(policy.config.segment_length)[0]
    with torch.no_grad():
        _, memory = policy(segment, policy.initial_memory(2))
        expected, after = policy(segment, memory, 2)
        exported = torch.export.export(policy, (segment, memory, 2)).module()
        outputs, written = exported(segment, memory, 2)
        torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=0)
        for one, other in zip(written, after, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
        first = segment.window(1, 2)
        inputs = (
            {path: leaf[:, 0] for path, leaf in first.observations.items()},
            first.returns_to_go[:, 0],
            first.actions[:, 0],
            first.timesteps[:, 0],
        )
        step = torch.export.export(Step(policy), (policy.backbone.start(memory), *inputs))
        expected = Step(policy)(policy.backbone.start(memory), *inputs)
        outputs = step.module()(policy.backbone.start(memory), *inputs)
        torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "name",
    ["rate", "lstm", *(pytest.param(name, marks=pytest.mark.slow) for name in sorted(names()))],
)
def test_the_loss_of_a_window_is_one_graph_for_a_compiler(
    name: str, recall: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch._dynamo.config, "allow_rnn", True, raising=False)
    torch._dynamo.reset()
    policy, window = window_and_policy(name, recall)
    policy.eval()  # nothing is dropped out, so that both give the same
    length = policy.config.training_segment_length
    weights = list(step_weights(window, "episode", np.array(window.lengths)).split(length, 1))
    loss = WindowLoss(policy).eval()
    arguments = (window.split(length), weights, policy.initial_memory(2), False)
    expected = loss(*arguments)[0]
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*arguments)[0], expected, atol=1e-5, rtol=0)
