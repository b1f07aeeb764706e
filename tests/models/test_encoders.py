"""Images that repeat are encoded once, to the same numbers and gradients."""

import gymnasium
import numpy as np
import pytest
import torch

from rate.models.encoders import ImageEncoder, ObservationEncoder, distinct


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
    monkeypatch.setattr(
        torch, "randint", lambda high, size, **_: torch.zeros(size, dtype=torch.int64)
    )
    given = torch.arange(20, dtype=torch.uint8)[:, None, None, None].expand(20, 4, 4, 1)
    found, index = distinct(given)
    assert index is None
    assert torch.equal(found, given)


def test_frames_and_their_numbers_are_encoded_as_the_images_they_stand_for() -> None:
    space = gymnasium.spaces.Box(0, 255, (36, 36, 3), np.uint8)
    encoder = ObservationEncoder(space, 8, {})
    frames, numbers = images(4, 4), torch.randint(4, (3, 5))
    known = encoder({"observation": numbers}, {"observation": frames})
    torch.testing.assert_close(known, encoder({"observation": frames[numbers]}))


def test_images_that_differ_a_little_give_tokens_that_differ() -> None:
    given = images(2, 2)
    given[1] = given[0]
    given[1, :12] = 255 - given[1, :12]
    with torch.no_grad():
        first, second = ImageEncoder((36, 36, 3), 64)(given)
    assert float(first.std()) == pytest.approx(1, abs=0.05)
    assert float((first - second).std()) > 0.1


def test_encodings_and_gradients_are_those_of_images_one_by_one() -> None:
    encoder = ImageEncoder((36, 36, 3), 8).double()
    given = images(30, 4)
    together = encoder(given.view(5, 6, 36, 36, 3))
    together.square().sum().backward()
    gradients = [
        parameter.grad.clone() for parameter in encoder.parameters() if parameter.grad is not None
    ]
    encoder.zero_grad()
    single = torch.cat([encoder(image[None]) for image in given]).view(5, 6, 8)
    single.square().sum().backward()
    torch.testing.assert_close(together, single)
    assert len(gradients) == 8
    for one, parameter in zip(gradients, encoder.parameters(), strict=True):
        torch.testing.assert_close(one, parameter.grad)


def test_flags_are_standardised_so_that_rare_ones_stand_out() -> None:
    often = 0.01
    moments = (
        np.array([often, 0.5], np.float32),
        np.sqrt([often * (1 - often), 0.25]).astype(np.float32),
    )
    encode = ObservationEncoder(gymnasium.spaces.MultiBinary(2), 64, {"observation": moments})
    weight = encode.encoders[0].linear.weight
    rare, common = encode({"observation": torch.eye(2, dtype=torch.int8)})
    shift = encode({"observation": torch.zeros(2, dtype=torch.int8)})
    torch.testing.assert_close(rare - shift, weight[:, 0] / np.sqrt(often * (1 - often)))
    torch.testing.assert_close(common - shift, weight[:, 1] / 0.5)
