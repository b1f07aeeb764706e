import numpy as np
import pytest
import torch
from gymnasium import spaces

from rate.images import FrameStack, channel_axis, stack, stacked_space
from rate.spaces import leaves

SHAPES = [(6, 8, 1), (9, 7, 3), (3, 7, 9), (1, 8, 8)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_channels_of_the_oldest_frame_come_first(shape, kind):
    frames = np.random.default_rng(0).integers(0, 256, (2, 5, 2, *shape), np.uint8)
    axis = channel_axis(shape)
    images = stack(kind(frames), shape)
    expected = np.concatenate([frames[:, :, 0], frames[:, :, 1]], 2 + axis)
    np.testing.assert_array_equal(np.asarray(images), expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_stacked_space_holds_stacked_images(shape):
    space = spaces.Dict(
        {
            "camera": spaces.Box(0, 255, shape, np.uint8),
            "other": spaces.Tuple([spaces.Discrete(3), spaces.Box(-1.0, 1.0, shape)]),
        }
    )
    stacked = leaves(stacked_space(space, 2))
    axis = channel_axis(shape)
    expected = list(shape)
    expected[axis] *= 2
    assert stacked["camera"] == spaces.Box(0, 255, tuple(expected), np.uint8)
    assert channel_axis(stacked["camera"].shape) == axis
    assert {path: stacked[path] for path in ("other/0", "other/1")} == {
        path: leaves(space)[path] for path in ("other/0", "other/1")
    }
    assert stacked_space(space, 1) is space


def test_bounds_of_a_space_are_those_of_each_frame():
    low = np.arange(5 * 4 * 2, dtype=np.uint8).reshape(5, 4, 2)
    space = stacked_space(spaces.Box(low, np.full_like(low, 200), dtype=np.uint8), 2)
    np.testing.assert_array_equal(space.low[..., :2], low)
    np.testing.assert_array_equal(space.low[..., 2:], low)


@pytest.mark.parametrize(
    ("shape", "count", "message"),
    [
        ((6, 8, 3), 2, "6 channels are too many for images of shape"),
        ((3, 9, 8), 3, "choose fewer"),
        ((6, 8, 3), 0, "stack_frames is 0"),
        ((6,), 2, "no leaf of the observations is an image"),
    ],
)
def test_what_cannot_be_stacked_is_refused(shape, count, message):
    with pytest.raises(ValueError, match=message):
        stacked_space(spaces.Box(0, 255, shape, np.uint8), count)


def test_agents_see_the_last_frames_of_their_own_episode():
    space = spaces.Dict(
        {"camera": spaces.Box(0, 255, (6, 8, 1), np.uint8), "time": spaces.Discrete(9)}
    )
    frames = FrameStack(space, 3)
    camera = np.random.default_rng(0).integers(0, 256, (7, 2, 6, 8, 1), np.uint8)
    begins = np.zeros((7, 2), bool)
    begins[0], begins[3, 1] = True, True  # a new episode in row 1 at step 3
    for step in range(7):
        seen = frames.push({"camera": camera[step], "time": np.full(2, step)}, begins[step])
        assert seen["time"].tolist() == [step, step]
        for row, begin in enumerate((0, 3 if step >= 3 else 0)):
            expected = [camera[max(step - back, begin), row] for back in (2, 1, 0)]
            np.testing.assert_array_equal(seen["camera"][row], np.concatenate(expected, -1))


def test_a_stack_of_one_frame_is_the_frame():
    space = spaces.Box(0, 255, (6, 8, 3), np.uint8)
    image = np.ones((2, 6, 8, 3), np.uint8)
    seen = FrameStack(space, 1).push({"observation": image}, np.ones(2, bool))
    assert seen["observation"] is image


def test_another_number_of_rows_begins_anew():
    space = spaces.Box(0, 255, (6, 8, 1), np.uint8)
    frames = FrameStack(space, 2)
    for rows in (3, 5):
        image = np.full((rows, 6, 8, 1), rows, np.uint8)
        seen = frames.push({"observation": image}, np.ones(rows, bool))["observation"]
        assert seen.shape == (rows, 6, 8, 2)
        assert (seen == rows).all()
