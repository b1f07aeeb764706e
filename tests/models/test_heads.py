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
    uniform = np.random.default_rng(0).random((200, len(part.counts)))
    for chosen in (part.choose(outputs, None), part.choose(outputs, uniform)):
        assert chosen.dtype == np.int64
        assert all(action in space for action in chosen.astype(space.dtype))
    assert bool(part.correct(outputs, torch.from_numpy(part.choose(outputs, None))).all())
    logits = outputs[:, : part.counts[0]].double()
    cumulative = logits.softmax(-1).cumsum(-1).numpy()
    expected = [
        np.searchsorted(row, u, side="right")
        for row, u in zip(cumulative, uniform[:, 0], strict=True)
    ]
    first = part.choose(outputs, uniform).reshape(200, -1)[:, 0]
    np.testing.assert_array_equal(first - int(part.start[0]), expected)
