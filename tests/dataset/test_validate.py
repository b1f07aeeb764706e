"""What may be wrong with data is found, each in data made to be bad in that way, and sound data are
left alone."""

import hashlib
import io
import json
import re
import shutil

import numpy as np
import pytest
from gymnasium import spaces
from PIL import Image

from rate.cli import main
from rate.dataset import write_dataset
from rate.dataset.card import array_header, seal
from rate.dataset.validate import blockiness, quietness
from rate.episode import Episode

VECTOR, IMAGE, ARM = (
    spaces.Box(-5, 5, (3,)),
    spaces.Box(0, 255, (64, 96, 3), np.uint8),
    spaces.Box(-1, 1, (2,)),
)
LENGTHS = (9, 12, 7, 10, 11, 8)


def recorded(index, steps, space=VECTOR, action=ARM, **changes):
    """A sound episode, terminated or truncated by turns, with changes."""
    rng = np.random.default_rng(index)
    ends = np.arange(steps) == steps - 1
    image = space.dtype == np.uint8
    seen = (
        scenery(rng, steps + 1)
        if image
        else rng.uniform(-4, 4, (steps + 1, *space.shape)).astype(np.float32)
    )
    fields = {
        "observations": {"observation": seen},
        "actions": rng.integers(0, 3, steps)
        if isinstance(action, spaces.Discrete)
        else rng.uniform(-1, 1, (steps, 2)),
        "rewards": rng.normal(size=steps),
        "terminations": ends & (index % 2 == 0),
        "truncations": ends & (index % 2 == 1),
        "seed": index,
    }
    return Episode(**{**fields, **changes})


def scenery(rng, count):
    """Smooth images with a round object each, rendered without loss."""
    y, x = np.mgrid[:64, :96]
    images = np.empty((count, 64, 96, 3), np.uint8)
    for image in images:
        row, column = rng.integers(10, 50, 2)
        image[:] = np.stack([x * 2, y * 3, x + y], -1) + rng.integers(0, 20)
        image[(x - column) ** 2 + (y - row) ** 2 < 120] = (200, 30, 40)
    return images


def through_jpeg(images):
    """Images as JPEG leaves them, at the usual quality."""
    result = np.empty_like(images)
    for index, image in enumerate(images):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG")
        result[index] = np.array(Image.open(file))
    return result


def validated(capsys, path):
    """Exit status and output of `rate data validate`."""
    capsys.readouterr()
    status = main(["data", "validate", str(path)])
    return status, capsys.readouterr().out


def episodes(space=VECTOR, action=ARM, lengths=LENGTHS, **changes):
    """Sound episodes, all with the changes that functions of (index, steps) make."""
    for index, steps in enumerate(lengths):
        made = {name: make(index, steps) for name, make in changes.items()}
        yield recorded(index, steps, space, action, **made)


@pytest.mark.parametrize(
    ("space", "action"), [(VECTOR, ARM), (IMAGE, spaces.Discrete(3)), (VECTOR, spaces.Discrete(3))]
)
def test_sound_data_give_nothing(tmp_path, capsys, space, action):
    write_dataset(tmp_path / "data", episodes(space, action), space, action)
    assert validated(capsys, tmp_path / "data") == (
        0,
        f"{tmp_path / 'data'}: 0 errors, 0 warnings\n",
    )


def test_pixel_art_is_not_taken_for_jpeg(tmp_path, capsys):
    """Tiles of 8 pixels have all their edges where JPEG's blocks have theirs."""
    rng = np.random.default_rng(0)

    def seen(index, steps):
        tiles = np.kron(rng.integers(0, 6, (steps + 1, 8, 12)), np.ones((1, 8, 8), int)) * 40
        tiles[:, ::8], tiles[:, :, ::8] = 100, 100
        return {
            "observation": np.repeat(tiles[..., None], 3, -1).astype(np.uint8)
            + rng.integers(0, 3, 3).astype(np.uint8)
        }

    write_dataset(tmp_path / "data", episodes(IMAGE, observations=seen), IMAGE, ARM)
    assert validated(capsys, tmp_path / "data")[1].endswith(": 0 errors, 0 warnings\n")


def constant(index, steps):
    seen = np.random.default_rng(index).uniform(-4, 4, (steps + 1, 3)).astype(np.float32)
    seen[:, 1] = 0.5
    return {"observation": seen}


def without_red(index, steps):
    images = scenery(np.random.default_rng(index), steps + 1)
    images[..., 0] = 7
    return {"observation": images}


def ends_at(where, steps):
    return (np.arange(steps) == steps - 1) & where


def lossy(index, steps):
    return {"observation": through_jpeg(scenery(np.random.default_rng(index), steps + 1))}


def never(index, steps):
    return np.zeros(steps, bool)


def at_the_end(index, steps):
    return np.arange(steps) == steps - 1


