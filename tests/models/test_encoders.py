"""Encoders: chosen by space or by name, scaled by statistics, and alike for frames and images."""

from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from rate.dataset import open_dataset, write_dataset
from rate.episode import Episode
from rate.images import channel_axis, stack, stacked_space
from rate.models import MODELS, config_class, encoders, names
from rate.models.encoders import (
    CategoryEncoder,
    ObservationEncoder,
    VectorEncoder,
    centred,
    encoder,
    impala,
    nature,
)
from rate.models.policy import Policy
from rate.recipe import Recipe, from_json
from rate.runs.checkpoint import load_policy, save_policy

IMAGE = spaces.Box(0, 255, (36, 36, 3), np.uint8)
GRID = spaces.Box(0, 255, (7, 7, 3), np.uint8)
SPACES: dict[str, gymnasium.Space] = {
    "compact": IMAGE,
    "centred": IMAGE,
    "nature": IMAGE,
    "impala": IMAGE,
    "identity": spaces.Box(-1, 1, (2, 3), np.float32),
    "categories": spaces.MultiDiscrete([3, 4], start=[1, 0]),
}
every_kind = pytest.mark.parametrize("kind", SPACES)


def images(count: int, different: int, shape: tuple[int, ...] = (36, 36, 3)) -> torch.Tensor:
    torch.manual_seed(0)
    pictures = torch.randint(256, (different, *shape), dtype=torch.uint8)
    return pictures[torch.randint(different, (count,))] if different < count else pictures


def values(space: gymnasium.Space, *batch: int) -> torch.Tensor:
    space.seed(0)
    samples = np.stack([space.sample() for _ in range(int(np.prod(batch)))])
    return torch.from_numpy(samples.reshape(*batch, *samples.shape[1:]))


