"""An exported policy acts as the Python agent does, memory included, without the library."""

import importlib.util
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import rate
from rate.acting.actor import Actor
from rate.exporting import EXAMPLE, Format, describe
from rate.exporting.example import Agent
from rate.exporting.step import Step
from rate.models import names
from rate.models.policy import Policy
from rate.runs.checkpoint import save_policy
from tests.models.test_contract import CONFIGS, STEPS, policy_of

TARGET = 2.0
BOTH = spaces.Dict(
    camera=spaces.Box(0, 255, (18, 17, 3), np.uint8),
    rest=spaces.Tuple(
        [spaces.MultiBinary(3), spaces.Discrete(4, start=2), spaces.Box(-1, 1, (), np.float64)]
    ),
)


class Untraced(Agent):
    """The example's agent on steps that are called, not exported."""

    def __init__(self, policy: Policy) -> None:
        steps = {name: Step(policy, name != "step").eval() for name in ("step", "boundary_step")}
        self.config = json.loads(json.dumps(describe(policy, steps, "torch", TARGET)))
        self.first_segment, self.stride = self.config["first_segment"], self.config["stride"]
        self.target_return = TARGET
        self.temperature, self.initial = 0.0, steps["step"].state
        self.graphs = {name: called(step) for name, step in steps.items()}


def called(step: Step) -> Callable[[dict[str, Any]], dict[str, Any]]:
    @torch.inference_mode()
    def run(given: dict[str, Any]) -> dict[str, Any]:
        values = step(*(torch.from_numpy(given[port.name]) for port in step.inputs))
        names = (port.name for port in step.outputs)
        return dict(zip(names, (value.numpy() for value in values), strict=True))

    return run


