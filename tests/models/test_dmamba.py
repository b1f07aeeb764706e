"""Decision Mamba: the scan is the recurrence, step sizes begin as they should, and states last."""

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from rate.models.dmamba import LONGEST_STEP, SHORTEST_STEP, Config, Mixer, StateSpaceModel
from rate.models.nn import selective_scan as module
from rate.models.nn.selective_scan import selective_scan
from rate.models.policy import Policy
from rate.recipe import OptimiserConfig
from rate.training.update import adamw


def arguments(
    tokens: int, batch: int = 2, inner: int = 3, states: int = 4, **to: object
) -> list[Tensor]:
    """Random arguments of `selective_scan`, with step sizes over Mamba's whole range and beyond."""
    torch.manual_seed(tokens)
    delta = torch.empty(batch, tokens, inner).uniform_(-7, 1).exp()
    rates = -torch.arange(1.0, states + 1).repeat(inner, 1)
    values = torch.randn(batch, tokens, inner)
    write, read = torch.randn(2, batch, tokens, states)
    given = values, delta, rates, write, read, torch.randn(batch, inner, states)
    return [tensor.detach().to(**to).requires_grad_() for tensor in given]


def recurrence(
    values: Tensor, delta: Tensor, rates: Tensor, write: Tensor, read: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """The same, token by token as it is defined."""
    outputs = []
    for token in range(values.shape[1]):
        decay = torch.exp(delta[:, token, :, None] * rates)
        state = decay * state + (delta * values)[:, token, :, None] * write[:, token, None]
        outputs.append((state * read[:, token, None]).sum(-1))
    return torch.stack(outputs, 1), state


@pytest.fixture(
    params=[module.CPU_CHUNK, module.ACCELERATOR_CHUNK], ids=["cpu-chunk", "accelerator-chunk"]
)
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CPU_CHUNK", request.param)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("tokens", [1, 2, 3, 14, 16, 17, 270, 900])
def test_scan_equals_the_recurrence_and_so_do_its_gradients(tokens: int) -> None:
    given = arguments(tokens)
    results = []
    for function in (selective_scan, recurrence):
        outputs, state = function(*given)
        weights = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(0))
        gradients = torch.autograd.grad((outputs * weights).sum() + state.square().sum(), given)
        results.append([outputs, state, *gradients])
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(
            got / expected.abs().max(), expected / expected.abs().max(), atol=3e-6, rtol=0
        )


@pytest.mark.parametrize("tokens", [1, 5, 35])
def test_gradient_in_double_precision(tokens: int) -> None:
    assert torch.autograd.gradcheck(selective_scan, arguments(tokens, 1, 2, 2, dtype=torch.float64))


def test_states_that_vanish_at_once_stay_finite() -> None:
    values, _, rates, write, read, state = arguments(100)
    delta = torch.full_like(values, 50.0, requires_grad=True)
    outputs, after = selective_scan(values, delta, rates, write, read, state)
    gradients = torch.autograd.grad(outputs.sum() + after.sum(), (values, delta, rates, state))
    assert all(tensor.isfinite().all() for tensor in (outputs, after, *gradients))


def test_a_state_that_is_not_carried_comes_back_unchanged() -> None:
    given = arguments(20)
    outputs, state = selective_scan(*given, carry=False)
    assert state is given[-1]
    torch.testing.assert_close(outputs, selective_scan(*given)[0], atol=0, rtol=0)


def test_low_precision_is_scanned_in_float32() -> None:
    given = arguments(40, dtype=torch.bfloat16)
    outputs, state = selective_scan(*given)
    assert outputs.dtype == state.dtype == torch.float32
    expected, _ = selective_scan(*(tensor.float() for tensor in given))
    torch.testing.assert_close(outputs, expected, atol=0, rtol=0)


def test_the_plain_recurrence_equals_the_scan() -> None:
    *given, state = arguments(40)
    expected = [*module.selective_scan(*given, state)]
    values, delta, rates, write, read = given
    found = [*module._in_order(values, delta, write, read, rates, state)]
    for outputs, others in zip(found, expected, strict=True):
        torch.testing.assert_close(outputs, others, atol=1e-5, rtol=1e-5)


def model(wiped: bool, **options: int) -> StateSpaceModel:
    torch.manual_seed(0)
    return Config(dropout=0.0, wiped_step_bias=wiped, **options).build().eval()


def mixers(backbone: StateSpaceModel) -> list[Mixer]:
    return [part for part in backbone.modules() if isinstance(part, Mixer)]


