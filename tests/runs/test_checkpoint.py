import pickle
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rate
from rate.models.policy import Policy
from rate.runs.checkpoint import (
    CheckpointError,
    _digest,
    load_policy,
    load_state,
    read_tensors,
    save_policy,
    write_tensors,
)
from rate.runs.folder import RunError
from rate.tasks.lookup import find
from rate.training.update import WindowLoss, adamw


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.fixture
def run(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def policy_for(recipe, task="recall/12") -> Policy:
    return Policy(find(task).observation_space, find(task).action_space, recipe.model)


def test_every_checkpoint_of_a_run_loads(trained):
    for name in ("last", "best"):
        policy, header = load_policy(trained / f"{name}.safetensors")
        assert not policy.training
        assert (header["target_return"], header["seed"]) == (1.0, 0)
        assert len(header["recipe"]) == 12
    assert load_policy(trained)[1]["update"] == 6


def test_a_checkpoint_holds_normalisation_and_return_scale(trained, recall):
    policy, _ = load_policy(trained)
    mean, std = rate.open_dataset(recall).normalisation["observation"]
    encoder = policy.encoders["observation"]
    buffers = dict(encoder.named_buffers())
    assert any(np.allclose(buffer.numpy(), mean) for buffer in buffers.values())
    assert any(np.allclose(buffer.numpy(), std) for buffer in buffers.values())


def test_write_and_read_is_the_identity(tmp_path):
    tensors = {
        "floats": torch.randn(3, 4),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "booleans": torch.tensor([True, False]),
        "integers": torch.arange(5)[::2],
        "halves": torch.randn(4).bfloat16(),
    }
    write_tensors(tmp_path / "a.safetensors", tensors, {"note": "größer"})
    read, header = read_tensors(tmp_path / "a.safetensors")
    assert header == {"format": 1, "note": "größer"}
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)


