"""Damage to the files of a folder, drawn from a random generator and shaped by the kind of file."""

import gzip
import json
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

DEEP = "@deep@"
"""Stands for containers nested so deeply that `json.dumps` could not write them."""

TEXTS = (
    "",
    "x",
    "../outside",
    "/nowhere/outside",
    "\ud800",
    "\0",
    "\x1b[31mred\x07\r\n",
    "NaN",
    "1e400",
    "tmaze/90",
    "float32",
    "O",
    "os:getcwd",
    "é" * 300,
    "a" * 5000,
)
NUMBERS = (
    *(0, 1, -1, 2, 255, 256, 1 << 31, 1 << 40, 1 << 63, -(1 << 63), 10**400, 10**7),
    *(0.5, -0.5, 1e-30, 1e30, 1e308, float("nan"), float("inf"), float("-inf")),
)
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"a": {}}, DEEP)
SMALL_SHAPES = ((), (0,), (1,), (3,), (2, 3), (0, 4), (1, 1, 1, 1))
DTYPES = ("?", "u1", "i2", ">i4", "i8", "u8", "f2", ">f8", "f8", "c8", "U3", "S2", "M8[s]")


def damage(folder: Path, draw: random.Random) -> None:
    """Change one file of a folder, sometimes two."""
    for _ in range(draw.choice((1, 1, 1, 2))):
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        if files:
            path = draw.choice(files)
            change = draw.choice(
                (KINDS.get(path.suffix, as_bytes),) * 7 + (as_bytes,) * 2 + (as_file,)
            )
            change(path, draw)


def as_bytes(path: Path, draw: random.Random) -> None:
    """Flip bits, cut, insert, repeat or overwrite bytes, mostly near the beginning."""
    content = bytearray(path.read_bytes())
    place = draw.randrange(min(len(content), draw.choice((64, 512, 1 << 30))) or 1)
    match draw.randrange(6):
        case 0:
            for _ in range(draw.choice((1, 1, 8))):
                if content:
                    content[draw.randrange(place + 1) % len(content)] ^= 1 << draw.randrange(8)
        case 1:
            del content[place:]
        case 2:
            content[place:place] = draw.randbytes(draw.choice((1, 4, 100)))
        case 3:
            content += draw.choice((b"\0" * 100, draw.randbytes(50), bytes(content[:200])))
        case 4:
            del content[place : place + draw.choice((1, 8, 100))]
        case _:
            number = draw.choice((0, 1, -1, 1 << 31, (1 << 63) - 1, -(1 << 63)))
            content[place : place + 8] = struct.pack(draw.choice("<>") + "q", number)
    path.write_bytes(content)


def as_file(path: Path, draw: random.Random) -> None:
    """Remove a file, empty it, put a folder or another file of the folder in its place."""
    match draw.randrange(4):
        case 0:
            path.unlink()
        case 1:
            path.write_bytes(b"")
        case 2:
            path.unlink()
            path.mkdir()
        case _:
            files = sorted(other for other in path.parent.iterdir() if other.is_file())
            path.write_bytes(draw.choice(files).read_bytes())


def value(draw: random.Random, old: Any) -> Any:
    """Something in place of a value."""
    if isinstance(old, int | float) and draw.random() < 0.4:
        near = (-old, old + 1, old - 1, old * 1000, str(old), [old], float(old) + 0.5, bool(old))
        return draw.choice(near)
    if isinstance(old, list) and old and draw.random() < 0.4:
        return draw.choice((old[:-1], old * 2, old[::-1], old[0], [*old, None]))
    return draw.choice(draw.choice((TEXTS, NUMBERS, OTHERS, (str(old), [old], {"x": old}))))


def changed(data: Any, draw: random.Random) -> Any:
    """JSON data with a value changed, removed, added or renamed."""
    spots: list[tuple[Any, Any]] = []

    def collect(part: Any) -> None:
        keys = (
            part if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ()
        )
        for key in list(keys)[:60]:
            spots.append((part, key))
            collect(part[key])

    collect(data)
    if not spots or draw.random() < 0.03:
        return value(draw, data)
    part, key = draw.choice(spots)
    match draw.randrange(8):
        case 0:
            del part[key]
        case 1 if isinstance(part, dict):
            part[draw.choice(TEXTS)] = part.pop(key)
        case 2 if isinstance(part, dict):
            part[draw.choice((*TEXTS, "type", "name", "shape"))] = value(draw, part[key])
        case 3:
            other, place = draw.choice(spots)
            part[key] = other[place] if place in other or isinstance(other, list) else None
        case _:
            part[key] = value(draw, part[key])
    return data