def statistics(pictures: np.ndarray, axes: int | tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Those of images over some axes, as a dataset gives them."""
    numbers = pictures.mean(axes), pictures.std(axes), pictures.min(axes), pictures.max(axes)
    return tuple(np.asarray(number, np.float32) for number in numbers)


def test_the_kinds_of_the_package_are_those_tested_here() -> None:
    assert sorted(SPACES) == sorted(encoders.kinds())


@pytest.mark.parametrize(
    ("space", "kind"),
    [
        (IMAGE, nature.Encoder),
        (spaces.Box(0, 255, (3, 64, 64), np.uint8), nature.Encoder),
        (spaces.Box(0, 255, (16, 20, 3), np.uint8), nature.Encoder),
        (GRID, VectorEncoder),
        (spaces.Box(0, 10, (20, 7, 7), np.uint8), VectorEncoder),
        (spaces.Box(0, 1, (64, 64, 3), np.float32), VectorEncoder),
        (spaces.Box(0, 255, (7, 7), np.uint8), VectorEncoder),
        (spaces.MultiBinary([2, 3]), VectorEncoder),
        (spaces.Discrete(4, start=2), CategoryEncoder),
        (spaces.MultiDiscrete([2, 3]), CategoryEncoder),
    ],
)
def test_the_space_decides_by_default(space: gymnasium.Space, kind: object) -> None:
    encode = encoder(space, 8)
    assert type(encode) is kind
    assert encode(values(space, 2, 5)).shape == (2, 5, 8)


@every_kind
def test_every_kind_refuses_spaces_that_it_does_not_encode(kind: str) -> None:
    refused = IMAGE if kind == "categories" else spaces.Discrete(3)
    with pytest.raises(ValueError, match=f"the encoder '{kind}' is for .* not for .*auto"):
        encoder(refused, 8, kind=kind)


@every_kind
@pytest.mark.parametrize("training", [True, False])
def test_no_kind_branches_on_its_input(kind: str, training: bool) -> None:
    space = SPACES[kind]
    encode, given = encoder(space, 8, kind=kind).train(training), values(space, 3, 5)
    expected = encode(given)
    exported = torch.export.export(encode, (given,)).module()
    torch.testing.assert_close(exported(given), expected)
    compiled = torch.compile(encode, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(given), expected)


@pytest.mark.parametrize("shape", [(36, 36, 3), (3, 36, 40), (37, 41, 1)])
@pytest.mark.parametrize("known", [False, True])
def test_pictures_are_divided_by_255_to_the_last_bit(shape: tuple[int, ...], known: bool) -> None:
    channels = shape[channel_axis(shape)]
    moments = tuple(np.full(channels, number, np.float32) for number in (90, 60, 0, 255))
    encode = nature.Encoder(spaces.Box(0, 255, shape, np.uint8), 8, moments if known else None)
    given = images(6, 6, shape)
    scaled = (given.permute(0, 3, 1, 2) if channel_axis(shape) else given).float() / 255 - 0.5
    assert torch.equal(encode.scaling(given), scaled)
    expected = nn.functional.layer_norm(encode.linear(encode.convolutions(scaled)), (8,))
    assert torch.equal(encode(given), expected)


@pytest.mark.parametrize("kind", [nature, impala])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("by_component", [False, True])
def test_channels_of_small_numbers_are_standardised_beside_pictures(
    kind: object, planar: bool, by_component: bool
) -> None:
    pictures = images(5, 5, (20, 30, 3)).numpy()
    pictures[..., 1] %= 11
    pictures[..., 2] = 7
    if planar:
        pictures = pictures.transpose(0, 3, 1, 2)
    channel = (0, 2, 3) if planar else (0, 1, 2)
    moments = statistics(pictures, 0 if by_component else channel)
    space = spaces.Box(0, 255, pictures.shape[1:], np.uint8)
    encode = kind.Encoder(space, 8, moments)
    scaled = encode.scaling(torch.from_numpy(pictures))
    assert scaled.shape == (5, 3, 20, 30)
    assert float(scaled[:, 0].abs().max()) == 0.5
    assert float(scaled[:, 1].mean()) == pytest.approx(0, abs=1e-5)
    assert float(scaled[:, 1].std()) == pytest.approx(1, abs=1e-3)
    assert float(scaled[:, 2].mean()) == pytest.approx(7 / 255 - 0.5)


def test_small_grids_are_standardised_as_floats_are() -> None:
    grids = images(50, 50, (7, 7, 3)).numpy() % np.array([11, 6, 3], np.uint8)
    grids[:, 3, 3, 2] = 1
    moments = statistics(grids, 0)
    encode = encoder(GRID, 8, moments)
    assert isinstance(encode, VectorEncoder)
    std = np.where(moments[1] == 0, np.float32(1), moments[1])
    floats = encoder(spaces.Box(0, 255, (7, 7, 3), np.float32), 8, (moments[0], std))
    floats.linear = encode.linear
    given = torch.from_numpy(grids)
    assert torch.equal(encode(given), floats(given.float()))


@pytest.mark.parametrize("shape", [(7, 9, 3), (3, 7, 9)])
def test_statistics_by_channel_serve_vectors_too(shape: tuple[int, ...]) -> None:
    axis = channel_axis(shape)
    pictures = images(20, 20, shape).numpy()
    moments = statistics(pictures, tuple({0, 1, 2, 3} - {axis + 1}))
    encode = encoder(spaces.Box(0, 255, shape, np.uint8), 8, moments)
    expected = np.broadcast_to(moments[0] if axis else moments[0][:, None, None], shape)
    np.testing.assert_array_equal(encode.mean.numpy(), expected)


@pytest.mark.parametrize("axes", [0, (0, 1, 2)])
def test_stacked_frames_share_the_statistics_of_one_frame(axes: int | tuple[int, ...]) -> None:
    frames = images(30, 30, (20, 30, 2)).numpy()
    frames[..., 1] %= 3
    moments = statistics(frames, axes)
    stacked = nature.Encoder(spaces.Box(0, 255, (20, 30, 6), np.uint8), 8, moments)
    single = nature.Encoder(spaces.Box(0, 255, (20, 30, 2), np.uint8), 8, moments)
    assert torch.equal(stacked.scaling.scale, single.scaling.scale.repeat(3))
    assert torch.equal(stacked.scaling.shift, single.scaling.shift.repeat(3))
    grid = VectorEncoder(spaces.Box(0, 255, (20, 30, 6), np.uint8), 8, moments)
    one = VectorEncoder(spaces.Box(0, 255, (20, 30, 2), np.uint8), 8, moments)
    assert torch.equal(grid.mean, one.mean.repeat(1, 1, 3))


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((64, 64, 3), 2),
        ((3, 64, 64), 0),
        ((64, 112, 3), 2),
        ((4, 64, 112), 0),
        ((7, 7, 20), 2),
        ((5, 4, 4), 2),
        ((5, 5, 16), 2),
        ((7, 7, 7), 0),
        ((20, 7, 7), 0),
        ((16, 5, 5), 0),
        ((12, 8, 8), 0),
        ((1, 1, 3), 2),
        ((84, 84, 4), 2),
        ((64, 64, 80), 2),
    ],
)
def test_the_axis_of_channels(shape: tuple[int, ...], axis: int) -> None:
    assert channel_axis(shape) == axis


@pytest.mark.parametrize("kind", ["compact", "centred", "nature", "impala"])
@pytest.mark.parametrize("shape", [(9, 16, 20), (20, 16, 9), (18, 18, 18)])
@pytest.mark.parametrize("known", [None, "small", "picture"])
def test_the_axis_of_channels_can_be_given(
    kind: str, shape: tuple[int, int, int], known: str | None
) -> None:
    given = images(5, 7, shape)
    given = given % 2 if known == "small" else given
    moments = {"first": None, "last": None}
    if known:
        axes = {"first": (0, 2, 3), "last": (0, 1, 2)}
        numbers = given.numpy().astype(np.float32)
        by = ("mean", "std", "min", "max")
        moments = {
            end: tuple(np.asarray(getattr(numbers, one)(axis), np.float32) for one in by)
            for end, axis in axes.items()
        }
    # Statistics of a dataset are by the channels that its shape suggests.
    found = moments["last" if channel_axis(shape) else "first"]
    tokens = {}
    for end in ("first", "last"):
        torch.manual_seed(0)
        encode = encoder(spaces.Box(0, 255, shape, np.uint8), 8, found, f"{kind}-{end}")
        tokens[end] = encode(given)
        scaled = encode.scaling(given)  # type: ignore[operator]
        moved = given if end == "first" else given.permute(0, 3, 1, 2)
        assert scaled.shape == moved.shape
        assert float(scaled.std()) > (0.5 if known == "small" else 0.2)
    assert not torch.allclose(tokens["first"], tokens["last"])
    with pytest.raises(ValueError, match="unknown encoder"):
        encoder(spaces.Box(0, 255, shape, np.uint8), 8, found, "identity-last")


def test_frames_and_their_numbers_are_encoded_as_the_images_they_stand_for() -> None:
    encode = ObservationEncoder(IMAGE, 8, {})
    frames, numbers = images(4, 4), torch.randint(4, (3, 5))
    known = encode({"observation": numbers}, {"observation": frames})
    torch.testing.assert_close(known, encode({"observation": frames[numbers]}))


@pytest.mark.parametrize("shape", [(1, 36, 40), (36, 40, 3)])
@pytest.mark.parametrize("kind", ["compact", "centred", "nature", "impala"])
def test_stacks_of_prepared_frames_are_encoded_as_the_images_they_stand_for(
    kind: str, shape: tuple[int, ...]
) -> None:
    channels = shape[channel_axis(shape)]
    moments = tuple(np.full(channels, number, np.float32) for number in (90, 60, 0, 255))
    space = stacked_space(spaces.Box(0, 255, shape, np.uint8), 4)
    encode = ObservationEncoder(space, 8, {"observation": moments}, kind)
    (path,) = encode.paths
    frames, numbers = images(5, 4, shape), torch.randint(4, (3, 5, 4))
    expected = encode({path: stack(frames[numbers], shape)})
    torch.testing.assert_close(encode({path: numbers}, {path: frames}), expected)
    prepared = encode.prepare({path: numbers}, {path: frames})
    assert prepared[path].is_floating_point()
    torch.testing.assert_close(encode({path: numbers}, prepared), expected)


def test_images_are_standardised_by_the_mean_image_of_the_data() -> None:
    encode = centred.Encoder(IMAGE, 8)
    given = images(40, 40)
    assert torch.equal(encode.prepare(given), encode.pool(encode.scaling(given)))
    encode.fit(given)
    prepared = encode.prepare(given)
    torch.testing.assert_close(prepared.mean(0), torch.zeros(3, 18, 18), atol=1e-5, rtol=0)
    assert float(prepared.std()) == pytest.approx(1, abs=0.01)
    encode.fit(given[:1].expand(5, -1, -1, -1))
    assert torch.isfinite(encode(given)).all(), "images that are all the same have no variance"


@pytest.mark.parametrize("kind", ["compact", "centred", "nature", "impala"])
def test_images_that_differ_a_little_give_tokens_that_differ(kind: str) -> None:
    given = images(2, 2)
    given[1] = given[0]
    given[1, :12] = 255 - given[1, :12]
    with torch.no_grad():
        first, second = encoder(IMAGE, 64, kind=kind)(given)
    assert float(first.std()) == pytest.approx(1, abs=0.05)
    assert float((first - second).std()) > 0.1


@pytest.mark.parametrize("kind", ["compact", "centred", "nature", "impala"])
def test_encodings_and_gradients_are_those_of_images_one_by_one(kind: str) -> None:
    encode = encoder(IMAGE, 8, kind=kind).double()
    given = images(30, 4)
    together = encode(given.view(5, 6, 36, 36, 3))
    together.square().sum().backward()
    gradients = [
        parameter.grad.clone() for parameter in encode.parameters() if parameter.grad is not None
    ]
    encode.zero_grad()
    single = torch.cat([encode(image[None]) for image in given]).view(5, 6, 8)
    single.square().sum().backward()
    torch.testing.assert_close(together, single)
    assert len(gradients) == len(list(encode.parameters()))
    for one, parameter in zip(gradients, encode.parameters(), strict=True):
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


SCENE = spaces.Dict({"camera": IMAGE, "grid": GRID, "state": spaces.Discrete(3)})


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("auto", (nature.Encoder, VectorEncoder, CategoryEncoder)),
        ("camera=impala", (impala.Encoder, VectorEncoder, CategoryEncoder)),
        ("camera=impala,grid=nature", (impala.Encoder, nature.Encoder, CategoryEncoder)),
        ("state=categories,camera=identity", (VectorEncoder, VectorEncoder, CategoryEncoder)),
    ],
)
def test_kinds_are_chosen_by_leaf(text: str, kinds: tuple[object, ...]) -> None:
    encode = ObservationEncoder(SCENE, 8, {}, text)
    assert [type(one) for one in encode.encoders] == list(kinds)
    tokens = encode({path: values(SCENE[path], 2) for path in SCENE})
    assert tokens.shape == (2, 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "resnet",
            "unknown encoder 'resnet': kinds are auto, categories, centred, compact, identity",
        ),
        ("impala", "observation 'state': the encoder 'impala' is for images"),
        ("camera=impala,door=identity", "'door=identity'.*the leaves are camera, grid, state"),
        ("camera=impala,grid", "'grid': give one kind, or leaf=kind pairs"),
        ("camera=no_such_module:Encoder", "there is no module"),
        ("camera=rate.recipe:Missing", "there is no .Missing. in rate.recipe"),
        ("camera=os:system", "must be a subclass of torch.nn.Module"),
    ],
)
def test_a_wrong_choice_is_named(text: str, message: str) -> None:
    with pytest.raises((ValueError, ModuleNotFoundError), match=message):
        ObservationEncoder(SCENE, 8, {}, text)


class Brightness(nn.Module):
    """An encoder of a user's own."""

    def __init__(self, space: gymnasium.Space, width: int, statistics: object) -> None:
        super().__init__()
        self.linear = nn.Linear(1, width)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(images.float().mean((-1, -2, -3))[..., None])


def test_an_encoder_of_ones_own_is_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    encode = encoder(IMAGE, 8, kind="test_encoders:Brightness")
    assert type(encode).__name__ == "Brightness"
    assert encode(images(3, 3)).shape == (3, 8)


def test_recipes_with_the_default_keep_the_hash_that_they_had() -> None:
    config = config_class("rate")()
    assert Recipe("data", config).hash == "a5abb80d852a"
    assert Recipe("data", config_class("mlp")()).hash == "e0d865f861a4"
    other = Recipe("data", replace(config, encoder="impala"))
    assert other.hash != Recipe("data", config).hash
    assert from_json(other.to_json()) == other


@pytest.mark.parametrize("name", names())
def test_models_without_the_option_in_their_files_have_the_default(name: str) -> None:
    data = MODELS.to_json(config_class(name)())
    assert data.pop("encoder") == "auto"
    assert MODELS.from_json(data) == config_class(name)()


def test_checkpoints_carry_statistics_and_kind(tmp_path: Path) -> None:
    grids = images(9, 9, (7, 7, 3)).numpy() % np.uint8(11)
    frames = images(9, 9).numpy() // 8
    leaves = {"camera": frames, "grid": grids, "state": np.arange(9) % 3}
    rest = (np.zeros(8, bool), np.arange(8) == 7)
    episode = Episode(leaves, np.zeros(8, np.int64), np.ones(8, np.float32), *rest)
    dataset = write_dataset(tmp_path / "data", [episode], SCENE, spaces.Discrete(2))
    config = config_class("lstm")(encoder="camera=impala")
    policy = Policy(SCENE, spaces.Discrete(2), config, dataset.normalisation).eval()
    save_policy(tmp_path / "policy.safetensors", policy, 0.0)
    loaded, _ = load_policy(tmp_path / "policy.safetensors")
    given = {path: torch.from_numpy(leaf[None]) for path, leaf in leaves.items()}
    tokens = policy.encoders["observation"](given)
    torch.testing.assert_close(loaded.encoders["observation"](given), tokens)
    untold = Policy(SCENE, spaces.Discrete(2), config).encoders["observation"].encoders
    for path, one, other in zip(
        SCENE, loaded.encoders["observation"].encoders, untold, strict=True
    ):
        same = {
            name: torch.equal(one.state_dict()[name], buffer)
            for name, buffer in other.named_buffers()
        }
        assert not any(same.values()) or path == "state"
    assert open_dataset(tmp_path / "data").normalisation.keys() == {"camera", "grid"}