def test_a_missing_checkpoint_is_said(tmp_path):
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*written by `rate train`"):
        rate.load_agent(tmp_path)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(offset=st.integers(min_value=0), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed_wherever_it_is(offset, bit, trained, tmp_path):
    content = bytearray((trained / "last.safetensors").read_bytes())
    # Half of the examples hit the header, where most of the structure is.
    content[offset % (len(content) if offset % 2 else 2000)] ^= 1 << bit
    (tmp_path / "flipped.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"flipped\.safetensors"):
        rate.load_policy(tmp_path / "flipped.safetensors")


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_noticed_wherever_it_ends(share, trained, tmp_path):
    content = (trained / "last.safetensors").read_bytes()
    (tmp_path / "short.safetensors").write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"truncated, damaged, or of another"):
        rate.load_policy(tmp_path / "short.safetensors")


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=200))
def test_any_other_file_is_refused(content, tmp_path):
    (tmp_path / "other.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError):
        rate.load_policy(tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    "write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))]
)
def test_a_pickle_runs_no_code(write, run, tmp_path):
    trace = tmp_path / "trace"
    for name in ("last.safetensors", "training.safetensors"):
        write({"weights": Trap(trace)}, run / name)
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        rate.load_agent(run)
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        rate.evaluate(run, ["recall/12"], episodes=1)
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        rate.resume(run)
    assert not trace.exists()


def test_safetensors_of_another_origin_are_refused(tmp_path):
    safetensors.torch.save_file({"weight": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="of another"):
        rate.load_policy(tmp_path / "foreign.safetensors")


def test_a_future_format_is_refused(tmp_path):
    write_tensors(tmp_path / "future.safetensors", {}, {"format": 99})
    with pytest.raises(CheckpointError, match="format 99, but this version reads format 1"):
        read_tensors(tmp_path / "future.safetensors")


def test_the_weights_of_another_model_are_refused(tiny, tmp_path):
    narrow, wide = policy_for(tiny()), policy_for(tiny(width=32))
    save_policy(tmp_path / "mixed.safetensors", narrow, 1.0)
    _, header = read_tensors(tmp_path / "mixed.safetensors")
    write_tensors(tmp_path / "mixed.safetensors", wide.state_dict(), header)
    with pytest.raises(
        CheckpointError, match=r"does not make a policy: '[\w.]+' must hold \(.*\) of torch"
    ):
        load_policy(tmp_path / "mixed.safetensors")


@pytest.mark.parametrize(
    "change", [{"model": {"name": "riddle"}}, {"observation_space": {"type": "Riddle"}}]
)
def test_a_header_of_another_model_or_space_is_refused(change, tiny, tmp_path):
    save_policy(tmp_path / "odd.safetensors", policy_for(tiny()), 1.0)
    tensors, header = read_tensors(tmp_path / "odd.safetensors")
    write_tensors(tmp_path / "odd.safetensors", tensors, {**header, **change})
    with pytest.raises(CheckpointError, match="does not make a policy"):
        load_policy(tmp_path / "odd.safetensors")


def test_a_state_of_another_model_is_not_resumed(run, tiny):
    wide = policy_for(tiny(width=32))
    with pytest.raises(CheckpointError, match="does not fit the run's recipe"):
        load_state(run / "training.safetensors", WindowLoss(wide), adamw(wide, tiny().optimiser))


def test_a_state_of_other_spaces_is_not_resumed(run, tiny):
    other = policy_for(tiny(), "tmaze/9")
    with pytest.raises(CheckpointError, match="does not fit the run's recipe"):
        load_state(run / "training.safetensors", WindowLoss(other), adamw(other, tiny().optimiser))


def test_a_loaded_agent_acts_like_the_policy_that_was_saved(trained):
    space = find("recall/12").observation_space
    agents = [
        rate.load_agent(trained),
        rate.load_agent(trained / "last.safetensors", target_return=1.0),
    ]
    for agent in agents:
        agent.reset(2)
    space.seed(0)
    for _ in range(9):
        values = np.stack([space.sample(), space.sample()])
        first, second = (agent.outputs(values, np.zeros(2)) for agent in agents)
        assert torch.equal(first, second)
        for agent in agents:
            agent.actions = np.zeros(2, np.int64)


def test_an_unknown_device_is_said(trained):
    with pytest.raises(ValueError, match="cannot compute on the device"):
        rate.load_agent(trained, device="abacus")


# What a header declares, and what the tensors are


def rewritten(source: Path, path: Path, change) -> Path:
    """A checkpoint with right hashes whose header or tensors were changed."""
    tensors, header = read_tensors(source)
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    header.pop("format")
    change(tensors, header)
    write_tensors(path, tensors, header)
    return path


def refused_in_one_line(read, path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600
    return str(caught.value)


HUGE = 10**7


@pytest.mark.parametrize(
    "change",
    [
        {"layers": HUGE},
        {"layers": 40},
        {"width": 2**20},
        {"width": 2**40},
        {"width": 17},
        {"heads": 10**9},
        {"head_width": 0},
        {"memory_tokens": 10**9},
        {"segment_length": 10**9},
        {"segments": 2**62},
        {"valve_heads": 0},
        {"valve_heads": -1},
        {"valve_heads": 3},
        {"feed_forward": 2**33},
        {"dropout": "0"},
        {"dropout": float("nan")},
        {"layers": True},
        {"layers": 1.5},
        {"layers": None},
        {"valve": "riddle"},
        {"encoder": "riddle"},
        {"encoder": ["identity"]},
        {"name": None},
        {"name": ["rate"]},
        {"name": "\x1b[31m"},
        {"riddle": 1},
    ],
    ids=str,
)
def test_a_model_that_is_not_that_of_the_tensors_is_refused_at_no_cost(change, trained, tmp_path):
    path = tmp_path / "odd.safetensors"
    rewritten(trained / "last.safetensors", path, lambda _, header: header["model"].update(change))
    before = resource.getrusage(resource.RUSAGE_SELF)
    refused_in_one_line(load_policy, path)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime - before.ru_utime < 5
    assert after.ru_maxrss - before.ru_maxrss < 200_000  # KiB


LARGE_BOX = {"type": "Box", "dtype": "float32", "low": 0, "high": 1, "shape": [2**24]}


@pytest.mark.parametrize("space", ["observation_space", "action_space"])
@pytest.mark.parametrize(
    "description",
    [
        {"type": "Discrete", "dtype": "int64", "n": 3 * HUGE, "start": 0},
        {"type": "Discrete", "dtype": "int64", "n": 2**62, "start": 0},
        {"type": "MultiDiscrete", "dtype": "int64", "nvec": [2**40] * 3, "start": [0] * 3},
        {**LARGE_BOX, "shape": [2**23]},
        {"type": "Tuple", "spaces": [LARGE_BOX] * 100},
        {"type": "MultiBinary", "n": 2**24},
        {"type": "Riddle"},
        [],
        None,
        "Discrete(3)",
    ],
    ids=lambda description: str(description)[:60],
)
def test_a_space_that_is_not_that_of_the_tensors_is_refused(description, space, trained, tmp_path):
    path = tmp_path / "odd.safetensors"
    rewritten(trained / "last.safetensors", path, lambda _, head: head.update({space: description}))
    refused_in_one_line(load_policy, path)


@pytest.mark.parametrize("value", [None, [1.0], {}, "1.0", True, float("nan"), 10**400, ...])
@pytest.mark.parametrize(
    "name", ["target_return", "stack_frames", "observation_space", "model", "update"]
)
def test_entries_of_the_header_have_types(name, value, trained, tmp_path):
    def change(_, header):
        header.update({name: value})
        if value is ...:
            del header[name]

    path = rewritten(trained / "last.safetensors", tmp_path / "odd.safetensors", change)
    if (name, value) in [("update", None), ("update", ...), ("stack_frames", ...)]:
        rate.load_agent(path)  # may be left out
    else:
        message = refused_in_one_line(rate.load_agent, path)
        assert name in message or isinstance(value, dict)


@pytest.mark.parametrize("header", ["[]", "null", "1", '"x"', "[" * 9000 + "]" * 9000, "{", "{}"])
def test_a_header_that_is_no_object_is_refused(header, tmp_path):
    path = tmp_path / "odd.safetensors"
    tensors = {"weight": torch.zeros(2)}
    metadata = {"rate": header, "sha256": _digest(tensors, header)}
    safetensors.torch.save_file(tensors, path, metadata)
    refused_in_one_line(load_policy, path)


@pytest.mark.parametrize(
    "dtype", [torch.int64, torch.bool, torch.complex64, torch.float64, torch.bfloat16]
)
def test_tensors_of_another_type_are_refused(dtype, trained, tmp_path):
    def change(tensors, _):
        tensors["head.linear.weight"] = tensors["head.linear.weight"].to(dtype)

    path = rewritten(trained / "last.safetensors", tmp_path / "odd.safetensors", change)
    assert f"of {dtype}" in refused_in_one_line(load_policy, path)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["last", "training"])
def test_numbers_that_are_not_finite_are_refused(name, number, trained, tmp_path):
    def change(tensors, _):
        tensors["policy." * (name == "training") + "head.linear.weight"][0, 0] = number

    path = rewritten(trained / f"{name}.safetensors", tmp_path / "odd.safetensors", change)
    assert "not finite, in" in refused_in_one_line(read_tensors, path)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors, _: tensors.pop("optimiser.0.step"),
        lambda tensors, _: tensors.update({"optimiser.0.riddle": torch.zeros(())}),
        lambda tensors, _: tensors.update({"optimiser.99.step": torch.zeros(())}),
        lambda tensors, _: tensors.update({"optimiser.x.step": torch.zeros(())}),
        lambda tensors, _: tensors.update({"optimiser": torch.zeros(())}),
        lambda tensors, _: tensors.update({"optimiser.0": torch.zeros(())}),
        lambda tensors, _: tensors.update({"optimiser.0.exp_avg": torch.zeros(2)}),
        lambda tensors, _: tensors.update({"optimiser.0.step": torch.zeros((), dtype=torch.bool)}),
        lambda tensors, _: tensors.update({"riddle": torch.zeros(2)}),
        lambda tensors, _: tensors.pop("policy.head.linear.weight"),
        lambda _, header: header.pop("update"),
        lambda _, header: header.update(update=-1),
        lambda _, header: header.update(update="2"),
        lambda _, header: header.update(update=2.5),
        lambda _, header: header.update(best="x"),
        lambda _, header: header.update(best=[]),
        lambda _, header: header.update(best=float("nan")),
    ],
)
def test_a_state_that_does_not_fit_is_refused(change, run):
    rewritten(run / "training.safetensors", run / "training.safetensors", change)
    with pytest.raises(CheckpointError, match=r"training.safetensors does not fit the run's"):
        rate.resume(run)


def test_a_state_beyond_the_last_update_is_refused(run):
    path = run / "training.safetensors"
    rewritten(path, path, lambda _, header: header.update(update=7))
    with pytest.raises(RunError, match="has done 7 updates, but its recipe has 6"):
        rate.resume(run)
