"""Checkpoints of the released code become runs that compute the same."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from gymnasium import spaces
from torch import Tensor

import rate
from rate.cli import main
from rate.models.policy import Policy
from rate.models.released_weights import load_released
from rate.runs.checkpoint import load_policy
from rate.runs.conversion import ConversionError, convert
from rate.runs.folder import Run, RunError
from rate.segment import Segment
from tests.models.test_released import NAMES, close, forward, golden

LENGTH, SEGMENTS, WIDTH = 4, 3, 16


def nested(config: Mapping[str, Any], mode: str = "RATE") -> dict[str, Any]:
    """A configuration as the released code writes it into its run folder."""
    model = {name: value for name, value in config.items() if not name.startswith("segment")}
    return {
        "model": model | {"backbone": None, "label_smoothing": 0.0, "memory_size": None},
        "training": {
            "context_length": config["segment_length"],
            "sections": config["segments"],
            "learning_rate": 3e-4,
        },
        "online_inference": {"desired_return_1": 1.0, "use_argmax": True},
        "model_mode": mode,
        "arch_mode": "TrXL",
        "run_metadata": {"hostname": "somewhere"},
    }


def released_run(folder: Path, weights: Mapping[str, Any], config: Mapping[str, Any]) -> Path:
    """A run folder of the released code; its last checkpoint."""
    path = folder / "released" / "checkpoints" / "step_7.pth"
    path.parent.mkdir(parents=True)
    torch.save({name: torch.as_tensor(one) for name, one in weights.items()}, path)
    (path.parent.parent / "config.json").write_text(json.dumps(config))
    return path


# Vectors: the recorded models
# --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_converted_checkpoint_gives_the_recorded_outputs(name: str, tmp_path: Path) -> None:
    case = golden(name)
    mode = "DT" if name.startswith("dt") else "RATE"
    path = released_run(tmp_path, case.weights, nested(case.config, mode))
    run = Run(convert(path, tmp_path / "run", seed=3))
    policy, header = load_policy(run)
    outputs, _ = forward(policy, case.segments)
    if mode == "DT":  # the recorded windows do not slide
        outputs = [forward(policy, [segment])[0][0] for segment in case.segments]
    for number, output in enumerate(outputs):
        close(output, case.outputs[f"out/logits/{number}"])
    assert (header["target_return"], header["seed"], run.provenance()["seed"]) == (1.0, 3, 3)
    assert run.recipe().model == policy.config
    assert run.provenance()["converted"]["file"] == "step_7.pth"


@torch.no_grad()
def test_the_window_of_a_converted_dt_slides(tmp_path: Path) -> None:
    case = golden("dt_tmaze")
    length, inputs = case.config["segment_length"], case.inputs
    path = released_run(tmp_path, case.weights, nested(case.config, "DT"))
    policy, _ = load_policy(convert(path, tmp_path / "run"))
    memory = policy.initial_memory(len(inputs))
    stream = policy.backbone.start(memory)
    for step in range(inputs.steps):
        now = {path: leaf[:, step] for path, leaf in inputs.observations.items()}
        if step >= length:  # the window is full: its first step leaves it
            policy.record(stream, inputs.actions[:, step - 1])
            stream = policy.backbone.start(policy.backbone.write_memory(stream))
        before = inputs.actions[:, step - 1] if 0 < step < length else None
        output = policy.observe(stream, now, inputs.returns_to_go[:, step], before)
        alone = inputs.window(max(0, step - length + 1), step + 1)
        expected, _ = policy(alone, memory, 0)
        close(output, expected[:, -1])


# Images: the layout of the released encoders, computed independently
# --------------------------------------------------------------------------------

IMAGES = {
    # shape, features, padding; whether tanh follows images, returns and actions; prefixes
    "vizdoom": ((3, 64, 112), 2560, 0, (True, True, True), "ret_emb.0"),
    "memory_maze": ((3, 64, 64), 7744, 2, (True, True, True), "ret_emb.0"),
    "minigrid_memory": ((3, 84, 84), 3136, 0, (False, False, False), "ret_emb.0"),
    "atari": ((4, 84, 84), 3136, 0, (True, True, True), "ret_emb.0"),
    "mikasa_robo_RememberColor3": ((6, 128, 128), 9216, 0, (True, False, False), "ret_emb"),
}


class Images:
    """A tiny released model of images: configuration, weights and inputs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.shape, features, self.padding, self.tanh, self.returns = IMAGES[name]
        case, draw = golden("rate_tmaze"), torch.Generator().manual_seed(1)
        self.continuous = name.startswith("mikasa")
        count = 2 if self.continuous else 4

        def random(*shape: int) -> Tensor:
            spread = float(np.prod(shape[1:])) ** -0.5
            return torch.randn(*shape, generator=draw) * spread

        self.config = {**case.config, "env_name": name, "act_dim": count, "state_dim": 3}
        kept = ("layers.", "mha_mem_to_mem.", "mem_tokens", "r_w_bias", "r_r_bias", "pos_emb.")
        self.weights = {
            one: torch.from_numpy(array)
            for one, array in case.weights.items()
            if one.startswith(kept)
        }
        planes = self.shape[0]
        for number, layer in enumerate(((32, planes, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3))):
            self.weights[f"state_encoder.{2 * number}.weight"] = 2 * random(*layer)
            self.weights[f"state_encoder.{2 * number}.bias"] = random(layer[0], 4)[:, 0]
        rows = count + (name == "minigrid_memory")
        action = "action_embeddings" if self.continuous else "action_embeddings.0"
        linear = {"state_encoder.7": (WIDTH, features), self.returns: (WIDTH, 1)}
        linear |= {"head.0": (count, WIDTH), action: (WIDTH, count)} if self.continuous else {}
        for one, shape in linear.items():
            self.weights[f"{one}.weight"], self.weights[f"{one}.bias"] = (
                random(*shape),
                random(shape[0], 4)[:, 0],
            )
        if not self.continuous:
            self.weights["head.weight"] = random(count, WIDTH)
            self.weights["action_embeddings.0.weight"] = random(rows, WIDTH)
        self.count, self.action = count, action
        self.inputs = self.episode()

    def episode(self, batch: int = 2) -> Segment:
        rng, steps = np.random.default_rng(0), LENGTH * SEGMENTS
        pictures = rng.integers(0, 256, (batch, steps, *self.shape), np.uint8)
        actions: Any = rng.integers(0, self.count, (batch, steps))
        if self.continuous:
            actions = rng.uniform(-1, 1, (batch, steps, self.count)).astype(np.float32)
        returns = torch.from_numpy(rng.normal(size=(batch, steps)).astype(np.float32))
        return Segment(
            observations={"observation": torch.from_numpy(pictures)},
            actions=torch.from_numpy(actions),
            rewards=torch.zeros(batch, steps),
            returns_to_go=returns,
            terminations=torch.zeros(batch, steps, dtype=torch.bool),
            timesteps=torch.arange(steps).expand(batch, steps),
            mask=torch.ones(batch, steps, dtype=torch.bool),
        )

    def tokens(self, segment: Segment) -> Tensor:
        """Tokens [B, 3 K, d] from the weights alone."""
        weights, (image_tanh, return_tanh, action_tanh) = self.weights, self.tanh
        pictures = segment.observations["observation"].flatten(0, 1).float() / 255
        for number, stride in enumerate((4, 2, 1)):
            names = (f"state_encoder.{2 * number}.{kind}" for kind in ("weight", "bias"))
            kernel, bias = (weights[name] for name in names)
            pictures = F.relu(F.conv2d(pictures, kernel, bias, stride, self.padding))
        seen = pictures.flatten(1) @ weights["state_encoder.7.weight"].T
        seen = (seen + weights["state_encoder.7.bias"]).view(*segment.actions.shape[:2], WIDTH)
        wish = segment.returns_to_go[..., None] * weights[f"{self.returns}.weight"][:, 0]
        wish = wish + weights[f"{self.returns}.bias"]
        table = weights[f"{self.action}.weight"]
        if self.continuous:
            done = segment.actions @ table.T + weights[f"{self.action}.bias"]
        else:
            done = table[segment.actions]
        pairs = ((wish, return_tanh), (seen, image_tanh), (done, action_tanh))
        parts = [torch.tanh(one) if tanh else one for one, tanh in pairs]
        return torch.stack(parts, 2).flatten(1, 2)

    def outputs(self, hidden: Tensor) -> Tensor:
        """Action outputs from hidden states at the observations, [B, K, d]."""
        if self.continuous:
            return torch.tanh(
                hidden @ self.weights["head.0.weight"].T + self.weights["head.0.bias"]
            )
        return hidden @ self.weights["head.weight"].T


