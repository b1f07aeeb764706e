"""Images that repeat are encoded once, to the same numbers and gradients."""

import pytest
import torch

from rate.models.encoders import ImageEncoder, distinct


def images(count: int, different: int, shape: tuple[int, ...] = (36, 36, 3)) -> torch.Tensor:
    torch.manual_seed(0)
    pictures = torch.randint(256, (different, *shape), dtype=torch.uint8)
    return pictures[torch.randint(different, (count,))] if different < count else pictures


@pytest.mark.parametrize("shape", [(36, 36, 3), (3, 36, 36), (37, 41, 1)])
def test_repeated_images_are_found(shape: tuple[int, ...]) -> None:
    given = images(50, 7, shape)
    found, index = distinct(given)
    assert index is not None
    assert len(found) == 7 == len(found.flatten(1).unique(dim=0))
    assert torch.equal(found[index], given)


def test_images_that_all_differ_are_left_as_they_are() -> None:
    given = images(20, 20)
    found, index = distinct(given)
    assert index is None
    assert found is given
    assert distinct(given[:1])[1] is None


def test_a_collision_of_sums_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "randint", lambda high, size, **_: torch.zeros(size, dtype=torch.int64))
    given = torch.arange(20, dtype=torch.uint8)[:, None, None, None].expand(20, 4, 4, 1)
    found, index = distinct(given)
    assert index is None
    assert torch.equal(found, given)


def test_encodings_and_gradients_are_those_of_images_one_by_one() -> None:
    encoder = ImageEncoder((36, 36, 3), 8).double()
    given = images(30, 4)
    together = encoder(given.view(5, 6, 36, 36, 3))
    together.square().sum().backward()
    gradients = [parameter.grad.clone() for parameter in encoder.parameters() if parameter.grad is not None]
    encoder.zero_grad()
    single = torch.cat([encoder(image[None]) for image in given]).view(5, 6, 8)
    single.square().sum().backward()
    torch.testing.assert_close(together, single)
    assert len(gradients) == 8
    for one, parameter in zip(gradients, encoder.parameters(), strict=True):
        torch.testing.assert_close(one, parameter.grad)