def test_step_sizes_begin_log_uniform_and_wiped_ones_at_softplus_of_zero() -> None:
    steps = torch.cat(
        [functional.softplus(mixer.step.bias) for mixer in mixers(model(False, width=512))]
    ).detach()
    assert steps.min() >= SHORTEST_STEP * 0.999
    assert steps.max() <= LONGEST_STEP * 1.001
    quartiles = steps.log10().quantile(torch.tensor([0.25, 0.5, 0.75]))
    torch.testing.assert_close(quartiles, torch.tensor([-2.5, -2.0, -1.5]), atol=0.08, rtol=0)
    for mixer in mixers(model(True)):
        assert functional.softplus(mixer.step.bias).allclose(torch.tensor(2.0).log())


def test_rates_begin_at_whole_numbers_and_the_skip_at_one() -> None:
    for mixer in mixers(model(False, width=32)):
        torch.testing.assert_close(mixer.log_rates.exp(), torch.arange(1.0, 17).expand(64, 16))
        assert mixer.skip.eq(1).all()
        assert mixer.step.in_features == 2


@torch.no_grad()
def change_left(backbone: StateSpaceModel, tokens: int) -> float:
    """How much of a first token's mark on the states is left after so many tokens."""
    sequence = (
        torch.randn(1, tokens, 64, generator=torch.Generator().manual_seed(1))
        .expand(2, -1, -1)
        .clone()
    )
    sequence[1, 0] = -sequence[1, 0]
    marks = []
    for length in (1, tokens):
        _, (_, state) = backbone(sequence[:, :length], backbone.initial_memory(2), 2)
        marks.append(float((state[0] - state[1]).norm()))
    return marks[1] / marks[0]


def test_the_gradient_of_a_last_token_reaches_the_first() -> None:
    sizes = {}
    for start in ("mamba", "small"):
        torch.manual_seed(0)
        backbone = Config(dropout=0.0, start=start).build().eval()
        tokens = torch.randn(1, 270, 64, generator=torch.Generator().manual_seed(1))
        tokens.requires_grad_()
        hidden, _ = backbone(tokens, backbone.initial_memory(1), 0)
        weights = torch.randn(64, generator=torch.Generator().manual_seed(2))
        (gradient,) = torch.autograd.grad((hidden[0, -1] * weights).sum(), tokens)
        sizes[start] = float(gradient[0, 0].norm())
    assert sizes["mamba"] > 20 * sizes["small"]


def test_a_first_token_lasts_and_is_lost_with_wiped_step_sizes() -> None:
    assert change_left(model(False), 300) > 0.01
    assert change_left(model(True), 300) < 1e-6


@torch.no_grad()
def test_any_cut_of_a_sequence_gives_the_same() -> None:
    backbone = model(False, width=16)
    tokens = torch.randn(2, 60, 16)
    whole, memory = backbone(tokens, backbone.initial_memory(2), 2)
    for sizes in ([1] * 60, [2, 58], [7, 31, 22]):
        carried, parts = backbone.initial_memory(2), []
        for part in tokens.split(sizes, 1):
            hidden, carried = backbone(part, carried, 2)
            parts.append(hidden)
        torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=0)
        torch.testing.assert_close(carried, memory, atol=1e-5, rtol=0)


def test_a_convolution_of_one_token_needs_no_history() -> None:
    backbone = model(False, convolution=1)
    hidden, (history, _) = backbone(torch.randn(2, 9, 64), backbone.initial_memory(2), 2)
    assert hidden.shape == (2, 9, 64)
    assert history.shape == (2, 2, 128, 0)


@torch.inference_mode()
def test_the_stream_is_as_large_after_300_tokens_as_after_one() -> None:
    backbone = model(False, width=16)
    stream = backbone.start(backbone.initial_memory(2))
    sizes = set()
    for _ in range(300):
        backbone.append(stream, torch.randn(2, 1, 16))
        sizes.add(tuple(tensor.shape for tensor in stream.tensors.values()))
    assert sizes == {((2, 2, 32, 3), (2, 2, 32, 16))}


def test_only_matrices_decay() -> None:
    box = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
    policy = Policy(box, gymnasium.spaces.Discrete(3), Config(width=16))
    decayed, kept = (group["params"] for group in adamw(policy, OptimiserConfig()).param_groups)
    mixer = policy.backbone.blocks[0].mixer
    for parameter in (mixer.log_rates, mixer.skip, mixer.step.bias, mixer.convolution.weight):
        assert any(parameter is other for other in kept)
    assert any(mixer.step.weight is other for other in decayed)


def test_wrong_sizes_say_what_is_allowed() -> None:
    with pytest.raises(ValueError, match="state_size must be at least 1, but 0 was given"):
        Config(state_size=0)