@torch.no_grad()
def compare(case: Images, policy: Policy, inputs: Segment | None = None) -> None:
    """Every segment's outputs against tokens and head computed from the weights alone; that the
    backbone between them is right is what the recorded models show."""
    memory, given = policy.initial_memory(2), inputs or case.inputs
    for own, segment in zip(case.inputs.split(LENGTH), given.split(LENGTH), strict=True):
        hidden, _ = policy.backbone(case.tokens(own), memory, 2)
        output, memory = policy(segment, memory)
        close(output, case.outputs(hidden[:, 1::3]))
        assert output.std() > 0.01


@pytest.mark.parametrize("name", IMAGES)
def test_images_of_every_released_encoder(name: str, tmp_path: Path) -> None:
    case = Images(name)
    config = nested({**case.config, "segment_length": LENGTH})
    path = released_run(tmp_path, case.weights, config)
    policy, _ = load_policy(convert(path, tmp_path / "run"))
    assert isinstance(policy.observation_space, spaces.Box)
    assert policy.observation_space.shape == case.shape
    compare(case, policy)


def laid_out(segment: Segment, order: tuple[int, ...]) -> Segment:
    pictures = segment.observations["observation"].permute(0, 1, *(2 + axis for axis in order))
    return Segment(**{**vars(segment), "observations": {"observation": pictures}})


