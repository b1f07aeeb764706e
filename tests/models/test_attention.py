"""Factored relative attention against its definition, and its own backward pass against
autograd."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rate.models.nn import cuda
from rate.models.nn.cpu import BlockwiseAttention
from rate.models.nn.transformer import Positions, RelativeAttention, View, visible

WIDTH, HEADS, HEAD_WIDTH = 12, 2, 5


def parts(length: int, times: int) -> tuple[RelativeAttention, Positions, dict[str, Tensor]]:
    torch.manual_seed(0)
    attention, positions = RelativeAttention(WIDTH, HEADS, HEAD_WIDTH, 0.0), Positions(times, WIDTH)
    shapes = {"query": length, "keys": times, "values": times}
    tensors = {name: torch.randn(3, HEADS, n, HEAD_WIDTH) for name, n in shapes.items()}
    tensors |= {name: torch.randn(HEADS, 1, HEAD_WIDTH) for name in ("u", "v")}
    return attention, positions, tensors


def by_definition(attention: RelativeAttention, tensors: dict[str, Tensor], mask: Tensor) -> Tensor:
    """Scores with W_r R_(i-j) built for every pair of positions, distances of either sign."""
    query, keys = tensors["query"], tensors["keys"]
    length, times = query.shape[2], keys.shape[2]
    distance = torch.arange(times - length, times)[:, None] - torch.arange(times)
    frequencies = 10000.0 ** (-torch.arange(0, WIDTH, 2) / WIDTH)
    angles = distance[..., None] * frequencies
    relative = attention.position(torch.cat([angles.sin(), angles.cos()], -1)).unflatten(
        -1, (HEADS, HEAD_WIDTH)
    )
    scores = torch.einsum("bhid,bhjd->bhij", query + tensors["u"], keys)
    scores = scores + torch.einsum("bhid,ijhd->bhij", query + tensors["v"], relative)
    return (scores * HEAD_WIDTH**-0.5 + mask).softmax(-1) @ tensors["values"]


@pytest.mark.parametrize(
    ("length", "times", "blocks"), [(7, 7, ()), (6, 9, (2, 4)), (3, 20, (1,)), (1, 1, ())]
)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_factored_scores_are_those_of_the_definition(
    length: int, times: int, blocks: tuple[int, ...], bidirectional: bool
) -> None:
    attention, positions, tensors = parts(length, times)
    allowed = torch.ones(length, times, dtype=torch.bool)
    if not bidirectional:
        allowed = allowed.tril(times - length)
    mask = torch.zeros(length, times).masked_fill(~allowed, -torch.inf)
    here = torch.arange(times - length, times)[None]
    view = View(*positions.at(here), positions.table, mask[None, None])
    rotated = attention.rotate(tensors["query"] + tensors["v"], view)
    content, keys, values = tensors["query"] + tensors["u"], tensors["keys"], tensors["values"]
    expected = by_definition(attention, tensors, mask)
    weights = attention.weights(content, rotated, keys, view).view(3, HEADS, length, times)
    torch.testing.assert_close(weights @ values, expected, atol=1e-5, rtol=0)
    if not bidirectional:
        view = view._replace(cuts=blocks)
    for learning in (True, False):
        with torch.set_grad_enabled(learning):
            attended = attention.attend(content, rotated, keys, values, view)
        torch.testing.assert_close(attended, expected, atol=1e-5, rtol=0)


def inputs(rows: int, length: int, times: int) -> list[Tensor]:
    torch.manual_seed(1)
    shapes = [(rows, length, 4), (rows, length, 6), (rows, times, 4), (rows, times, 4)]
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_backward_pass_against_finite_differences(dropout: float) -> None:
    length, times, bounds = 5, 7, (0, 2, 4, 5)
    table = torch.randn(times, 6, dtype=torch.float64)
    mask = torch.zeros(length, times, dtype=torch.float64)
    mask = mask.masked_fill(torch.ones(length, times).tril(times - length) == 0, -torch.inf)[None]

    def attend(*tensors: Tensor) -> Tensor:
        torch.manual_seed(2)  # the same weights are dropped at every evaluation
        result: Tensor = BlockwiseAttention.apply(*tensors, table, mask, bounds, 0.5, dropout)
        return result

    assert torch.autograd.gradcheck(attend, inputs(2, length, times))


def test_blocks_equal_fused_attention_and_its_gradients() -> None:
    length, times = 100, 130
    tensors = [tensor.float().detach().requires_grad_() for tensor in inputs(3, length, times)]
    table = torch.randn(times, 6)
    allowed = torch.ones(length, times, dtype=torch.bool).tril(times - length)
    mask = torch.zeros(length, times).masked_fill(~allowed, -torch.inf)
    content, rotated, keys, values = tensors
    ours = BlockwiseAttention.apply(*tensors, table, mask[None], (0, 64, 100), 0.5, 0.0)
    queries = torch.cat([content, rotated], -1)
    fused = F.scaled_dot_product_attention(
        queries,
        torch.cat([keys, table.expand(3, -1, -1)], -1),
        F.pad(values, (0, 6)),
        mask,
        scale=0.5,
    )[..., :4]
    torch.testing.assert_close(ours, fused, atol=1e-5, rtol=0)
    upstream = torch.randn_like(ours)
    for mine, other in zip(
        torch.autograd.grad(ours, tensors, upstream),
        torch.autograd.grad(fused, tensors, upstream),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=0)


def test_dropout_keeps_the_mean_and_drops_at_the_rate() -> None:
    rate, rows = 0.3, 2000
    torch.manual_seed(3)
    ones = torch.ones(rows, 4, 1)
    attended = BlockwiseAttention.apply(
        torch.zeros(rows, 4, 1), torch.zeros(rows, 4, 2), torch.zeros(rows, 4, 1), ones,
        torch.zeros(4, 2),
        torch.zeros(1, 4, 4), (0, 4), 1.0, rate,
    )  # fmt: skip
    assert attended.mean() == pytest.approx(1.0, abs=0.02)
    assert (attended * 4 * (1 - rate)).round().mean() / 4 == pytest.approx(1 - rate, abs=0.01)


def test_autocast_trains_in_float32_inside() -> None:
    attention, positions, tensors = parts(6, 6)
    x = torch.randn(2, 6, WIDTH)
    here = torch.arange(6)[None]
    view = View(*positions.at(here), positions.table, torch.zeros(1, 1, 6, 6))
    with torch.autocast("cpu", torch.bfloat16):
        query, keys_values = attention.project(x)
        out = attention(query, keys_values, (tensors["u"], tensors["v"]), view)
    out.sum().backward()
    assert attention.query_key_value.weight.grad is not None


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("times", [8, 11])
def test_rotation_and_bias_for_cuda_are_those_of_plain_operations(rows: bool, times: int) -> None:
    attention, query, view, _ = case_for_cuda(rows, times)
    weight = attention.position.weight.view(2, 8, 16)
    rotated = cuda.rotated_queries(query, weight, view.sin, view.cos)
    expected = attention.rotate(query, view)
    torch.testing.assert_close(rotated.transpose(0, 1), expected)
    bias = cuda.position_bias(rotated, view.table, view.mask, 8**-0.5)
    assert bias.stride(2) % cuda.ALIGNMENT == 0
    torch.testing.assert_close(bias, attention._bias(expected, view))


@pytest.fixture
def cpu_kernel() -> Iterator[None]:
    """PyTorch's memory-efficient attention, which has no code for a CPU, by its definition."""

    def forward(
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        bias: Tensor,
        logsumexp: bool,
        dropout: float = 0.0,
        causal: bool = False,
        scale: float | None = None,
    ) -> tuple[Tensor, ...]:
        assert dropout == 0
        assert scale is not None
        weights = (queries @ keys.transpose(-1, -2) * scale + bias).softmax(-1)
        return weights @ values, weights, *torch.zeros(2, 1).unbind()

    def backward(
        gradient: Tensor,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        *others: Tensor,
        scale: float,
    ) -> tuple[Tensor, ...]:
        _, _, weights, *_ = others
        of_weights = gradient @ values.transpose(-1, -2)
        of_scores = weights * (of_weights - (of_weights * weights).sum(-1, keepdim=True))
        of_keys = scale * of_scores.transpose(-1, -2) @ queries
        return scale * of_scores @ keys, of_keys, weights.transpose(-1, -2) @ gradient, of_scores

    with torch.library._scoped_library("aten", "IMPL") as library:
        library.impl("_scaled_dot_product_efficient_attention", forward, "CPU")
        library.impl("_scaled_dot_product_efficient_attention_backward", backward, "CPU")
        yield


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("times", [8, 11])
def test_attention_for_cuda_has_the_gradients_of_the_reference(
    rows: bool, times: int, cpu_kernel: None
) -> None:
    attention, query, view, keys_values = case_for_cuda(rows, times)
    biases = torch.randn(2, 2, 1, 8).unbind(0)
    inputs = [part.detach().requires_grad_() for part in (query, *keys_values, *biases)]
    asked, keys, values, u, v = inputs
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one) or one, lambda x: x):
        attended = attention._attend_on_cuda(asked, keys, values, (u, v), view)
    bias = attention._bias(attention.rotate(asked + v, view), view)
    expected = F.scaled_dot_product_attention(asked + u, keys, values, bias)
    wanted = [*inputs, attention.position.weight]
    torch.testing.assert_close(attended, expected)
    gradients = [torch.autograd.grad(out.sin().sum(), wanted) for out in (attended, expected)]
    torch.testing.assert_close(*gradients)
    largest = max(query.numel(), keys_values[0].numel(), 3 * 2 * 5 * times)  # weights, here alone
    assert max(one.numel() for one in kept) == largest, "nothing of the width is kept for each head"


