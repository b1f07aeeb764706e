"""Heads compute where their inputs are: nothing is copied to or from the host but actions."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

from rate.models.heads import CategoricalHead, head

SPACES = {
    "discrete": spaces.Discrete(4, start=-1),
    "several": spaces.MultiDiscrete([[3, 4], [2, 5]], start=[[0, 2], [1, 0]]),
    "binary": spaces.MultiBinary((2, 3)),
    "whole": spaces.Box(-2, np.array([3, 4], np.int16), dtype=np.int16),
    "half-bounded": spaces.Box(
        np.array([-np.inf, 0, -1, -np.inf], np.float32),
        np.array([np.inf, np.inf, 1, 2], np.float32),
    ),
    "box": spaces.Box(-2, np.array([3, 4], np.float32), dtype=np.float32),
}
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


def actions_of(space: gymnasium.Space, count: int) -> Tensor:
    space.seed(0)
    return torch.from_numpy(np.array([space.sample() for _ in range(count)]))


class Everything(nn.Module):
    """All that training asks of a head."""

    def __init__(self, space: gymnasium.Space) -> None:
        super().__init__()
        self.head = head(space, 8)

    def forward(self, hidden: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        outputs = self.head(hidden)
        return outputs, self.head.loss(outputs, actions), self.head.correct(outputs, actions)


@every_space
@pytest.mark.parametrize("training", [True, False])
def test_no_head_branches_on_its_input(space: gymnasium.Space, training: bool) -> None:
    torch.manual_seed(0)
    module = Everything(space).train(training)
    given = (torch.randn(12, 8), actions_of(space, 12))
    expected = module(*given)
    torch.testing.assert_close(torch.export.export(module, given).module()(*given), expected)
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*given), expected)


@every_space
def test_heads_compute_on_the_device_of_their_inputs(space: gymnasium.Space) -> None:
    module = Everything(space).to("meta")
    outputs, loss, correct = module(
        torch.empty(12, 8, device="meta"), actions_of(space, 12).to("meta")
    )
    assert (loss.shape, correct.shape) == ((12,), (12,))
    assert {outputs.device.type, loss.device.type, correct.device.type} == {"meta"}


@every_space
def test_the_first_category_is_no_part_of_a_checkpoint(space: gymnasium.Space) -> None:
    assert {name.partition(".")[0] for name in head(space, 8).state_dict()} == {"linear"}


@pytest.mark.parametrize("name", ["discrete", "several"])
def test_chosen_actions_lie_in_the_space(name: str) -> None:
    space = SPACES[name]
    part = head(space, 8)
    assert isinstance(part, CategoricalHead)
    torch.manual_seed(0)
    outputs = 3 * torch.randn(200, sum(part.counts))
    numbers = outputs.numpy()
    uniform = np.random.default_rng(0).random((200, len(part.counts)))
    for chosen in (part.choose(numbers, None), part.choose(numbers, uniform)):
        assert chosen.dtype == np.int64
        assert all(action in space for action in chosen.astype(space.dtype))
    assert bool(part.correct(outputs, torch.from_numpy(part.choose(numbers, None))).all())
    logits = outputs[:, : part.counts[0]].double()
    cumulative = logits.softmax(-1).cumsum(-1).numpy()
    expected = [
        np.searchsorted(row, u, side="right")
        for row, u in zip(cumulative, uniform[:, 0], strict=True)
    ]
    first = part.choose(numbers, uniform).reshape(200, -1)[:, 0]
    np.testing.assert_array_equal(first - int(part.start[0]), expected)


BOXES = {
    **{kind.__name__: spaces.Box(0, 1, (3,), kind) for kind in (bool, np.uint8, np.int64)},
    **{
        kind.__name__: spaces.Box(-0.1, 0.3, (3,), kind)
        for kind in (np.float16, np.float32, np.float64)
    },
    "int8": spaces.Box(-20, 20, (3,), np.int8),
    "uint16": spaces.Box(3, 9, (), np.uint16),
    "whole half-bounded": spaces.Box(
        np.array([0, np.iinfo(np.int32).min], np.int32),
        np.array([np.iinfo(np.int32).max, 5], np.int32),
    ),
    "whole numbers of any size": spaces.Box(-(2**63), 2**63 - 1, (1,), np.int64),
    "unsigned numbers of any size": spaces.Box(0, 2**64 - 1, (1,), np.uint64),
    "half-bounded": SPACES["half-bounded"],
    "numbers of any size": spaces.Box(
        np.finfo(np.float32).min, np.finfo(np.float32).max, (2,), np.float32
    ),
}


@pytest.mark.parametrize("space", BOXES.values(), ids=BOXES)
def test_actions_of_a_box_lie_in_it_and_reach_both_bounds(space: spaces.Box) -> None:
    torch.manual_seed(0)
    part = head(space, 8)
    part.linear.bias = nn.Parameter(torch.zeros_like(part.linear.bias))
    hidden = torch.cat([100 * torch.randn(200, 8), torch.randn(200, 8), torch.zeros(1, 8)])
    outputs = part(hidden)
    assert torch.isfinite(outputs).all()
    chosen = part.choose(outputs.detach().numpy(), None)
    assert chosen.dtype == space.dtype
    assert all(space.contains(action) for action in chosen)
    rows = chosen.reshape(len(chosen), -1)
    near = (np.abs(space.low.astype(float)) < 100) & (np.abs(space.high.astype(float)) < 100)
    columns = rows[:, near.ravel()] if near.any() else rows[:, :0]
    for bound, reached in ((space.low, columns.min(0)), (space.high, columns.max(0))):
        np.testing.assert_allclose(reached, bound[near].ravel(), rtol=1e-3)


@pytest.mark.parametrize("low", [-3, 0, -1])
@pytest.mark.parametrize("high", [3, 20, 0])
def test_every_whole_number_can_be_chosen_and_is_the_nearest(low: int, high: int) -> None:
    space = spaces.Box(low, high, (1,), np.int64)
    part, targets = head(space, 8), torch.arange(low, high + 1)[:, None]
    assert float(part.radius) == (high - low + 1) / 2  # tanh passes both bounds
    for error in (-0.4, 0.0, 0.4):
        outputs = targets + error
        assert part.choose(outputs.detach().numpy(), None).tolist() == targets.tolist()
        assert part.correct(outputs, targets).all()


def test_other_actions_have_no_head() -> None:
    with pytest.raises(ValueError, match="no head for Dict"):
        head(spaces.Dict(a=spaces.Discrete(2)), 8)
