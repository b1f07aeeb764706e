"""Heads compute where their inputs are: nothing is copied to or from the host but actions."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.distributions import AffineTransform, Normal, TanhTransform, TransformedDistribution

from rate.models.heads import ActionHead, CategoricalHead, GaussianHead, head

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
HEADS: dict[str, tuple[gymnasium.Space, ActionHead]] = {
    **{name: (space, "auto") for name, space in SPACES.items()},
    **{f"gaussian {name}": (SPACES[name], "tanh-gaussian") for name in ("box", "half-bounded")},
}
every_head = pytest.mark.parametrize(("space", "kind"), HEADS.values(), ids=HEADS)


def actions_of(space: gymnasium.Space, count: int) -> Tensor:
    space.seed(0)
    return torch.from_numpy(np.array([space.sample() for _ in range(count)]))


class Everything(nn.Module):
    """All that training asks of a head."""

    def __init__(self, space: gymnasium.Space, kind: ActionHead = "auto") -> None:
        super().__init__()
        self.head = head(space, 8, kind)

    def forward(self, hidden: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        outputs = self.head(hidden)
        return outputs, self.head.loss(outputs, actions), self.head.correct(outputs, actions)


@every_head
@pytest.mark.parametrize("training", [True, False])
def test_no_head_branches_on_its_input(
    space: gymnasium.Space, kind: ActionHead, training: bool
) -> None:
    torch.manual_seed(0)
    module = Everything(space, kind).train(training)
    given = (torch.randn(12, 8), actions_of(space, 12))
    expected = module(*given)
    torch.testing.assert_close(torch.export.export(module, given).module()(*given), expected)
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*given), expected)


@every_head
def test_heads_compute_on_the_device_of_their_inputs(
    space: gymnasium.Space, kind: ActionHead
) -> None:
    module = Everything(space, kind).to("meta")
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


GAUSSIANS = {name: SPACES[name] for name in ("box", "half-bounded")}
every_gaussian = pytest.mark.parametrize("space", GAUSSIANS.values(), ids=GAUSSIANS)


def gaussian(space: gymnasium.Space) -> GaussianHead:
    torch.manual_seed(0)
    part = head(space, 8, "tanh-gaussian")
    assert isinstance(part, GaussianHead)
    return part


@every_gaussian
def test_a_gaussian_head_has_the_density_of_a_squashed_normal(space: spaces.Box) -> None:
    """By PyTorch's own distributions: a Gaussian number, its tanh, scaled to the bounds."""
    part = gaussian(space)
    outputs = part(torch.randn(50, 8))
    actions, density = part.sampled(outputs)
    mean, deviation = outputs.chunk(2, -1)
    expected = torch.zeros(50)
    for column in range(part.size):
        normal = Normal(mean[:, column], deviation[:, column].exp())
        steps = [TanhTransform(), AffineTransform(part.centre[column], part.radius[column])]
        bounded = bool(part.bounded[column])
        one = TransformedDistribution(normal, steps) if bounded else normal
        expected = expected + one.log_prob(actions[:, column])
    torch.testing.assert_close(density, expected, atol=1e-3, rtol=1e-3)
    inside = ((actions - part.centre).abs() < 0.99 * part.radius) | ~part.bounded
    assert inside.all(-1).sum() > 20
    kept = inside.all(-1)
    torch.testing.assert_close(part.loss(outputs, actions)[kept], -density[kept], atol=1e-3, rtol=0)


@every_gaussian
def test_a_gaussian_head_acts_inside_the_space_and_by_its_random_numbers(space: spaces.Box) -> None:
    part = gaussian(space)
    outputs = part(torch.cat([50 * torch.randn(100, 8), torch.randn(3900, 8)])).detach()
    uniform = np.random.default_rng(0).random((4000, part.size))
    uniform[:2] = np.array([[0.0], [np.nextafter(1.0, 0.0)]])
    drawn, greedy = (part.choose(outputs.numpy(), one) for one in (uniform, None))
    for actions in (drawn, greedy):
        assert actions.dtype == space.dtype
        assert all(space.contains(action) for action in actions)
    same = np.full_like(uniform, 0.5)  # the median is the mean
    np.testing.assert_allclose(part.choose(outputs.numpy(), same), greedy, atol=1e-6)
    again = part.choose(outputs.numpy(), uniform)
    np.testing.assert_array_equal(again, drawn)
    whole_line = space.bounded_below == space.bounded_above  # nothing is clipped
    above = (drawn > greedy)[100:, whole_line]
    assert np.abs(above.mean(0) - 0.5).max() < 0.05


def test_a_gaussian_head_learns_mean_and_deviation() -> None:
    """Actions at the bounds, as recorded ones are, keep loss and gradient finite."""
    space = spaces.Box(-1, 1, (2,), np.float32)
    part, hidden = gaussian(space), torch.ones(256, 8)
    noise = torch.randn(256, 2, generator=torch.Generator().manual_seed(0))
    actions = torch.tanh(torch.tensor([0.8, -0.3]) + torch.tensor([0.1, 0.5]) * noise)
    optimiser = torch.optim.Adam(part.parameters(), 0.02)
    for _ in range(300):
        optimiser.zero_grad()
        part.loss(part(hidden), actions).mean().backward()
        optimiser.step()
    mean, deviation = part(hidden[:1])[0].chunk(2)
    torch.testing.assert_close(mean, torch.tensor([0.8, -0.3]), atol=0.08, rtol=0)
    torch.testing.assert_close(deviation.exp(), torch.tensor([0.1, 0.5]), atol=0.05, rtol=0)
    for extreme in (torch.ones(256, 2), -torch.ones(256, 2)):
        optimiser.zero_grad()
        loss = part.loss(part(100 * hidden), extreme).mean()
        loss.backward()
        assert loss.isfinite()
        assert all(one.grad is not None and one.grad.isfinite().all() for one in part.parameters())


@pytest.mark.parametrize("name", ["discrete", "whole", "binary"])
def test_a_gaussian_head_goes_with_real_numbers(name: str) -> None:
    with pytest.raises(ValueError, match="tanh-gaussian goes with Box actions of real numbers"):
        head(SPACES[name], 8, "tanh-gaussian")


def test_other_actions_have_no_head() -> None:
    with pytest.raises(ValueError, match="no head for Dict"):
        head(spaces.Dict(a=spaces.Discrete(2)), 8)
