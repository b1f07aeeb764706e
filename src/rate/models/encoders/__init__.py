"""Encoders: from one leaf of a Gymnasium space to tokens.

Numbers and categories are encoded here, images by one kind per file, whose name is the kind's name.
A kind is a class `Encoder(space, width, statistics)`: a module that maps values [..., *shape] of
the leaf space to tokens [..., width]. It raises a ValueError for spaces that it does not encode.
`statistics` are those of the leaf in the training data, or None. A class outside this library is
named by its address, such as `my_module:Encoder` or `path/to/file.py:Encoder`; using it runs its
code.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path

import gymnasium
import numpy as np
import torch
from gymnasium import spaces as gym
from torch import Tensor, nn

from rate.addresses import import_address
from rate.images import channel_axis, stack
from rate.models.encoders._images import ImageEncoder, Statistics, of_stack
from rate.models.heads import box_scale
from rate.spaces import is_image, leaves

Normalisation = Mapping[str, Statistics]
"""Statistics of observation leaves in the training data, by path."""

AXES = {"first": 0, "last": 2}
"""Where the channels of images lie, behind the name of a kind that encodes images, such as
"nature-last"; without it `rate.images.channel_axis` finds them."""

SMALLEST_IMAGE = 16
"""Images with a shorter side than this are encoded as numbers by default."""


def kinds() -> tuple[str, ...]:
    """Names of all kinds of encoders."""
    files = (path.stem for path in Path(__file__).parent.glob("[!_]*.py"))
    return tuple(sorted([*files, "identity", "categories"]))


def encoder(
    space: gymnasium.Space, width: int, statistics: Statistics | None = None, kind: str = "auto"
) -> nn.Module:
    """The encoder of one leaf space.

    Args:
        space: The leaf space; values come with any leading batch dimensions.
        width: Width of the tokens.
        statistics: Statistics of the leaf in the training data, if they are known.
        kind: A name from `kinds()`, one of images with one of `AXES`, the address of a class, or
            "auto": the space decides.

    Raises:
        ValueError: there is no such kind, or it does not encode this space.
    """
    if kind == "auto":
        kind = _default(space)
    name, _, end = kind.rpartition("-")
    if ":" not in kind and end in AXES and (Path(__file__).parent / f"{name}.py").exists():
        given = importlib.import_module(f"{__name__}.{name}").Encoder
        encode: nn.Module = given(space, width, statistics, axis=AXES[end])
        return encode
    if ":" in kind:
        cls = import_address(kind)
        if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
            raise ValueError(f"the encoder {kind} must be a subclass of torch.nn.Module, not {cls}")
    elif kind in ("identity", "categories"):
        cls = VectorEncoder if kind == "identity" else CategoryEncoder
    elif kind in kinds():
        cls = importlib.import_module(f"{__name__}.{kind}").Encoder
    else:
        raise ValueError(
            f"unknown encoder {kind!r}: kinds are auto, {', '.join(kinds())}, those of images "
            "with -first or -last for their channels, and addresses such as my_module:Encoder"
        )
    made: nn.Module = cls(space, width, statistics)
    return made


def action_encoder(space: gymnasium.Space, width: int) -> nn.Module:
    """The encoder of actions: whole numbers of a Box are scaled by their bounds, real ones are left
    as they are.

    Args:
        space: The action space.
        width: Width of the tokens.
    """
    if not isinstance(space, gym.Box):
        return encoder(space, width)
    centre, radius, _ = (part.reshape(space.shape) for part in box_scale(space))
    return VectorEncoder(space, width, (centre, radius) if space.dtype.kind in "biu" else None)


def _default(space: gymnasium.Space) -> str:
    if is_image(space):
        assert space.shape is not None
        return "nature" if sorted(space.shape)[1] >= SMALLEST_IMAGE else "identity"
    match space:
        case gym.Box() | gym.MultiBinary():
            return "identity"
        case gym.Discrete() | gym.MultiDiscrete():
            return "categories"
    raise ValueError(
        f"no encoder for {type(space).__name__} spaces: use Box, Discrete, MultiDiscrete, "
        "MultiBinary, or Dict and Tuple of these"
    )


def kind_of_leaves(paths: list[str], kind: str) -> dict[str, str]:
    """The kind of encoder of each leaf.

    Args:
        paths: Paths of the leaves.
        kind: One kind for all leaves, or `leaf=kind` pairs separated by commas, such as
            "camera=impala,grid=identity"; the other leaves are then left to their spaces.

    Raises:
        ValueError: a pair is incomplete, or names a leaf that does not exist.
    """
    if "=" not in kind:
        return dict.fromkeys(paths, kind)
    chosen = dict.fromkeys(paths, "auto")
    for pair in kind.split(","):
        path, separator, one = pair.rpartition("=")
        if not separator or path not in chosen:
            raise ValueError(
                f"the encoder {kind!r} has the part {pair!r}: give one kind, or leaf=kind pairs "
                f"separated by commas; the leaves are {', '.join(paths)}"
            )
        chosen[path] = one
    return chosen


class ObservationEncoder(nn.Module):
    """The sum of the encodings of all leaves of an observation space."""

    def __init__(
        self,
        space: gymnasium.Space,
        width: int,
        normalisation: Normalisation,
        kind: str = "auto",
    ) -> None:
        super().__init__()
        spaces = leaves(space)
        self.paths = list(spaces)
        kinds = kind_of_leaves(self.paths, kind)
        self.encoders = nn.ModuleList(
            _named(path, leaf, width, normalisation.get(path), kinds[path])
            for path, leaf in spaces.items()
        )

    def forward(
        self, observations: dict[str, Tensor], frames: dict[str, Tensor] | None = None
    ) -> Tensor:
        """Tokens [..., width].

        Args:
            observations: Values [..., *shape] of each leaf; of a leaf in `frames` the number of
                each step's frame [B, K], or those of its stacked frames [B, K, k].
            frames: Distinct frames of leaves whose images repeat, [n, ...], or what `prepare` has
                made of them.
        """
        frames = frames or {}
        tokens = []
        for path, encode in zip(self.paths, self.encoders, strict=True):
            values, images = observations[path], frames.get(path)
            if images is None:
                tokens.append(encode(values))
            elif images.dim() == 2:  # encoded already
                tokens.append(images[values])
            elif values.dim() == 3 and isinstance(encode, ImageEncoder):
                prepared = images if images.is_floating_point() else encode.prepare(images)
                tokens.append(encode.stacked(prepared, values))
            elif values.dim() == 3:  # the numbers of each step's stacked frames
                tokens.append(encode(stack(images[values], images.shape[1:])))
            else:
                tokens.append(encode(images)[values])
        return tokens[0] if len(tokens) == 1 else torch.stack(tokens).sum(0)

    def prepare(
        self, observations: dict[str, Tensor], frames: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Do what needs doing but once for each frame: encode it, to [n, width], or scale it,
        where several are stacked."""
        made = dict(frames)
        for path, encode in zip(self.paths, self.encoders, strict=True):
            if path in frames and observations[path].dim() < 3:
                made[path] = encode(frames[path])
            elif path in frames and isinstance(encode, ImageEncoder):
                made[path] = encode.prepare(frames[path])
        return made


