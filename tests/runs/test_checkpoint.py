import pickle
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
    load_policy,
    load_state,
    read_tensors,
    save_policy,
    write_tensors,
)
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
    with pytest.raises(CheckpointError, match=r"does not make a policy: '[\w.]+' must hold \(.*\) of torch"):
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
