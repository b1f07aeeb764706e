"""What a file expands to is bounded before it is read, no file points outside itself, and arrays
that nobody uses are not read."""

import io
import json
import zipfile

import h5py
import numpy as np
import pytest

from rate.dataset import DatasetError
from rate.dataset.export_minari import export_minari
from rate.dataset.importers import _files, import_dataset

COUNT = 40
LAST = np.arange(COUNT) % 4 == 3
BASE = {
    "observations": np.ones((COUNT, 3), np.float32),
    "actions": np.arange(COUNT) % 3,
    "rewards": np.ones(COUNT),
    "terminals": LAST,
}


def refused(path, message):
    with pytest.raises(DatasetError, match=message) as caught:
        import_dataset(path, path.parent / "out")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (path.parent / "out").exists()


# HDF5


def flat(path):
    """A file of steps in a row, and the group of its arrays."""
    return h5py.File(path, "w"), "/"


def demonstrations(path):
    """A file of robomimic, and the group of its first episode."""
    file = h5py.File(path, "w")
    file.create_group("data/demo_0")
    return file, "data/demo_0"


def outside(folder):
    """Another file of this machine, with something to read."""
    with h5py.File(folder / "secret.h5", "w") as file:
        file["observations"] = np.full((COUNT, 3), 42, np.float32)
    (folder / "secret.bin").write_bytes(np.full((COUNT, 3), 42, np.float32).tobytes())


def external_link(group, folder):
    group["observations"] = h5py.ExternalLink(str(folder / "secret.h5"), "/observations")


def soft_link_to_external(group, folder):
    group["far"] = h5py.ExternalLink(str(folder / "secret.h5"), "/")
    group["observations"] = h5py.SoftLink(f"{group.name}/far/observations")


def virtual(group, folder):
    layout = h5py.VirtualLayout((COUNT, 3), np.float32)
    layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "observations", (COUNT, 3))
    group.create_virtual_dataset("observations", layout)


def external_storage(group, folder):
    stored = [(str(folder / "secret.bin"), 0, COUNT * 12)]
    group.create_dataset("observations", (COUNT, 3), np.float32, external=stored)


def unused_link(group, folder):
    group["observations"] = BASE["observations"]
    group["infos"] = h5py.ExternalLink(str(folder / "secret.h5"), "/")


@pytest.mark.parametrize("layout", [flat, demonstrations])
@pytest.mark.parametrize(
    "attack", [external_link, soft_link_to_external, virtual, external_storage, unused_link]
)
def test_hdf5_does_not_point_outside_itself(tmp_path, layout, attack):
    outside(tmp_path)
    path = tmp_path / "data.hdf5"
    file, group = layout(path)
    with file:
        for name, array in BASE.items():
            if name != "observations":
                file[group][name] = array
        attack(file[group], tmp_path)
    refused(path, "another file")


@pytest.mark.parametrize("attack", [external_link, virtual, external_storage])
def test_minari_does_not_point_outside_itself(tmp_path, attack):
    np.savez(tmp_path / "own.npz", **BASE)
    ours = import_dataset(tmp_path / "own.npz", tmp_path / "ours")
    folder = export_minari(ours, tmp_path / "minari", "made/own-v0")
    outside(tmp_path)
    with h5py.File(folder / "data" / "main_data.hdf5", "a") as file:
        del file["episode_1/observations"]
        attack(file["episode_1"], tmp_path)
    refused(folder, "another file")


def test_links_within_a_file_are_sound(tmp_path):
    with h5py.File(tmp_path / "data.hdf5", "w") as file:
        for name, array in BASE.items():
            file[f"stored/{name}"] = array
            file[name] = h5py.SoftLink(f"/stored/{name}")
        file["again"] = file["stored"]
        file["stored/cycle"] = file["/"]
    assert import_dataset(tmp_path / "data.hdf5", tmp_path / "out").lengths.tolist() == [4] * 10


@pytest.mark.parametrize("layout", [flat, demonstrations])
@pytest.mark.parametrize("chunks", [None, (2**20,), (2**27,)])
def test_hdf5_holds_all_that_it_declares(tmp_path, layout, chunks):
    path = tmp_path / "data.hdf5"
    file, group = layout(path)
    with file:
        size = 2**33
        for name in BASE:
            shape = (size, 3) if name == "observations" else (size,)
            kind = np.int64 if name == "actions" else np.float32
            option = {"chunks": (*chunks, *shape[1:])} if chunks else {}
            file[group].create_dataset(name, shape, kind, **option)
    refused(path, r"declares \(8589934592.* the file holds fewer")


@pytest.mark.parametrize("layout", [flat, demonstrations])
def test_hdf5_that_inflates_to_far_more_than_its_size(tmp_path, monkeypatch, layout):
    path = tmp_path / "data.hdf5"
    file, group = layout(path)
    with file:
        for name, array in BASE.items():
            whole = np.concatenate([np.zeros_like(array)] * 20_000)
            file[group].create_dataset(name, data=whole, chunks=True, compression="gzip")
    monkeypatch.setattr(_files, "ALWAYS_ALLOWED", 2**20)
    refused(path, "once inflated, more than 100 times the file")


