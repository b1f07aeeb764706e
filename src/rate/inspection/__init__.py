"""Inspection of a run: where its policy looks, what its memory holds and for how long, and what
noise in its place does."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch

from rate.acting.actor import Actor
from rate.acting.corruption import Corrupted, Corruption
from rate.acting.evaluation import check_spaces
from rate.acting.rollout import outcomes, rollout
from rate.dataset import open_dataset
from rate.files import atomic_write
from rate.inspection import figures
from rate.inspection.attention_maps import attention_maps
from rate.inspection.figures import Points
from rate.inspection.probe import Estimate, decode, estimate, principal_components
from rate.inspection.recorder import Traced, as_segment
from rate.models.policy import Policy
from rate.progress import Advance, progress_bar
from rate.provenance import commit
from rate.recipe import Recipe
from rate.reporting import INSPECTION, report
from rate.runs import folder as rundir
from rate.runs.checkpoint import load_policy
from rate.tasks.lookup import find
from rate.tasks.task import Task

STRENGTHS = (0.25, 0.5, 0.75, 1.0)
MOST_STEPS = 16
"""Most segment borders of an episode that are looked at."""
WAVE = 100
"""Most episodes played side by side."""
FEWEST_EPISODES = 10
"""Fewest episodes that must still be under way where the cue is decoded."""


@dataclass
class Findings:
    """What an inspection found: figures with captions, rows of the report's table, numbers, and
    notes on what is missing."""

    pictures: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    table: list[tuple[str, str, str, str]] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def inspect(
    run: str | Path,
    task: str | None = None,
    *,
    checkpoint: str = "last",
    episodes: int = 100,
    first_seed: int = 0,
    output: str | Path | None = None,
    thread_count: int = 1,
    show_progress: bool = False,
) -> Path:
    """Look into the memory of a run's policy while it acts greedily; returns the folder that was
    written to.

    It gets inspection.json and inspect-*.png: attention maps (Fig. 2 of the paper), memory over
    time, a linear probe for the cue, and the score with noise in place of memory (Fig. 8, 13, 16).
    task: by default the one that the run's data is from. episodes: one per seed, from first_seed
    on. output: a folder, by default the run's own, whose report is then written anew. What a model
    or task does not have (attention, memory, a cue) is left out, and a note says so.
    """
    if episodes < 2:
        raise ValueError(f"episodes must be at least 2, but {episodes} was given")
    run = Path(run)
    found = find(task or _own_task(run, *rundir.read(run)))
    policy, header = load_policy(run / f"{checkpoint}.safetensors")
    check_spaces(found, policy)
    if found.target_return is None:
        found = replace(found, target_return=float(header["target_return"]))
    if thread_count:
        torch.set_num_threads(thread_count)
    findings = Inspection(
        policy, found, range(first_seed, first_seed + episodes), show_progress
    ).findings()
    about = {
        "task": found.name,
        "checkpoint": checkpoint,
        "update": header.get("update"),
        "episodes": episodes,
        "first_seed": first_seed,
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    folder = Path(output or run)
    _write(folder, about, findings)
    if output is None:
        report(run)
    return folder


def _own_task(run: Path, recipe: Recipe, facts: dict[str, Any]) -> str:
    """The task that the run's data is from, as the run or else the dataset's card names it."""
    task = facts.get("task")
    if not task and Path(recipe.dataset).is_dir():
        task = open_dataset(recipe.dataset, verify=False).card["task"]
    if not task:
        raise ValueError(
            f"{run} does not say which task its data is from: name the task to act in, such "
            "as tmaze/90"
        )
    return str(task)


def _write(folder: Path, about: dict[str, Any], findings: Findings) -> None:
    """Write pictures and inspection.json; pictures of an earlier inspection go."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("inspect-*.png"):
        old.unlink()
    for name, (png, _) in findings.pictures.items():
        atomic_write(folder / name, png)
    content = {
        **about,
        "figures": [
            {"file": name, "caption": caption} for name, (_, caption) in findings.pictures.items()
        ],
        "table": [list(row) for row in findings.table],
        "notes": findings.notes,
        **findings.numbers,
    }
    # The JSON file comes last: whoever reads it finds the pictures that it names.
    atomic_write(folder / INSPECTION, json.dumps(content, indent=2) + "\n")