def dumped(data: Any, draw: random.Random) -> bytes:
    """JSON text, sometimes with a key twice."""
    try:
        text = json.dumps(data)
    except (ValueError, RecursionError):  # a part within itself
        text = json.dumps(str(data)[:100])
    depth = draw.choice((60, 900, 100_000))
    text = text.replace(
        f'"{DEEP}"', draw.choice(("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth))
    )
    if draw.random() < 0.05 and text.startswith('{"'):
        text = "{" + text[1:].split(":")[0] + f": {json.dumps(draw.choice(NUMBERS))}, " + text[1:]
    return text.encode()


def as_json(path: Path, draw: random.Random) -> None:
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return as_bytes(path, draw)
    path.write_bytes(dumped(changed(data, draw), draw))
    return None


def as_lines(path: Path, draw: random.Random) -> None:
    """Change, remove, repeat or exchange a line of a JSON-lines file."""
    lines = path.read_bytes().splitlines()
    if not lines:
        return as_bytes(path, draw)
    place = draw.randrange(len(lines))
    match draw.randrange(7):
        case 0:
            del lines[place]
        case 1:
            lines.insert(draw.randrange(len(lines)), lines[place])
        case 2:
            lines[place] = draw.choice((b"", b"[]", b"null", b"{}", b"\xff", lines[place][:-5]))
        case _:
            try:
                lines[place] = dumped(changed(json.loads(lines[place]), draw), draw)
            except (ValueError, RecursionError):
                del lines[place]
    path.write_bytes(b"\n".join(lines) + draw.choice((b"", b"\n", b"\n", b"\n")))
    return None


def as_text(path: Path, draw: random.Random) -> None:
    """Insert, remove or exchange words and signs of a text."""
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    place = draw.randrange(len(text) + 1)
    end = place + draw.choice((0, 1, 1, 5, 20))
    word = draw.choice(
        (*TEXTS, *map(str, NUMBERS[:-9]), *",=:/()[]{}'\"-#&*!\n", "," * 50, "[" * 3000, "((" * 200)
    )
    path.write_bytes((text[:place] + word + text[end:]).encode("utf-8", "surrogatepass"))


def array(draw: random.Random, old: np.ndarray) -> np.ndarray:
    """Another array in place of one: other numbers, another dtype or shape."""
    with np.errstate(all="ignore"):
        match draw.randrange(7):
            case 0:
                return np.zeros(draw.choice(SMALL_SHAPES), old.dtype)
            case 1:
                return old.astype(draw.choice(DTYPES))
            case 2:
                return old[: draw.randrange(len(old) + 1)] if old.ndim else old[None]
            case 3:
                return old[..., None] if draw.random() < 0.5 else old.reshape(-1)
            case 4:
                return np.array(draw.choice((["a", "b"], 3.5, "x", b"x", [[1, 2], [3, 4]])))
            case 5 if old.ndim:
                return np.concatenate([old, old])
    new = old.copy()
    if new.size and new.dtype.kind in "fiu":
        numbers = (-1, 255, 3.7e38, np.nan, np.inf) if new.dtype.kind == "f" else (0, 100, 127)
        new.reshape(-1)[draw.randrange(new.size)] = draw.choice(numbers)
    return new


def as_array(path: Path, draw: random.Random) -> None:
    """Write another array to a `.npy` file, or a header that says something else."""
    try:
        old = np.load(path, allow_pickle=False)
    except Exception:
        return as_bytes(path, draw)
    if draw.random() < 0.5:
        np.save(path, array(draw, old))
        return None
    shape = draw.choice(((1 << 40,), (1 << 31, 1 << 31), (-1,), (2.5,), "x", (10**30,), (0,)))
    descr = draw.choice((old.dtype.str, "|O", "<U99999999", "<f8", [("a", "<f8")], "zz"))
    text = repr({"descr": descr, "fortran_order": draw.random() < 0.3, "shape": shape})
    text = draw.choice((text, text[:-1] + ", 'x': 1}", "(" * 500, text.replace("'", '"', 1)))
    header = text.encode() + b"\n"
    size = draw.choice((len(header), len(header), 65535))
    content = b"\x93NUMPY" + bytes((draw.choice((1, 1, 2, 9)), 0)) + struct.pack("<H", size)
    path.write_bytes(content + header + old.tobytes())
    return None


def as_archive(path: Path, draw: random.Random) -> None:
    """Change an array of a `.npz`, the names or the sizes of its members, or what it expands to."""
    try:
        with zipfile.ZipFile(path) as file:
            members = {name: file.read(name) for name in file.namelist()}
    except Exception:
        return as_bytes(path, draw)
    name = draw.choice(sorted(members) or ["x.npy"])
    match draw.randrange(5):
        case 0:
            members[draw.choice(("../x.npy", "/x.npy", "x", "x.npy", "é\n.npy"))] = members.pop(
                name
            )
        case 1:
            header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 30,)}
            text = repr(header).ljust(117).encode() + b"\n"
            zeros = bytes(1_000_000)
            members[name] = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + zeros
        case _:
            inner = path.with_name("inner.npy")
            inner.write_bytes(members[name])
            draw.choice((as_array, as_array, as_bytes))(inner, draw)
            members[name] = inner.read_bytes()
            inner.unlink()
    compression = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    if draw.random() < 0.2:
        as_bytes(path, draw)
    return None