def test_images_with_channels_last() -> None:
    case = Images("memory_maze")
    space = spaces.Box(0, 255, (64, 64, 3), np.uint8)
    config = {**case.config, "segment_length": LENGTH}
    policy = load_released(case.weights, config, observation_space=space)
    compare(case, policy, laid_out(case.inputs, (1, 2, 0)))


@torch.no_grad()
def test_single_frames_are_stacked_as_the_weights_ask() -> None:
    case = Images("atari")
    space = spaces.Box(0, 255, (84, 84, 1), np.uint8)
    config = {**case.config, "segment_length": LENGTH}
    policy = load_released(case.weights, config, observation_space=space)
    assert policy.stack_frames == 4
    stacked = laid_out(case.inputs, (1, 2, 0)).window(0, LENGTH)
    expected, _ = load_released(case.weights, config)(
        case.inputs.window(0, LENGTH), policy.initial_memory(2)
    )
    close(policy(stacked, policy.initial_memory(2))[0], expected)


def converted_maze(tmp_path: Path) -> Path:
    case = Images("memory_maze")
    case.weights["head.weight"] = torch.randn(6, WIDTH)
    case.weights["action_embeddings.0.weight"] = torch.randn(6, WIDTH)
    path = released_run(tmp_path, case.weights, nested({**case.config, "act_dim": 6}))
    return convert(path, tmp_path / "run", task="memory-maze/9x9", target_return=18.1)


def test_a_converted_policy_of_images_acts_as_its_task_lays_them_out(tmp_path: Path) -> None:
    agent = rate.load_agent(converted_maze(tmp_path))
    agent.reset(2)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    assert agent.act(pictures, np.zeros(2, np.float32)).shape == (2,)
    assert agent.target_return == 18.1


@pytest.mark.slow
def test_a_converted_policy_of_images_plays_its_task(tmp_path: Path) -> None:
    task = "memory-maze/9x9,horizon=6"
    [row] = rate.evaluate(converted_maze(tmp_path), [task], episodes=1, threads=1)
    assert (row["episodes"], row["steps"]) == (1, 6)


# Spellings, and what is done with the run
# --------------------------------------------------------------------------------


def test_other_spellings_of_a_checkpoint(tmp_path: Path) -> None:
    case = golden("rate_tmaze")
    tensors = {name: torch.from_numpy(array) for name, array in case.weights.items()}
    (tmp_path / "config.json").write_text(json.dumps(case.config))
    torch.save({"model_state_dict": tensors, "epoch": 3, "optimizer": {}}, tmp_path / "a.pth")
    torch.save({f"module.{name}": one.double() for name, one in tensors.items()}, tmp_path / "b.pt")
    safetensors.torch.save_file(tensors, tmp_path / "c.safetensors")
    expected = case.load().state_dict()
    for number, file in enumerate(("a.pth", "b.pt", "c.safetensors")):
        run = convert(tmp_path / file, tmp_path / f"run-{number}", target_return=1.0)
        for name, tensor in load_policy(run)[0].state_dict().items():
            assert torch.equal(tensor, expected[name])