class Inspection:
    """One policy in one task, on the episodes of `seeds`."""

    def __init__(
        self, policy: Policy, task: Task, seeds: range, show_progress: bool = False
    ) -> None:
        self.policy, self.task, self.seeds, self.show = policy, task, seeds, show_progress
        self.target_return = 0.0 if task.target_return is None else task.target_return
        self.parts = policy.backbone.memory_parts()
        self.cues = [int(task.cue(seed)) for seed in seeds] if task.cue else None
        self.chance = task.reference.get("chance")
        self.bar: Advance = lambda count: None
        self.found = Findings()

    def findings(self) -> Findings:
        """Everything that there is to find, in the order of the report."""
        waves = -(-len(self.seeds) // WAVE)
        with progress_bar(
            f"act in {self.task.name}", waves * self.task.horizon, show=self.show
        ) as self.bar:
            self.untouched, self.lengths = self._score(Actor(self.policy, self.target_return))
        self.found.table.append(_row(self.task.metric, self.untouched))
        self.found.numbers["untouched"] = asdict(self.untouched)
        self._look()
        length = self.policy.config.segment_length
        running = int(np.sort(self.lengths)[-min(FEWEST_EPISODES, len(self.lengths))])
        steps = _spaced(range(0, running, length))
        if not self.parts:
            self.found.notes.append(
                "This model carries nothing from segment to segment: there is no memory to "
                "look into."
            )
        elif len(steps) < 2:
            self.found.notes.append(
                f"Too few episodes are longer than one segment of {length} steps, so memory "
                "is not handed over: "
                "inspect a longer task."
            )
        else:
            rollouts = 1 + len(self.parts) * (len(steps) + len(STRENGTHS))
            total = rollouts * waves * self.task.horizon
            with progress_bar(
                f"look into memory in {self.task.name}", total, show=self.show
            ) as self.bar:
                self._trace(steps)
                self._corrupt(steps)
        return self.found

    def _score(self, agent: Actor) -> tuple[Estimate, np.ndarray]:
        """Score and lengths [episodes] of an agent's episodes."""
        results = list(outcomes(agent, self.task, self.seeds, num_envs=WAVE, progress=self.bar))
        scores = np.array(
            [self.task.score(result.total_return, result.length) for result in results]
        )
        return estimate(scores), np.array([result.length for result in results])

    # Attention
    # --------------------------------------------------------------------------------

    def _look(self) -> None:
        seed = self.seeds[int(self.lengths.argmax())]
        agent = Actor(self.policy, self.target_return)
        [episode] = rollout(agent, self.task, [seed])
        segments = as_segment(episode, self.target_return).split(self.policy.config.segment_length)
        maps = attention_maps(self.policy, segments)
        if not maps:
            self.found.notes.append("There are no attention maps of this kind of model.")
            return
        chosen = [maps[0], *maps[1:-1][:1], *maps[1:][-1:]]
        frame = (
            "Orange frame: where the segment's last action is read off. Grey: hidden by the "
            "mask. Letters: m memory token, "
            "R return-to-go, o observation, a action, · state kept from earlier segments."
        )
        caption = (
            f"Attention in the episode of seed {seed} ({len(episode)} steps), mean over layers "
            "and heads: "
        )
        caption += f"{len(chosen)} of {len(maps)} segments. Rows look at columns. {frame}"
        self.found.pictures["inspect-attention.png"] = (figures.attention(chosen), caption)
        caption = "The last segment by layer and head."
        self.found.pictures["inspect-attention-heads.png"] = (
            figures.attention_heads(maps[-1]),
            caption,
        )

    # Memory
    # --------------------------------------------------------------------------------

    def _trace(self, steps: Sequence[int]) -> None:
        agent = Traced(self.policy, self.target_return, self.parts, steps)
        self._score(agent)
        # A row whose episode has ended goes on in memory until its wave is over.
        alive = {
            seed: [step for step in steps if step < length]
            for seed, length in zip(self.seeds, self.lengths, strict=True)
        }
        self._trajectories(agent, alive, steps)
        if self.cues is None:
            self.found.notes.append(
                "This task names no cue: nothing is coloured by it or decoded from memory."
            )
            return
        points = {part: self._decoded(agent, part, alive, steps) for part in self.parts}
        points = {part: own for part, own in points.items() if own}
        if not points:
            self.found.notes.append(
                "There are too few episodes to decode the cue from memory: ask for more."
            )
            return
        for part, own in points.items():
            step, reached = own[-1]
            self.found.table.append(_row(f"cue decoded from {part} at step {step:g}", reached))
        self.found.numbers["decoding"] = _numbers(points, "step")
        caption = (
            "How often a linear classifier (ridge regression) names the cue of held-out "
            "episodes from what is handed to the "
            "segment that begins at a step; 5-fold cross-validation over episodes, 95 % "
            "Wilson intervals."
        )
        self.found.pictures["inspect-decoding.png"] = (figures.decoding(points), caption)

    def _trajectories(
        self, agent: Traced, alive: dict[int, list[int]], steps: Sequence[int]
    ) -> None:
        part = next(iter(self.parts))
        handed = [agent.kept[part, seed, step] for seed, own in alive.items() for step in own]
        projections, shares = principal_components(np.stack(handed))
        ends = np.cumsum([len(own) for own in alive.values()])
        paths = np.split(projections, ends[:-1])
        self.found.numbers["components"] = {
            "part": part,
            "variance": [float(each) for each in shares],
        }
        caption = (
            f"The {part} handed from segment to segment in {len(paths)} episodes, projected on "
            "two principal components; "
        )
        caption += "one line an episode, a dot where it ends."
        caption += " Colours are cues." if self.cues else ""
        png = figures.trajectories(paths, steps, [float(each) for each in shares], self.cues)
        self.found.pictures["inspect-trajectories.png"] = (png, caption)

    def _decoded(
        self, agent: Traced, part: str, alive: dict[int, list[int]], steps: Sequence[int]
    ) -> Points:
        assert self.cues is not None
        points = []
        for step in steps:
            here = [
                (seed, cue)
                for seed, cue in zip(self.seeds, self.cues, strict=True)
                if step in alive[seed]
            ]
            features = np.stack([agent.kept[part, seed, step] for seed, _ in here])
            decoded = decode(features, np.array([cue for _, cue in here]))
            if decoded is not None:
                points.append((float(step), decoded))
        return points

    # Noise
    # --------------------------------------------------------------------------------

    def _corrupt(self, steps: Sequence[int]) -> None:
        by_step: dict[str, Points] = {}
        by_strength: dict[str, Points] = {}
        for part in self.parts:
            what = cast(Literal["memory", "cache"], part)
            by_step[part] = [
                (step, self._noisy(Corruption(what, step=step, until=step + 1))) for step in steps
            ]
            stronger = [
                (strength, self._noisy(Corruption(what, strength))) for strength in STRENGTHS
            ]
            by_strength[part] = [(0.0, self.untouched), *stronger]
            self.found.table.append(
                _row(f"{self.task.metric} with noise for {part}", by_strength[part][-1][1])
            )
        self.found.numbers["noise_by_step"] = _numbers(by_step, "step")
        self.found.numbers["noise_by_strength"] = _numbers(by_strength, "strength")
        caption = (
            "Left: what one segment is handed is replaced by white noise of unit variance, "
            "for the segment that begins at a step. "
            "Right: it is mixed with noise in every segment. 95 % intervals over episodes."
        )
        png = figures.corruption(
            by_step,
            by_strength,
            metric=self.task.metric,
            untouched=self.untouched,
            chance=self.chance,
        )
        self.found.pictures["inspect-noise.png"] = (png, caption)

    def _noisy(self, corruption: Corruption) -> Estimate:
        return self._score(Corrupted(self.policy, self.target_return, corruption))[0]


def _spaced(steps: Sequence[int]) -> list[int]:
    """At most MOST_STEPS of the steps, evenly spread, the first and last among them."""
    places = np.unique(
        np.linspace(0, len(steps) - 1, min(len(steps), MOST_STEPS)).round().astype(int)
    )
    return [steps[place] for place in places]


def _row(what: str, found: Estimate) -> tuple[str, str, str, str]:
    low, high = found.interval
    return what, f"{found.value:.2f}", f"{low:.2f} to {high:.2f}", str(found.episodes)


def _numbers(points: dict[str, Points], axis: str) -> dict[str, list[dict[str, Any]]]:
    return {
        part: [{axis: place, **asdict(found)} for place, found in own]
        for part, own in points.items()
    }