@pytest.mark.cuda
@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("times", [8, 11, 180])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)])
def test_attention_on_cuda_has_the_gradients_of_the_reference(
    rows: bool, times: int, dtype: torch.dtype, tolerance: float
) -> None:
    attention, query, view, keys_values = case_for_cuda(rows, times)
    biases = torch.randn(2, 2, 1, 8).unbind(0)
    results = []
    for device, kind in (("cpu", torch.float32), ("cuda", dtype)):
        attention = attention.to(device)
        here = View(*(part.to(device) for part in view[:4]))
        inputs = [
            part.detach().to(device).requires_grad_() for part in (query, *keys_values, *biases)
        ]
        asked, keys, values, *pair = (part.to(kind) for part in inputs)
        if device == "cpu":
            bias = attention._bias(attention.rotate(asked + pair[1], here), here)
            attended = F.scaled_dot_product_attention(asked + pair[0], keys, values, bias)
        else:
            attended = attention._attend_on_cuda(asked, keys, values, (pair[0], pair[1]), here)
        wanted = [*inputs, attention.position.weight]
        gradients = torch.autograd.grad(attended.float().sin().sum(), wanted)
        results.append([attended, *gradients])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(other.float().cpu(), one, atol=tolerance, rtol=tolerance)


def case_for_cuda(
    rows: bool, times: int
) -> tuple[RelativeAttention, torch.Tensor, View, tuple[torch.Tensor, torch.Tensor]]:
    """An attention layer, queries, what they see, and keys and values; with `rows`, rows stand at
    positions of their own."""
    torch.manual_seed(0)
    attention = RelativeAttention(16, 2, 8, 0.0)
    positions = Positions(times + 4, 16)
    first = torch.arange(3 if rows else 1)[:, None]
    index, columns = times - 5 + torch.arange(5) + first, torch.arange(times) + first
    table = positions.table[columns][:, None] if rows else positions.table[:times]
    allowed = columns[:, None] <= index[..., None]
    view = View(*positions.at(index), table, visible(allowed))
    query, keys, values = (torch.randn(3, 2, count, 8) for count in (5, times, times))
    return attention, query, view, (keys, values)