def assert_same(policy: Policy, agent: Agent, batch: int) -> None:
    """Outputs over three segments and a partial one, with rows that begin amid the others."""
    reference = Actor(policy, TARGET, graph="off")
    generator = np.random.default_rng(0)
    reference.reset(batch)
    agent.reset(batch)
    many = gymnasium.vector.utils.batch_space(
        policy.observation_space,
        batch,
    )
    many.seed(0)
    for step in range(3 * policy.config.segment_length + 2):
        if step in (STEPS, STEPS + 2) and batch > 1:
            rows = generator.choice(batch, batch // 2, replace=False)
            reference.reset(rows=rows)
            agent.reset(rows=rows)
        observations, rewards = many.sample(), generator.normal(size=batch)
        expected = reference.outputs(observations, rewards)
        reference.actions = policy.head.choose(expected.numpy(), None)
        actions = agent.act(observations, rewards)
        np.testing.assert_allclose(agent.outputs, expected, rtol=0, atol=1e-5)
        assert actions.dtype == reference.actions.dtype
        if policy.action_space.dtype.kind == "f":
            np.testing.assert_allclose(actions, reference.actions, rtol=0, atol=1e-5)
        else:
            np.testing.assert_array_equal(actions, reference.actions)


def exported(policy: Policy, folder: Path, file_format: Format) -> Agent:
    folder.mkdir(exist_ok=True)
    save_policy(folder / "last.safetensors", policy, TARGET)
    made = rate.export(folder / "last.safetensors", folder / "out", file_format=file_format)
    return Agent(made)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_step_is_a_function_of_its_inputs_for_every_model(name: str) -> None:
    policy = policy_of(CONFIGS[name])
    assert_same(policy, Untraced(policy), 8)


@pytest.mark.parametrize(
    "actions",
    [
        spaces.Discrete(3, start=-1),
        spaces.MultiDiscrete([[2, 3], [4, 2]]),
        spaces.MultiBinary(3),
        spaces.Box(-1, np.array([1, np.inf], np.float32), (2,), np.float32),
        spaces.Box(0, 7, (2,), np.int16),
    ],
    ids=lambda space: type(space).__name__,
)
def test_so_it_is_for_every_space(actions: gymnasium.Space) -> None:
    policy = policy_of(CONFIGS["rate"], BOTH, actions)
    assert_same(policy, Untraced(policy), 3)


def test_so_it_is_with_stacked_frames() -> None:
    torch.manual_seed(0)
    policy = Policy(BOTH, spaces.Discrete(3), CONFIGS["rate"], stack_frames=3).eval()
    assert_same(policy, Untraced(policy), 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small policy in the format of onnxruntime."""
    pytest.importorskip("onnxruntime")
    policy = policy_of(CONFIGS["gru"])  # tracing others takes longer
    exported(policy, tmp_path_factory.mktemp("exported"), "onnx")
    return tmp_path_factory.getbasetemp() / "exported0" / "out"


def test_a_folder_acts_as_the_agent_does(folder: Path) -> None:
    policy, _ = rate.load_policy(folder.parent / "last.safetensors")
    for batch in (1, 8):
        assert_same(policy, Agent(folder), batch)


def test_a_folder_explains_itself(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "boundary_step.onnx", "config.json", "example.py", "initial_state.npz",
        "step.onnx",
    }  # fmt: skip
    assert config["segment_length"] == STEPS
    assert config["target_return"] == TARGET
    assert rate.spaces.from_json(config["action_space"]) == spaces.Discrete(3)
    assert config["scales"]["observation.encoders.0.mean"] == [0.0] * 3
    assert "| `next_state.0` |" in (folder / "README.md").read_text()
    assert (folder / "example.py").read_bytes() == EXAMPLE.read_bytes()


def test_it_acts_without_torch_and_without_the_library(folder: Path) -> None:
    code = """
        import sys
        sys.modules |= {"torch": None, "rate": None, "gymnasium": None, "safetensors": None}
        import numpy as np
        from example import Agent

        agent = Agent(".", temperature=0.5, seed=1)
        agent.reset(2)
        size = sum(value.nbytes for value in agent.state.values())
        seen = {tuple(agent.act(np.ones((2, 3)), np.zeros(2))) for _ in range(200)}
        assert size == sum(value.nbytes for value in agent.state.values())
        assert len(seen) > 3, seen
    """
    for command in (["-c", textwrap.dedent(code)], ["example.py", "20"]):
        done = subprocess.run(
            [sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("20 steps")


def test_an_existing_folder_is_not_overwritten(folder: Path) -> None:
    before = (folder / "config.json").read_bytes()
    with pytest.raises(FileExistsError, match="already exists"):
        rate.export(folder.parent / "last.safetensors", folder)
    assert (folder / "config.json").read_bytes() == before


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install .*export"):
        rate.export(tmp_path, tmp_path / "out")
    assert not list(tmp_path.iterdir())


BY_FORMAT = {"onnx": list(CONFIGS), "torch": names()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "file_format"), [(name, kind) for kind in BY_FORMAT for name in BY_FORMAT[kind]]
)
def test_every_model_acts_as_its_agent_does(name: str, file_format: Format, tmp_path: Path) -> None:
    if file_format == "onnx" and not importlib.util.find_spec("onnxruntime"):
        pytest.skip("onnxruntime is not installed")
    policy = policy_of(CONFIGS[name])
    agent = exported(policy, tmp_path, file_format)
    for batch in (1, 8):
        assert_same(policy, agent, batch)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["nature", "impala"])
def test_so_do_models_with_stacked_images(encoder: str, tmp_path: Path) -> None:
    space = spaces.Dict(
        camera=spaces.Box(0, 255, (36, 36, 3), np.uint8), speed=spaces.Box(-1, 1, (2,), np.float32)
    )
    torch.manual_seed(0)
    config = rate.config_class("rate")(segment_length=STEPS, encoder=f"camera={encoder}")
    policy = Policy(space, spaces.Box(-2, 2, (2,), np.float32), config, stack_frames=2).eval()
    for batch in (1, 8):
        assert_same(policy, exported(policy, tmp_path / str(batch), "onnx"), batch)
