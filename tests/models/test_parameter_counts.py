"""Parameter counts are those of Table 12 of the RATE paper, to the last digit."""

from typing import NamedTuple

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces as gym

from rate.models import dt, rate
from rate.models.encoders import ObservationEncoder, nature
from rate.models.policy import Policy


def image(height: int, breadth: int, channels: int = 3) -> gym.Box:
    return gym.Box(0, 255, (height, breadth, channels), np.uint8)


def vector(size: int) -> gym.Box:
    return gym.Box(-np.inf, np.inf, (size,), np.float32)


class Size(NamedTuple):
    """The settings behind one row of the table, and its counts."""

    name: str
    observations: gym.Box
    actions: gymnasium.Space
    width: int
    heads: int
    head_width: int
    layers: int
    feed_forward: int
    memory_tokens: int
    rate: int
    dt: int
    padding: int = 0
    padding_rows: int = 0


@pytest.mark.parametrize(
    "size",
    [
        Size(
            "T-Maze",
            vector(4),
            gym.Discrete(4),
            64,
            10,
            64,
            8,
            64,
            5,
            1_723_840,
            1_775_488,
            padding_rows=1,
        ),
        Size(
            "ViZDoom", image(64, 112), gym.Discrete(5), 128, 8, 128, 6, 128, 5, 4_537_504, 4_672_032
        ),
        Size(
            "Minigrid",
            image(84, 84),
            gym.Discrete(4),
            64,
            10,
            64,
            8,
            64,
            15,
            2_000_864,
            2_051_872,
            padding_rows=1,
        ),
        Size(
            "Memory Maze",
            image(64, 64),
            gym.Discrete(6),
            64,
            8,
            64,
            6,
            64,
            15,
            1_639_840,
            1_673_696,
            padding=2,
        ),
        Size(
            "POPGym",
            vector(2),
            gym.Discrete(4),
            128,
            10,
            128,
            8,
            64,
            30,
            6_760_192,
            6_827_008,
            padding_rows=1,
        ),
        Size(
            "MIKASA-Robo",
            image(128, 128, 6),
            vector(8),
            64,
            4,
            64,
            8,
            128,
            10,
            1_412_520,
            1_529_896,
        ),
    ],
    ids=lambda size: size.name,
)
def test_parameter_counts_are_those_of_table_12(size: Size) -> None:
    """Our count, plus what the released class holds and never uses.

    Unused: 1000 d (timestep table) + 2 d (LayerNorm of embeddings) + 2 d in each attention block
    and, where there is one, 2 d in each feed-forward block (LayerNorms) + d for each padding row of
    the action embedding.
    """
    sizes = {
        "width": size.width,
        "heads": size.heads,
        "head_width": size.head_width,
        "layers": size.layers,
    }
    models = (
        (rate.Config(feed_forward=0, memory_tokens=size.memory_tokens, **sizes), 1, size.rate),
        (dt.Config(feed_forward=size.feed_forward, **sizes), 2, size.dt),
    )
    for config, norms, expected in models:
        policy = Policy(size.observations, size.actions, config)
        encoder = policy.encoders["observation"]
        assert isinstance(encoder, ObservationEncoder)
        if isinstance(encoder.encoders[0], nature.Encoder):
            encoder.encoders[0] = nature.Encoder(
                size.observations, size.width, padding=size.padding
            )
        unused = (1000 + 2 + 2 * norms * size.layers + size.padding_rows) * size.width
        assert sum(parameter.numel() for parameter in policy.parameters()) + unused == expected
