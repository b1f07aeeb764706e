"""Pickled trajectories are read, hostile and damaged pickles are refused, and nothing in them is
run."""

import copyreg
import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from rate.dataset import DatasetError
from rate.dataset.importers import import_dataset
from rate.storage.pickles import PickleError, load_numbers

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def kept(tmp_path, content):
    path = tmp_path / "data.pickle"
    path.write_bytes(content)
    return path


def tmaze(length, goal):
    """A trajectory as the authors' generator writes it: `length` observations, one action fewer."""
    ends = np.arange(length - 1) == length - 2
    seen = np.zeros((length, 4))
    seen[0, 1] = goal
    return {
        "obs": seen,
        "action": np.where(ends, 1 if goal > 0 else 3, 0),
        "rtg": np.append(np.ones(length - 1), 0.0),
        "done": ends.astype(int),
    }


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tmaze(tmp_path, protocol):
    data = {index: tmaze(4 + index % 3, 1 - 2 * (index % 2)) for index in range(6)}
    found = import_dataset(kept(tmp_path, pickle.dumps(data, protocol)), tmp_path / "out")
    assert found.lengths.tolist() == [3, 4, 5, 3, 4, 5]
    assert found.action_space == spaces.Discrete(4)
    assert (found.returns == 1).all()
    for index, one in data.items():
        episode = found.episode(index)
        assert (episode.observations["observation"] == one["obs"]).all()
        assert (episode.actions == one["action"]).all()
        assert episode.rewards.tolist() == one["done"].tolist()
        assert episode.terminations[-1]
    assert found.card["provenance"]["final_observation"] == "recorded"


@pytest.mark.parametrize("following", [True, False])
def test_mujoco(tmp_path, following):
    rng = np.random.default_rng(0)
    data = []
    for terminal in (True, False):
        seen = rng.normal(size=(6, 11)).astype(np.float32)
        one = {"observations": seen[:-1], "actions": rng.normal(size=(5, 3)).astype(np.float32)}
        one |= {
            "rewards": np.ones(5, np.float32),
            "terminals": (np.arange(5) == 4) & terminal,
            "next_observations": seen[1:],
        }
        if not following:
            del one["next_observations"]
        data.append({**one, "infos/qpos": np.zeros((5, 2))})
    found = import_dataset(kept(tmp_path, pickle.dumps(data)), tmp_path / "out")
    assert found.action_space == spaces.Box(-np.inf, np.inf, (3,))
    for index, one in enumerate(data):
        episode = found.episode(index)
        last = one["next_observations" if following else "observations"][-1]
        assert (
            episode.observations["observation"] == np.concatenate([one["observations"], last[None]])
        ).all()
        assert (episode.actions == one["actions"]).all()
        assert (episode.terminations[-1], episode.truncations[-1]) == (index == 0, index == 1)
    assert found.card["provenance"]["final_observation"] == (
        "recorded" if following else "repeated"
    )
    assert found.card["provenance"]["ignored"] == ["infos/qpos"]