def _named(
    path: str, space: gymnasium.Space, width: int, statistics: Statistics | None, kind: str
) -> nn.Module:
    try:
        return encoder(space, width, statistics, kind)
    except ValueError as error:
        raise ValueError(f"observation {path!r}: {error}") from error


class ReturnEncoder(nn.Module):
    """A linear map of the return-to-go, divided by the return scale of the data."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.linear = nn.Linear(1, width)
        self.register_buffer("scale", torch.tensor(float(scale)))
        self.scale: Tensor

    def forward(self, returns_to_go: Tensor) -> Tensor:
        return self.linear((returns_to_go / self.scale).unsqueeze(-1))


class VectorEncoder(nn.Module):
    """Numbers [..., *shape], standardised, flattened and mapped linearly to [..., width].

    Args:
        space: A Box or MultiBinary space.
        width: Width of the tokens.
        statistics: Statistics of the numbers, if they are known.
    """

    def __init__(
        self, space: gymnasium.Space, width: int, statistics: Statistics | None = None
    ) -> None:
        super().__init__()
        if not isinstance(space, gym.Box | gym.MultiBinary):
            raise ValueError(
                f"the encoder 'identity' is for Box and MultiBinary spaces, not for {space}: leave "
                "it at auto"
            )
        shape = space.shape
        self.dimensions = len(shape)
        self.linear = nn.Linear(int(np.prod(shape)), width)
        mean, std = _moments(space, statistics)
        self.register_buffer("mean", torch.from_numpy(np.broadcast_to(mean, shape).copy()))
        self.register_buffer("std", torch.from_numpy(np.broadcast_to(std, shape).copy()))
        self.mean: Tensor
        self.std: Tensor

    def forward(self, values: Tensor) -> Tensor:
        values = (values.to(self.mean.dtype) - self.mean) / self.std
        if self.dimensions != 1:
            values = values.flatten(-self.dimensions) if self.dimensions else values.unsqueeze(-1)
        return self.linear(values)


def _moments(
    space: gym.Box | gym.MultiBinary, statistics: Statistics | None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation that values of the space are standardised by, float32."""
    if statistics is None:
        default = (127.5, 255.0) if is_image(space) else (0.0, 1.0)
        return np.array(default[0], np.float32), np.array(default[1], np.float32)
    if len(statistics) == 2:
        mean, std = (np.asarray(part, np.float32) for part in statistics)
        return mean, std
    mean, std, least, greatest = of_stack(statistics, space.shape)
    std = np.where(greatest > least, std, np.float32(1))
    if mean.ndim == 1 and channel_axis(space.shape) == 0:
        mean, std = mean[:, None, None], std[:, None, None]
    return mean.astype(np.float32), std.astype(np.float32)