def test_observations_and_returns_are_scaled_as_they_are_told(tmp_path: Path) -> None:
    case = golden("rate_hopper")
    path = released_run(tmp_path, case.weights, nested(case.config))
    rng = np.random.default_rng(0)
    episode = rate.Episode(
        {"observation": (3 + 2 * rng.normal(size=(40, 11))).astype(np.float32)},
        rng.uniform(-1, 1, (39, 3)).astype(np.float32),
        np.ones(39, np.float32),
        np.zeros(39, bool),
        np.arange(39) == 38,
    )
    data = rate.write_dataset(
        tmp_path / "data", [episode], spaces.Box(-99, 99, (11,)), spaces.Box(-1, 1, (3,))
    )
    options = {"return_scale": 1000.0, "standardised_by": tmp_path / "data"}
    policy, _ = load_policy(convert(path, tmp_path / "run", **options))
    mean, std = (torch.from_numpy(part) for part in data.normalisation["observation"])
    segment = case.inputs
    raw = {"observation": segment.observations["observation"] * std + mean}
    told = Segment(
        **{**vars(segment), "observations": raw, "returns_to_go": 1000 * segment.returns_to_go}
    )
    outputs, _ = forward(policy, told.split(case.config["segment_length"]))
    for number, output in enumerate(outputs):
        torch.testing.assert_close(output, case.outputs[f"out/logits/{number}"], atol=1e-4, rtol=0)


def test_a_converted_run_is_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = golden("rate_tmaze")
    path, run = released_run(tmp_path, case.weights, nested(case.config)), tmp_path / "run"
    assert main(["convert", str(path), "--output", str(run), "--task", "tmaze/15"]) == 0
    assert "try rate evaluate" in capsys.readouterr().out
    assert main(["evaluate", str(run), "--tasks", "tmaze/15", "--episodes", "2"]) == 0
    assert "tmaze/15" in capsys.readouterr().out
    report = rate.report(run).read_text(encoding="utf-8")
    assert "success" in report


@pytest.mark.slow
def test_a_converted_run_is_inspected_and_exported(tmp_path: Path) -> None:
    case = golden("rate_tmaze")
    path = released_run(tmp_path, case.weights, nested(case.config))
    run = convert(path, tmp_path / "run", task="tmaze/15")
    rate.inspect(run, episodes=2)
    assert (run / "inspection.json").is_file()
    folder = rate.export(run, tmp_path / "exported")
    assert json.loads((folder / "config.json").read_text())["model"]["name"] == "released"


# Refusals
# --------------------------------------------------------------------------------


def prepared(tmp_path: Path, **changes: Any) -> Path:
    case = golden("rate_tmaze")
    return released_run(tmp_path, case.weights, nested(case.config) | changes)


def test_refusals(tmp_path: Path) -> None:
    path, run = prepared(tmp_path), tmp_path / "run"
    config = path.parent.parent / "config.json"
    told = json.loads(config.read_text())

    def refused(message: str, **options: Any) -> None:
        with pytest.raises(ConversionError, match=message):
            convert(path, run, **options)
        assert not run.exists()

    refused("there is no configuration .*nowhere", config=tmp_path / "nowhere")
    refused(r"observes Box.*\(4,\).*not MultiBinary", task="minigrid-memory/13")
    config.write_text(json.dumps(told | {"online_inference": {}}))
    refused("desired_return_1.*--target-return")
    for damage, message in (
        (told | {"model_mode": "BC"}, "model_mode is 'BC'"),
        (told | {"training": {}}, "lacks context_length"),
        (told | {"training": [1]}, "training"),
        (told | {"model": told["model"] | {"n_layer": 3}}, r"step_7\.pth with .*lacks layers\.2"),
        (told | {"model": told["model"] | {"n_layer": 10**6}}, "would hold|more parts"),
        ([], "no configuration to convert"),
    ):
        config.write_text(json.dumps(damage))
        refused(message)
    config.write_text("{")
    refused("no configuration to convert")
    config.write_text(json.dumps(told))
    torch.save([1, 2], path)
    refused("holds no state dict")
    path.write_bytes(b"")
    refused(r"no archive of torch\.save")


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    path = prepared(tmp_path)
    convert(path, tmp_path / "run")
    with pytest.raises(RunError, match="holds a run already"):
        convert(path, tmp_path / "run")


def test_images_of_an_unknown_environment_are_refused() -> None:
    case = Images("vizdoom")
    with pytest.raises(ValueError, match=r"env_name is 'doom'.*vizdoom, memory_maze"):
        load_released(case.weights, {**case.config, "env_name": "doom"})
    with pytest.raises(ValueError, match=r"observes Box.*64, 112.*not Box"):
        load_released(case.weights, case.config, observation_space=spaces.Box(-1, 1, (3,)))