NEITHER = {"terminations": never, "truncations": never}
TERMINATED = {"terminations": at_the_end, "truncations": never}
TRUNCATED = {"terminations": never, "truncations": at_the_end}
BAD = {
    "constant": ({"observations": constant}, r"1 of 3 channels \(1\) never changes"),
    "constant colour": (
        {"space": IMAGE, "observations": without_red},
        r"1 of 3 channels \(0\) never changes",
    ),
    "no reward": ({"rewards": lambda index, steps: np.zeros(steps)}, "rewards: all are 0"),
    "narrow": (
        {"actions": lambda index, steps: np.linspace(0, 0.01, 2 * steps).reshape(steps, 2)},
        "less than a tenth",
    ),
    "unbounded": (
        {"action": spaces.Box(-np.inf, np.inf, (2,))},
        "no bounds; those recorded reach from -0.9",
    ),
    "never taken": ({"action": spaces.Discrete(5)}, r"2 of 5 are never taken: \[3, 4\]"),
    "lossy": ({"space": IMAGE, "observations": lossy}, "as JPEG leaves images"),
    "ragged": (
        {"lengths": (9, 9, 9, 4, 9, 5), **NEITHER},
        "2 of 6 episodes are shorter than the 9 steps of most",
    ),
    "single": ({"lengths": (9, 1, 7, 1)}, "2 of 4 episodes have a single step"),
    "cut": (NEITHER, "6 of 6 episodes end in neither"),
    "time limit": ({"lengths": (9, 9, 9), **TERMINATED}, "time limit recorded as a termination"),
    "all truncated": (TRUNCATED, "terminations may have been recorded as truncations"),
    "no seed": ({"seed": lambda index, steps: None}, "6 of 6 episodes do not say with which seed"),
}


@pytest.mark.parametrize("name", BAD)
def test_each_fault_is_found(tmp_path, capsys, name):
    changes, message = BAD[name]
    space, action = changes.get("space", VECTOR), changes.get("action", ARM)
    write_dataset(tmp_path / "data", episodes(**changes), space, action)
    status, text = validated(capsys, tmp_path / "data")
    assert status == 0
    assert text.startswith("warning: ")
    assert re.search(message, text), text


@pytest.mark.parametrize("copies", [2, 12])
def test_repeated_episodes_are_found(tmp_path, capsys, copies):
    repeated = [recorded(0, 9) for _ in range(copies)]
    write_dataset(
        tmp_path / "data",
        [*repeated, *(recorded(index, 8 + index) for index in (1, 2, 3))],
        VECTOR,
        ARM,
    )
    found, text = validated(capsys, tmp_path / "data")
    assert found == 0
    assert f"warning: {copies - 1} of {copies + 3} episodes repeat another one" in text


def forge(path, name, change):
    """What a faulty writer would write: an array changed, and hashes that agree with it."""
    card = json.loads((path / "card.json").read_text())
    record = card["arrays"][name]
    dtype, shape = np.dtype(record["dtype"]), tuple(record["shape"])
    header = len(array_header(dtype, shape))
    whole = (path / record["file"]).read_bytes()
    array = np.frombuffer(whole[header:], dtype).reshape(shape).copy()
    change(array)
    (path / record["file"]).write_bytes(whole[:header] + array.tobytes())
    record["sha256"] = hashlib.sha256(array.tobytes()).hexdigest()
    for key in ("card_hash", "content_hash", "format", "format_version"):
        del card[key]
    (path / "card.json").write_text(seal(card))


@pytest.mark.parametrize(
    ("name", "place", "value", "message"),
    [
        (
            "observations/observation",
            (3, 1),
            np.nan,
            "observations/observation: 1 numbers are NaN or infinite",
        ),
        ("rewards", 5, np.inf, "rewards: 1 numbers are NaN or infinite"),
        ("actions", (2, 0), 1.5, "actions: 1 of 114 numbers are outside the space"),
        ("terminations", 3, True, "terminations.npy ends an episode before its last step"),
    ],
)
def test_what_only_a_faulty_writer_could_write_is_found(
    tmp_path, capsys, name, place, value, message
):
    write_dataset(tmp_path / "data", episodes(), VECTOR, ARM)
    forge(tmp_path / "data", name, lambda array: array.__setitem__(place, value))
    status, text = validated(capsys, tmp_path / "data")
    assert status == 1
    assert text.startswith("error: ")
    assert message in text


def test_damage_is_found_and_other_folders_are_refused(tmp_path, capsys):
    write_dataset(tmp_path / "data", episodes(), VECTOR, ARM)
    shutil.copytree(tmp_path / "data", tmp_path / "changed")
    whole = bytearray((tmp_path / "changed" / "actions.npy").read_bytes())
    whole[-2] ^= 1
    (tmp_path / "changed" / "actions.npy").write_bytes(whole)
    status, text = validated(capsys, tmp_path / "changed")
    assert status == 1
    assert "actions.npy does not match its hash" in text
    (tmp_path / "data" / "actions.npy").unlink()
    assert main(["data", "validate", str(tmp_path / "data")]) == 2
    assert "is missing" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["data", "validate", str(tmp_path / "empty")]) == 2
    assert "is not a dataset" in capsys.readouterr().err


def test_measures_of_lossy_images():
    images = scenery(np.random.default_rng(0), 8)
    assert blockiness(images.mean(-1)) < 1.1
    assert blockiness(through_jpeg(images).mean(-1)) > 1.3
    assert quietness(through_jpeg(images).mean(-1)) > 0.8
    assert quietness(np.random.default_rng(0).integers(0, 256, (4, 64, 64))) < 0.1
    assert quietness(np.zeros((2, 16, 16))) == 0