class CategoryEncoder(nn.Module):
    """Categories [..., *shape] to the sum of one embedding per component, [..., width].

    Args:
        space: A Discrete or MultiDiscrete space.
        width: Width of the tokens.
        statistics: Not used.
    """

    def __init__(
        self, space: gymnasium.Space, width: int, statistics: Statistics | None = None
    ) -> None:
        super().__init__()
        match space:
            case gym.Discrete():
                counts = np.asarray(space.n)
            case gym.MultiDiscrete():
                counts = np.asarray(space.nvec)
            case _:
                raise ValueError(
                    "the encoder 'categories' is for Discrete and MultiDiscrete spaces, not for "
                    f"{space}: leave it at auto"
                )
        start = np.asarray(space.start)
        self.components = counts.ndim
        self.embedding = nn.Embedding(int(counts.sum()), width)
        offsets = np.cumsum(counts.ravel()) - counts.ravel() - start.ravel()
        self.register_buffer("offsets", torch.from_numpy(offsets.astype(np.int64)))
        self.offsets: Tensor
        self.from_zero = not start.any()

    def forward(self, values: Tensor) -> Tensor:
        if not self.components:
            return self.embedding(self._indices(values.long() + self.offsets))
        return self.embedding(
            self._indices(values.long().flatten(-self.components) + self.offsets)
        ).sum(-2)

    def _indices(self, indices: Tensor) -> Tensor:
        """Padding is zeros, which are no category where counting begins elsewhere; masked steps
        take any embedding."""
        return indices if self.from_zero else indices.clamp(0, self.embedding.num_embeddings - 1)