def as_hdf5(path: Path, draw: random.Random) -> None:
    """Change a data set, attribute or link of an HDF5 file."""
    try:
        with h5py.File(path, "a") as file:
            names: list[str] = []
            file.visit(names.append)
            _change_hdf5(file, draw.choice(names), draw)
    except Exception:
        as_bytes(path, draw)


def _change_hdf5(file: h5py.File, name: str, draw: random.Random) -> None:
    item = file[name]
    old = item[()] if isinstance(item, h5py.Dataset) else np.zeros(3)
    match draw.randrange(9):
        case 0:
            del file[name]
        case 1:
            file.move(name, draw.choice(("other", "x/y", "observations/x", "timeouts")))
        case 2:
            del file[name]
            file[name] = draw.choice(
                (h5py.ExternalLink("main.hdf5", "/"), h5py.SoftLink("/nowhere"), h5py.SoftLink("/"))
            )
        case 3:
            del file[name]
            shape = draw.choice(((1 << 33,), (1 << 20, 1 << 10), (1 << 40, 2), (0,)))
            file.create_dataset(name, shape, old.dtype, chunks=True)
        case 4:
            del file[name]
            file.create_group(name)
        case 5:
            owner = draw.choice((file, item))
            for key in list(owner.attrs)[:3]:
                owner.attrs[key] = draw.choice((-1, 1 << 40, "x", "{", np.nan, [1, 2], ""))
            owner.attrs["seed"] = draw.choice((-1, "x", np.nan))
        case _:
            del file[name]
            file[name] = array(draw, np.asarray(old))


def as_pickle(path: Path, draw: random.Random) -> None:
    """Pickle something else, or change bytes."""
    try:
        data = pickle.loads(path.read_bytes())
    except Exception:
        return as_bytes(path, draw)
    rows = list(data.values()) if isinstance(data, dict) else data
    filled = [row for row in rows if isinstance(row, dict) and row] if type(rows) is list else []
    if filled and draw.random() < 0.7:
        row = draw.choice(filled)
        key = draw.choice(sorted(row, key=str))
        if draw.random() < 0.7:
            row[key] = array(draw, np.asarray(row[key]))
        else:
            row[key] = value(draw, 1)
    else:
        data = value(draw, data if draw.random() < 0.5 else 1)
    path.write_bytes(pickle.dumps(data, draw.choice((0, 1, 2, 3, 4, 5))))
    if draw.random() < 0.3:
        as_bytes(path, draw)
    return None


def as_torch_file(path: Path, draw: random.Random) -> None:
    """Change bytes of an entry of an archive of `torch.save`, most often of its pickle."""
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    pickled = next(name for name in members if name.endswith("data.pkl"))
    name = pickled if draw.random() < 0.7 else draw.choice(sorted(members))
    inner = path.with_name("inner")
    inner.write_bytes(members[name])
    as_bytes(inner, draw)
    members[name] = inner.read_bytes()
    inner.unlink()
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)


def as_safetensors(path: Path, draw: random.Random) -> None:
    """Change the header's JSON, the metadata's JSON in it, or its length."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + length])
        facts = json.loads(header["__metadata__"]["rate"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return as_bytes(path, draw)
    tensors = content[8 + length :]
    match draw.randrange(6):
        case 0:
            header = changed(header, draw)
        case 1:
            length = draw.choice((0, 1, length - 1, length + 9, 10**8, 1 << 62))
            path.write_bytes(length.to_bytes(8, "little") + content[8:])
            return None
        case 2:
            name = draw.choice(sorted(set(header) - {"__metadata__"}))
            dtypes = ("F32", "I32", "F64", "I64", "BOOL", "BF16", "C64", "U8", "F8_E4M3", "F4")
            header[name]["dtype"] = draw.choice(dtypes)
        case 3:
            place = draw.randrange(max(1, len(tensors) - 4)) // 4 * 4
            number = struct.pack("<f", draw.choice((float("nan"), float("inf"), 1e38)))
            tensors = tensors[:place] + number + tensors[place + 4 :]
        case _:
            header["__metadata__"]["rate"] = dumped(changed(facts, draw), draw).decode()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + tensors)
    return None


def as_gzip(path: Path, draw: random.Random) -> None:
    """Damage the array in a gzipped `.npy`."""
    unpacked = path.with_suffix(".npy")
    try:
        unpacked.write_bytes(gzip.decompress(path.read_bytes()))
    except Exception:
        return as_bytes(path, draw)
    as_array(unpacked, draw)
    path.write_bytes(gzip.compress(unpacked.read_bytes(), 1))
    unpacked.unlink()
    return None


KINDS: dict[str, Callable[[Path, random.Random], None]] = {
    ".json": as_json,
    ".jsonl": as_lines,
    ".npy": as_array,
    ".npz": as_archive,
    ".gz": as_gzip,
    ".hdf5": as_hdf5,
    ".h5": as_hdf5,
    ".pkl": as_pickle,
    ".safetensors": as_safetensors,
    ".txt": as_text,
    ".toml": as_text,
    ".yaml": as_text,
    ".md": as_text,
}