def test_a_chunk_larger_than_its_array(tmp_path, monkeypatch):
    monkeypatch.setattr(_files, "ALWAYS_ALLOWED", 2**22)
    with h5py.File(tmp_path / "data.hdf5", "w") as file:
        for name, array in BASE.items():
            if name != "rewards":
                file[name] = array
        kept = {"maxshape": (None,), "chunks": (2**20,), "compression": "gzip"}
        file.create_dataset("rewards", data=BASE["rewards"], **kept)
    refused(tmp_path / "data.hdf5", "once inflated")


# NumPy


@pytest.mark.parametrize("name", BASE)
def test_headers_of_npz_say_what_is_there(tmp_path, name):
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for other, array in BASE.items():
            file = io.BytesIO()
            np.save(file, array)
            content = file.getvalue()
            if other == name:
                shape = (2**33, *array.shape[1:])
                header = np.lib.format.header_data_from_array_1_0(array) | {"shape": shape}
                large = io.BytesIO()
                np.lib.format.write_array_header_1_0(large, header)
                content = large.getvalue() + array.tobytes()
            archive.writestr(f"{other}.npy", content)
    refused(path, f"{name} is not as large as its header says")


@pytest.mark.parametrize("name", BASE)
def test_npz_that_inflates_to_far_more_than_its_size(tmp_path, monkeypatch, name):
    path = tmp_path / "data.npz"
    large = np.zeros((2**20, *BASE[name].shape[1:]), BASE[name].dtype)
    np.savez_compressed(path, **{**BASE, name: large})
    monkeypatch.setattr(_files, "ALWAYS_ALLOWED", 2**19)
    refused(path, "once inflated, more than 100 times the file")


def test_arrays_that_nobody_uses_are_not_read(tmp_path, monkeypatch):
    """A large one, one of objects, and one that is damaged."""
    path = tmp_path / "data.npz"
    large = {"infos": np.array([{}] * 3), "large": np.zeros(2**24), "qpos": np.arange(5.0) + 77}
    np.savez_compressed(path, **BASE, **large)
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("qpos.npy")
    content = bytearray(path.read_bytes())
    content[entry.header_offset + 60 : entry.header_offset + 90] = b"\xff" * 30
    path.write_bytes(content)
    monkeypatch.setattr(_files, "ALWAYS_ALLOWED", 2**19)
    found = import_dataset(path, tmp_path / "out")
    assert found.card["provenance"]["ignored"] == ["infos", "large", "qpos"]
    with h5py.File(tmp_path / "data.hdf5", "w") as file:
        for name, array in BASE.items():
            file[name] = array
        file.create_dataset("large", (2**40,), np.float64, chunks=(2**20,))
    import_dataset(tmp_path / "data.hdf5", tmp_path / "again")


@pytest.mark.parametrize("name", ["observations", "terminals"])
def test_folders_of_npy(tmp_path, name):
    folder = tmp_path / "data"
    folder.mkdir()
    for other, array in BASE.items():
        np.save(folder / other, array)
    np.save(folder / "infos", np.array([{}]), allow_pickle=True)
    import_dataset(folder, tmp_path / "sound")
    content = (folder / f"{name}.npy").read_bytes()
    (folder / f"{name}.npy").write_bytes(content[:-8])
    refused(folder, name)
    np.save(folder / name, np.array([{}]), allow_pickle=True)
    refused(folder, "Object arrays cannot be loaded")


# Minari


@pytest.mark.parametrize(
    ("data_format", "changes"),
    [
        ("hdf5", {"total_steps": "many"}),
        ("hdf5", {"total_episodes": [3]}),
        ("arrow", {"total_steps": {}}),
        ("arrow", {"observation_space": "{}"}),
    ],
)
def test_metadata_of_the_wrong_type_are_speaking_errors(tmp_path, data_format, changes):
    np.savez(tmp_path / "own.npz", **BASE)
    ours = import_dataset(tmp_path / "own.npz", tmp_path / "ours")
    folder = export_minari(ours, tmp_path / "minari", "made/own-v0", data_format=data_format)
    file = folder / "data" / "metadata.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    refused(folder, "cannot be read")


def test_a_damaged_schema_of_arrow_is_a_speaking_error(tmp_path):
    np.savez(tmp_path / "own.npz", **BASE)
    ours = import_dataset(tmp_path / "own.npz", tmp_path / "ours")
    folder = export_minari(ours, tmp_path / "minari", "made/own-v0", data_format="arrow")
    for file in (folder / "data").rglob("*.arrow"):
        file.write_bytes(b"ARROW1" + bytes(100))
    refused(folder, "own-v0")