ARRAYS = {
    **{
        kind: np.arange(6).astype(kind).reshape(2, 3)
        for kind in ("i1", "u2", ">i4", "<i8", "f2", ">f4", "f8", ">f8", "?")
    },
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "transposed": np.arange(24.0).reshape(2, 3, 4).transpose(1, 2, 0),
    "strided": np.arange(12)[::2],
    "read-only": np.frombuffer(bytes(range(8)), np.uint8),
    "none": np.zeros((0, 3)),
    "no side": np.array(5),
    "scalar": np.float32(3),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("core", [b"numpy.core", b"numpy._core"])
def test_arrays_of_every_protocol_and_of_numpy_1_and_2(tmp_path, name, protocol, core):
    content = pickle.dumps([ARRAYS[name], {"again": ARRAYS[name]}], protocol)
    other = b"numpy._core" if core == b"numpy.core" else b"numpy.core"
    if protocol < 4:
        content = content.replace(other, core)
    else:  # names are written with their length
        for module in (b".multiarray", b".numeric"):
            old, new = other + module, core + module
            content = content.replace(bytes([0x8C, len(old)]) + old, bytes([0x8C, len(new)]) + new)
        content = (
            b"\x80" + bytes([protocol]) + content[11:]
        )  # without the frame, whose length has changed
    first, second = load_numbers(kept(tmp_path, content))
    for found in (first, second["again"]):
        assert np.array_equal(found, ARRAYS[name])
        assert found.shape == ARRAYS[name].shape
        assert found.dtype == ARRAYS[name].dtype.newbyteorder("=")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_data_of_every_protocol(tmp_path, protocol):
    data = {
        "text": "ä",
        1: [None, True, False, -1, 2**40, 10**30, 1.5, [], {}],
        2.5: {"deep": [{"er": [1] * 3000}]},
    }
    assert load_numbers(kept(tmp_path, pickle.dumps(data, protocol))) == data
    assert load_numbers(kept(tmp_path, pickle.dumps({np.int64(3): (1, (2,))}, protocol))) == {
        3: [1, [2]]
    }


def test_bytes_as_python_2_wrote_them(tmp_path):
    """An array of NumPy 1 whose bytes are text, in protocol 2."""
    new = pickle.dumps(np.array([1.5, -2.0]), 3).replace(b"numpy._core", b"numpy.core")
    assert b"C\x10" in new  # SHORT_BINBYTES
    old = new.replace(b"C\x10", b"U\x10").replace(b"\x80\x03", b"\x80\x02")  # SHORT_BINSTRING
    assert load_numbers(kept(tmp_path, old)).tolist() == [1.5, -2.0]


# Hostile pickles


class Reduced:
    """Pickled as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Plain:
    """Pickled as an object with a state."""

    def __init__(self):
        self.state = 1


def instructions(*parts):
    return b"".join(part.encode() if isinstance(part, str) else part for part in parts)


def hostile(mark):
    """Pickles that would make the file `mark`, were they run, or that make what is no number."""
    run = f"open({mark!r}, 'w').write('ran')"
    return {
        "os.system": pickle.dumps({"obs": Reduced(os.system, f"touch {mark}")}),
        "eval": pickle.dumps([Reduced(eval, run)]),
        "exec": pickle.dumps({0: Reduced(exec, run)}, 0),
        "open": pickle.dumps(Reduced(open, mark, "w"), 2),
        "key": pickle.dumps([Reduced(os.system, f"touch {mark}")], 1),
        "inst": instructions("(S'touch ", mark, "'\nios\nsystem\n."),
        "obj": instructions("(cos\nsystem\nS'touch ", mark, "'\no."),
        "newobj": instructions("\x80", b"\x02", "cos\nsystem\nS'touch ", mark, "'\n\x85\x81."),
        "stack global": instructions(
            b"\x80\x04\x8c\x02os\x8c\x06system\x93", "S'touch ", mark, "'\n", b"\x85R."
        ),
        "dotted": instructions(b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__class__\x93."),
        "getattr": pickle.dumps(Reduced(getattr, "text", "upper")),
        "import": pickle.dumps(Reduced(__import__, "antigravity")),
        "numpy.load": pickle.dumps(Reduced(np.load, mark)),
        "numpy code": instructions(
            "cnumpy.testing._private.utils\nrunstring\n(S'", run.replace("'", '"'), "'\n(dtR."
        ),
        "codec": instructions("c_codecs\ndecode\n(S'41'\nS'hex'\ntR."),
        "zip codec": instructions("c_codecs\nencode\n(Vx\nVzip\ntR."),
        "codecs": instructions("ccodecs\nencode\n(Vx\nVlatin1\ntR."),
        "persistent": instructions("Pname\n."),
        "persistent 1": instructions("Vname\nQ."),
        "extension": b"\x80\x02\x82\x01.",
        "buffer": pickle.dumps(np.arange(8.0), 5, buffer_callback=[].append),
        "object": pickle.dumps(Plain()),
        "set": pickle.dumps({1, 2}),
        "ordered dict": pickle.dumps(OrderedDict(a=1)),
        "complex": pickle.dumps([1j]),
        "class": pickle.dumps(Path),
        "path": pickle.dumps(Path(mark)),
        "name alone": pickle.dumps(np.ndarray),
        "calls ndarray": pickle.dumps(Reduced(np.ndarray, (3,))),
        "state of a name": instructions("cnumpy\ndtype\n(dVx\nI1\nst", "b."),
        "state of a list": instructions("](I1\ntb."),
        "state of a function": instructions("c_codecs\nencode\n(N(dV__defaults__\n(Vlatin1\ntstb."),
        "call of data": instructions("(lI1\ntR."),
        "objects": pickle.dumps(np.array([1, "a", None], object)),
        "objects 5": pickle.dumps(np.array([Reduced(os.system, f"touch {mark}")], object), 5),
        "text": pickle.dumps(np.array(["a", "bc"])),
        "bytes": pickle.dumps(np.array([b"a"])),
        "complex array": pickle.dumps(np.zeros(2, complex)),
        "dates": pickle.dumps(np.array(["2020-01-01"], "M8[D]")),
        "records": pickle.dumps(np.zeros(2, [("a", "f4"), ("b", "O")])),
        "record": pickle.dumps(np.zeros(2, [("a", "f4")])[0]),
        "matrix": pickle.dumps(np.matrix([1])),
        "masked": pickle.dumps(np.ma.array([1, 2])),
        "array of a list": pickle.dumps(np.zeros(2)).replace(
            b"numpy._core.multiarray", b"numpy.linalg.lapack_li"
        ),
        "tuple key": pickle.dumps({(1, 2): 3}),
        "array key": instructions("(c_codecs\nencode\nI1\nd."),
    }


@pytest.mark.parametrize("name", hostile("x"))
def test_hostile_pickles_are_refused_and_not_run(tmp_path, name, monkeypatch):
    monkeypatch.setattr(copyreg, "_inverted_registry", {1: ("os", "getcwd")})
    mark = tmp_path / "ran"
    path = kept(tmp_path, hostile(str(mark))[name])
    with pytest.raises(PickleError, match=r"data.pickle (is refused|is not a sound pickle)"):
        load_numbers(path)
    with pytest.raises(DatasetError, match=r"data.pickle"):
        import_dataset(path, tmp_path / "out")
    assert os.listdir(tmp_path) == ["data.pickle"]


def test_the_hostile_pickles_are_real(tmp_path):
    """Python's own unpickler does run some of them, so that refusing them means something."""
    for name in ("os.system", "eval", "exec", "key", "inst", "obj", "stack global"):
        mark = tmp_path / name.replace(" ", "-")
        pickle.loads(hostile(str(mark))[name])
        assert mark.exists(), name


def growing(levels, each):
    """A list of lists of lists, in which each part is named `each` times."""
    parts = [b"\x80\x02]q\x00"]
    for level in range(1, levels):
        parts.append(b"](" + bytes([ord("h"), level - 1]) * each + b"eq" + bytes([level]))
    return b"".join(parts) + b"."


def repeated(count):
    """One large array under many names."""
    large = pickle.dumps(np.zeros(100_000), 2)[2:-1]
    return b"\x80\x02](" + large + b"r\xff\x00\x00\x00" + b"j\xff\x00\x00\x00" * count + b"e."


def encoded(count):
    """A large text that is made into bytes many times."""
    text = b"X" + (100_000).to_bytes(4, "little") + b"a" * 100_000
    call = b"c_codecs\nencode\nq\x01"
    return (
        b"\x80\x02]q\x00("
        + text
        + b"X\x06\x00\x00\x00latin1\x86q\x02"
        + call
        + b"h\x02R"
        + b"h\x01h\x02R" * count
        + b"e."
    )


SHAPE = pickle.dumps(np.zeros(3), 2)
BOMBS = {
    "billion laughs": growing(30, 10),
    "deep": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "deep tuples": b"\x80\x02)" + b"\x85" * 1_000_000 + b".",
    "deep key": b"\x80\x02}N" + b"\x85" * 1_000_000 + b"Ns.",
    "a list in itself": b"\x80\x02]q\x00h\x00a.",
    "a dict in itself": b"\x80\x02}q\x00K\x01h\x00s.",
    "one array many times": repeated(100_000),
    "one text many times": encoded(100_000),
    "far memo": b"\x80\x02]r\xff\xff\xff\xff0.",
    "long bytes": b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b"a.",
    "long text": b"\x80\x04\x8d" + (2**40).to_bytes(8, "little") + b"a.",
    "long number": b"I" + b"9" * 100_000 + b"\n.",
    "shape": SHAPE.replace(b"K\x03\x85", b"J\xff\xff\xff\x7f\x85"),
    "shape below zero": SHAPE.replace(b"K\x03\x85", b"J\xff\xff\xff\xff\x85"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_small_pickles_do_not_become_large(tmp_path, name):
    path = kept(tmp_path, BOMBS[name])
    script = (
        "import sys, resource; from pathlib import Path; from rate.storage.pickles "
        "import PickleError, load_numbers\n"
        "own = [line for line in open('/proc/self/status') if "
        "line.startswith('VmData')][0].split()[1]\n"
        "most = int(own) * 1024 + 300 * 2**20; resource.setrlimit(resource.RLIMIT_DATA, "
        "(most, most))\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (60, 60))\n"
        "try:\n    load_numbers(Path(sys.argv[1]))\n"
        "except PickleError as error:\n"
        "    assert 'Memory' not in str(error) or 'long' in sys.argv[2], error\n    "
        "print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path, name], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pickles_cut_anywhere_or_changed_are_speaking_errors(tmp_path, protocol):
    whole = pickle.dumps(
        {0: tmaze(4, 1), 1: {**tmaze(5, -1), "obs": ARRAYS["transposed"]}}, protocol
    )
    rng = np.random.default_rng(protocol)
    for size in range(0, len(whole), 3):
        with pytest.raises(DatasetError, match=r"data.pickle"):
            import_dataset(kept(tmp_path, whole[:size]), tmp_path / "out")
    for _ in range(300):
        changed = bytearray(whole)
        changed[rng.integers(len(whole))] = int(rng.integers(256))
        try:
            load_numbers(kept(tmp_path, bytes(changed)))
        except PickleError as error:
            assert "data.pickle" in str(error)  # noqa: PT017 (some changes mean nothing)
    assert os.listdir(tmp_path) == ["data.pickle"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "holds no trajectories"),
        (5, "holds no trajectories"),
        ([[1]], "holds no trajectories"),
        ([{"observations": np.zeros((2, 3))}], "trajectory 0 has no array 'actions'"),
        ([tmaze(4, 1), {**tmaze(4, 1), "done": [0, 0, 2]}], "done: 2 is no flag"),
        (
            [tmaze(4, 1), {**tmaze(4, 1), "rtg": np.zeros(3)}],
            "actions: 3 entries, but 2 rewards.*look at trajectory 1",
        ),
        ([{**tmaze(4, 1), "obs": np.full((4, 4), np.nan)}], "NaN"),
        ([{**tmaze(4, 1), "obs": np.zeros((4, 0))}], "at least one number"),
        ([{**tmaze(4, 1), "done": np.array([1, 0, 1])}], "before its last step"),
        (
            [tmaze(4, 1), {**tmaze(4, 1), "obs": np.zeros((4, 3))}],
            r"steps have the shapes \(4,\) and \(3,\)",
        ),
    ],
)
def test_trajectories_that_do_not_fit_are_refused(tmp_path, data, message):
    with pytest.raises(DatasetError, match=message) as caught:
        import_dataset(kept(tmp_path, pickle.dumps(data)), tmp_path / "new" / "out")
    assert "data.pickle" in str(caught.value)
    assert os.listdir(tmp_path) == ["data.pickle"]
