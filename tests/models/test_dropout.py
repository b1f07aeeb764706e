import pytest
import torch

from rate.models.nn.cpu import Dropout


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_elements_are_zeroed_at_the_rate_and_the_others_scaled_up(rate: float) -> None:
    torch.manual_seed(0)
    inputs = torch.ones(1000, 333, requires_grad=True)
    outputs = Dropout(rate)(inputs)
    outputs.sum().backward()
    assert inputs.grad is not None
    assert outputs.unique().tolist() == pytest.approx([0, 1 / (1 - rate)])
    assert outputs.mean().item() == pytest.approx(1, abs=0.01)
    torch.testing.assert_close(inputs.grad, outputs.detach())


def test_it_is_repeated_by_the_seed_and_absent_in_evaluation() -> None:
    dropout, inputs = Dropout(0.3), torch.randn(7, 5)
    runs = []
    for _ in range(2):
        torch.manual_seed(3)
        runs.append(dropout(inputs))
    torch.testing.assert_close(runs[0], runs[1], atol=0, rtol=0)
    assert not torch.equal(runs[0], dropout(inputs))
    assert dropout.eval()(inputs) is inputs
