"""Every format that the library reads: a sound sample, and what reads it."""

import gzip
import hashlib
import json
import pickle
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import safetensors.torch
import torch
from gymnasium import spaces

import rate
from rate.addresses import UntrustedError
from rate.dataset import DatasetError, open_dataset, write_dataset
from rate.dataset.card import CARD, read_card, seal
from rate.dataset.export_lerobot import export_lerobot
from rate.dataset.export_minari import export_minari
from rate.dataset.importers import import_dataset
from rate.dataset.validate import validate
from rate.launch.claims import Claims
from rate.launch.plan import Job, PlanError, read_plan, write_plan
from rate.launch.work import status
from rate.recipe import Recipe, from_json, hash_of
from rate.reporting import report
from rate.reporting.load import ReportError
from rate.reporting.publish import publish, read_paper
from rate.runs.checkpoint import CheckpointError, _digest, load_policy
from rate.runs.conversion import ConversionError, convert
from rate.runs.folder import Run, RunError, _hash
from rate.runs.loggers import wandb_key
from rate.spaces import from_text
from rate.tasks.lookup import find
from tests.conftest import MODEL, RECIPE
from tests.dataset.recordings import OBSERVATIONS, recorded
from tests.fuzz import mutations
from tests.reporting.test_reporting import result, write_lines, write_run

DATA = Path(__file__).parents[1] / "data"
RESULTS = Path(__file__).parents[2] / "results"

ANY = (
    *(ValueError, DatasetError, RunError, CheckpointError, ReportError),
    *(ModuleNotFoundError, IsADirectoryError, UntrustedError),
)
"""What verbs raise that read and write several kinds of files."""


@dataclass(frozen=True)
class Format:
    """A format and its reader."""

    make: Callable[[Path], Any]
    """Writes a sound sample into a folder."""
    read: Callable[[Path], Any]
    """Reads what the folder holds."""
    kinds: tuple[type[Exception], ...]
    """What the reader may raise, and nothing derived from it."""
    seal: Callable[[Path], Any] | None = None
    """Makes hashes right again, so that damage passes them."""
    damage: Callable[[Path, random.Random], None] = mutations.damage
    """Damages the sample."""
    longest: int = 600
    """Most letters of a message."""
    share: int = 4
    """Inputs of this format in a round; those that take long have fewer."""

    def check(self, folder: Path) -> None:
        """Read a sound sample, whose text must not be refused."""
        self.read(folder)

    def mutate(self, folder: Path, draw: random.Random) -> None:
        """Damage the sample in a folder, and mostly hide it from the hashes."""
        self.damage(folder, draw)
        if self.seal and draw.random() < 0.75:
            try:
                self.seal(folder)
            except Exception:
                return  # what is damaged this much cannot be sealed


# Datasets


