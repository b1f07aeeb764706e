"""`rate data` from the command line, and training on what it imports with nothing else
installed."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from gymnasium import spaces

from rate.cli import main
from rate.dataset import open_dataset, write_dataset
from rate.dataset.export_minari import export_minari
from rate.episode import Episode

ROOT = Path(__file__).parents[2]
SIMULATORS = (
    "minigrid",
    "popgym",
    "vizdoom",
    "dm_control",
    "mujoco",
    "ale_py",
    "memory_maze",
    "coggrid",
    "gym",
)
READERS = ("minari", "h5py", "pyarrow")

ABSENT = """
import importlib.abc, os, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in os.environ["ABSENT"].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from rate.cli import main
sys.exit(main(sys.argv[1:]))
"""
"""The command line, in a Python that has none of the packages named in ABSENT."""


def rate(absent, *arguments):
    """Run the command line in a process without some packages."""
    environment = {**os.environ, "ABSENT": ",".join(absent)}
    command = [sys.executable, "-c", ABSENT, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def minari_dataset(folder):
    rng = np.random.default_rng(0)
    space = spaces.Dict(
        {"camera": spaces.Box(0, 255, (32, 32, 3), np.uint8), "speed": spaces.Box(-1, 1, (2,))}
    )

    def episodes():
        for seed in range(12):
            steps = int(rng.integers(4, 9))
            seen = {
                "camera": rng.integers(0, 256, (steps + 1, 32, 32, 3), np.uint8),
                "speed": rng.uniform(-1, 1, (steps + 1, 2)).astype(np.float32),
            }
            last = np.arange(steps) == steps - 1
            yield Episode(
                seen, rng.integers(0, 3, steps), rng.random(steps), last, last & False, seed
            )

    ours = write_dataset(folder / "ours", episodes(), space, spaces.Discrete(3))
    return export_minari(ours, folder / "minari", "made/camera-v0")


def d4rl_file(folder):
    rng = np.random.default_rng(0)
    with h5py.File(folder / "hopper-medium-v2.hdf5", "w") as file:
        file["observations"] = rng.normal(size=(120, 11)).astype(np.float32)
        file["next_observations"] = rng.normal(size=(120, 11)).astype(np.float32)
        file["actions"] = rng.uniform(-1, 1, (120, 3)).astype(np.float32)
        file["rewards"] = rng.random(120).astype(np.float32)
        file["terminals"] = np.arange(120) % 20 == 19
        file["timeouts"] = np.arange(120) % 40 == 9
    return folder / "hopper-medium-v2.hdf5"


def npz_folder(folder):
    """Minigrid as the authors keep it."""
    rng = np.random.default_rng(0)
    path = folder / "Minigrid_Memory"
    path.mkdir()
    for index in range(12):
        steps = 5 + index % 3
        images = rng.integers(0, 256, (steps, 3, 84, 84), np.uint8)
        done = (np.arange(steps) == steps - 1).astype(np.int64)
        obs = images.astype(np.float32) / 255
        np.savez(
            path / f"train_data_{index}.npz",
            obs=obs,
            action=np.arange(steps) % 3,
            reward=done * 0.9,
            done=done,
        )
    return path


def tmaze_pickle(folder):
    last = np.arange(6) == 5
    one = {
        "obs": np.zeros((7, 4)),
        "action": last.astype(int),
        "rtg": np.append(np.ones(6), 0),
        "done": last.astype(int),
    }
    (folder / "tmaze.pickle").write_bytes(pickle.dumps(dict.fromkeys(range(12), one)))
    return folder / "tmaze.pickle"


RECORDINGS = {
    "minari": minari_dataset,
    "d4rl": d4rl_file,
    "npz folder": npz_folder,
    "pickle": tmaze_pickle,
}
SMALL = (
    *(
        "--model.segment-length",
        "4",
        "--model.segments",
        "2",
        "--model.width",
        "16",
        "--model.layers",
        "1",
    ),
    *(
        "--model.heads",
        "2",
        "--model.head-width",
        "8",
        "--model.memory-tokens",
        "2",
        "--model.valve-heads",
        "2",
    ),
    *("--updates", "3", "--batch-size", "4", "--accelerator", "cpu", "--threads", "1"),
)


@pytest.mark.parametrize("kind", RECORDINGS)
def test_training_on_other_peoples_data_needs_no_simulator(tmp_path, kind):
    """Importing needs the library of the format, training nothing but the folder."""
    path = RECORDINGS[kind](tmp_path)
    needless = [name for name in READERS if kind not in ("minari", "d4rl")]
    done = rate([*SIMULATORS, *needless], "data", "import", path, "--output", tmp_path / "data")
    assert done.returncode == 0, done.stderr
    assert "return from" in done.stdout
    done = rate([*SIMULATORS, *READERS], "data", "validate", tmp_path / "data")
    assert done.returncode in (0, 1), done.stderr
    assert " errors, " in done.stdout
    done = rate(
        [*SIMULATORS, *READERS],
        "train",
        "rate",
        "--dataset",
        tmp_path / "data",
        "--run",
        tmp_path / "run",
        *SMALL,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "last.safetensors").is_file()
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) >= 3


@pytest.mark.parametrize(("kind", "module"), [("d4rl", "h5py"), ("minari", "minari")])
def test_what_is_not_installed_is_named_with_its_extra(tmp_path, kind, module):
    path = RECORDINGS[kind](tmp_path)
    before = sorted(os.listdir(tmp_path))
    done = rate([module], "data", "import", path, "--output", tmp_path / "data")
    assert done.returncode == 2
    assert f"needs {module}: pip install --editable '{ROOT}[data]'" in done.stderr
    assert sorted(os.listdir(tmp_path)) == before


def test_import_export_and_import_again(tmp_path, capsys, monkeypatch):
    path = minari_dataset(tmp_path)
    assert (
        main(["data", "import", str(path), "--output", str(tmp_path / "first"), "--task", "mine"])
        == 0
    )
    arguments = [
        "data",
        "export",
        str(tmp_path / "first"),
        "--output",
        str(tmp_path / "theirs"),
        "--data-format",
        "arrow",
    ]
    assert main(arguments) == 0
    assert "rate/first-v0: written; read it with minari.load_dataset" in capsys.readouterr().out
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "theirs"))
    assert main(["data", "import", "rate/first-v0", "--output", str(tmp_path / "second")]) == 0
    first, second = (open_dataset(tmp_path / name) for name in ("first", "second"))
    assert first.content_hash == second.content_hash == open_dataset(tmp_path / "ours").content_hash
    assert first.card["task"] == "mine"
    assert main(arguments) == 2
    assert "exists already" in capsys.readouterr().err


def test_info_is_a_card_with_statistics_and_a_histogram(tmp_path, capsys):
    space, action = (
        spaces.Dict({"a": spaces.Box(-9, 9, (2,)), "b": spaces.Discrete(3)}),
        spaces.Box(-1, 1, (1,)),
    )
    last = np.arange(4) == 3

    def episodes():
        for index in range(10):
            seen = {"a": np.full((5, 2), [1.0, 3.0], np.float32), "b": np.arange(5) % 3}
            rewards = np.array([0, 0, 0, 7.0 if index == 9 else 0.5])
            yield Episode(
                seen,
                np.linspace(-1, 1, 4)[:, None],
                rewards,
                last & (index < 5),
                last & (4 < index < 8),
            )

    write_dataset(tmp_path / "data", episodes(), space, action, task="mine")
    assert main(["data", "info", str(tmp_path / "data")]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["task", "mine"] in rows
    assert ["episodes", "10", "of", "4", "to", "4", "steps,", "mean", "4.0"] in rows
    assert ["ends", "50%", "terminated,", "30%", "truncated,", "20%", "cut"] in rows
    assert ["observations/a", "2", "1", "1", "3"] in rows
    assert ["observations/b", "0.8", "0.7483", "0", "2"] in rows
    assert ["actions", "0", "0.7454", "-1", "1"] in rows
    assert ["0.5", "3.75", "9", "█" * 40] in rows
    assert rows[-1] == ["3.75", "7", "1", "█" * 4]


@pytest.mark.parametrize(
    ("text", "space"),
    [
        ("Box(-1, 1, (3,))", spaces.Box(-1, 1, (3,))),
        (
            '{"type": "Box", "dtype": "float32", "shape": [3], "low": -2, "high": 1}',
            spaces.Box(-2, 1, (3,)),
        ),
    ],
)
def test_spaces_are_written_as_in_gymnasium_or_as_in_cards(tmp_path, text, space):
    arguments = [
        "data",
        "import",
        str(d4rl_file(tmp_path)),
        "--output",
        str(tmp_path / "data"),
        "--action-space",
        text,
    ]
    assert main(arguments) == 0
    assert open_dataset(tmp_path / "data").action_space == space


@pytest.mark.parametrize(
    "text",
    [
        "Box(-1)",
        "Discrete(0)",
        "Discrete(x)",
        "Box(-1, 1, (3,)",
        "Text(3)",
        "Discrete(__import__('os').getpid())",
        "[1]",
    ],
)
def test_what_is_no_space_is_refused_and_not_evaluated(tmp_path, capsys, text):
    arguments = [
        "data",
        "import",
        str(d4rl_file(tmp_path)),
        "--output",
        str(tmp_path / "data"),
        "--action-space",
        text,
    ]
    assert main(arguments) == 2
    assert "write Discrete(4), MultiDiscrete([8, 8]) or Box(-1, 1, (3,))" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_errors_say_what_is_allowed(tmp_path, capsys):
    assert main(["data", "inport"]) == 2
    assert (
        "did you mean 'import'? Verbs are: import, export, info, validate"
        in capsys.readouterr().err
    )
    assert (
        main(
            ["data", "import", str(tmp_path), "--output", str(tmp_path / "out"), "--format", "csv"]
        )
        == 2
    )
    text = capsys.readouterr().err
    assert "there is no format 'csv'. Formats are arrays: " in text
    assert "d4rl: " in text
    assert main(["data"]) == 0
    assert "rate data validate DATASET" in capsys.readouterr().out


def test_a_hostile_pickle_is_refused_from_the_command_line(tmp_path, capsys):
    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    (tmp_path / "data.pkl").write_bytes(pickle.dumps([{"observations": Hostile()}]))
    assert (
        main(["data", "import", str(tmp_path / "data.pkl"), "--output", str(tmp_path / "out")]) == 2
    )
    assert (
        "data.pkl is refused: it names posix.mkdir, which would be run" in capsys.readouterr().err
    )
    assert [Path(name).name for name in os.listdir(tmp_path)] == ["data.pkl"]
