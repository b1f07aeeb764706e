"""The model card of an exported policy: what it is, how it scored, and how it is called."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rate.runs.folder import Run, RunError
from rate.storage.untrusted import visible


def card(config: Mapping[str, Any], folder: Path) -> str:
    """The card as Markdown.

    Args:
        config: What config.json says.
        folder: The run's folder, whose data and scores are reported, or another one.
    """
    made = config["provenance"]
    model = config["model"]
    needs = {"onnx": "NumPy and onnxruntime", "torch": "NumPy and PyTorch"}[config["format"]]
    lines = [
        f"# A policy with memory: {model['name']}",
        "",
        *_origin(folder),
        "",
        f"* Format: {config['format']}; it needs {needs}, and not the library that trained it.",
        f"* Segments of {config['segment_length']} steps; it asks for a return of "
        f"{config['target_return']:g}.",
        f"* Checkpoint {made['checkpoint']}, update {made['update']}, recipe {made['recipe']}, "
        f"seed {made['seed']}; SHA-256 `{made['sha256']}`.",
        "",
        "## Use",
        "",
        "```python",
        "from example import Agent",
        "",
        'agent = Agent(".")',
        "agent.reset(n)                             # n episodes begin",
        "actions = agent.act(observations, rewards) # arrays [n, ...], for any number of steps",
        "agent.reset(rows=terminated | truncated)   # these rows begin their next episode",
        "```",
        "",
        "`python example.py` acts on random observations.",
        "",
        *_contract(config),
        *_scores(folder),
        "## Limits",
        "",
        "It was trained on recorded trajectories and imitates them, so it is as good as they are. "
        "Observations must come from the space in `config.json`; nothing checks them here. Numbers "
        "are float32; results differ between machines by rounding.",
        "",
    ]
    return visible("\n".join(lines))


def _origin(folder: Path) -> list[str]:
    run = Run(folder)
    if not run.exists:
        return ["Exported from a single checkpoint."]
    facts = run.provenance()
    task, data = facts.get("task"), facts.get("dataset")
    return [
        f"Trained by RATE (run {run.name}) on "
        + (f"recorded trajectories of the task `{task}`" if task else "recorded trajectories")
        + (f", dataset {str(data)[:12]}." if data else ".")
    ]


def _contract(config: Mapping[str, Any]) -> list[str]:
    graphs = config["graphs"]
    lines = [
        "## The step as a function",
        "",
        f"`{graphs['step']}` is for rows that are all within a segment. "
        f"`{graphs['boundary_step']}` also serves rows at the first step of an episode or of a "
        "segment: `going` marks rows whose episode is under way, `ends` those of them that have "
        f"completed a segment, after {config['first_segment']} steps and after every "
        f"{config['stride']} from then on; they write memory first. Rows that "
        "begin an episode have the state in `initial_state.npz`. The outputs `next_state.*` are "
        "the inputs `state.*` of the next step. All shapes but the batch are fixed. Observations "
        "are given as the environment gives them: scaling is part of the graph.",
        "",
        "| input of boundary_step | shape | type |",
        "|---|---|---|",
        *map(_row, config["inputs"]["boundary_step"]),
        "",
        "| output | shape | type |",
        "|---|---|---|",
        *map(_row, config["outputs"]),
        "",
        "`return_to_go` is the target return less the rewards received so far in the episode, "
        "`action` the action that was executed in the step before, `outputs` what the head gives "
        "(logits of choices, or real actions), and `actions` the most likely actions.",
        "",
    ]
    return lines


def _row(port: Mapping[str, Any]) -> str:
    shape = ", ".join(map(str, port["shape"]))
    return f"| `{port['name']}` | [{shape}] | {port['dtype']} |"


def _scores(folder: Path) -> list[str]:
    run = Run(folder)
    try:
        rows: Sequence[Mapping[str, Any]] = run.scores() if run.exists else []
    except RunError:
        rows = []
    named = ("task", "metric", "value", "standard_error", "episodes", "checkpoint", "actions")
    shown = [row for row in rows if all(name in row for name in named) and "corruption" not in row]
    if not shown:
        return []
    return [
        "## Scores of the run",
        "",
        "| task | score | mean ± standard error | episodes | checkpoint | actions |",
        "|---|---|---:|---:|---|---|",
        *(
            f"| {row['task']} | {row['metric']} | {row['value']:.3f} ± "
            f"{row['standard_error']:.3f} | {row['episodes']} | {row['checkpoint']} | "
            f"{row['actions']} |"
            for row in shown
        ),
        "",
    ]
