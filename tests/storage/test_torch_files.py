"""Files of torch.save are read without unpickling; damaged and hostile ones are refused."""

import io
import os
import pickle
import zipfile
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rate.storage.pickles import PickleError
from rate.storage.torch_files import load_tensors

DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8")


def saved(tmp_path: Path, data: Any) -> Path:
    torch.save(data, tmp_path / "data.pth")
    return tmp_path / "data.pth"


@pytest.mark.parametrize("dtype", [*DTYPES, "bool"])
def test_tensors_of_every_kind(tmp_path: Path, dtype: str) -> None:
    whole = (torch.arange(24).view(2, 3, 4) % 5).to(getattr(torch, dtype))
    tensors = {
        "whole": whole,
        "part": whole[1, 1:],
        "transposed": whole.permute(2, 0, 1),
        "strided": whole[..., ::2],
        "none": whole[:0],
        "scalar": whole[1, 1, 1],
    }
    found = load_tensors(saved(tmp_path, tensors))
    for name, tensor in tensors.items():
        expected = (tensor.float() if dtype == "bfloat16" else tensor).numpy()
        assert np.array_equal(found[name], expected), name
        assert found[name].dtype == expected.dtype


def test_a_checkpoint_of_a_whole_training(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    moments = {"step": torch.tensor(1.0), "exp_avg": torch.ones(4, 3)}
    optimiser = {"state": {0: moments}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]}
    saved_data = {
        "model": model.state_dict(),
        "optimiser": optimiser,
        "parameter": model[0].weight,
        "epoch": 3,
        "best": np.float64(0.5),
        "text": "ä",
    }
    found = load_tensors(saved(tmp_path, saved_data))
    for name, tensor in model.state_dict().items():
        assert np.array_equal(found["model"][name], tensor.numpy())
    assert np.array_equal(found["parameter"], model[0].weight.detach().numpy())
    assert (found["epoch"], found["best"], found["text"]) == (3, 0.5, "ä")
    assert found["optimiser"]["state"][0]["step"] == 1


# Hostile files
# --------------------------------------------------------------------------------


class Reduced:
    """Pickled as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def changed(path: Path, change: Any, compression: int = zipfile.ZIP_STORED) -> None:
    """Write an archive anew with what `change` makes of its entries."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def pickled(entries: dict[str, bytes]) -> str:
    return next(name for name in entries if name.endswith("data.pkl"))


def replaced(old: bytes, new: bytes) -> Any:
    def change(entries: dict[str, bytes]) -> None:
        name = pickled(entries)
        assert old in entries[name]
        entries[name] = entries[name].replace(old, new)

    return change


WEIGHT = {"weight": torch.arange(6.0).view(2, 3)}
DAMAGE: dict[str, tuple[Any, str]] = {
    "no numbers": (lambda entries: entries.pop("data/data/0"), "lacks its part"),
    "fewer numbers": (
        lambda entries: entries.update({"data/data/0": bytes(8)}),
        "not as large as it says",
    ),
    "more numbers": (
        lambda entries: entries.update({"data/data/0": bytes(800)}),
        "not as large as it says",
    ),
    "no pickle": (lambda entries: entries.pop("data/data.pkl"), r"has no data\.pkl"),
    "big-endian": (
        lambda entries: entries.update({"data/byteorder": b"big"}),
        "little-endian",
    ),
    "larger than its storage": (replaced(b"K\x02K\x03\x86", b"K\x03K\x03\x86"), "larger than its"),
    "another storage": (replaced(b"FloatStorage", b"QInt8Storage"), "would be run"),
    "a name outside": (replaced(b"_rebuild_tensor_v2", b"_rebuild_sparse_v2"), "would be run"),
    "a path for a key": (
        replaced(b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x00."),
        "lacks its part",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_archives_are_refused(tmp_path: Path, name: str) -> None:
    path, (change, message) = saved(tmp_path, WEIGHT), DAMAGE[name]
    changed(path, change)
    with pytest.raises(PickleError, match=rf"data\.pth is refused.*{message}"):
        load_tensors(path)


def test_a_tensor_that_repeats_its_numbers_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, {"weight": torch.zeros(1).expand(1 << 20, 1 << 20)})
    with pytest.raises(PickleError, match="larger than its storage"):
        load_tensors(path)


def test_compressed_archives_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, {"weight": torch.zeros(1_000_000)})
    changed(path, lambda entries: None, zipfile.ZIP_DEFLATED)
    with pytest.raises(PickleError, match="compressed"):
        load_tensors(path)


def test_what_would_be_run_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    for data in (
        {"weight": Reduced(os.system, f"touch {mark}")},
        Reduced(exec, f"open({str(mark)!r}, 'w')"),
        {"args": Namespace(layers=2), **WEIGHT},
        torch.nn.Linear(1, 1),
        {"weight": Reduced(torch.load, str(mark))},
        {"weight": Reduced(torch.FloatStorage, 3)},
    ):
        with pytest.raises(PickleError, match=r"data\.pth is refused.*state_dict"):
            load_tensors(saved(tmp_path, data))
    assert not mark.exists()


@pytest.mark.parametrize("old", [False, True])
def test_other_files_are_refused(tmp_path: Path, old: bool) -> None:
    path = tmp_path / "data.pth"
    if old:
        torch.save(WEIGHT, path, _use_new_zipfile_serialization=False)
    else:
        path.write_bytes(pickle.dumps({"weight": [1.0]}))
    with pytest.raises(PickleError, match=r"no archive of torch\.save.*weights_only"):
        load_tensors(path)
    with pytest.raises(PickleError, match=r"missing\.pth cannot be read: No such file"):
        load_tensors(tmp_path / "missing.pth")
    np.savez(tmp_path / "arrays.npz", weight=np.zeros(3))
    with pytest.raises(PickleError, match=r"has no data\.pkl"):
        load_tensors(tmp_path / "arrays.npz")


def test_archives_cut_anywhere_or_changed_are_speaking_errors(tmp_path: Path) -> None:
    stream = io.BytesIO()
    torch.save({**WEIGHT, "more": [1, {"deep": torch.ones(2)}]}, stream)
    whole, path = stream.getvalue(), tmp_path / "data.pth"
    rng = np.random.default_rng(0)
    for size in range(0, len(whole), 40):
        path.write_bytes(whole[:size])
        with pytest.raises(PickleError, match=r"data\.pth"):
            load_tensors(path)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] = int(rng.integers(256))
        path.write_bytes(damaged)
        try:
            load_tensors(path)
        except PickleError as error:
            assert "data.pth" in str(error)  # noqa: PT017 (some changes mean nothing)