def _dataset(*names: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        for name in names:
            episodes = recorded([3, 4], OBSERVATIONS[name])
            write_dataset(folder / name, episodes, OBSERVATIONS[name], spaces.Discrete(3))

    return make


def _read_datasets(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        data = open_dataset(path, trust_memory=False)
        data.episode(0), data.normalisation, data.returns
        validate(path)


def _seal_shards(folder: Path) -> None:
    _seal_datasets(folder / "shards")


def _seal_datasets(folder: Path) -> None:
    for path in folder.iterdir():
        card = read_card(path, verify=False)
        for record in card["arrays"].values():
            content = (path / record["file"]).read_bytes()
            size = 10 + int.from_bytes(content[8:10], "little")
            record["sha256"] = hashlib.sha256(content[size:]).hexdigest()
        plain = {key: value for key, value in card.items() if not key.endswith("hash")}
        (path / CARD).write_text(seal(plain))


def _shards(folder: Path) -> None:
    for number in range(2):
        episodes = recorded([3, 4 + number], OBSERVATIONS["image"])
        data = folder / "shards" / str(number)
        write_dataset(data, episodes, OBSERVATIONS["image"], spaces.Discrete(3))


def _read_shards(folder: Path) -> None:
    data = open_dataset(folder / "shards", trust_memory=False)
    data.episode(0), data.normalisation, data.returns, data.card["lengths"]


def _plan(folder: Path) -> None:
    recipe = {"model": {"name": "rate"}, "objective": {"name": "behaviour-cloning"}}
    score = {"task": "recall/12", "checkpoint": "last", "episodes": 2}
    write_plan(
        folder / "plan.jsonl",
        [
            Job("data", "collect", {"task": "recall/6", "output": "data", "lengths": [2, 9]}),
            Job("train", "train", {"run": "a/b", "seed": 0, "recipe": recipe}, ("data",)),
            Job("score", "evaluate", {"run": "a/b", "scores": [score]}, ("train",)),
            Job("report", "report", {"experiments": ["demo"], "output": "."}, ("score",)),
        ],
    )
    Claims(folder / "plan.claims", 60).write("data.done", {"attempt": 0})
    (folder / "plan.claims" / "train.0.claim").write_text('{"machine": "a", "expire": 1}')


def _read_plan(folder: Path) -> None:
    plan = read_plan(folder / "plan.jsonl")
    plan.require_trusted(False)
    status(plan, Claims(plan.claims, 60))


# Recordings


def _steps(steps: int = 12) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    return {
        "observations": draw.normal(size=(steps, 3)).astype(np.float32),
        "actions": draw.integers(0, 3, steps),
        "rewards": np.ones(steps, np.float32),
        "terminals": np.arange(steps) % 4 == 3,
        "timeouts": np.zeros(steps, bool),
    }


def _npz(folder: Path) -> None:
    np.savez(folder / "data.npz", **_steps())


def _npy(folder: Path) -> None:
    (folder / "data").mkdir()
    for name, column in _steps().items():
        np.save(folder / "data" / f"{name}.npy", column)


def _episodes(folder: Path) -> None:
    (folder / "data").mkdir()
    for number in range(2):
        steps = _steps(4)
        names = ("observations", "actions", "rewards", "terminals")
        columns = dict(zip(("obs", "action", "reward", "done"), map(steps.get, names), strict=True))
        np.savez(folder / "data" / f"{number}.npz", **columns)


def _pickled(folder: Path) -> None:
    (folder / "data.pkl").write_bytes(pickle.dumps([_steps(4), _steps(4)]))


def _pickled_by_number(folder: Path) -> None:
    longer, steps = _steps(5), _steps(4)
    row = {"obs": longer["observations"], "rtg": longer["rewards"]}
    row |= {"action": steps["actions"], "done": steps["terminals"]}
    (folder / "data.pkl").write_bytes(pickle.dumps({0: row, 1: row}))


def _d4rl(folder: Path) -> None:
    with h5py.File(folder / "data.hdf5", "w") as file:
        for name, column in _steps().items():
            file[name] = column
        file["next_observations"] = file["observations"][()]


def _d3rlpy_1(folder: Path) -> None:
    with h5py.File(folder / "data.h5", "w") as file:
        for name, column in _steps().items():
            if name != "timeouts":
                file[name] = column.astype(np.float32)
        file["episode_terminals"] = file["terminals"][()]
        file["discrete_action"], file["version"] = True, "1.0"


def _d3rlpy_2(folder: Path) -> None:
    steps = _steps(4)
    with h5py.File(folder / "data.h5", "w") as file:
        file["columns"] = ["observations", "actions", "rewards", "terminated"]
        file["num_episodes"], file["version"] = 2, "2.1"
        for number in range(2):
            file[f"observations_{number}"] = steps["observations"]
            file[f"actions_{number}"] = steps["actions"][:, None]
            file[f"rewards_{number}"] = steps["rewards"][:, None]
            file[f"terminated_{number}"] = True


def _robomimic(folder: Path) -> None:
    steps = _steps(4)
    with h5py.File(folder / "data.hdf5", "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"], data.attrs["total"] = json.dumps({"env_name": "Lift"}), 8
        for number in range(2):
            demo = data.create_group(f"demo_{number}")
            demo.attrs["num_samples"] = 4
            demo["actions"], demo["rewards"] = steps["observations"], steps["rewards"]
            demo["dones"] = steps["terminals"].astype(int)
            for group in ("obs", "next_obs"):
                demo[f"{group}/object"] = steps["observations"]


def _dopamine(folder: Path) -> None:
    steps = _steps()
    fields = {
        "$store$_observation": np.full((12, 9, 8), 3, np.uint8),
        "$store$_action": steps["actions"].astype(np.int32),
        "$store$_reward": steps["rewards"],
        "$store$_terminal": steps["terminals"].astype(np.uint8),
        "add_count": np.array(12),
    }
    (folder / "data").mkdir()
    for name, array in fields.items():
        with gzip.open(folder / "data" / f"{name}_ckpt.0.gz", "wb", 1) as file:
            np.save(file, array)


def _lerobot(folder: Path) -> None:
    image = spaces.Box(0, 255, (5, 4, 3), np.uint8)
    space = spaces.Dict({"front": image, "state": spaces.Box(-1, 1, (2,))})
    dataset = write_dataset(folder / "ours", recorded([3, 4], space), space, spaces.Discrete(3))
    export_lerobot(dataset, folder / "data")
    shutil.rmtree(folder / "ours")


def _minari(data_format: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        images = spaces.Box(0, 255, (33, 32, 3), np.uint8)
        space = spaces.Dict({"camera": images, "arm": spaces.Dict({"x": spaces.Box(-1, 1)})})
        dataset = write_dataset(folder / "ours", recorded([3, 4], space), space, spaces.Discrete(3))
        made = export_minari(dataset, folder / "minari", "made/here-v0", data_format=data_format)
        made.rename(folder / "data")
        shutil.rmtree(folder / "ours")
        shutil.rmtree(folder / "minari")

    return make


def _recording(make: Callable[[Path], Any], name: str) -> Format:
    def read(folder: Path) -> None:
        imported = folder / "imported"
        import_dataset(folder / name, imported)
        validate(imported)

    return Format(make, read, (DatasetError,))


# Runs


def _run(folder: Path) -> None:
    """A run that was stopped after two of four updates."""
    rate.collect("recall/12", folder / "data", episodes=12)
    recipe = replace(RECIPE, dataset=str(folder / "data"), model=MODEL, batch_size=4)
    rate.train(replace(recipe, updates=2), folder / "run", threads=1, accelerator="cpu")
    rate.evaluate(folder / "run", ["recall/12"], episodes=2, threads=1, accelerator="cpu")
    run = Run(folder / "run")
    recipe = replace(recipe, updates=4, target_return=1.0)
    run.recipe_file.write_text(json.dumps({**recipe.to_json(), "hash": recipe.hash}))
    run.inspection_file.write_text(json.dumps(_inspection()))
    run.recorded_file.write_text(json.dumps(_recorded()) + "\n")
    point = {"task": "recall/12", "asked": 1.0, "obtained": 0.5, "standard_error": 0.1}
    swept = {"points": [{**point, "episodes": 2}], "quantiles": {"0.5": 0.5, "1.0": 1.0}}
    run.sweep_file.with_suffix(".json").write_text(json.dumps(swept))
    shutil.copy(
        DATA.parent.parent / "docs" / "results" / "demo-success.png", run.path / "inspect-a.png"
    )


def _recorded() -> dict[str, Any]:
    group = {"from": 0, "to": 1, "steps": 4, "log_likelihood": -0.7, "accuracy": 0.5}
    return {
        **{"variant": "run", "checkpoint": "last", "dataset": "ab12", "held_out": True},
        **{"episodes": 2, "steps": 4, "log_likelihood": -0.7, "accuracy": 0.5},
        **{"accuracy_standard_error": 0.1, "by_distance": [group], "by_position": [group]},
        "calibration": [{"steps": 4, "confidence": 0.6, "accuracy": 0.5}],
        "calibration_error": 0.1,
    }


def _inspection() -> dict[str, Any]:
    return {
        "task": "recall/12",
        "checkpoint": "last",
        "update": 2,
        "episodes": 4,
        "first_seed": 0,
        "figures": [{"file": "inspect-a.png", "caption": "A map."}],
        "table": [["success", "0.5", "0.1 to 0.9", "4"]],
        "notes": ["A note."],
    }


def _only(*names: str) -> Callable[[Path, random.Random], None]:
    """Damage to a part of the sample."""

    def damage(folder: Path, draw: random.Random) -> None:
        part = folder / "part"
        part.mkdir()
        moved = [path for path in sorted((folder / "run").iterdir()) if path.name in names]
        for path in moved:
            path.rename(part / path.name)
        mutations.damage(part, draw)
        for path in part.iterdir():
            path.rename(folder / "run" / path.name)
        part.rmdir()

    return damage


def _seal_run(folder: Path) -> None:
    run = Run(folder / "run")
    for file, digest in ((run.recipe_file, hash_of), (run.provenance_file, _hash)):
        data = json.loads(file.read_text())
        data.pop("hash", None)
        file.write_text(json.dumps({**data, "hash": digest(data)}))
    for path in run.path.glob("*.safetensors"):
        _seal_tensors(path)


def _seal_tensors(path: Path) -> None:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    facts = header["__metadata__"]
    tensors = safetensors.torch.load(content)
    facts["sha256"] = _digest(tensors, facts["rate"])
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


def _resume(folder: Path) -> None:
    rate.resume(folder / "run")


def _evaluate(folder: Path) -> None:
    rate.evaluate(folder / "run", ["recall/12"], episodes=2, threads=1, accelerator="cpu")


def _load_policy(folder: Path) -> None:
    policy, header = load_policy(folder / "run")
    agent = rate.load_agent(folder / "run")
    assert header["target_return"] == agent.target_return
    assert policy is not None


# Experiments and others


def _experiment(folder: Path) -> None:
    places = []
    for variant in ("rate", "dt"):
        for seed in (0, 1):
            write_run(folder / "runs" / f"{variant}-{seed}", variant, seed, updates=3)
            places.append({"variant": variant, "seed": seed, "folder": f"runs/{variant}-{seed}"})
    facts = {
        "name": "demo",
        "title": "A title",
        "claim": "A claim",
        "axis": "length",
        "training_length": 90,
        "order": ["rate", "dt"],
        "seeds": [0, 1],
        "first_seed_only": [],
        "inspected": [],
        "paper": {"rate": "1.0"},
        "sums": {"all": ["tmaze"]},
        "grid": {"rate": ["a", "b"], "dt": ["a", "c"]},
        "runs": places,
    }
    (folder / "experiment.json").write_text(json.dumps(facts))
    rows = [
        result(variant, seed, length, 0.5)
        for variant in ("rate", "dt")
        for seed in (0, 1)
        for length in (9, 90)
    ]
    write_lines(folder / "rows.jsonl", rows)
    (folder / "remarks.md").write_text("It *works*.\n")


def _publish(folder: Path) -> None:
    repository = folder / "repository"
    (repository / "results").mkdir(parents=True)
    (repository / "README.md").write_text("<!-- results:demo -->\n<!-- /results -->\n")
    (repository / "results" / "paper.toml").write_text("")
    try:
        publish(folder, repository)
    finally:
        shutil.rmtree(repository)


def _texts(*texts: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        for number, text in enumerate(texts):
            suffix = "json" if text.startswith("{") else "txt"
            (folder / f"{number}.{suffix}").write_text(text, encoding="utf-8")

    return make


def _each(read: Callable[[str], Any]) -> Callable[[Path], None]:
    """Reads every file of a folder as one text."""

    def read_all(folder: Path) -> None:
        for path in sorted(path for path in folder.iterdir() if path.is_file()):
            read(path.read_bytes().decode("utf-8", "surrogateescape"))

    return read_all


def _read_recipe(text: str) -> None:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return  # files of recipes are those of runs
    from_json(data)


def _released(folder: Path) -> None:
    with np.load(DATA / "rate_tmaze.npz") as file:
        arrays = {name: file[name] for name in file.files}
    config = json.loads(str(arrays["config"]))
    lengths = {"context_length": config.pop("segment_length"), "sections": config.pop("segments")}
    told = {"model": config, "training": lengths, "model_mode": "RATE"}
    told["online_inference"] = {"desired_return_1": 1.0}
    (folder / "config.json").write_text(json.dumps(told))
    names = [name for name in arrays if name.startswith("weights/")]
    torch.save(
        {name.removeprefix("weights/"): torch.from_numpy(arrays[name]) for name in names},
        folder / "weights.pth",
    )


def _damage_released(folder: Path, draw: random.Random) -> None:
    path = folder / "weights.pth"
    if draw.random() < 0.3:
        return mutations.as_json(folder / "config.json", draw)
    if draw.random() < 0.5:
        return mutations.as_torch_file(path, draw)
    tensors = torch.load(path, weights_only=True)
    name = draw.choice(sorted(tensors))
    match draw.randrange(5):
        case 0:
            del tensors[name]
        case 1:
            tensors[draw.choice(mutations.TEXTS)] = tensors.pop(name)
        case 2:
            tensors[name] = mutations.value(draw, 1)
        case _:
            tensors[name] = mutations.array(draw, tensors[name].numpy())
    torch.save(tensors, path)
    return None


def _read_released(folder: Path) -> None:
    load_policy(convert(folder / "weights.pth", folder / "run"))


TASKS = (
    "tmaze/90",
    "recall/12,horizon=5,expert=random,metric=success",
    "gym:CartPole-v1,horizon=200,target_return=100.5",
    "gym:FrozenLake-v1,environment.is_slippery=false,environment.map_name=8x8",
    "popgym/RepeatFirstEasy",
    "minigrid-memory/13",
    "aar/30",
)
SPACES = (
    "Discrete(4)",
    "Box(-1, 1, (3,))",
    "MultiDiscrete([8, 8])",
    "MultiBinary(5)",
    '{"type": "Dict", "spaces": {"a": {"type": "Discrete", "dtype": "int64", "n": 3, "start": 0}}}',
    '{"type": "Tuple", "spaces": [{"type": "Box", "dtype": "float32", "shape": [2], "low": "-inf", '
    '"high": [1.0, "inf"]}]}',
)

_RUN_FILES = ("recipe.json", "provenance.json", "metrics.jsonl", "scores.jsonl", "inspection.json")
_RECORDED = ("recorded.jsonl", "target-return.json")

FORMATS = {
    "dataset": Format(
        _dataset("vector", "nested"), _read_datasets, (DatasetError,), _seal_datasets
    ),
    "shards": Format(_shards, _read_shards, (DatasetError,), _seal_shards),
    "plan": Format(_plan, _read_plan, (PlanError, UntrustedError)),
    "npz": _recording(_npz, "data.npz"),
    "npy": _recording(_npy, "data"),
    "episodes": _recording(_episodes, "data"),
    "pickled-list": _recording(_pickled, "data.pkl"),
    "pickled-dict": _recording(_pickled_by_number, "data.pkl"),
    "d4rl": _recording(_d4rl, "data.hdf5"),
    "d3rlpy-1": _recording(_d3rlpy_1, "data.h5"),
    "d3rlpy-2": _recording(_d3rlpy_2, "data.h5"),
    "robomimic": _recording(_robomimic, "data.hdf5"),
    "dopamine": _recording(_dopamine, "data"),
    "lerobot": _recording(_lerobot, "data"),
    "minari-hdf5": _recording(_minari("hdf5"), "data"),
    "minari-arrow": _recording(_minari("arrow"), "data"),
    "released": Format(
        _released, _read_released, (ConversionError,), damage=_damage_released, longest=1000
    ),
    "checkpoint": Format(
        _run, _load_policy, (CheckpointError,), _seal_run, _only("last.safetensors")
    ),
    "training-state": Format(
        _run,
        _resume,
        # The state of an optimiser may hold any finite number, and training on it may diverge.
        (CheckpointError, RunError, FloatingPointError),
        _seal_run,
        _only("training.safetensors"),
        share=2,
    ),
    "run-resumed": Format(
        _run, _resume, (*ANY, FloatingPointError), _seal_run, _only(*_RUN_FILES[:3]), share=2
    ),
    "run-evaluated": Format(
        _run, _evaluate, ANY, _seal_run, _only(*_RUN_FILES[:2], "scores.jsonl"), share=2
    ),
    "run-reported": Format(
        _run,
        lambda folder: report(folder / "run"),
        (ReportError,),
        None,
        _only(*_RUN_FILES, *_RECORDED),
        share=1,
    ),
    "experiment": Format(_experiment, report, (ReportError,), share=1),
    "published": Format(_experiment, _publish, (ReportError,), share=1),
    "paper": Format(
        lambda folder: shutil.copy(RESULTS / "paper.toml", folder),
        lambda folder: read_paper(folder / "paper.toml"),
        (ReportError,),
    ),
    "wandb": Format(
        lambda folder: (folder / "wandb_config.yaml").write_text("wandb_api: 0123456789abcdef\n"),
        wandb_key,
        (ValueError,),
    ),
    "space": Format(_texts(*SPACES), _each(from_text), (ValueError,)),
    # What was typed as a name is repeated as it is.
    "task": Format(_texts(*TASKS), _each(find), (ValueError, ModuleNotFoundError), longest=10_000),
    "recipe": Format(
        _texts(json.dumps(Recipe("data", MODEL).to_json())),
        _each(_read_recipe),
        (ValueError, ModuleNotFoundError),
    ),
}

ROUND = [name for turn in range(4) for name, form in FORMATS.items() if turn < form.share]
"""Formats in the order in which they are tried, again and again."""
