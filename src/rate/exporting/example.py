"""Act with the policy in this folder for any number of steps, with NumPy and onnxruntime alone.

    agent = Agent(".")
    agent.reset(8)                                  # eight episodes begin
    actions = agent.act(observations, rewards)      # of the newest observations, [8, ...]
    agent.reset(rows=terminated | truncated)        # these rows begin their next episode

`python example.py` acts on random observations, and says how long a step takes and what it
remembers. (A folder of format "torch" needs PyTorch in place of onnxruntime.)
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


class Agent:
    """Acts at constant cost per step, in rows that begin their episodes independently.

    Args:
        folder: Folder of the exported policy.
        target_return: Return to ask for; by default the one in config.json.
        temperature: 0 takes the most likely actions. Otherwise choices are drawn, from logits
            divided by this number.
        seed: Seed of the draws.
        threads: Threads of one step.
    """

    def __init__(
        self,
        folder: str | Path = ".",
        target_return: float | None = None,
        temperature: float = 0.0,
        seed: int | None = None,
        threads: int = 1,
    ) -> None:
        self.folder = Path(folder)
        config = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        self.config = config
        self.first_segment, self.stride = config["first_segment"], config["stride"]
        self.target_return = config["target_return"] if target_return is None else target_return
        self.temperature, self.generator = temperature, np.random.default_rng(seed)
        if temperature and not config["choices"]:
            raise ValueError("these actions are no choices and cannot be drawn: temperature is 0")
        load = {"onnx": _load_onnx, "torch": _load_torch}[config["format"]]
        files = {name: self.folder / file for name, file in config["graphs"].items()}
        self.graphs = {name: load(file, config, threads) for name, file in files.items()}
        with np.load(self.folder / "initial_state.npz", allow_pickle=False) as initial:
            self.initial = {name: initial[name] for name in initial.files}
        self.state: dict[str, np.ndarray] = {}

    def reset(self, batch: int = 1, rows: Any = None) -> None:
        """Begin new episodes.

        Args:
            batch: Number of rows.
            rows: Numbers of rows, or a boolean for each: only these begin, amid the others.
        """
        if rows is None:
            self.steps = np.zeros(batch, np.int64)
            self.returns_to_go = np.full(batch, self.target_return, np.float64)
            [action] = [port for port in self.config["outputs"] if port["name"] == "actions"]
            self.actions = np.zeros((batch, *action["shape"][1:]), action["dtype"])
            self.state = {name: np.repeat(one, batch, 0) for name, one in self.initial.items()}
            return
        self.steps[rows] = 0
        self.returns_to_go[rows] = self.target_return
        for name, one in self.initial.items():
            self.state[name] = self.state[name].copy()
            self.state[name][rows] = one

    def act(self, observations: Any, rewards: Any) -> np.ndarray:
        """The next actions [n, ...]; where others are executed, assign them to `actions`.

        Args:
            observations: Arrays [n, ...], in the structure of the observation space.
            rewards: [n], what the step before paid; ignored in a row's first step.
        """
        going, first = self.steps > 0, self.first_segment
        within = np.where(self.steps < first, self.steps, (self.steps - first) % self.stride)
        self.returns_to_go = self.returns_to_go - np.where(going, rewards, 0.0)
        boundary = not within.all()  # a row begins an episode or a segment
        given = {
            "return_to_go": self.returns_to_go.astype(np.float32),
            "action": self.actions,
            "timestep": self.steps,
            "going": going,
            "ends": going & (within == 0),
        }
        leaves = _leaves(self.config["observation_space"], observations)
        for port, leaf in zip(self.config["observations"], leaves, strict=True):
            given[port["name"]] = np.ascontiguousarray(leaf, port["dtype"])
        given |= {f"state.{name}": value for name, value in self.state.items()}
        results = self.graphs["boundary_step" if boundary else "step"](given)
        self.state = {name: results[f"next_state.{name}"] for name in self.state}
        self.steps = self.steps + 1
        self.outputs = results["outputs"]
        self.actions = self._drawn() if self.temperature else results["actions"]
        return self.actions.copy()

    def _drawn(self) -> np.ndarray:
        """Actions drawn from the logits of each choice."""
        choices = self.config["choices"]
        logits = self.outputs.astype(np.float64) / self.temperature
        drawn = [
            (part + self.generator.gumbel(size=part.shape)).argmax(-1)
            for part in np.split(logits, np.cumsum(choices["counts"])[:-1], -1)
        ]
        actions = np.stack(drawn, -1) + choices["start"]
        return actions.reshape(self.actions.shape).astype(self.actions.dtype)


def _leaves(space: dict[str, Any], value: Any) -> list[Any]:
    """The arrays of a value in the order of its space."""
    if space["type"] == "Dict":
        pairs = [(part, value[key]) for key, part in space["spaces"].items()]
    elif space["type"] == "Tuple":
        pairs = list(zip(space["spaces"], value, strict=True))
    else:
        return [value]
    return [leaf for part, entry in pairs for leaf in _leaves(part, entry)]


def _load_onnx(path: Path, config: dict[str, Any], threads: int) -> Any:
    """A function of named arrays that runs a graph with onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    graph = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    inputs = [port.name for port in graph.get_inputs()]
    outputs = [port.name for port in graph.get_outputs()]

    def run(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        results = graph.run(outputs, {name: given[name] for name in inputs})
        return dict(zip(outputs, results, strict=True))

    return run


def _load_torch(path: Path, config: dict[str, Any], threads: int) -> Any:
    """A function of named arrays that runs a graph with PyTorch, without the library."""
    import torch

    torch.set_num_threads(threads)
    graph = torch.export.load(path).module()
    inputs = [port["name"] for port in config["inputs"][path.stem]]
    outputs = [port["name"] for port in config["outputs"]]

    @torch.inference_mode()
    def run(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        results = graph(*(torch.from_numpy(given[name]) for name in inputs))
        return dict(zip(outputs, (result.numpy() for result in results), strict=True))

    return run


def random_observations(agent: Agent, batch: int, generator: np.random.Generator) -> Any:
    """Random values [batch, ...] of the observation space that config.json describes."""

    def draw(space: dict[str, Any]) -> Any:
        if space["type"] == "Dict":
            return {key: draw(part) for key, part in space["spaces"].items()}
        if space["type"] == "Tuple":
            return tuple(draw(part) for part in space["spaces"])
        if space["type"] == "Discrete":
            return space["start"] + generator.integers(space["n"], size=batch)
        if space["type"] == "MultiDiscrete":
            counts = np.array(space["nvec"])
            return np.array(space["start"]) + generator.integers(
                counts, size=(batch, *counts.shape)
            )
        if space["type"] == "MultiBinary":
            return generator.integers(2, size=(batch, *np.atleast_1d(space["n"])))
        low, high = np.array(space["low"], float), np.array(space["high"], float)
        unit = generator.uniform(size=(batch, *space["shape"]))
        return np.maximum(low, -1e3) * (1 - unit) + np.minimum(high, 1e3) * unit

    return draw(agent.config["observation_space"])


def main() -> None:
    """Act on random observations, as many steps as the command line says."""
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    agent, generator = Agent(Path(__file__).parent), np.random.default_rng(0)
    agent.reset(1)
    observations = random_observations(agent, 1, generator)
    started = time.perf_counter()
    for _ in range(steps):
        actions = agent.act(observations, np.zeros(1))
    seconds = time.perf_counter() - started
    size = sum(value.nbytes for value in agent.state.values())
    sys.stdout.write(
        f"{steps} steps, {1000 * seconds / steps:.3f} ms each; the last action is "
        f"{actions[0].tolist()}; its state takes {size} bytes, however long it acts\n"
    )


if __name__ == "__main__":
    main()
